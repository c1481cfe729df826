//! Finding the names of concepts in English text, on one core, beside an Aho-Corasick automaton of
//! the same spellings, which knows no word boundaries, no abbreviations and nothing else that a
//! mention is more than.

use std::time::Instant;

use aho_corasick::{AhoCorasick, MatchKind};
use kpipe::knowledge::lexicon::{Lexicon, LexiconSpec};
use kpipe::knowledge::mentions::Finder;

use crate::Result;
use crate::inputs::{Inputs, n_bytes};
use crate::measure::{line, rate};

/// Prints the rate of both, for each lexicon.
pub(crate) fn bench(inputs: &Inputs) -> Result<()> {
    let texts = inputs.texts()?;
    let bytes = n_bytes(&texts);
    say!("{} documents, {:.1} MB of text, one core", texts.len(), bytes as f64 / 1e6);

    for (label, patterns) in &inputs.lexicons {
        let specs: Vec<LexiconSpec> =
            patterns.iter().map(|path| LexiconSpec::of_path(path.clone())).collect();
        let lexicon = Lexicon::read(&specs, 4 << 30)?;
        let finder = Finder::new(&lexicon, &inputs.pipeline.density.names())?;
        let lower: Vec<String> = lexicon
            .concepts
            .iter()
            .flat_map(|concept| concept.synonyms.iter().chain([&concept.name]))
            .map(|name| name.to_lowercase())
            .collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .build(&lower)?;
        say!("{label}: {} spellings of {} names", finder.books().spellings, lower.len());

        let (mut ours, mut theirs) = (f64::INFINITY, f64::INFINITY);
        let (mut n_ours, mut n_theirs) = (0, 0);
        for _ in 0..inputs.rounds {
            let begun = Instant::now();
            n_ours = texts.iter().map(|(_, text)| finder.find(text).len()).sum();
            ours = ours.min(begun.elapsed().as_secs_f64());
            let begun = Instant::now();
            n_theirs = texts.iter().map(|(_, text)| automaton.find_iter(text).count()).sum();
            theirs = theirs.min(begun.elapsed().as_secs_f64());
        }
        let goal = format!("{n_ours} mentions; goal 60 MB/s");
        line("  mentions", &rate(bytes, ours), &goal);
        line("  aho-corasick", &rate(bytes, theirs), &format!("{n_theirs} matches"));
    }

    Ok(())
}
