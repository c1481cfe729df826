//! Documents with their mentions, for people and for other programs: a text with the concepts
//! behind their names, JSON lines, PubTator, brat's standoff, and columns of the contract
//! `annotation`.
//!
//! To add a format of text: a function, and one line in [`FORMATS`].

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use serde_json::json;

use super::lexicon::{Concept, Lexicon};
use super::mentions::Mention;
use crate::error::Result;
use crate::flow::contract::contract;

/// A document with its mentions.
pub struct Annotated<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Its mentions, in order.
    pub mentions: Vec<Mention>,
    /// What they are of.
    pub lexicon: &'a Lexicon,
}

/// A format in which documents stand one behind the other.
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// A document in it.
    pub write: fn(&Annotated) -> String,
}

/// Every format of text.
pub static FORMATS: &[Format] = &[
    Format { name: "text", about: "the text, with ids behind the names", write: plain },
    Format { name: "jsonl", about: "JSON lines: a document with its mentions each", write: jsonl },
    Format {
        name: "pubtator",
        about: "PubTator: title, text, and a line a mention",
        write: pubtator,
    },
];

/// A mention with the places that others count.
struct Place<'a> {
    mention: Mention,
    concept: &'a Concept,
    /// In characters.
    start: usize,
    end: usize,
    text: &'a str,
}

impl<'a> Annotated<'a> {
    fn places(&self) -> Vec<Place<'a>> {
        let (mut at, mut chars) = (0, 0);
        let mut count = |to: usize| {
            // The names of a group begin at one place, before the end of the one before.
            match to < at {
                true => chars -= self.text[to..at].chars().count(),
                false => chars += self.text[at..to].chars().count(),
            }
            at = to;
            chars
        };
        let of = |mention: &Mention| Place {
            mention: *mention,
            concept: &self.lexicon.concepts[mention.concept as usize],
            start: count(mention.start),
            end: count(mention.end),
            text: &self.text[mention.start..mention.end],
        };
        self.mentions.iter().map(of).collect()
    }
}

/// Escape codes of colours that can be told apart on light and dark.
const COLOURS: [u8; 6] = [34, 32, 35, 36, 33, 31];

/// The text in colours, one for each kind of concepts, with ids behind the names.
pub fn coloured(one: &Annotated) -> String {
    let name = |place: &Place| {
        let kind = &place.concept.kind;
        let colour = COLOURS[kind.bytes().map(usize::from).sum::<usize>() % COLOURS.len()];
        format!("\x1b[1;{colour}m{}\x1b[0m", place.text)
    };
    marked(one, name, |place| format!("\x1b[2m{{{}}}\x1b[0m", place.concept.id))
}

fn plain(one: &Annotated) -> String {
    marked(one, |place| place.text.to_string(), |place| format!("{{{}}}", place.concept.id))
}

fn marked(
    one: &Annotated,
    name: impl Fn(&Place) -> String,
    id: impl Fn(&Place) -> String,
) -> String {
    let (mut text, mut at) = (format!("{}\n", one.id), 0);
    for place in one.places() {
        // Of names that share a word, the ids stand side by side.
        if place.mention.start >= at {
            text += &one.text[at..place.mention.start];
            text += &name(&place);
            at = place.mention.end;
        }
        text += &id(&place);
    }
    text + &one.text[at..] + "\n\n"
}

fn jsonl(one: &Annotated) -> String {
    let mentions: Vec<serde_json::Value> = one
        .places()
        .iter()
        .map(|Place { mention, concept, start, end, text }| {
            json!({"start": start, "end": end, "start_byte": mention.start,
                "end_byte": mention.end, "text": text, "concept": concept.id, "also": concept.also,
                "name": concept.name, "kind": concept.kind, "rule": mention.rule.name()})
        })
        .collect();
    json!({"id": one.id, "text": one.text, "mentions": mentions}).to_string() + "\n"
}

/// What PubTator's text has in the place of a line end and of a tab, so that places stay.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

/// The first line of a text is the title, and the rest the abstract; places count over both.
fn pubtator(one: &Annotated) -> String {
    let (title, rest) = one.text.split_once('\n').unwrap_or((one.text, ""));
    let id = one.id;
    let mut lines = format!("{id}|t|{}\n{id}|a|{}\n", one_line(title), one_line(rest));
    for Place { concept, start, end, text, .. } in one.places() {
        let kind = if concept.kind.is_empty() { "Concept" } else { &concept.kind };
        lines += &format!("{id}\t{start}\t{end}\t{}\t{kind}\t{}\n", one_line(text), concept.id);
    }
    lines + "\n"
}

/// A document's annotations as brat has them beside its text: places of a mention that goes over a
/// line end stand for each line.
pub fn brat(one: &Annotated) -> String {
    let mut lines = String::new();
    for (nth, Place { concept, start, text, .. }) in (1..).zip(one.places()) {
        let (mut at, mut parts) = (start, Vec::new());
        for part in text.split('\n') {
            let n = part.chars().count();
            if n > 0 {
                parts.push(format!("{at} {}", at + n));
            }
            at += n + 1;
        }
        let kind: String =
            concept.kind.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        let kind = if kind.is_empty() { "Concept" } else { &kind };
        lines += &format!("T{nth}\t{kind} {}\t{}\n", parts.join(";"), one_line(text));
        lines += &format!("N{nth}\tReference T{nth} kpipe:{}\t{}\n", concept.id, concept.name);
    }
    lines
}

/// Mentions of some documents under the contract `annotation`.
///
/// # Errors
/// If they break it, which would be a bug.
pub fn batch(all: &[Annotated]) -> Result<RecordBatch> {
    let places: Vec<(&str, Place)> =
        all.iter().flat_map(|one| one.places().into_iter().map(|place| (one.id, place))).collect();
    let texts = |of: &dyn Fn(&(&str, Place)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(places.iter().map(of)))
    };
    let numbers = |of: &dyn Fn(&Place) -> usize| -> ArrayRef {
        let numbers = places.iter().map(|(_, place)| of(place) as u64);
        Arc::new(UInt64Array::from_iter_values(numbers))
    };
    contract("annotation")?.batch(vec![
        texts(&|(id, _)| (*id).to_string()),
        numbers(&|place| place.mention.start),
        numbers(&|place| place.mention.end),
        numbers(&|place| place.start),
        numbers(&|place| place.end),
        texts(&|(_, place)| place.text.to_string()),
        texts(&|(_, place)| place.concept.id.clone()),
        texts(&|(_, place)| place.concept.name.clone()),
        texts(&|(_, place)| place.concept.kind.clone()),
        texts(&|(_, place)| place.mention.rule.name().to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::lexicon::Entry;
    use super::super::mentions::Finder;
    use super::super::names::tests::rules;
    use super::*;

    fn lexicon() -> Lexicon {
        let entry = |id: &str, name: &str, kind: &str| Entry {
            concept: Concept {
                id: id.into(),
                name: name.into(),
                kind: kind.into(),
                ..Concept::default()
            },
            ..Entry::default()
        };
        Lexicon::build(vec![
            entry("D1", "fever", "body sign"),
            entry("D2", "yellow fever", ""),
            entry("D3", "阿司匹林", "drug"),
            entry("D4", "dengue fever", ""),
        ])
    }

    /// Places of characters behind text that is not ASCII, and a name over a line end.
    const TEXT: &str = "Été: 阿司匹林 for\nfevers and yellow\nfever.";

    fn check(write: &dyn Fn(&Annotated) -> String, expected: &str) {
        let lexicon = lexicon();
        let finder = Finder::new(&lexicon, &rules()).unwrap();
        let mentions = finder.find(TEXT);
        let one = Annotated { id: "a:1", text: TEXT, mentions, lexicon: &lexicon };
        assert_eq!(write(&one), expected);
    }

    #[test]
    fn formats() {
        check(&plain, "a:1\nÉté: 阿司匹林{D3} for\nfevers{D1} and yellow\nfever{D2}.\n\n");
        check(
            &pubtator,
            "a:1|t|Été: 阿司匹林 for\na:1|a|fevers and yellow fever.\na:1\t5\t9\t阿司匹林\tdrug\tD3\n\
             a:1\t14\t20\tfevers\tbody sign\tD1\na:1\t25\t37\tyellow fever\tConcept\tD2\n\n",
        );
        check(
            &brat,
            "T1\tdrug 5 9\t阿司匹林\nN1\tReference T1 kpipe:D3\t阿司匹林\n\
             T2\tbody_sign 14 20\tfevers\nN2\tReference T2 kpipe:D1\tfever\n\
             T3\tConcept 25 31;32 37\tyellow fever\nN3\tReference T3 kpipe:D2\tyellow fever\n",
        );
    }

    /// Each name of a group stands at the place of all of them.
    #[test]
    fn names_that_share_a_word_stand_at_one_place() {
        let lexicon = lexicon();
        let finder = Finder::new(&lexicon, &rules()).unwrap();
        let text = "Hé: yellow and dengue fever";
        let one = |lexicon| Annotated { id: "a", text, mentions: finder.find(text), lexicon };
        assert_eq!(plain(&one(&lexicon)), "a\nHé: yellow and dengue fever{D2}{D4}\n\n");
        let told = pubtator(&one(&lexicon));
        assert!(
            told.contains("a\t4\t27\tyellow and dengue fever\tConcept\tD2\na\t4\t27\t"),
            "{told}"
        );
        assert!(brat(&one(&lexicon)).contains("T2\tConcept 4 27\t"));
        let line: serde_json::Value = serde_json::from_str(&jsonl(&one(&lexicon))).unwrap();
        assert_eq!(line["mentions"].as_array().unwrap().len(), 2);
        assert_eq!(batch(&[one(&lexicon)]).unwrap().num_rows(), 2);
        assert!(coloured(&one(&lexicon)).ends_with("{D4}\x1b[0m\n\n"));
    }

    /// What is told by colours is told without them too.
    #[test]
    fn colours_add_nothing() {
        let stripped = |one: &Annotated| {
            let mut text = coloured(one);
            for code in (0..=40).flat_map(|n| [format!("\x1b[{n}m"), format!("\x1b[1;{n}m")]) {
                text = text.replace(&code, "");
            }
            text
        };
        check(&stripped, "a:1\nÉté: 阿司匹林{D3} for\nfevers{D1} and yellow\nfever{D2}.\n\n");
    }

    #[test]
    fn places_are_those_of_the_text() {
        let lexicon = lexicon();
        let finder = Finder::new(&lexicon, &rules()).unwrap();
        let one = Annotated { id: "a", text: TEXT, mentions: finder.find(TEXT), lexicon: &lexicon };
        let line: serde_json::Value = serde_json::from_str(&jsonl(&one)).unwrap();
        let chars: Vec<char> = TEXT.chars().collect();
        for mention in line["mentions"].as_array().unwrap() {
            let at = |key: &str| mention[key].as_u64().unwrap() as usize;
            let text = mention["text"].as_str().unwrap();
            assert_eq!(chars[at("start")..at("end")].iter().collect::<String>(), text);
            assert_eq!(&TEXT[at("start_byte")..at("end_byte")], text);
        }
        assert_eq!(batch(&[one]).unwrap().num_rows(), 3);
    }
}
