//! Results for people and for programs.

use std::fmt::Write;
use std::path::Path;

use super::metrics::Metric;
use super::{Results, TaskResult};
use crate::error::Result;
use crate::flow::dataset::{write_atomically, write_json};

/// The results as JSON.
pub const RESULTS: &str = "results.json";
/// The results as a table.
pub const REPORT: &str = "report.md";

/// Writes both.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write(results: &Results, out: &Path) -> Result<()> {
    write_json(&out.join(RESULTS), results)?;
    write_atomically(&out.join(REPORT), markdown(results).as_bytes())
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
            metrics: vec![metric.clone()],
            groups: BTreeMap::from([("a|b".to_string(), vec![metric])]),
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
    }
}
