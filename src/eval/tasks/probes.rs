//! Knowledge probes: what is left out of a sentence, by kind, by what the concept is, by how often
//! it was seen and by difficulty bucket.

use super::{Item, Reads, Task};
use crate::error::Result;
use crate::train::data::probes::{self, Probe};

/// See the module.
pub static PROBES: Task = Task {
    name: "probes",
    about: "knowledge probes, as `kpipe eval probes` makes them: what is left out of a sentence",
    version: 1,
    has_subjects: false,
    reads: Reads::Questions(read),
};

fn read(text: &str, _: &str) -> Result<Vec<Item>> {
    Ok(probes::parse(text)?.into_iter().map(item).collect())
}

/// A probe as it is asked.
pub fn item(probe: Probe) -> Item {
    let mut also = Vec::new();
    if !probe.concept_kind.is_empty() {
        also.push(format!("of type {}", probe.concept_kind));
    }
    also.extend(probe.seen.map(seen));
    also.extend(probe.bucket.map(|bucket| format!("bucket {bucket}")));
    Item {
        id: probe.id,
        group: probe.kind,
        context: probe.context,
        choices: probe.choices,
        gold: probe.answer,
        behind: probe.behind,
        is_joined: probe.joined,
        also,
        ..Item::default()
    }
}

/// How often a concept was seen, in powers of ten.
fn seen(documents: u64) -> String {
    match documents {
        0 => "not seen".to_string(),
        n => {
            let low = 10_u64.pow(n.ilog10());
            format!("seen in {low} to {} documents", low.saturating_mul(10) - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_told_by_what_they_are_about() {
        let line = r#"{"id": "1", "kind": "pair", "context": "a", "choices": ["b", "c"],
            "answer": 1, "behind": ".", "concept_kind": "drug", "seen": 42, "bucket": 3}"#;
        let item = &read(&line.replace('\n', " "), "").unwrap()[0];
        assert_eq!(item.group, "pair");
        assert_eq!(item.also, ["of type drug", "seen in 10 to 99 documents", "bucket 3"]);
        assert_eq!(item.continuation("c"), " c.");
        assert_eq!([0, 1, 9, 10].map(seen)[0], "not seen");
        assert_eq!(seen(9), "seen in 1 to 9 documents");
    }
}
