//! What a word may be replaced by, the nearest first: its neighbours among word vectors, or its
//! synonyms.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use super::words::is_one_word;
use crate::error::{Error, Result};
use crate::eval::tasks::text;
use crate::rewrite::inflect::{inflect, readings};
use crate::rewrite::wordnet::readers::{self, Entries};
use crate::rewrite::wordnet::{self, WordNet};

/// Most candidates of a word, and how near they must be (the cosine of their vectors): of the
/// released TextFooler; its paper says 0.7.
const MOST: usize = 50;
const NEAR: f32 = 0.5;

/// Where candidates come from.
pub trait Candidates: Sync {
    /// What they are, for the report.
    fn about(&self) -> String;
    /// A hash of the file that they are of.
    fn hash(&self) -> u64;
    /// Words in the place of one, which is given in small letters.
    fn of(&self, word: &str) -> Vec<String>;
}

/// Word vectors, each of length 1.
pub struct Vectors {
    words: Vec<String>,
    places: HashMap<String, usize>,
    numbers: Vec<f32>,
    width: usize,
    hash: u64,
    found: Mutex<HashMap<String, Vec<String>>>,
}

impl Vectors {
    /// Reads a text file of vectors, packed or not: a word and its numbers in each line, between
    /// spaces, as GloVe and the counter-fitted vectors (Mrkšić et al. 2016) are published; the
    /// first line of word2vec's, which tells how many there are, is passed over. Of a word that
    /// stands there twice, the first counts.
    ///
    /// # Errors
    /// If it cannot be read, or a line has no word or other numbers than the first.
    pub fn read(path: &Path) -> Result<Self> {
        let text = text(path)?;
        let mut all = Vectors {
            words: Vec::new(),
            places: HashMap::new(),
            numbers: Vec::new(),
            width: 0,
            hash: xxh3_64(text.as_bytes()),
            found: Mutex::default(),
        };
        for (number, line) in (1..).zip(text.lines()) {
            let is_head = number == 1 && line.split_whitespace().count() == 2;
            if !is_head && !line.trim().is_empty() {
                all.add(line).map_err(|what| {
                    Error::data(what)
                        .at(format!("{}:{number}", path.display()))
                        .hint("give word vectors as text: a word and its numbers in each line")
                })?;
            }
        }
        match all.words.is_empty() {
            true => Err(Error::data("there is no vector").at(path.display())),
            false => Ok(all),
        }
    }

    fn add(&mut self, line: &str) -> std::result::Result<(), String> {
        let mut fields = line.trim_end().split(' ');
        let word = fields.next().unwrap_or_default();
        let numbers: Vec<f32> = fields
            .filter(|field| !field.is_empty())
            .map(|field| field.parse().map_err(|_| format!("`{field}` is no number")))
            .collect::<std::result::Result<_, String>>()?;
        let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
        if self.width == 0 {
            self.width = numbers.len();
        }
        if word.is_empty() || numbers.is_empty() || numbers.len() != self.width {
            return Err(format!("`{word}` has {} numbers, not {}", numbers.len(), self.width));
        }
        if !length.is_finite() {
            return Err(format!("the numbers of `{word}` are not finite"));
        }

        if !self.places.contains_key(word) {
            self.places.insert(word.to_string(), self.words.len());
            self.words.push(word.to_string());
            let scale = length.max(f32::MIN_POSITIVE);
            self.numbers.extend(numbers.iter().map(|number| number / scale));
        }
        Ok(())
    }

    fn vector(&self, at: usize) -> &[f32] {
        &self.numbers[at * self.width..(at + 1) * self.width]
    }

    /// The nearest other words; of those that are as near, the first in the file.
    fn nearest(&self, word: &str) -> Vec<String> {
        let Some(own) = self.places.get(word) else { return Vec::new() };
        let vector = self.vector(*own);
        let near =
            |at: usize| -> f32 { self.vector(at).iter().zip(vector).map(|(a, b)| a * b).sum() };
        let mut all: Vec<(f32, usize)> = (0..self.words.len())
            .filter(|at| at != own)
            .map(|at| (near(at), at))
            .filter(|(near, _)| *near >= NEAR)
            .collect();
        all.sort_by(|a, b| match b.0.total_cmp(&a.0) {
            Ordering::Equal => a.1.cmp(&b.1),
            order => order,
        });
        all.truncate(MOST);
        all.into_iter().map(|(_, at)| self.words[at].clone()).collect()
    }
}

impl Candidates for Vectors {
    fn about(&self) -> String {
        format!(
            "the {MOST} nearest of {} word vectors, with a cosine of {NEAR} or more",
            self.words.len()
        )
    }

    fn hash(&self) -> u64 {
        self.hash
    }

    fn of(&self, word: &str) -> Vec<String> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.entry(word.to_string()).or_insert_with(|| self.nearest(word)).clone()
    }
}

/// Synonyms: the user's groups, or WordNet's in the form of the word.
pub struct Synonyms {
    /// The words that share a group with each, in the order of the file.
    own: Option<HashMap<String, Vec<String>>>,
    wordnet: &'static WordNet,
}

impl Synonyms {
    /// Those of WordNet.
    ///
    /// # Errors
    /// If the embedded extract is damaged, which a test rules out.
    pub fn embedded() -> Result<Self> {
        Ok(Synonyms { own: None, wordnet: wordnet::english()? })
    }

    /// Those of a thesaurus file, as `negatives.thesaurus` takes them.
    ///
    /// # Errors
    /// If it cannot be read or holds no synonyms.
    pub fn read(path: &Path) -> Result<Self> {
        let mut entries = Entries::default();
        readers::read(path, &mut entries)?;
        if entries.synonyms.is_empty() {
            return Err(Error::data("there are no synonyms").at(path.display()));
        }
        let mut own: HashMap<String, Vec<String>> = HashMap::new();
        for group in &entries.synonyms {
            for word in group {
                let others = own.entry(word.to_lowercase()).or_default();
                others.extend(group.iter().filter(|other| *other != word).cloned());
            }
        }
        Ok(Synonyms { own: Some(own), wordnet: wordnet::english()? })
    }
}

impl Candidates for Synonyms {
    fn about(&self) -> String {
        match &self.own {
            Some(own) => format!("synonyms of {} words, of a file", own.len()),
            None => "synonyms of WordNet, in the same form".to_string(),
        }
    }

    fn hash(&self) -> u64 {
        let words: BTreeMap<&String, &Vec<String>> = self.own.iter().flatten().collect();
        xxh3_64(format!("{words:?}").as_bytes())
    }

    fn of(&self, word: &str) -> Vec<String> {
        let all: Vec<String> = match &self.own {
            Some(own) => own.get(word).cloned().unwrap_or_default(),
            None => readings(word, self.wordnet)
                .iter()
                .flat_map(|reading| {
                    let others = self.wordnet.synonyms(&reading.lemma, reading.pos).into_iter();
                    others
                        .filter_map(|other| inflect(other, reading.pos, reading.form, self.wordnet))
                })
                .collect(),
        };
        let mut met = BTreeSet::new();
        let is_new =
            |other: &String| other != word && is_one_word(other) && met.insert(other.clone());
        let mut all: Vec<String> = all.into_iter().filter(is_new).collect();
        all.truncate(MOST);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(text: &str) -> Result<Vectors> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors.txt");
        std::fs::write(&path, text).unwrap();
        Vectors::read(&path)
    }

    #[test]
    fn neighbours_are_the_nearest_first_and_none_that_is_far() {
        // By their angles to `good`: great 10°, fine 37°, so-so 60° + a little, bad 180°.
        let text = "4 2\ngood 2 0\nfine 0.8 0.6\ngreat 3 0.53\nso-so 0.49 0.87\nbad -1 0\n";
        let found = vectors(text).unwrap();
        assert_eq!(found.of("good"), ["great", "fine"]);
        assert_eq!(found.of("good"), ["great", "fine"], "as they were found");
        assert!(found.of("unknown").is_empty());
        assert_eq!(vectors("a 1 0\na 0 1\nb 0 1\n").unwrap().of("a"), Vec::<String>::new());
    }

    #[test]
    fn broken_vectors_are_told_with_their_place() {
        for (text, what) in [
            ("good 1 2\nbad 1\n", "vectors.txt:2"),
            ("good 1 2\nbad 1 x\n", "`x` is no number"),
            ("good 1 nan\n", "not finite"),
            ("", "no vector"),
        ] {
            let error = vectors(text).err().unwrap().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn synonyms_have_the_form_of_the_word() {
        let embedded = Synonyms::embedded().unwrap();
        assert!(
            embedded.of("begins").contains(&"starts".to_string()),
            "{:?}",
            embedded.of("begins")
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groups.txt");
        std::fs::write(&path, "Aa01A01= good fine splendid\n").unwrap();
        let found = Synonyms::read(&path).map(|own| own.of("good"));
        assert_eq!(found.unwrap(), ["fine", "splendid"]);
    }
}
