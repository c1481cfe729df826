//! Robustness for people: tables, and curves along a run.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Attacks, Changed, Measured, Outcome, Told};
use crate::text::markup::escape;
use crate::train::run::report::{Point, figure, page_of};

/// What was measured of each point.
pub fn table(told: &Told) -> String {
    let mut text = "| point | task | change | records | before | after | interval | difference | \
                    interval | turned |\n|---|---|---|---|---|---|---|---|---|---|\n"
        .to_string();
    let mut add = |point: &str, task: &str, one: &Changed| {
        let Changed { name, keeps, n, before, after, difference, turned } = one;
        let kind = if *keeps { "" } else { " (another meaning)" };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {point} | {task} | `{name}`{kind} | {n} | {before:.3} | {:.3} | {:.3}–{:.3} | \
             {:+.3} | {:+.3} to {:+.3} | {turned:.3} |",
            after.value, after.low, after.high, difference.value, difference.low, difference.high
        );
    };
    for Measured { name, tasks, .. } in &told.points {
        for Outcome { task, changed, .. } in tasks {
            changed.iter().for_each(|one| add(name, task, one));
        }
    }

    if told.points.iter().flat_map(|point| &point.tasks).any(|task| task.attack.is_some()) {
        text += "\n| point | task | attacked | accuracy | under attack | interval | success | \
                 words replaced | queries |\n|---|---|---|---|---|---|---|---|---|\n";
        for Measured { name, tasks, .. } in &told.points {
            for Outcome { task, attack, .. } in tasks {
                let Some(Attacks { before, under_attack, success, words, queries }) = attack else {
                    continue;
                };
                let words =
                    words.map_or("–".to_string(), |words| format!("{:.1} %", 100.0 * words));
                let _ = writeln!(
                    text,
                    "| {name} | {task} | {} | {:.3} | {:.3} | {:.3}–{:.3} | {success:.3} | {words} | \
                     {queries:.0} |",
                    before.n, before.value, under_attack.value, under_attack.low, under_attack.high
                );
            }
        }
    }
    text
}

/// The same with the accuracies on unchanged text, and how it was measured.
pub fn markdown(told: &Told) -> String {
    let mut text = format!("# Robustness\n\nkpipe {}.{}\n\n", told.kpipe, method(told));
    text +=
        "| point | task | accuracy | interval | records | majority |\n|---|---|---|---|---|---|\n";
    for Measured { name, tasks, .. } in &told.points {
        for Outcome { task, accuracy, majority, .. } in tasks {
            let _ = writeln!(
                text,
                "| {name} | {task} | {:.3} | {:.3}–{:.3} | {} | {majority:.3} |",
                accuracy.value, accuracy.low, accuracy.high, accuracy.n
            );
        }
    }
    text + "\n"
        + &table(told)
        + "\nIntervals are 95 %: Wilson's of shares, a bootstrap over records of differences.\n"
}

fn method(told: &Told) -> String {
    let attack = told.attack.as_ref();
    attack.map_or(String::new(), |attack| format!(" TextFooler: {attack}."))
}

/// A page with the curves of each task along the points.
pub(super) fn page(told: &Told) -> String {
    let mut curves: BTreeMap<&str, BTreeMap<String, Vec<Point>>> = BTreeMap::new();
    for Measured { step, tasks, .. } in &told.points {
        for Outcome { task, accuracy, changed, attack, .. } in tasks {
            let of_task = curves.entry(task).or_default();
            let mut add = |name: &str, value: f64| {
                let point = Point { step: *step as f64, value };
                of_task.entry(name.to_string()).or_default().push(point);
            };
            add("unchanged", accuracy.value);
            for one in changed.iter().filter(|one| one.keeps) {
                add(&one.name, one.after.value);
            }
            if let Some(attack) = attack {
                add("under attack", attack.under_attack.value);
            }
        }
    }
    let mut body = format!(
        "<p class=\"small\">kpipe {}.{} Accuracy on text as it is, changed with its meaning kept, \
         and under attack. A transformation is over the records that it changes, an attack over \
         those that were attacked: `robustness.md` has them beside the same records \
         unchanged.</p>\n",
        told.kpipe,
        escape(&method(told))
    );
    for (task, curves) in &curves {
        body += &figure(task, "accuracy by step", curves);
    }
    page_of("Robustness", &body)
}

#[cfg(test)]
mod tests {
    use super::super::Share;
    use super::*;

    #[test]
    fn all_that_was_measured_is_told() {
        let share = |value| Share { value, low: value - 0.1, high: value + 0.1, n: 40 };
        let changed = Changed {
            name: "typo".to_string(),
            keeps: true,
            n: 40,
            before: 0.9,
            after: share(0.7),
            difference: share(-0.2),
            turned: 0.25,
        };
        let attack = Attacks {
            before: share(0.9),
            under_attack: share(0.1),
            success: 0.875,
            words: Some(0.125),
            queries: 81.4,
        };
        let outcome = Outcome {
            identity: String::new(),
            task: "SST-2".to_string(),
            accuracy: share(0.9),
            majority: 0.5,
            changed: vec![changed],
            attack: Some(attack),
        };
        let point = |step: u64| Measured {
            name: format!("step-{step}"),
            step,
            tasks: vec![outcome.clone()],
        };
        let told = Told {
            kpipe: "0",
            attack: Some("synonyms; alike by the states of m".to_string()),
            points: vec![point(10), point(20)],
        };
        let text = markdown(&told);
        assert!(text.contains("| step-20 | SST-2 | `typo` | 40 | 0.900 | 0.700 |"), "{text}");
        assert!(text.contains("| 0.875 | 12.5 % | 81 |"), "{text}");
        let html = page(&told);
        assert!(html.contains("under attack") && html.matches("<polyline").count() == 3, "{html}");
    }
}
