//! Curves as SVG: lines over steps, and a map of heads over steps. Colours come from the page's
//! style, which has two of each, for light and for dark.

use std::fmt::Write;

use super::curves::{Curve, Point};
use crate::text::markup::escape;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 220.0;
/// What is left for the numbers at the axes.
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 8.0;
/// Colours of the style; further curves begin again with the first.
const COLOURS: usize = 8;
/// Heads and columns that a map shows at most.
const MOST_ROWS: usize = 160;
const MOST_COLUMNS: usize = 120;

/// A curve with its name.
pub(super) struct Named<'a> {
    pub(super) name: String,
    pub(super) curve: &'a Curve,
    /// Whether the figure's title says what it is.
    pub(super) is_told: bool,
}

/// A number in few characters.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        0.0 => "0".to_string(),
        _ if !(1e-3..1e6).contains(&size) => format!("{value:.1e}"),
        _ if size >= 1e3 => format!("{value:.0}"),
        _ => {
            let digits = if size >= 10.0 { 1 } else { 3 };
            let text = format!("{value:.digits$}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    }
}

/// Values of an axis: about five round ones that span from `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = if high > low { high - low } else { low.abs().max(1.0) };
    let rough = span / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let first = (low / step).floor();
    let last = (high / step).ceil().max(first + 1.0);
    (0..=(last - first) as usize).map(|nth| (first + nth as f64) * step).collect()
}

/// Where values stand along an axis: from one place on the page to another.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// From the lowest to the highest value.
    fn of(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        Axis { low, high, from, to }
    }

    /// The same, from and to a round value.
    fn rounded(self) -> Self {
        let ticks = ticks(self.low, self.high);
        Axis { low: ticks[0], high: ticks[ticks.len() - 1], ..self }
    }

    /// Round values on it.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (low, high) = (self.low, self.high);
        ticks(low, high).into_iter().filter(move |tick| (low..=high).contains(tick))
    }

    fn at(&self, value: f64) -> f64 {
        let span = if self.high > self.low { self.high - self.low } else { 1.0 };
        self.from + (value - self.low) / span * (self.to - self.from)
    }
}

/// A figure of curves over steps; empty where there is nothing to draw.
pub(super) fn lines(title: &str, about: &str, mut curves: Vec<Named>) -> String {
    // What is told of each step comes before what is measured now and then.
    curves.sort_by_key(|named| std::cmp::Reverse(named.curve.points().len()));
    let drawn: Vec<Vec<Point>> = curves.iter().map(|named| named.curve.points()).collect();
    let all = || drawn.iter().flatten();
    if all().next().is_none() {
        return String::new();
    }
    let x = Axis::of(all().map(|point| point.step), LEFT, WIDTH);
    let y = Axis::of(all().map(|point| point.value), HEIGHT - BOTTOM, TOP).rounded();

    let mut html = String::new();
    let _ = write!(
        html,
        "<figure><figcaption><b>{}</b> <span>{}</span></figcaption>",
        escape(title),
        escape(about)
    );
    // One curve that is called as its figure says nothing more.
    if curves.len() > 1 || curves.iter().any(|named| !named.is_told) {
        html.push_str("<p class=\"legend\">");
        for (nth, named) in curves.iter().enumerate() {
            let colour = nth % COLOURS;
            let _ = write!(html, "<span><i class=\"b{colour}\"></i>{}</span>", escape(&named.name));
        }
        html.push_str("</p>");
    }
    let _ = write!(
        html,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    );

    for tick in y.ticks() {
        let (at, text) = (y.at(tick), short(tick));
        let _ = write!(
            html,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text \
             x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    for tick in x.ticks() {
        let _ = write!(
            html,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            x.at(tick).clamp(LEFT, WIDTH - 16.0),
            HEIGHT - 6.0,
            tick.round()
        );
    }

    for (nth, (named, points)) in curves.iter().zip(&drawn).enumerate() {
        let places: Vec<String> = points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x.at(point.step), y.at(point.value)))
            .collect();
        let colour = nth % COLOURS;
        let last = points.last().map_or(0.0, |point| point.value);
        let _ = write!(
            html,
            "<polyline class=\"s{colour}\" points=\"{}\"><title>{}: {}</title></polyline>",
            places.join(" "),
            escape(&named.name),
            short(last)
        );
        // Few points are told one by one.
        if points.len() <= 40 {
            for point in points {
                let _ = write!(
                    html,
                    "<circle class=\"d{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"><title>{}, \
                     step {:.0}: {}</title></circle>",
                    x.at(point.step),
                    y.at(point.value),
                    escape(&named.name),
                    point.step,
                    short(point.value)
                );
            }
        }
    }
    html.push_str("</svg></figure>\n");
    html
}

/// A map with a row for each curve and a column for each step, the larger the value the fuller its
/// colour, on a logarithmic scale; empty where there is nothing to draw.
pub(super) fn heat_map(title: &str, about: &str, rows: &[Named]) -> String {
    let drawn: Vec<Vec<Point>> =
        rows.iter().take(MOST_ROWS).map(|named| named.curve.points()).collect();
    let most = drawn.iter().flatten().map(|point| point.value).fold(0.0, f64::max);
    let columns = drawn.iter().map(Vec::len).max().unwrap_or(0);
    if columns == 0 {
        return String::new();
    }
    let every = columns.div_ceil(MOST_COLUMNS);
    let (wide, high) = ((WIDTH - LEFT) / columns.div_ceil(every) as f64, 11.0);
    let height = high * drawn.len() as f64 + BOTTOM;
    // Four decades below the largest are told apart.
    let full = |value: f64| {
        let decades = (value.max(1e-12) / most.max(1e-12)).log10();
        (1.0 + decades / 4.0).clamp(0.0, 1.0)
    };

    let mut html = String::new();
    let _ = write!(
        html,
        "<figure><figcaption><b>{}</b> <span>{}; fullest is {}</span></figcaption><svg \
         viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">",
        escape(title),
        escape(about),
        short(most),
        escape(title)
    );
    for (nth, (named, points)) in rows.iter().zip(&drawn).enumerate() {
        let y = nth as f64 * high;
        let name = escape(&named.name);
        let _ = write!(
            html,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 8.0,
            y + 9.0
        );
        for (column, point) in points.iter().step_by(every).enumerate() {
            let _ = write!(
                html,
                "<rect class=\"heat\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" \
                 height=\"{:.1}\" fill-opacity=\"{:.2}\"><title>{name}, step {:.0}: \
                 {}</title></rect>",
                LEFT + column as f64 * wide,
                high - 1.0,
                full(point.value),
                point.step,
                short(point.value)
            );
        }
    }
    let (first, last) = (drawn[0].first(), drawn[0].last());
    for (point, x, anchor) in [(first, LEFT, "start"), (last, WIDTH, "end")] {
        let step = point.map_or(0.0, |point| point.step);
        let _ = write!(
            html,
            "<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"{anchor}\">step {step:.0}</text>",
            height - 6.0
        );
    }
    html.push_str("</svg></figure>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_span_the_values() {
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.5, 1.0]);
        assert_eq!(ticks(3.0, 9.0), [2.0, 4.0, 6.0, 8.0, 10.0]);
        for (low, high) in [(0.0, 0.0), (5.0, 5.0), (-3.0, 1e-9), (1e-7, 1e-6), (2.3, 6.1)] {
            let found = ticks(low, high);
            assert!(found.len() >= 2 && found[0] <= low && found[found.len() - 1] >= high);
        }
    }

    #[test]
    fn numbers_are_short() {
        let found = [0.0, 9.0, 0.0005, 0.25, 12.34, 40_000.0, 2.5e-7].map(short);
        assert_eq!(found, ["0", "9", "5.0e-4", "0.25", "12.3", "40000", "2.5e-7"]);
    }
}
