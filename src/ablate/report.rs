//! Tables and figures of an ablation: Markdown, JSON, and a page with the chart of main effects and
//! the curves of what is left of a fact.

use std::fmt::Write;
use std::path::Path;

use super::effects::{Comparison, Difference, Effect, Report, Row};
use crate::error::Result;
use crate::flow::dataset::{write_atomically, write_json};
use crate::text::markup::escape;

/// The names of the reports in the folder of results.
pub const REPORT_JSON: &str = "report.json";
/// See [`REPORT_JSON`].
pub const REPORT: &str = "report.md";
const PAGE: &str = "report.html";

const WIDTH: f64 = 760.0;
/// Left of the bars stand names, right of them numbers.
const NAMES: f64 = 150.0;
const NUMBERS: f64 = 190.0;
const ROW: f64 = 26.0;
const HEIGHT: f64 = 260.0;
const EDGE: f64 = 48.0;

/// Writes all three.
///
/// # Errors
/// If a file cannot be written.
pub fn write(report: &Report, folder: &Path) -> Result<()> {
    write_json(&folder.join(REPORT_JSON), report)?;
    write_atomically(&folder.join(REPORT), markdown(report).as_bytes())?;
    write_atomically(&folder.join(PAGE), page(report).as_bytes())
}

/// As Markdown.
pub fn markdown(report: &Report) -> String {
    let Report { question, plan, planned, done, seeds, primary, .. } = report;
    let processors: Vec<&str> = report.processors.iter().map(String::as_str).collect();
    let mut text = format!(
        "# Ablation\n\n{question}\n\nPlan {plan}: {done} of {planned} arms and seeds were run, all \
         factorial arms with {} seeds; `{primary}` decides. {}.\n\n",
        seeds.len(),
        processors.join("; ")
    );
    for said in &report.verdict {
        let _ = writeln!(text, "- {said}");
    }

    let _ = write!(
        text,
        "\n## Levers\n\nBits of the right answer that each saves: among the choices, or per byte.\n\n"
    );
    text += "| lever | probes | saves | 95 % interval | p (Holm) | would be seen |\n\
             |---|---|---|---|---|---|\n";
    for Effect { factor, kind, difference, holm } in &report.effects {
        let Difference { gain, low, high, p, least, .. } = difference;
        let p = holm.map_or(format!("{p:.3}"), |holm| format!("{p:.3} ({holm:.3})"));
        let _ = writeln!(
            text,
            "| {factor} | {kind} | {gain:+.4} | {low:+.4} to {high:+.4} | {p} | {least:.4} |"
        );
    }
    for (factor, about) in &report.factors {
        let _ = write!(text, "\n- `{factor}`: {about}");
    }
    if !report.aliases.is_empty() {
        text += "\n\nProducts that cannot be told apart: ";
        let groups: Vec<String> = report.aliases.iter().map(|names| names.join(" = ")).collect();
        text += &groups.join("; ");
    }

    text += "\n\n## Beside shuffled plain training\n\n\
             | arm | probes | saves at equal tokens | at equal processor time |\n|---|---|---|---|\n";
    let told = |one: &Difference| format!("{:+.4} ({:+.4} to {:+.4})", one.gain, one.low, one.high);
    for Comparison { arm, kind, tokens, seconds } in &report.comparisons {
        let seconds = seconds.as_ref().map_or(String::new(), told);
        let _ = writeln!(text, "| {arm} | {kind} | {} | {seconds} |", told(tokens));
    }

    text += "\n## Arms\n\nBits per byte, bits among the choices, and the share that is right.\n\n";
    text += &arms(report);
    text
}

fn arms(report: &Report) -> String {
    let Some(first) = report.arms.first() else { return String::new() };
    let kinds: Vec<&String> = first.known.keys().collect();
    let mut text = "| arm | seeds | tokens | processor seconds |".to_string();
    kinds.iter().for_each(|kind| text += &format!(" {kind} |"));
    text += " general |\n|---|---|---|---|";
    text += &"---|".repeat(kinds.len() + 1);
    for Row { arm, seeds, known, general_bits, tokens, seconds, .. } in &report.arms {
        let _ = write!(text, "\n| {arm} | {seeds} | {tokens:.0} | {seconds:.0} |");
        for kind in &kinds {
            let told = known.get(*kind).map(|one| {
                let choice = one.choice.zip(one.right);
                let choice = choice
                    .map_or(String::new(), |(choice, right)| format!(", {choice:.3}, {right:.2}"));
                format!("{:.3}{choice}", one.bits)
            });
            let _ = write!(text, " {} |", told.unwrap_or_default());
        }
        let general = general_bits.map_or(String::new(), |bits| format!("{bits:.4}"));
        let _ = write!(text, " {general} |");
    }
    text + "\n"
}

/// As a page that needs nothing else.
fn page(report: &Report) -> String {
    let style = "body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 \
                 1rem;color:#222;background:#fff}svg{width:100%;height:auto}text{font-size:12px;\
                 fill:currentColor}.axis{stroke:#999;stroke-width:1}.bar{stroke:#1f6fb2;\
                 stroke-width:3}.dot{fill:#1f6fb2}.off .bar{stroke:#999}.off .dot{fill:#999}\
                 table{border-collapse:collapse;font-size:13px}td,th{padding:.2rem \
                 .6rem;text-align:left;border-bottom:1px solid #ccc4}@media(prefers-color-scheme:\
                 dark){body{color:#ddd;background:#161616}}";
    let said: String =
        report.verdict.iter().map(|said| format!("<li>{}</li>", code(said))).collect();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Ablation</title><style>{style}</style>\
         <h1>Ablation</h1><p>{}</p><p>Plan {}: {} of {} arms and seeds were run.</p><ul>{said}</ul>\
         <h2>What each lever saves on {}</h2><p>Bits of the right answer, with 95 % intervals; \
         grey where nothing is shown.</p>{}<h2>What is left of a fact</h2><p>The \
         probability of a token of what is asked, by the steps since a document told of it.</p>{}\
         </html>\n",
        escape(&report.question),
        escape(&report.plan),
        report.done,
        report.planned,
        escape(&report.primary),
        bars(report),
        curves(report)
    )
}

/// A sentence with what stands between backticks as code.
fn code(said: &str) -> String {
    let part = |(nth, part): (usize, &str)| match nth % 2 {
        1 => format!("<code>{}</code>", escape(part)),
        _ => escape(part).to_string(),
    };
    said.split('`').enumerate().map(part).collect()
}

/// The main effects on the primary kind with their intervals.
fn bars(report: &Report) -> String {
    let effects: Vec<&Effect> =
        report.effects.iter().filter(|effect| effect.kind == report.primary).collect();
    let ends = effects.iter().flat_map(|one| [one.difference.low, one.difference.high, 0.0]);
    let (low, high) =
        ends.fold((0.0_f64, 0.0_f64), |(low, high), end| (low.min(end), high.max(end)));
    let span = (high - low).max(1e-9);
    let x = |value: f64| NAMES + (value - low) / span * (WIDTH - NAMES - NUMBERS);
    let height = ROW * (effects.len() + 1) as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\"><line class=\"axis\" x1=\"{0:.1}\" \
         x2=\"{0:.1}\" y1=\"0\" y2=\"{height}\"/>",
        x(0.0)
    );
    for (nth, Effect { factor, difference, holm, .. }) in effects.iter().enumerate() {
        let y = ROW * (nth as f64 + 0.5);
        let Difference { gain, low, high, .. } = difference;
        let off = if holm.is_some_and(|p| p < 0.05) { "" } else { "off" };
        let _ = write!(
            svg,
            "<g class=\"{off}\"><text x=\"0\" y=\"{:.1}\">{}</text><line class=\"bar\" \
             x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y}\" y2=\"{y}\"/><circle class=\"dot\" cx=\"{:.1}\" \
             cy=\"{y}\" r=\"5\"/><text x=\"{:.1}\" y=\"{:.1}\">{gain:+.4} [{low:+.4}, \
             {high:+.4}]</text></g>",
            y + 4.0,
            escape(factor),
            x(*low),
            x(*high),
            x(*gain),
            WIDTH - NUMBERS + 10.0,
            y + 4.0
        );
    }
    svg + "</svg>"
}

/// The probability of a fact by steps since it was told, a line for each arm that was asked.
fn curves(report: &Report) -> String {
    let rows: Vec<&Row> = report
        .arms
        .iter()
        .filter(|row| !row.arm.starts_with("arm_") && row.since.len() > 1)
        .collect();
    let all = || rows.iter().flat_map(|row| &row.since);
    if rows.is_empty() {
        return "<p>No panel was asked.</p>".to_string();
    }
    // From 0 on, in powers of two.
    let place = |steps: u64| ((steps + 1) as f64).log2();
    let right = all().map(|one| place(one.to)).fold(1.0, f64::max);
    let top = all().map(|one| one.probability).fold(0.0, f64::max).max(1e-9);
    let x = |steps: u64| EDGE + place(steps) / right * (WIDTH - EDGE - 120.0);
    let y = |value: f64| HEIGHT - EDGE / 2.0 - value / top * (HEIGHT - EDGE);

    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for share in [0.0, 0.5, 1.0] {
        let value = share * top;
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{EDGE}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\" \
             opacity=\".3\"/><text x=\"0\" y=\"{2:.1}\">{value:.3}</text>",
            WIDTH - 120.0,
            y(value),
            y(value) + 4.0
        );
    }
    for steps in [0, 1, 4, 16, 64, 256, 1024].into_iter().filter(|steps| place(*steps) <= right) {
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{HEIGHT}\">{steps}</text>", x(steps));
    }
    for (nth, row) in rows.iter().enumerate() {
        let hue = nth * 360 / rows.len();
        let points: Vec<String> = row
            .since
            .iter()
            .map(|one| format!("{:.1},{:.1}", x(one.from.midpoint(one.to)), y(one.probability)))
            .collect();
        let last = row.since.last().map_or(0.0, |one| y(one.probability));
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"hsl({hue} 60% 50%)\" \
             stroke-width=\"2\"/><text x=\"{:.1}\" y=\"{:.1}\" style=\"fill:hsl({hue} 60% \
             50%)\">{}</text>",
            points.join(" "),
            WIDTH - 112.0,
            last + 4.0,
            escape(&row.arm)
        );
    }
    svg + "</svg>"
}
