//! text → mentions of concepts, leftmost-longest, with their places; and the text's words, counted on the way.
//!
//! One Aho–Corasick automaton over all spellings is walked, anchored, from every place where a name may begin:
//! the first letter of a word, any CJK character, any other sign; a bit set of the names' first words spares most
//! walks. A name is *valid* if it also ends at a word boundary (not between two letters or digits of an alphabetic
//! script; Chinese and Japanese have none) and, for an acronym, if its capitals are right. The longest valid name
//! is a mention, and the next begins behind it.
//!
//! Two reasons not to use the crate's own leftmost-longest search: it knows no word boundaries (in "hepatitis and"
//! it finds "hepatitis a", which is no word, and loses "hepatitis"), and it runs through the middle of every word.
//! The anchored walk leaves a word as soon as no name begins so: 87 MB/s a core with folding and counting, against
//! 62 MB/s for the bare search (English Wikipedia, names as below, one core of a shared two-core machine).
//!
//! Memory: a contiguous automaton, about 120 bytes a spelling (measured: 22 MB for the 190,673 spellings of the
//! 58,867 concepts of MeSH headings, DrugBank, DOID and HPO); a DFA keeps a row for every state and is many times that.

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

use super::Params;
use super::fold::{Folded, fold, plain};
use super::lexicon::Lexicon;
use super::names::{Name, NameBooks, spellings};
use crate::error::{Error, Result};
use crate::text::words::{continues, is_cjk};

/// A concept's name in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// First byte in the text.
    pub start: usize,
    /// Byte behind its last.
    pub end: usize,
    /// Number of the concept in its lexicon.
    pub concept: u32,
    /// Words of the text that begin before it.
    pub word: u32,
}

/// What one reading of a text gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// The mentions in order; they do not overlap.
    pub mentions: Vec<Mention>,
    /// Words of the text, as [`crate::text::words::words`] counts them.
    pub n_words: u32,
}

/// Finds all names of a lexicon in a text.
pub struct Finder {
    automaton: Option<NFA>,
    names: Vec<Name>,
    /// Per pattern, the index of its first name; one more at the end. Names of one pattern differ in case only.
    starts: Vec<u32>,
    first: FirstWords,
    books: NameBooks,
}

impl Finder {
    /// A finder for the names of a lexicon.
    ///
    /// # Errors
    /// If there are too many names for one automaton.
    pub fn new(lexicon: &Lexicon, params: &Params) -> Result<Self> {
        let (names, books) = spellings(lexicon, params);
        let mut starts: Vec<u32> = Vec::with_capacity(names.len() + 1);
        let is_first = |at: usize| at == 0 || names[at].folded != names[at - 1].folded;
        starts.extend((0..names.len()).filter(|at| is_first(*at)).map(|at| at as u32));
        let first = FirstWords::new(&names);
        let automaton = if names.is_empty() {
            None
        } else {
            let patterns = starts.iter().map(|at| names[*at as usize].folded.as_bytes());
            let built = NFA::builder()
                .match_kind(MatchKind::Standard)
                .prefilter(false)
                .build(patterns)
                .map_err(|cause| Error::usage(format!("the lexicon is too large for one automaton: {cause}")))?;
            Some(built)
        };
        starts.push(names.len() as u32);
        Ok(Finder { automaton, names, starts, first, books })
    }

    /// What became of the lexicon's names.
    pub fn books(&self) -> &NameBooks {
        &self.books
    }

    /// Memory of the automaton in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.automaton.as_ref().map_or(0, Automaton::memory_usage)
    }

    /// The mentions of a text in order; they do not overlap.
    pub fn find(&self, text: &str) -> Vec<Mention> {
        self.scan(text).mentions
    }

    /// The mentions of a text and the number of its words.
    pub fn scan(&self, text: &str) -> Scan {
        let folded = fold(text);
        let (mut scan, mut behind, mut at) = (Scan::default(), 0, 0);
        // Whether letters here go on with the word before an apostrophe.
        let mut joined = false;
        while at < folded.text.len() {
            let piece = piece(&folded.text, at);
            if at >= behind
                && self.first.holds(&piece)
                && let Some((end, concept)) = self.longest(text, &folded, at)
            {
                behind = end;
                let (start, end) = (folded.original(at), folded.original(end));
                scan.mentions.push(Mention { start, end, concept, word: scan.n_words });
            }
            let begins_word = piece.sign == Sign::Cjk || (piece.sign == Sign::Letters && !joined);
            scan.n_words += u32::from(begins_word);
            joined = match piece.sign {
                Sign::Letters => joins(&folded.text, piece.end),
                Sign::Marks => joined && joins(&folded.text, piece.end),
                Sign::Other => joined && folded.text.as_bytes()[at] == b'\'',
                Sign::Cjk => false,
            };
            at = piece.end;
        }
        scan
    }

    /// The end and concept of the longest valid name that begins at a folded offset.
    fn longest(&self, text: &str, folded: &Folded, start: usize) -> Option<(usize, u32)> {
        let automaton = self.automaton.as_ref()?;
        let bytes = folded.text.as_bytes();
        let mut state = automaton.start_state(Anchored::Yes).ok()?;
        let mut longest = None;
        for (at, byte) in bytes.iter().enumerate().skip(start) {
            state = automaton.next_state(Anchored::Yes, state, *byte);
            if !automaton.is_special(state) {
                continue;
            }
            if automaton.is_dead(state) {
                break;
            }
            if automaton.is_match(state) && ends_word(&folded.text, at + 1) {
                // A state also lists names that end here but begin later.
                let mut patterns = (0..automaton.match_len(state)).map(|idx| automaton.match_pattern(state, idx));
                let ours = patterns.find(|pattern| automaton.pattern_len(*pattern) == at + 1 - start);
                let owner = ours.and_then(|pattern| self.owner(pattern.as_usize(), text, folded, start, at + 1));
                longest = owner.map(|concept| (at + 1, concept)).or(longest);
            }
        }
        longest
    }

    /// The concept whose name this occurrence is: an acronym with the right capitals, else a name in any case.
    fn owner(&self, pattern: usize, text: &str, folded: &Folded, start: usize, end: usize) -> Option<u32> {
        let names = &self.names[self.starts[pattern] as usize..self.starts[pattern + 1] as usize];
        let fits = |name: &&Name| match &name.exact {
            None => true,
            Some(exact) => {
                let original = &text[folded.original(start)..folded.original(end)];
                original.chars().map(plain).eq(exact.chars())
            }
        };
        names.iter().find(fits).map(|name| name.concept)
    }
}

/// What a piece of text is to words and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// A run of letters, digits and combining marks of a script that separates words.
    Letters,
    /// A run of combining marks without a letter.
    Marks,
    /// A character of a script without spaces, a word by itself.
    Cjk,
    /// Any other character.
    Other,
}

/// A run of letters and marks, or one character that is neither.
struct Piece {
    sign: Sign,
    /// Byte behind its last.
    end: usize,
    /// FNV-1a over its bytes.
    hash: u64,
}

impl Piece {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.end += bytes.len();
    }
}

/// The piece that begins at an offset of a folded text.
fn piece(text: &str, at: usize) -> Piece {
    let bytes = text.as_bytes();
    let mut piece = Piece { sign: Sign::Marks, end: at, hash: 0xcbf2_9ce4_8422_2325 };
    while let Some(byte) = bytes.get(piece.end) {
        if byte.is_ascii_alphanumeric() {
            piece.sign = Sign::Letters;
            piece.add(&[*byte]);
            continue;
        }
        let next = if byte.is_ascii() { None } else { text[piece.end..].chars().next() };
        let Some(c) = next.filter(|c| continues(*c)) else { break };
        if c.is_alphanumeric() {
            piece.sign = Sign::Letters;
        }
        piece.add(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    if piece.end == at
        && let Some(c) = text[at..].chars().next()
    {
        piece.sign = if is_cjk(c) && c.is_alphanumeric() { Sign::Cjk } else { Sign::Other };
        piece.add(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    piece
}

/// Whether an apostrophe stands at an offset and the word before it goes on behind it.
fn joins(text: &str, at: usize) -> bool {
    text.as_bytes().get(at) == Some(&b'\'') && text[at + 1..].chars().next().is_some_and(continues)
}

/// The first pieces of all names, as a bit set of hashes: few words begin a name, and the others need no walk.
///
/// A valid name's first piece is the text's piece at that place, because both end at the same sign.
struct FirstWords {
    bits: Vec<u64>,
}

impl FirstWords {
    fn new(names: &[Name]) -> Self {
        // At most one bit in 32 is set, so at most one other word in 32 is walked for nothing.
        let mut first = FirstWords { bits: vec![0; (names.len() / 2).next_power_of_two()] };
        for name in names.iter().filter(|name| !name.folded.is_empty()) {
            let (word, bit) = first.place(&piece(&name.folded, 0));
            first.bits[word] |= bit;
        }
        first
    }

    fn place(&self, piece: &Piece) -> (usize, u64) {
        let mixed = piece.hash ^ (piece.hash >> 32);
        ((mixed >> 6) as usize & (self.bits.len() - 1), 1 << (mixed & 63))
    }

    fn holds(&self, piece: &Piece) -> bool {
        let (word, bit) = self.place(piece);
        self.bits[word] & bit != 0
    }
}

/// Whether a name may end at an offset: not inside a run of letters.
fn ends_word(text: &str, end: usize) -> bool {
    let outside = match text.as_bytes().get(end) {
        None => return true,
        Some(byte) if byte.is_ascii() => byte.is_ascii_alphanumeric(),
        Some(_) => text[end..].chars().next().is_some_and(continues),
    };
    !(outside && text[..end].chars().next_back().is_some_and(continues))
}

#[cfg(test)]
mod tests {
    use super::super::lexicon::{Concept, Entry};
    use super::super::tests::params;
    use super::*;
    use proptest::prelude::*;

    fn finder(names: &[&str]) -> Finder {
        let entry = |(number, name): (usize, &&str)| Entry {
            concept: Concept { id: format!("{number:03}"), name: (*name).into(), ..Concept::default() },
            ..Entry::default()
        };
        Finder::new(&Lexicon::build(names.iter().enumerate().map(entry).collect()), &params()).unwrap()
    }

    fn check(names: &[&str], text: &str, expected: &[&str]) {
        let found: Vec<&str> = finder(names).find(text).iter().map(|m| &text[m.start..m.end]).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn the_longest_name_that_is_a_word_is_found() {
        check(&["hepatitis", "Hepatitis A"], "Hepatitis and HEPATITIS A.", &["Hepatitis", "HEPATITIS A"]);
        check(&["aspirin"], "Aspirins, aspirin-like; aspirinate xaspirin", &["Aspirins", "aspirin"]);
        check(&["heart", "heart attack", "attack rate"], "heart attack rate", &["heart attack"]);
        check(
            &["myocardial infarction"],
            "a myocardial\ninfarction, not myocardial\n\ninfarction",
            &["myocardial\ninfarction"],
        );
    }

    #[test]
    fn acronyms_need_their_capitals() {
        check(&["AIDS"], "AIDS aids, Aids; two AIDSs", &["AIDS", "AIDSs"]);
        check(&["CAT", "the cat scan"], "The Cat scan; a CAT; a cat", &["The Cat scan", "CAT"]);
    }

    #[test]
    fn chinese_has_no_word_boundaries_and_width_does_not_matter() {
        check(&["阿司匹林", "肺炎", "HBV"], "服用阿司匹林治肺炎，ＨＢＶ阳性", &["阿司匹林", "肺炎", "ＨＢＶ"]);
    }

    #[test]
    fn no_names_find_nothing() {
        check(&[], "aspirin", &[]);
    }

    /// The definition itself: from every place, the longest spelling that fits, letter by letter.
    fn naive(finder: &Finder, text: &str) -> Vec<(usize, usize)> {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let inner = |c: Option<char>| c.is_some_and(continues);
        let (mut found, mut at) = (Vec::new(), 0);
        while at < places.len() {
            let start = places[at];
            let fits = |end: usize| {
                let slice = &text[start..end];
                let (first, last) = (slice.chars().next(), slice.chars().next_back());
                let begins = !inner(first) || !inner(text[..start].chars().next_back());
                let ends = !inner(last) || !inner(text[end..].chars().next());
                let same = |name: &Name| match &name.exact {
                    Some(exact) => slice.chars().map(plain).collect::<String>() == *exact,
                    None => fold(slice).text == name.folded,
                };
                begins && ends && finder.names.iter().any(same)
            };
            match (at + 1..places.len()).rev().find(|end| fits(places[*end])) {
                Some(end) => {
                    found.push((start, places[end]));
                    at = end;
                }
                None => at += 1,
            }
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn mentions_equal_a_naive_scan(
            names in proptest::collection::vec("[ab]{1,3}( [abAB]{1,2})?|[AB]{3}|[中文]{2,3}|[ab]{2}中|'[ab]{3}|a[b\u{301}]{2}", 1..8),
            text in "[abAB '中文ＡＢ,\n\u{301}é]{0,60}",
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let finder = finder(&names);
            let found: Vec<(usize, usize)> = finder.find(&text).iter().map(|m| (m.start, m.end)).collect();
            prop_assert_eq!(found, naive(&finder, &text));
        }

        #[test]
        fn words_are_counted_as_everywhere(text in "([a-c'’ \u{301}é中ァ\u{ff07}ａ7Ⓐ\u{939}\u{93f}、-]|.){0,60}") {
            let scan = finder(&["abc"]).scan(&text);
            let words: Vec<usize> = crate::text::words::words(&text).map(|word| word.start).collect();
            prop_assert_eq!(scan.n_words as usize, words.len());
            for mention in scan.mentions {
                let before = words.iter().filter(|start| **start < mention.start).count();
                prop_assert_eq!(mention.word as usize, before);
            }
        }
    }

    /// Entities that people marked in abstracts (PubTator: offset, end, text, type, id): the share whose exact span
    /// is found, and the share that a mention touches. The lexicon here has MeSH headings only, no entry terms.
    #[test]
    fn marked_entities_are_found() {
        use std::io::Read;
        let Some(data) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        let data = std::path::Path::new(&data);
        let spec = |name: &&str| super::super::lexicon::LexiconSpec {
            path: data.join("kg-lexicons").join(name).display().to_string(),
            format: None,
        };
        let files = ["mesh-terms.tsv.gz", "drugbank-vocabulary.csv.gz", "doid-2016.obo.gz", "hp-2013.obo.gz"];
        let lexicon = Lexicon::read(&files.iter().map(spec).collect::<Vec<_>>()).unwrap();
        let finder = Finder::new(&lexicon, &params()).unwrap();
        let (mut marked, mut exact, mut touched) = (0, 0, 0);
        for file in ["CDR_sample.txt.gz", "NCBIdevelopset_corpus.txt.gz"] {
            let mut text = String::new();
            let file = std::fs::File::open(data.join("bio-entities-annotated").join(file)).unwrap();
            flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
            for record in text.split("\n\n") {
                let part =
                    |mark: &str| record.lines().find_map(|line| line.split_once(mark)).map_or("", |(_, text)| text);
                let found = finder.find(&format!("{}\n{}", part("|t|"), part("|a|")));
                for line in record.lines() {
                    let columns: Vec<&str> = line.split('\t').collect();
                    let (Some(Ok(start)), Some(Ok(end))) =
                        (columns.get(1).map(|n| n.parse::<usize>()), columns.get(2).map(|n| n.parse::<usize>()))
                    else {
                        continue;
                    };
                    marked += 1;
                    exact += usize::from(found.iter().any(|m| m.start == start && m.end == end));
                    touched += usize::from(found.iter().any(|m| m.start < end && start < m.end));
                }
            }
        }
        let share = |n: usize| n as f64 / f64::from(marked as u32);
        let (exact, touched) = (share(exact), share(touched));
        assert!(
            marked > 1_500 && exact > 0.5 && touched > 0.68,
            "{marked} marked, exact {exact:.3}, touched {touched:.3}"
        );
    }
}
