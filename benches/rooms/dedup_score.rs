//! `dedup` and `density` on English text, from documents on disk to scored documents on disk, with
//! all cores.

use kpipe::flow::contract::contract;
use kpipe::flow::dataset::Dataset;
use kpipe::knowledge::lexicon::{Lexicon, LexiconSpec};
use kpipe::{dedup, density};

use crate::Result;
use crate::inputs::{Inputs, context, n_bytes};
use crate::measure::{Took, line, rate, took};

/// Prints the rate of each room and of both together, for each lexicon.
pub(crate) fn bench(inputs: &Inputs) -> Result<()> {
    let read = tempfile::tempdir()?;
    let documents = inputs.ingest_text(read.path())?;
    let bytes = n_bytes(&inputs.texts()?);
    say!("{} documents, {:.1} MB of text", documents.rows(), bytes as f64 / 1e6);

    for (label, patterns) in &inputs.lexicons {
        let spec = |path: &String| LexiconSpec::of_path(path.clone());
        let params = density::Params {
            lexicon: patterns.iter().map(spec).collect(),
            ..inputs.pipeline.density.clone()
        };
        let (mut deduped, mut scored) = (Took::FOREVER, Took::FOREVER);
        let mut both = Took::FOREVER;
        let mut kept = 0;

        for _ in 0..inputs.rounds {
            let (unique, score) = (tempfile::tempdir()?, tempfile::tempdir()?);
            let cx = context("dedup", unique.path());
            let first = took(|| {
                Ok(dedup::run(
                    &documents,
                    &inputs.pipeline.dedup,
                    inputs.pipeline.max_removed,
                    &cx,
                )?)
            })?
            .1;

            let input = Dataset::open(unique.path(), contract("unique")?)?;
            kept = input.rows();
            let second =
                took(|| Ok(density::run(&input, &params, &context("density", score.path()))?))?.1;
            deduped = deduped.best(first);
            scored = scored.best(second);

            both = both.best(Took { wall: first.wall + second.wall, cpu: first.cpu + second.cpu });
        }

        let n_concepts = Lexicon::read(&params.lexicon, 4 << 30)?.concepts.len();
        say!("{label}: {n_concepts} concepts; {kept} documents are unique");
        let cost = |took: Took| format!("{:.2} s ({:.2} s cpu)", took.wall, took.cpu);
        line("  dedup", &rate(bytes, deduped.wall), &cost(deduped));
        line("  score", &rate(bytes, scored.wall), &cost(scored));

        line(
            "  dedup + score",
            &rate(bytes, both.wall),
            &format!("{}; goal 20 MB/s on two cores", cost(both)),
        );
    }

    Ok(())
}
