//! `metrics.jsonl` → curves. A file of any length becomes curves of a bounded size: where one has
//! too many points, two neighbours become their mean.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::error::{Error, Result};
use crate::train::run::metrics::{METRICS, Metric};
use crate::train::strategy::panel;

/// Points that a curve is drawn with at most.
const MOST: usize = 600;

/// A place on a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The step.
    pub step: f64,
    /// What was measured there.
    pub value: f64,
}

/// Numbers over steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    points: Vec<Point>,
    /// Numbers that each point is the mean of, but for the last ones.
    each: usize,
    waiting: Vec<Point>,
}

impl Curve {
    fn new() -> Self {
        Curve { points: Vec::new(), each: 1, waiting: Vec::new() }
    }

    /// A curve of these.
    pub(super) fn of(points: &[Point]) -> Self {
        let mut curve = Curve::new();
        points.iter().for_each(|point| curve.add(*point));
        curve
    }

    fn add(&mut self, point: Point) {
        self.waiting.push(point);
        if self.waiting.len() < self.each {
            return;
        }
        self.points.push(mean(&self.waiting));
        self.waiting.clear();
        if self.points.len() == MOST {
            self.points = self.points.chunks(2).map(mean).collect();
            self.each *= 2;
        }
    }

    /// Its points, in order.
    pub(super) fn points(&self) -> Vec<Point> {
        let rest = (!self.waiting.is_empty()).then(|| mean(&self.waiting));
        self.points.iter().copied().chain(rest).collect()
    }
}

fn mean(points: &[Point]) -> Point {
    let n = points.len() as f64;
    Point {
        step: points.iter().map(|point| point.step).sum::<f64>() / n,
        value: points.iter().map(|point| point.value).sum::<f64>() / n,
    }
}

/// What is drawn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chart {
    Loss,
    Terms,
    Sources,
    Buckets,
    Shares,
    Rate,
    GradNorm,
    LossScale,
    Moving,
    Documents,
    Others,
    Speed,
    Memory,
}

/// A run, as far as it is there.
pub(super) struct Run {
    /// Its folder's name.
    pub(super) name: String,
    /// Curves by chart and name.
    pub(super) curves: BTreeMap<Chart, BTreeMap<String, Curve>>,
    /// How far each attention head is from where it began, by its name, `block.head`.
    pub(super) heads: BTreeMap<String, Curve>,
    pub(super) first: Metric,
    pub(super) last: Metric,
    /// Tokens of all steps.
    pub(super) tokens: u64,
    /// Loss on the validation split, where it was measured first and last.
    pub(super) held_out: Option<[f64; 2]>,
}

impl Run {
    /// Reads the run in a folder.
    ///
    /// # Errors
    /// If there is none, or its metrics are damaged.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let place = folder.join(METRICS);
        let file = File::open(&place).map_err(|cause| {
            Error::file("open", &place, cause).hint("name a folder that `kpipe train` wrote")
        })?;
        let name = std::path::absolute(folder).ok();
        let name = name.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
        let name = name.unwrap_or_else(|| folder.to_string_lossy()).into_owned();
        let mut run: Option<Run> = None;

        for (idx, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|cause| Error::file("read", &place, cause))?;
            let metric: Metric = serde_json::from_str(&line).map_err(|cause| {
                Error::data(format!("this is no line of metrics: {cause}")).at(format!(
                    "{}, line {}",
                    place.display(),
                    idx + 1
                ))
            })?;
            run.get_or_insert_with(|| Run::begun(name.clone(), metric.clone())).add(metric);
        }

        run.ok_or_else(|| {
            Error::data(format!("`{}` holds no step yet", place.display()))
                .hint("look again when the run has done one")
        })
    }

    fn begun(name: String, first: Metric) -> Self {
        Run {
            name,
            curves: BTreeMap::new(),
            heads: BTreeMap::new(),
            last: first.clone(),
            first,
            tokens: 0,
            held_out: None,
        }
    }

    fn add(&mut self, metric: Metric) {
        let step = metric.step as f64;
        self.tokens += metric.tokens;
        if let Some(loss) = metric.val_loss {
            self.held_out = Some([self.held_out.map_or(loss, |held_out| held_out[0]), loss]);
        }
        for (name, value) in &metric.strategies {
            if let Some(head) = head_of(name) {
                self.heads
                    .entry(head.to_string())
                    .or_insert_with(Curve::new)
                    .add(Point { step, value: *value });
            }
        }
        for told in told(&metric) {
            self.curves
                .entry(told.chart)
                .or_default()
                .entry(told.name)
                .or_insert_with(Curve::new)
                .add(Point { step, value: told.value });
        }
        self.last = metric;
    }
}

/// A number of a step, and where it is drawn.
struct Told {
    chart: Chart,
    name: String,
    value: f64,
}

fn told(metric: &Metric) -> Vec<Told> {
    let mut all = Vec::new();
    let mut tell = |chart, name: &str, value: Option<f64>| {
        let value = value.filter(|value| value.is_finite());
        all.extend(value.map(|value| Told { chart, name: name.to_string(), value }));
    };

    tell(Chart::Loss, "training", Some(metric.train_loss));
    tell(Chart::Loss, "held out", metric.val_loss);
    metric.losses.iter().for_each(|(name, loss)| tell(Chart::Terms, name, Some(*loss)));
    metric.sources.iter().for_each(|(name, loss)| tell(Chart::Sources, name, Some(*loss)));
    for (bucket, loss) in &metric.buckets {
        tell(Chart::Buckets, &format!("bucket {bucket}"), Some(*loss));
    }
    tell(Chart::Shares, "domain", metric.domain);
    tell(Chart::Shares, "hard", metric.hard);
    tell(Chart::Rate, "rate", Some(metric.lr));
    tell(Chart::GradNorm, "norm", metric.grad_norm);
    tell(Chart::LossScale, "scale", metric.loss_scale);
    tell(Chart::Moving, "moving", metric.moving);
    for (name, value) in &metric.strategies {
        match name.strip_suffix("_val_loss") {
            Some(which) => tell(Chart::Loss, &format!("held out, {which}"), Some(*value)),
            None if name.starts_with("mining.") => tell(Chart::Documents, name, Some(*value)),
            None if name.starts_with("attention_kl.") || panel::is_of_one(name) => {}
            None => tell(Chart::Others, name, Some(*value)),
        }
    }
    tell(Chart::Speed, "tokens/s", Some(metric.tokens_per_s));
    tell(Chart::Memory, "MiB", metric.memory);
    all
}

/// `3.7` of `attention_kl.3.7.initial`, `3.crossed.7` of a head that looks at an encoder. Means of
/// a block are none.
fn head_of(name: &str) -> Option<&str> {
    let head = name.strip_prefix("attention_kl.")?.strip_suffix(".initial")?;
    head.contains('.').then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_of_any_length_keeps_its_ends_and_its_mean() {
        let mut curve = Curve::new();
        for step in 0..10_001 {
            curve.add(Point { step: f64::from(step), value: f64::from(step % 10) });
        }
        let points = curve.points();
        assert!(points.len() <= MOST && points.len() > MOST / 3, "{}", points.len());
        assert!(points[0].step < 20.0 && points.last().unwrap().step > 9_980.0);
        let mean = points.iter().map(|point| point.value).sum::<f64>() / points.len() as f64;
        assert!((mean - 4.5).abs() < 0.1, "{mean}");

        let mut short = Curve::new();
        [1.0, 2.0].into_iter().for_each(|step| short.add(Point { step, value: step }));
        assert_eq!(short.points().len(), 2);
    }

    #[test]
    fn heads_are_told_from_means() {
        let of = |name| head_of(name);
        assert_eq!(of("attention_kl.3.7.initial"), Some("3.7"));
        assert_eq!(of("attention_kl.3.crossed.7.initial"), Some("3.crossed.7"));
        assert_eq!([of("attention_kl.3.initial"), of("attention_kl.3.7.last")], [None, None]);
    }
}
