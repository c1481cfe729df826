//! The report as one HTML page: no script, no style sheet and no picture from elsewhere.

use std::fmt::Write;

use crate::build::publish::Manifest;
use crate::build::report::facts::{BINS, Facts};
use crate::error::{Error, Result};
use crate::flow::books::{Books, Class, DROPPED, reason};
use crate::text::markup::escape;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2733}\
h1{font-size:1.7rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #d6dde4}\
table{border-collapse:collapse;margin:.8rem 0}td,th{padding:.25rem .7rem;border-bottom:1px solid #e6ebf0;text-align:left}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}svg{display:block;margin:.4rem 0}\
.note{background:#fff6df;border-left:4px solid #d9a000;padding:.4rem .8rem;margin:.6rem 0}\
.small{color:#5b6b7b;font-size:.87rem}q{quotes:none}";

/// The page.
///
/// # Errors
/// If the facts cannot be written as JSON.
pub fn page(manifest: &Manifest, facts: &Facts) -> Result<String> {
    let mut html =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    let _ = write!(
        html,
        "<title>kpipe build</title><style>{STYLE}</style></head><body>\n<h1>Build report</h1>\n"
    );
    let _ = writeln!(
        html,
        "<p class=\"small\">kpipe {}, seed {}</p>",
        escape(&manifest.kpipe),
        manifest.seed
    );

    manifest.curriculum.notes.iter().for_each(|note| {
        let _ = writeln!(html, "<p class=\"note\">{}</p>", escape(note));
    });
    sources(&mut html, manifest, facts);
    books(&mut html, manifest);
    order(&mut html, manifest, facts);
    map(&mut html, facts);
    histograms(&mut html, facts);
    buckets(&mut html, facts);
    negatives(&mut html, manifest, facts);
    shards(&mut html, manifest);
    let json = serde_json::to_string(facts)
        .map_err(|cause| Error::data(format!("cannot write the facts: {cause}")))?;
    // `<` is escaped so that no text can close the element.
    let json = json.replace('<', "\\u003c");
    let _ = write!(
        html,
        "<script type=\"application/json\" id=\"facts\">{json}</script>\n</body></html>\n"
    );

    Ok(html)
}

fn row(html: &mut String, cells: &[String], first_number: usize) {
    html.push_str("<tr>");
    for (idx, cell) in cells.iter().enumerate() {
        let class = if idx >= first_number { " class=\"n\"" } else { "" };
        let _ = write!(html, "<td{class}>{}</td>", escape(cell));
    }
    html.push_str("</tr>\n");
}

fn head(html: &mut String, cells: &[&str], first_number: usize) {
    html.push_str("<table><tr>");
    for (idx, cell) in cells.iter().enumerate() {
        let class = if idx >= first_number { " class=\"n\"" } else { "" };
        let _ = write!(html, "<th{class}>{}</th>", escape(cell));
    }
    html.push_str("</tr>\n");
}

fn sources(html: &mut String, manifest: &Manifest, facts: &Facts) {
    html.push_str("<h2>Sources</h2>\n");
    head(html, &["source", "role", "licence", "files", "bytes", "documents in the shards"], 3);

    for source in &manifest.sources {
        let files: Vec<u64> = manifest
            .files
            .iter()
            .filter(|file| file.source == source.name)
            .map(|file| file.bytes)
            .collect();

        let documents = facts.documents.get(&source.name).copied().unwrap_or(0);
        let licence = source.licence.clone().unwrap_or_else(|| "not stated".to_string());
        let numbers = [files.len() as u64, files.iter().sum(), documents].map(|n| n.to_string());
        row(
            html,
            &[vec![source.name.clone(), source.role.clone(), licence], numbers.to_vec()].concat(),
            3,
        );
    }

    html.push_str("</table>\n");
}

/// What is covered of the lexicon, branch by branch.
fn map(html: &mut String, facts: &Facts) {
    let Some(map) = &facts.map else { return };
    let of_source = |(name, n): &(String, u64)| format!("{name} {n}");
    let by_source: Vec<String> = map.sources.iter().map(of_source).collect();
    let _ = writeln!(
        html,
        "<h2>Knowledge map</h2>\n<p>Of {} concepts {} are mentioned ({}). <a \
         href=\"knowledge/map.html\">All of them</a>, to search; also as \
         <code>knowledge/map.parquet</code>.</p>",
        map.concepts,
        map.seen,
        escape(&by_source.join(", "))
    );
    if map.branches.is_empty() {
        return;
    }
    let columns = [
        "branch",
        "largest part below it that is missing",
        "concepts",
        "mentioned",
        "levels",
        "reached",
    ];
    head(html, &columns, 2);
    for branch in &map.branches {
        let texts = [branch.name.clone(), branch.missing.join("; ")];
        let numbers = [branch.concepts, branch.seen, branch.levels, branch.levels_seen];
        row(html, &[texts.to_vec(), numbers.map(|n| n.to_string()).to_vec()].concat(), 2);
    }
    html.push_str("</table>\n");
}

fn books(html: &mut String, manifest: &Manifest) {
    html.push_str(
        "<h2>Books</h2>\n<p>Every row that was read, or made here, is kept, refused or a \
         duplicate.</p>\n",
    );
    head(html, &["room", "read", "made", "kept", "refused", "duplicates"], 1);

    for done in &manifest.rooms {
        let books = &done.books;
        let numbers =
            [books.read, books.n_made(), books.kept, books.n_refused(), books.n_duplicates()]
                .map(|n| n.to_string());
        row(html, &[vec![done.room.clone()], numbers.to_vec()].concat(), 1);
    }

    html.push_str("</table>\n");
    let mut all = Books::default();
    manifest.rooms.iter().for_each(|done| all.add(&done.books));

    if !all.refused.is_empty() {
        head(html, &["refused because", "meaning", "counts as", "rows"], 3);
        for (name, n) in &all.refused {
            let (meaning, class) = reason(name).map_or(("", ""), |reason| {
                (reason.meaning, if reason.class == Class::Broken { "damaged" } else { "unwanted" })
            });
            row(html, &[name.clone(), meaning.to_string(), class.to_string(), n.to_string()], 3);
        }
        html.push_str("</table>\n");
    }

    if !all.made.is_empty() {
        head(html, &["made by", "rows"], 1);
        all.made.iter().for_each(|(kind, n)| row(html, &[kind.clone(), n.to_string()], 1));
        html.push_str("</table>\n");
    }

    head(html, &["room", "note", "count"], 2);
    for done in &manifest.rooms {
        for (name, n) in done.books.notes.iter().filter(|(name, _)| !name.starts_with(DROPPED)) {
            row(html, &[done.room.clone(), name.replace('_', " "), n.to_string()], 2);
        }
    }

    for (name, n) in &all.duplicates {
        row(html, &["dedup".to_string(), format!("duplicates by {name}"), n.to_string()], 2);
    }
    html.push_str("</table>\n");
    holes(html, manifest);
}

/// How many unknown templates of a source are listed.
const LISTED: usize = 30;

/// Templates of wikis that no table knows: each left a hole in a sentence.
fn holes(html: &mut String, manifest: &Manifest) {
    for (source, books) in &manifest.source_books {
        let dropped = books.dropped_templates();
        let Some(rate) = books.dropped_per_1000_lines().filter(|_| !dropped.is_empty()) else {
            continue;
        };
        let _ = writeln!(
            html,
            "<p>Source {}: {rate:.1} inline templates per 1,000 lines of prose are unknown and \
             leave a hole; {} names, \
             the most frequent below.</p>",
            escape(source),
            dropped.len()
        );

        head(html, &["template", "holes"], 1);
        dropped
            .iter()
            .take(LISTED)
            .for_each(|(name, n)| row(html, &[(*name).to_string(), n.to_string()], 1));
        html.push_str("</table>\n");
    }
}

fn order(html: &mut String, manifest: &Manifest, facts: &Facts) {
    let pacing = &manifest.curriculum.pacing;
    html.push_str("<h2>Training order</h2>\n");
    let _ = writeln!(
        html,
        "<p>The first {} of {} positions hold general text only. Domain text then grows to {:.1} \
         %, hard text to \
         {:.1} % of the tokens.</p>",
        pacing.n_first,
        pacing.n_positions,
        100.0 * pacing.domain_peak,
        100.0 * pacing.hard_peak
    );

    for (idx, label) in [(1, "domain text"), (2, "hard text")] {
        let share = |counts: &[u64; 3]| counts[idx] as f64 / counts[0].max(1) as f64;
        let shares: Vec<f64> = facts.order.iter().map(share).collect();
        bars(html, &format!("share of {label} from the first to the last position"), &shares, 1.0);
    }
}

fn histograms(html: &mut String, facts: &Facts) {
    for (title, by_source) in
        [("Knowledge density", &facts.density), ("Difficulty", &facts.difficulty)]
    {
        let _ = writeln!(html, "<h2>{title}</h2>");
        for (source, counts) in by_source {
            let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
            let heights: Vec<f64> = counts.iter().map(|n| *n as f64).collect();
            bars(
                html,
                &format!("{source}: documents in {BINS} steps from 0 to 1, tallest {most}"),
                &heights,
                most,
            );
        }
    }
}

/// A bar chart with a caption; `top` is the value of a full bar.
fn bars(html: &mut String, caption: &str, values: &[f64], top: f64) {
    let (width, height, step) = (700.0, 90.0, 700.0 / values.len().max(1) as f64);
    let _ = write!(
        html,
        "<p class=\"small\">{}</p><svg width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{}\">",
        escape(caption),
        escape(caption)
    );

    let _ = write!(html, "<rect width=\"{width}\" height=\"{height}\" fill=\"#f2f5f8\"/>");
    for (idx, value) in values.iter().enumerate() {
        let tall = (value / top).clamp(0.0, 1.0) * height;
        let _ = write!(
            html,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" \
             fill=\"#2f6f9f\"><title>{value:.3}</title></rect>",
            idx as f64 * step,
            height - tall,
            step * 0.9
        );
    }

    html.push_str("</svg>\n");
}

fn buckets(html: &mut String, facts: &Facts) {
    html.push_str("<h2>Buckets</h2>\n");
    head(html, &["language", "bucket", "documents"], 1);
    for (language, buckets) in &facts.buckets {
        for (bucket, n) in buckets {
            row(html, &[language.clone(), bucket.to_string(), n.to_string()], 1);
        }
    }
    html.push_str("</table>\n");
}

fn negatives(html: &mut String, manifest: &Manifest, facts: &Facts) {
    html.push_str("<h2>Rewritten passages</h2>\n");
    head(html, &["kind, engine", "passages"], 1);
    facts.negatives.iter().for_each(|(kind, n)| row(html, &[kind.clone(), n.to_string()], 1));
    html.push_str("</table>\n");

    if let Some(engines) = manifest.engines.as_array() {
        for engine in engines {
            let of = |key: &str| escape(engine[key].as_str().unwrap_or(""));
            let state = match (engine["available"].as_bool(), engine["used"].as_bool()) {
                (Some(true), Some(true)) => format!("used, {}", of("version")),
                (Some(true), _) => format!("installed ({}), not used", of("version")),
                _ => format!(
                    "not installed ({}); <code>{}</code> installs it",
                    of("detail"),
                    of("how_to_install")
                ),
            };

            let _ = writeln!(
                html,
                "<p class=\"small\">Translation engine {}: {state}</p>",
                of("engine")
            );
        }
    }

    head(html, &["document", "kind, engine", "passage and what was made of it", "chrF"], 3);
    for sample in &facts.samples {
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td><q>{}</q><br><q>{}</q></td><td \
             class=\"n\">{:.2}</td></tr>",
            escape(&sample.id),
            escape(&sample.kind),
            escape(&sample.anchor),
            escape(&sample.text),
            sample.similarity
        );
    }

    html.push_str("</table>\n");
}

fn shards(html: &mut String, manifest: &Manifest) {
    html.push_str("<h2>Shards</h2>\n");
    head(html, &["file", "first seq", "last seq", "rows", "bytes"], 1);
    for shard in manifest.curriculum.train.iter().chain(&manifest.curriculum.validation) {
        let numbers =
            [shard.seq_first, shard.seq_last, shard.rows, shard.file_bytes].map(|n| n.to_string());
        row(html, &[vec![shard.file.clone()], numbers.to_vec()].concat(), 1);
    }
    html.push_str("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_the_page() {
        let mut html = String::new();
        row(&mut html, &["<script>\"&".to_string()], 1);
        assert!(html.contains("&lt;script&gt;&quot;&amp;"), "{html}");
    }
}
