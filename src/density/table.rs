//! Summaries and explanations as plain text tables.

use std::fmt::Write;

use super::explain::{BINS, ByMeasure, Explanation, ScoredDocument, Summary, Term};

/// Longest bar of the histogram, in characters.
const BAR: u64 = 40;
/// Longest id and title in a table, in characters.
const NAME: usize = 48;

/// A summary as text: histogram, the first and last documents with the terms that made them,
/// frequent concepts.
pub fn summary(summary: &Summary) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} documents, {} with concepts; {} of {} concepts found; {:.0} words on average; median \
         {} {:.3}\n",
        summary.documents,
        summary.with_concepts,
        summary.concepts_found,
        summary.concepts,
        summary.average_tokens,
        title(&summary.measure),
        summary.median
    );

    text.push_str(&histogram(&summary.histogram));
    for (title, documents) in
        [("highest density", &summary.top), ("lowest density above 0", &summary.bottom)]
    {
        let _ = writeln!(text, "\n{title}");
        documents.iter().for_each(|document| text.push_str(&line(document)));
    }

    let _ = writeln!(
        text,
        "\nmost frequent concepts\n  {:>9}  {:>9}  concept",
        "documents", "mentions"
    );
    for concept in &summary.frequent {
        let _ = writeln!(
            text,
            "  {:>9}  {:>9}  {} ({})",
            concept.df, concept.mentions, concept.name, concept.concept
        );
    }

    text
}

/// A measure's name as people write it.
fn title(measure: &str) -> &str {
    if measure == "bm25" { "BM25" } else { measure }
}

/// Why a document has its score, as text, every term on a line.
pub fn explanation(explanation: &Explanation) -> String {
    let mut text = String::new();
    let measure = &explanation.measure;
    let _ = writeln!(
        text,
        "{}\n  density {:.4} = {measure} {:.4} / ({measure} + median {:.4})\n  {} words ({:.1} on average \
         over {} documents), rarity {:.3} nats, coverage {:.3} linked pairs per 1,000 words\n",
        explanation.id,
        explanation.density,
        explanation.worth,
        explanation.median,
        explanation.n_tokens,
        explanation.average_tokens,
        explanation.documents,
        explanation.rarity,
        explanation.coverage
    );

    for ByMeasure { measure, worth, rank, why } in &explanation.by_measure {
        let _ = writeln!(text, "  {measure:<13}  {worth:>9.4}  rank {rank:>6}  {why}");
    }
    let _ = writeln!(
        text,
        "\n  {:>12}  {:>7}  {:>5}  {:>9}  concept",
        "contribution", "idf", "tf", "df"
    );
    for term in &explanation.terms {
        let found: Vec<String> =
            term.found.iter().map(|(mention, n)| format!("{n} × {mention:?}")).collect();
        let Term { contribution, idf, tf, df, name, concept, .. } = term;
        let _ = writeln!(
            text,
            "  {contribution:>12.4}  {idf:>7.3}  {tf:>5}  {df:>9}  {name} ({concept}): {}",
            found.join(", ")
        );
    }

    text
}

fn histogram(counts: &[u64]) -> String {
    let mut text = String::from("density      documents\n");
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    for (bin, count) in counts.iter().enumerate() {
        let (low, high) = (bin as f64 / BINS as f64, (bin + 1) as f64 / BINS as f64);
        let bar = "█".repeat((count * BAR).div_ceil(most) as usize);
        let _ = writeln!(text, "{low:.2}–{high:.2}  {count:>10}  {bar}");
    }
    text
}

fn line(document: &ScoredDocument) -> String {
    let cut = |name: &str| {
        let short: String = name.chars().take(NAME).collect();
        if short.len() < name.len() { format!("{short}…") } else { short }
    };
    let title =
        document.title.as_deref().map(|title| format!(" {:?}", cut(title))).unwrap_or_default();
    let terms: Vec<String> = document
        .terms
        .iter()
        .take(4)
        .map(|term| format!("{} {:.2}", term.name, term.contribution))
        .collect();

    format!(
        "  {:.4}  {}{title}\n          {}\n",
        document.density,
        cut(&document.id),
        terms.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_nothing_is_invisible() {
        let mut counts = vec![0; BINS];
        (counts[0], counts[1], counts[19]) = (4_000, 1, 2_000);
        let text = histogram(&counts);
        let bars: Vec<usize> = text.lines().skip(1).map(|line| line.matches('█').count()).collect();
        assert_eq!((bars[0], bars[1], bars[2], bars[19]), (40, 1, 0, 20), "{text}");
        assert!(text.contains("0.95–1.00        2000"), "{text}");
    }

    #[test]
    fn a_document_is_two_lines() {
        let term = Term {
            concept: "D1".into(),
            name: "Aspirin".into(),
            tf: 1,
            df: 1,
            idf: 1.0,
            contribution: 0.5,
            found: vec![],
        };

        let document = ScoredDocument {
            id: "x".repeat(60),
            source: "x".into(),
            title: Some("A title".into()),
            density: 0.25,
            bm25: 0.5,
            n_tokens: 10,
            n_concepts: 1,
            terms: vec![term],
        };

        let text = line(&document);
        assert!(
            text.contains("0.2500")
                && text.contains("x… \"A title\"")
                && text.ends_with("Aspirin 0.50\n"),
            "{text}"
        );
    }
}
