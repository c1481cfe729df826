//! Runs as one HTML page: no script, no style sheet and no picture from elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::charts::{Named, heat_map, lines, short};
use super::curves::{Chart, Curve, Run};
use crate::text::markup::escape;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2733;--soft:#5b6b7b;--page:#fff;--plot:#f5f7fa;--grid:#dde3ea;\
--c0:#1f6fb2;--c1:#d1571b;--c2:#23845a;--c3:#b3349a;--c4:#8a6d00;--c5:#5a55c8;--c6:#b02a37;--c7:#4b6472}\
@media(prefers-color-scheme:dark){:root{--ink:#dfe6ee;--soft:#94a3b3;--page:#14191f;--plot:#1b222a;\
--grid:#303a45;--c0:#6cb2ee;--c1:#f39560;--c2:#67c79c;--c3:#e58fd3;--c4:#d8bb4c;--c5:#a7a3f5;--c6:#f08a94;\
--c7:#a9bcc8}}\
body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:var(--ink);\
background:var(--page)}h1{font-size:1.6rem;margin-bottom:.2rem}\
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}\
td,th{padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--grid);text-align:left;white-space:nowrap}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
figure{margin:1.6rem 0}figcaption span,.small{color:var(--soft);font-size:.87rem}\
svg{display:block;width:100%;background:var(--plot);border-radius:4px;margin-top:.3rem}\
text{font:11px system-ui,sans-serif;fill:var(--soft)}.grid{stroke:var(--grid)}\
polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}.heat{fill:var(--c0)}\
.legend{margin:.2rem 0 0;font-size:.87rem}.legend span{margin-right:1rem;white-space:nowrap}\
.legend i{display:inline-block;width:.8em;height:.25em;margin-right:.4em;vertical-align:middle}";

/// Title and meaning of each chart, in the order of the page.
const CHARTS: &[(Chart, &str, &str)] = &[
    (Chart::Loss, "Loss", "of the steps and on the validation split, nats"),
    (Chart::Terms, "Terms", "of each objective, before its weight"),
    (Chart::Sources, "Language loss by source", "nats per labelled token"),
    (
        Chart::Buckets,
        "Language loss by difficulty bucket",
        "0 is the easiest; nats per labelled token",
    ),
    (Chart::Shares, "Curriculum", "shares of the documents of a step"),
    (Chart::Rate, "Learning rate", ""),
    (Chart::GradNorm, "Norm of the gradient", "before clipping"),
    (Chart::LossScale, "Scale of the loss", "in f16"),
    (Chart::Moving, "What moves", "share of the trained numbers"),
    (Chart::Documents, "Hard documents", "in the band that is read again, and held to be noise"),
    (Chart::Others, "Told by strategies", ""),
    (Chart::Speed, "Speed", "tokens per second"),
    (Chart::Memory, "Memory", "of the process, MiB"),
];

/// The page of some runs.
pub(super) fn page(runs: &[Run]) -> String {
    let title = match runs {
        [run] => format!("Run {}", run.name),
        _ => format!("{} runs", runs.len()),
    };
    let mut html = String::new();
    let _ = writeln!(
        html,
        "<p class=\"small\">kpipe {}; `metrics.jsonl` in the folder of a run has every number.</p>",
        env!("CARGO_PKG_VERSION")
    );

    table(&mut html, runs);
    for (chart, title, about) in CHARTS {
        html.push_str(&lines(title, about, of_chart(runs, *chart)));
    }
    for run in runs {
        let heads: Vec<Named> = sorted(&run.heads);
        let title = match runs.len() {
            1 => "Attention heads".to_string(),
            _ => format!("Attention heads of {}", run.name),
        };
        let about = "how far what each looks at is from where the run began, block.head, nats";
        html.push_str(&heat_map(&title, about, &heads));
    }
    page_of(&title, &html)
}

/// A page with a title and what stands below it.
pub(super) fn page_of(title: &str, body: &str) -> String {
    let colours: String = (0..8)
        .map(|nth| {
            format!(
                ".s{nth}{{stroke:var(--c{nth})}}.d{nth}{{fill:var(--c{nth})}}\
                 .b{nth}{{background:var(--c{nth})}}"
            )
        })
        .collect();
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{STYLE}\
         {colours}</style></head><body>\n<h1>{title}</h1>\n{body}</body></html>\n"
    )
}

/// The curves of a chart, of several runs named by their run.
fn of_chart(runs: &[Run], chart: Chart) -> Vec<Named<'_>> {
    let names_others = matches!(chart, Chart::Terms | Chart::Sources | Chart::Buckets);
    let is_told = runs.len() == 1 && !names_others;
    let named = |run: &Run, name: &str| match runs.len() {
        1 => name.to_string(),
        _ => format!("{}, {name}", run.name),
    };
    runs.iter()
        .flat_map(|run| run.curves.get(&chart).into_iter().flatten().map(move |of| (run, of)))
        .map(|(run, (name, curve))| Named { name: named(run, name), curve, is_told })
        .collect()
}

/// Heads in the order of their blocks and numbers.
fn sorted(heads: &BTreeMap<String, Curve>) -> Vec<Named<'_>> {
    let named = |name: &String, curve| Named { name: name.clone(), curve, is_told: false };
    let mut all: Vec<Named> = heads.iter().map(|(name, curve)| named(name, curve)).collect();
    let number = |part: &str| part.parse::<u32>().unwrap_or(u32::MAX);
    all.sort_by_key(|named| named.name.split('.').map(number).collect::<Vec<u32>>());
    all
}

fn table(html: &mut String, runs: &[Run]) {
    html.push_str(
        "<table><tr><th>run</th><th class=\"n\">steps</th><th class=\"n\">training loss</th>\
         <th class=\"n\">held-out loss</th><th class=\"n\">tokens</th><th class=\"n\">tokens/s</th>\
         <th class=\"n\">MiB</th></tr>\n",
    );
    for run in runs {
        let change = |[from, to]: [f64; 2]| format!("{from:.3} → {to:.3}");
        let cells = [
            run.last.step.to_string(),
            change([run.first.train_loss, run.last.train_loss]),
            run.held_out.map_or("not measured".to_string(), change),
            run.tokens.to_string(),
            short(run.last.tokens_per_s),
            run.last.memory.map_or("unknown".to_string(), short),
        ];
        let _ = write!(html, "<tr><td>{}</td>", escape(&run.name));
        for cell in cells {
            let _ = write!(html, "<td class=\"n\">{}</td>", escape(&cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table>\n");
}
