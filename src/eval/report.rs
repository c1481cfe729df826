//! Results for people and for programs.

use std::fmt::Write;
use std::path::Path;

use super::metrics::Metric;
use super::{Change, Results, TaskResult};
use crate::error::Result;
use crate::flow::dataset::{write_atomically, write_json};
use crate::text::markup::escape;

/// The results as JSON.
pub const RESULTS: &str = "results.json";
/// The results as a table.
pub const REPORT: &str = "report.md";
/// The results as a page.
pub const PAGE: &str = "report.html";

/// Width of the figure of an interval.
const WIDTH: f64 = 160.0;

/// Writes all three.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write(results: &Results, out: &Path) -> Result<()> {
    write_json(&out.join(RESULTS), results)?;
    write_atomically(&out.join(REPORT), markdown(results).as_bytes())?;
    write_atomically(&out.join(PAGE), page(results).as_bytes())
}

/// What a task came to, in one line.
pub(super) fn summary(result: &TaskResult) -> String {
    let told = result.metrics.iter().map(|metric| format!("{} {:.4}", metric.name, metric.value));
    told.collect::<Vec<_>>().join(", ")
}

/// A table of all tasks.
pub fn table(results: &Results) -> String {
    let mut text = HEAD.to_string();
    for result in &results.tasks {
        let shots =
            if result.shots > 0 { format!(", {} shots", result.shots) } else { String::new() };
        let name = format!("{} v{}{shots}", result.task, result.version);
        result.metrics.iter().for_each(|metric| row(&mut text, &name, metric));
    }
    if results.tasks.iter().any(|result| !result.changes.is_empty()) {
        text += "\n| task | metric | before | change | interval |\n|---|---|---|---|---|\n";
        for result in &results.tasks {
            for Change { name, before, difference, low, high } in &result.changes {
                let task = result.task;
                let _ = writeln!(
                    text,
                    "| {task} | `{name}` | {before:.4} | {difference:+.4} | {low:+.4} to {high:+.4} |"
                );
            }
        }
    }

    for TaskResult { task, cut, .. } in results.tasks.iter().filter(|result| result.cut > 0) {
        let _ = writeln!(
            text,
            "\n{cut} items of `{task}` are longer than the model reads: their beginning was left out."
        );
    }
    text
}

/// The same with what it is of, and a table by group of tasks that have some.
pub fn markdown(results: &Results) -> String {
    let mut text = format!(
        "# {}\n\n{}, files {}, kpipe {}\n\n{}",
        results.model,
        results.family,
        results.model_hash,
        results.kpipe,
        table(results)
    );

    for result in results.tasks.iter().filter(|result| !result.groups.is_empty()) {
        let _ = write!(text, "\n## {}\n\n{HEAD}", result.task);
        for (group, metrics) in &result.groups {
            metrics.iter().for_each(|metric| row(&mut text, group, metric));
        }
    }
    text + "\nIntervals are 95 %: Wilson's of shares, else a bootstrap over items.\n"
}

const HEAD: &str = "| task | metric | value | interval | items | without a model |\n\
                    |---|---|---|---|---|---|\n";

fn row(text: &mut String, name: &str, metric: &Metric) {
    let baselines = metric.baselines.iter().map(|(name, value)| format!("{name} {value:.4}"));
    let baselines = baselines.collect::<Vec<_>>().join(", ");
    let arrow = if metric.higher_is_better { "↑" } else { "↓" };
    let Metric { name: metric_name, value, low, high, n, .. } = metric;
    let name = name.replace('|', "\\|");
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "| {name} | `{metric_name}` {arrow} | {value:.4} | {low:.4}–{high:.4} | {n} | {baselines} |"
    );
}

/// As a page that needs nothing else: each value with its interval, and what is reached without a
/// model.
pub fn page(results: &Results) -> String {
    let style = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 \
                 1rem;color:#1c2733;background:#fff}table{border-collapse:collapse}td,th{padding:\
                 .25rem .7rem;border-bottom:1px solid #9aa7b444;text-align:left}td.n{text-align:\
                 right;font-variant-numeric:tabular-nums}svg{vertical-align:middle}.bar{stroke:\
                 #1f6fb2;stroke-width:3}.dot{fill:#1f6fb2}.axis{stroke:#9aa7b4}.beside{stroke:\
                 #c2572e;stroke-width:2}@media(prefers-color-scheme:dark){body{color:#d8e0e8;\
                 background:#14181c}}";
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>kpipe eval</title><style>{style}</style></head>\
         <body><h1>{}</h1><p>{}, files {}, kpipe {}. Bars are 95 % intervals; red marks what is \
         reached without a model.</p>\n",
        escape(&results.model),
        results.family,
        results.model_hash,
        results.kpipe
    );
    for result in &results.tasks {
        let TaskResult { task, version, path, shots, cut, metrics, groups, .. } = result;
        let _ = write!(
            html,
            "<h2>{task}</h2><p>version {version}, {shots} shots, {cut} items longer than the model \
             reads, {}</p>",
            escape(path)
        );
        figures(&mut html, metrics);
        for (group, metrics) in groups {
            let _ = write!(html, "<details><summary>{}</summary>", escape(group));
            figures(&mut html, metrics);
            html += "</details>";
        }
    }
    html + "</body></html>\n"
}

fn figures(html: &mut String, metrics: &[Metric]) {
    *html += "<table>";
    for metric in metrics {
        let Metric { name, value, low, high, n, baselines, .. } = metric;
        let beside: Vec<f64> = baselines.values().copied().collect();
        let most = beside.iter().copied().fold(high.max(1.0), f64::max);
        let x = |value: f64| value / most * WIDTH;
        let marks: String = beside
            .iter()
            .map(|value| {
                let x = x(*value);
                format!("<line class=\"beside\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"3\" y2=\"15\"/>")
            })
            .collect();
        let told: Vec<String> =
            baselines.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        let _ = write!(
            html,
            "<tr><td>{name}</td><td class=\"n\">{value:.4}</td><td><svg width=\"{WIDTH}\" \
             height=\"18\"><line class=\"axis\" x1=\"0\" x2=\"{WIDTH}\" y1=\"9\" y2=\"9\"/>{marks}\
             <line class=\"bar\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"9\" y2=\"9\"/><circle class=\"dot\" \
             cx=\"{:.1}\" cy=\"9\" r=\"4\"/></svg></td><td>{low:.4}–{high:.4}</td><td>{n} \
             items</td><td>{}</td></tr>",
            x(*low),
            x(*high),
            x(*value),
            told.join(", ")
        );
    }
    *html += "</table>";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_row_says_what_guessing_gives() {
        let metric = Metric {
            name: "acc",
            value: 0.5,
            low: 0.4,
            high: 0.6,
            n: 100,
            baselines: [("random", 0.25)].into(),
            higher_is_better: true,
        };
        let result = TaskResult {
            task: "mmlu",
            version: 1,
            path: "x".into(),
            items_hash: String::new(),
            shots: 5,
            cut: 3,
            metrics: vec![metric.clone()],
            groups: BTreeMap::from([("a|b".to_string(), vec![metric])]),
            changes: vec![Change {
                name: "acc",
                before: 0.25,
                difference: 0.25,
                low: 0.1,
                high: 0.4,
            }],
        };
        assert_eq!(summary(&result), "acc 0.5000");
        let results = Results {
            kpipe: "0",
            model: "m".into(),
            family: "gpt2",
            model_hash: String::new(),
            tasks: vec![result],
        };
        let text = markdown(&results);
        let row = "| mmlu v1, 5 shots | `acc` ↑ | 0.5000 | 0.4000–0.6000 | 100 | random 0.2500 |";
        assert!(text.contains(row) && text.contains("| a\\|b |"), "{text}");
        assert!(
            text.contains("| mmlu | `acc` | 0.2500 | +0.2500 | +0.1000 to +0.4000 |"),
            "{text}"
        );
        assert!(text.contains("3 items of `mmlu` are longer than the model reads"), "{text}");
        let html = page(&results);
        assert!(html.contains("0.4000–0.6000") && html.contains("random 0.2500"), "{html}");
    }
}
