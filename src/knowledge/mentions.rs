//! text → mentions of concepts, leftmost-longest, with their places; and the text's words, counted
//! on the way.
//!
//! Names are looked up from every place where one may begin: the first letter of a word, any CJK
//! character, any other sign. A name is *valid* if it also ends at a word boundary (not between two
//! letters or digits of an alphabetic script; Chinese and Japanese have none) and, for an acronym,
//! if its capitals are right. The longest valid name is a mention, and the next begins behind it.
//! Which concept a shared name means is told by what else is mentioned (`context`).
//! Abbreviations that the text defines are mentions of what their long forms name, and names that
//! share a word ("breast and ovarian cancer") are mentions at one place (`coordination`).
//!
//! The spellings stand in groups of one first word, each group sorted, and every spelling knows the
//! longest other one that it begins with: a trie laid flat. The greatest spelling that is not
//! greater than the text from here on, and those it begins with, are all that can stand here. An
//! Aho-Corasick automaton would do, but for names that begin at words only, its failure links,
//! which take most of the time to build it, are never followed; and the crate's own
//! leftmost-longest search knows no word boundaries (in "hepatitis and" it finds "hepatitis a",
//! which is no word, and loses "hepatitis").

use std::collections::HashMap;

use super::abbreviations;
use super::context::{Doubt, Neighbours};
use super::coordination;
use super::fold::{Folded, fold, spaced};
use super::lexicon::Lexicon;
use super::locant;
use super::names::{Name, NameBooks, NameRules, Rule, spellings};
use crate::error::{Error, Result};
use crate::text::words::{continues, is_cjk, words};

/// A concept's name in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// First byte in the text; of "d-penicillamine", that of the d.
    pub start: usize,
    /// Byte behind its last.
    pub end: usize,
    /// Number of the concept in its lexicon.
    pub concept: u32,
    /// Words of the text that begin before it.
    pub word: u32,
    /// What it is to the concept.
    pub rule: Rule,
}

/// What one reading of a text gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// The mentions in order; they do not overlap, but those of names that share a word
    /// ([`Rule::Coordination`]) stand at one place.
    pub mentions: Vec<Mention>,
    /// Words of the text, as [`crate::text::words::words`] counts them.
    pub n_words: u32,
}

/// Finds all names of a lexicon in a text.
pub struct Finder {
    /// In order of the first word's hash, then of the folded spelling.
    names: Vec<Name>,
    /// The spellings: of each, the index of its first name, and one more at the end. Names of one
    /// spelling differ in case only.
    starts: Vec<u32>,
    /// Of each spelling, the longest other one that it begins with; [`NONE`] if there is none.
    shorter: Vec<u32>,
    first: FirstWords,
    seconds: SecondWords,
    /// Of the concepts that share names.
    neighbours: Neighbours,
    /// A number for the kind of each concept.
    kinds: Vec<u32>,
    books: NameBooks,
}

/// No spelling.
const NONE: u32 = u32::MAX;

impl Finder {
    /// A finder for the names of a lexicon.
    ///
    /// # Errors
    /// If there are more than four thousand million names.
    pub fn new(lexicon: &Lexicon, rules: &NameRules) -> Result<Self> {
        let (names, books) = spellings(lexicon, rules);
        if u32::try_from(names.len()).is_err() {
            return Err(Error::usage(format!("the lexicon has {} spellings", names.len()))
                .hint("kpipe finds at most 4,294,967,294 at once; name fewer lexicons"));
        }

        let mut hashed: Vec<(u64, Name)> =
            names.into_iter().map(|name| (piece(&name.folded, 0).hash, name)).collect();
        // Stable: what has one first word stays in the order of the spelling.
        hashed.sort_by_key(|(hash, _)| *hash);
        let mut starts = Vec::with_capacity(hashed.len() + 1);
        let mut shorter: Vec<u32> = Vec::with_capacity(hashed.len());
        let mut groups: Vec<Group> = Vec::new();
        let mut seconds = SecondWords::new(hashed.len());
        // The spellings that the one before begins with, and itself.
        let mut within: Vec<u32> = Vec::new();

        for (at, (hash, name)) in hashed.iter().enumerate() {
            let spelling = starts.len() as u32;
            let first_end = piece(&name.folded, 0).end;
            let is_one = first_end == name.folded.len();
            match groups.last_mut().filter(|group| group.hash == *hash) {
                Some(_) if hashed[at - 1].1.folded == name.folded => continue,
                Some(group) => {
                    group.end = spelling + 1;
                    group.has_one |= is_one;
                }
                None => {
                    within.clear();
                    let (start, end) = (spelling, spelling + 1);
                    groups.push(Group { hash: *hash, start, end, has_one: is_one });
                }
            }
            if !is_one {
                seconds.add(*hash, &name.folded, first_end);
            }

            let begins_with = |other: &u32| {
                let other: u32 = starts[*other as usize];
                name.folded.starts_with(&hashed[other as usize].1.folded)
            };
            while within.last().is_some_and(|other| !begins_with(other)) {
                within.pop();
            }
            shorter.push(within.last().copied().unwrap_or(NONE));
            within.push(spelling);
            starts.push(at as u32);
        }

        starts.push(hashed.len() as u32);
        let names: Vec<Name> = hashed.into_iter().map(|(_, name)| name).collect();
        let shared = names.iter().filter(|name| !name.others.is_empty());
        let sharing = shared
            .flat_map(|name| name.others.iter().map(|other| other.concept).chain([name.concept]));
        let neighbours = Neighbours::new(lexicon, sharing);
        let (first, kinds) = (FirstWords::new(groups), kinds(lexicon));
        Ok(Finder { names, starts, shorter, first, seconds, neighbours, kinds, books })
    }

    /// What became of the lexicon's names.
    pub fn books(&self) -> &NameBooks {
        &self.books
    }

    /// The mentions of a text, as [`Scan`] has them.
    pub fn find(&self, text: &str) -> Vec<Mention> {
        self.scan(text).mentions
    }

    /// The mentions of a text and the number of its words.
    pub fn scan(&self, text: &str) -> Scan {
        let folded = fold(text);
        let (mut scan, mut behind, mut at) = (Scan::default(), 0, 0);
        let mut doubts: Vec<Doubt> = Vec::new();
        // Whether letters here go on with the word before an apostrophe.
        let mut joined = false;

        while at < folded.text.len() {
            let piece = piece(&folded.text, at);
            if at >= behind
                && let Some(group) = self.first.group(piece.hash)
                && (group.has_one || self.seconds.may_follow(group.hash, &folded.text, piece.end))
                && let Some((end, name)) = self.longest(group, text, &folded, at)
            {
                behind = end;
                let (start, end) = (folded.original(at), folded.original(end));
                let before = scan.mentions.last().map_or(0, |last| last.end);
                let locant = locant::at_end(&text[before..start]);
                let n_words = words(&text[start - locant..start]).count() as u32;
                let (start, word) = (start - locant, scan.n_words - n_words);
                let Name { concept, rule, ref others, .. } = *name;
                if !others.is_empty() {
                    doubts.push(Doubt { mention: scan.mentions.len(), others });
                }
                scan.mentions.push(Mention { start, end, concept, word, rule });
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

        self.neighbours.decide(&mut scan, &doubts);
        abbreviations::resolve(text, &mut scan);
        coordination::resolve(text, &mut scan, self);
        scan
    }

    /// The longest valid name of a group that begins at a folded offset, and its end.
    fn longest(
        &self,
        group: &Group,
        text: &str,
        folded: &Folded,
        start: usize,
    ) -> Option<(usize, &Name)> {
        let rest = &folded.text.as_bytes()[start..];
        let (mut low, mut high) = (group.start, group.end);

        while low < high {
            let middle = low.midpoint(high);
            if self.spelling(middle) <= rest { low = middle + 1 } else { high = middle }
        }

        let mut spelling = if low > group.start { low - 1 } else { NONE };
        while spelling != NONE {
            let (bytes, end) = (self.spelling(spelling), start + self.spelling(spelling).len());
            if rest.starts_with(bytes)
                && ends_word(&folded.text, end)
                && let Some(name) = self.owner(spelling, text, folded, start, end)
            {
                return Some((end, name));
            }
            spelling = self.shorter[spelling as usize];
        }

        None
    }

    fn spelling(&self, number: u32) -> &[u8] {
        self.names[self.starts[number as usize] as usize].folded.as_bytes()
    }

    /// The name that this occurrence is: an acronym with the right capitals, else one in any case.
    fn owner(
        &self,
        spelling: u32,
        text: &str,
        folded: &Folded,
        start: usize,
        end: usize,
    ) -> Option<&Name> {
        let spelling = spelling as usize;
        let names = &self.names[self.starts[spelling] as usize..self.starts[spelling + 1] as usize];
        let fits = |name: &&Name| match &name.exact {
            None => true,
            Some(exact) => {
                let original = &text[folded.original(start)..folded.original(end)];
                original.chars().map(spaced).eq(exact.chars().map(spaced))
            }
        };
        names.iter().find(fits)
    }
}

impl coordination::Names for Finder {
    fn concept(&self, name: &str) -> Option<u32> {
        let folded = fold(name);
        let group = self.first.group(piece(&folded.text, 0).hash)?;
        let (end, found) = self.longest(group, name, &folded, 0)?;
        (end == folded.text.len()).then_some(found.concept)
    }

    fn is_one_kind(&self, a: u32, b: u32) -> bool {
        self.kinds[a as usize] == self.kinds[b as usize]
    }
}

/// A number for the kind of each concept.
fn kinds(lexicon: &Lexicon) -> Vec<u32> {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut number = |kind| {
        let next = numbers.len() as u32;
        *numbers.entry(kind).or_insert(next)
    };
    lexicon.concepts.iter().map(|concept| number(concept.kind.as_str())).collect()
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
    // Every other piece of most texts is a space or a comma.
    if let Some(byte) =
        bytes.get(at).filter(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric())
    {
        piece.sign = Sign::Other;
        piece.add(&[*byte]);
        return piece;
    }

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

/// The spellings that begin with one word.
#[derive(Clone, Copy)]
struct Group {
    /// Of the first piece. Where two words have one hash, both stand in the group.
    hash: u64,
    start: u32,
    end: u32,
    /// Whether a spelling of it has no other piece.
    has_one: bool,
}

/// What follows on the first pieces of all names, as bits: most words that begin some name go on
/// otherwise, and need not be looked up. Right of every valid name, by the reason that
/// [`FirstWords`] is.
struct SecondWords {
    bits: Vec<u64>,
}

impl SecondWords {
    /// For so many names: at most one bit in 16 is set.
    fn new(n: usize) -> Self {
        SecondWords { bits: vec![0; (n / 4).next_power_of_two()] }
    }

    fn add(&mut self, first: u64, name: &str, end: usize) {
        let (word, bit) = self.place(first, name, end);
        self.bits[word] |= bit;
    }

    /// Whether what stands behind a first piece may go on with a name.
    fn may_follow(&self, first: u64, text: &str, end: usize) -> bool {
        let (word, bit) = self.place(first, text, end);
        self.bits[word] & bit != 0
    }

    fn place(&self, first: u64, text: &str, end: usize) -> (usize, u64) {
        let at = end + usize::from(text.as_bytes().get(end) == Some(&b' '));
        let both =
            (first.rotate_left(23) ^ piece(text, at).hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((both >> 24) as usize & (self.bits.len() - 1), 1 << (both >> 58))
    }
}

/// The first pieces of all names: a hash table with a bit set before it, because few words begin a
/// name.
///
/// A valid name's first piece is the text's piece at that place, because both end at the same sign.
struct FirstWords {
    bits: Vec<u64>,
    groups: HashMap<u64, Group, std::hash::BuildHasherDefault<Hashed>>,
}

impl FirstWords {
    fn new(groups: Vec<Group>) -> Self {
        // At most one bit in 32 is set, so at most one other word in 32 is looked up for nothing.
        let mut first = FirstWords {
            bits: vec![0; (groups.len() / 2).next_power_of_two()],
            groups: Default::default(),
        };
        for group in groups {
            let (word, bit) = first.place(group.hash);
            first.bits[word] |= bit;
            first.groups.insert(group.hash, group);
        }
        first
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        let mixed = hash ^ (hash >> 32);
        ((mixed >> 6) as usize & (self.bits.len() - 1), 1 << (mixed & 63))
    }

    fn group(&self, hash: u64) -> Option<&Group> {
        let (word, bit) = self.place(hash);
        if self.bits[word] & bit == 0 { None } else { self.groups.get(&hash) }
    }
}

/// Keeps a number that is a hash already, spread over the upper bits as well.
#[derive(Default)]
struct Hashed(u64);

impl std::hash::Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = (self.0 << 8) | u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number ^ number.rotate_left(32);
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
    use super::super::names::tests::rules;
    use super::*;
    use proptest::prelude::*;

    fn finder(names: &[&str]) -> Finder {
        let entry = |(number, name): (usize, &&str)| Entry {
            concept: Concept {
                id: format!("{number:03}"),
                name: (*name).into(),
                ..Concept::default()
            },
            ..Entry::default()
        };
        Finder::new(&Lexicon::build(names.iter().enumerate().map(entry).collect()), &rules())
            .unwrap()
    }

    fn check(names: &[&str], text: &str, expected: &[&str]) {
        let found: Vec<&str> =
            finder(names).find(text).iter().map(|m| &text[m.start..m.end]).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn the_longest_name_that_is_a_word_is_found() {
        check(
            &["hepatitis", "Hepatitis A"],
            "Hepatitis and HEPATITIS A.",
            &["Hepatitis", "HEPATITIS A"],
        );
        check(
            &["aspirin"],
            "Aspirins, aspirin-like; aspirinate xaspirin",
            &["Aspirins", "aspirin"],
        );
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
        check(
            &["阿司匹林", "肺炎", "HBV"],
            "服用阿司匹林治肺炎，ＨＢＶ阳性",
            &["阿司匹林", "肺炎", "ＨＢＶ"],
        );
    }

    #[test]
    fn no_names_find_nothing() {
        check(&[], "aspirin", &[]);
    }

    /// The definition itself: from every place, the longest spelling that fits, letter by letter.
    fn naive(finder: &Finder, text: &str) -> Vec<(usize, usize)> {
        let places: Vec<usize> =
            text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
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
                    Some(exact) => slice.chars().map(spaced).eq(exact.chars().map(spaced)),
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
            let found: Vec<(usize,
                usize)> = finder.find(&text).iter().map(|m| (m.start, m.end)).collect();
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

    /// Entities that people marked in abstracts (PubTator: offset, end, text, type, id): the share
    /// whose exact span is found, and the share that a mention touches. The lexicon here has MeSH
    /// headings only, no entry terms.
    #[test]
    fn marked_entities_are_found() {
        use std::io::Read;
        let Some(data) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        let data = std::path::Path::new(&data);
        let spec = |name: &&str| {
            super::super::lexicon::LexiconSpec::of_path(
                data.join("kg-lexicons").join(name).display().to_string(),
            )
        };
        let files = [
            "mesh-terms.tsv.gz",
            "drugbank-vocabulary.csv.gz",
            "doid-2016.obo.gz",
            "hp-2013.obo.gz",
        ];

        let lexicon = Lexicon::read(&files.iter().map(spec).collect::<Vec<_>>(), 4 << 30).unwrap();
        let finder = Finder::new(&lexicon, &rules()).unwrap();
        let (mut marked, mut exact, mut touched) = (0, 0, 0);

        for file in ["CDR_sample.txt.gz", "NCBIdevelopset_corpus.txt.gz"] {
            let mut text = String::new();
            let file = std::fs::File::open(data.join("bio-entities-annotated").join(file)).unwrap();
            flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();

            for record in text.split("\n\n") {
                let part = |mark: &str| {
                    record
                        .lines()
                        .find_map(|line| line.split_once(mark))
                        .map_or("", |(_, text)| text)
                };

                let found = finder.find(&format!("{}\n{}", part("|t|"), part("|a|")));
                for line in record.lines() {
                    let columns: Vec<&str> = line.split('\t').collect();
                    let (Some(Ok(start)), Some(Ok(end))) = (
                        columns.get(1).map(|n| n.parse::<usize>()),
                        columns.get(2).map(|n| n.parse::<usize>()),
                    ) else {
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
