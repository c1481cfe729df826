//! Byte-pair merges from word counts (arXiv:1508.07909), reproducibly.
//!
//! The `tokenizers` crate's own trainer numbers the `##` characters and breaks some ties in
//! hash-map order, so two trainings on the same text differ. This one reads the counts in word
//! order and breaks every tie by piece ids; the tokenizer that results is an ordinary one of the
//! crate.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

/// What a vocabulary begins with.
pub(super) struct Characters<'a> {
    /// Special tokens, by id from 0.
    pub(super) special: Vec<String>,
    /// Begins the pieces inside a word.
    pub(super) prefix: &'a str,
    /// Characters that are always kept.
    pub(super) alphabet: BTreeSet<char>,
}

/// What was learnt.
pub(super) struct Learned {
    /// All pieces by id: special tokens, characters, then merges in the order they were made.
    pub(super) pieces: Vec<String>,
    /// The merges in order.
    pub(super) merges: Vec<(String, String)>,
}

type Pair = (u32, u32);

/// Learns up to `vocabulary` pieces from word counts.
///
/// Single characters take at most half of the vocabulary, the most frequent first. A pair must
/// occur `min_frequency` times to become a piece.
pub(super) fn learn(
    counts: &BTreeMap<String, u64>,
    characters: &Characters,
    vocabulary: usize,
    min_frequency: u64,
) -> Learned {
    let prefix = characters.prefix;
    let pieces = first_pieces(counts, characters, vocabulary);
    let mut learner = Learner::new(pieces, counts, prefix);
    while learner.pieces.len() < vocabulary {
        let Some(pair) = learner.most_frequent(min_frequency) else { break };
        learner.merge(pair, prefix);
    }
    Learned { pieces: learner.pieces, merges: learner.merges }
}

/// The characters of a word as pieces: the first as it is, the others behind `prefix`.
fn characters<'a>(word: &'a str, prefix: &'a str) -> impl Iterator<Item = String> + 'a {
    word.chars()
        .enumerate()
        .map(move |(idx, c)| if idx == 0 { c.to_string() } else { format!("{prefix}{c}") })
}

fn first_pieces(
    counts: &BTreeMap<String, u64>,
    Characters { special, prefix, alphabet }: &Characters,
    vocabulary: usize,
) -> Vec<String> {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for (word, n) in counts {
        characters(word, prefix).for_each(|piece| *found.entry(piece).or_default() += n);
    }
    let always: BTreeSet<String> = alphabet.iter().map(char::to_string).collect();
    let mut by_count: Vec<(String, u64)> =
        found.into_iter().filter(|(piece, _)| !always.contains(piece)).collect();
    by_count.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let room = (vocabulary / 2).saturating_sub(always.len());
    let kept: BTreeSet<String> =
        always.into_iter().chain(by_count.into_iter().map(|(piece, _)| piece).take(room)).collect();

    special.iter().cloned().chain(kept).collect()
}

struct Learner {
    pieces: Vec<String>,
    ids: HashMap<String, u32>,
    merges: Vec<(String, String)>,
    words: Vec<(Vec<u32>, u64)>,
    pairs: HashMap<Pair, (u64, Vec<usize>)>,
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Learner {
    /// Words with a character that was not kept are left out: the tokenizer cannot write them
    /// either.
    fn new(pieces: Vec<String>, counts: &BTreeMap<String, u64>, prefix: &str) -> Self {
        let ids: HashMap<String, u32> =
            pieces.iter().zip(0..).map(|(piece, id)| (piece.clone(), id)).collect();
        let spell = |word: &str| -> Option<Vec<u32>> {
            characters(word, prefix).map(|piece| ids.get(&piece).copied()).collect()
        };
        let words: Vec<(Vec<u32>, u64)> =
            counts.iter().filter_map(|(word, n)| spell(word).map(|ids| (ids, *n))).collect();
        let mut learner = Learner {
            pieces,
            ids,
            merges: Vec::new(),
            words,
            pairs: HashMap::new(),
            queue: BinaryHeap::new(),
        };

        let mut seen = BTreeSet::new();
        for idx in 0..learner.words.len() {
            let (word, n) = learner.words[idx].clone();
            word.windows(2).for_each(|pair| {
                learner.add((pair[0], pair[1]), n, idx);
                seen.insert((pair[0], pair[1]));
            });
        }

        seen.into_iter().for_each(|pair| learner.offer(pair));
        learner
    }

    fn add(&mut self, pair: Pair, n: u64, word: usize) {
        let (count, places) = self.pairs.entry(pair).or_default();
        *count += n;
        if places.last() != Some(&word) {
            places.push(word);
        }
    }

    /// Puts the pair into the queue with the count it has now.
    fn offer(&mut self, pair: Pair) {
        let count = self.pairs.get(&pair).map_or(0, |(count, _)| *count);
        if count > 0 {
            self.queue.push((count, Reverse(pair)));
        }
    }

    /// The pair with the highest count, the smallest ids among equals; the queue may hold old, too
    /// high counts.
    fn most_frequent(&mut self, min_frequency: u64) -> Option<Pair> {
        while let Some((offered, Reverse(pair))) = self.queue.pop() {
            let count = self.pairs.get(&pair).map_or(0, |(count, _)| *count);
            if count == offered {
                return (count >= min_frequency).then_some(pair);
            }
            if count < offered {
                self.offer(pair);
            }
        }
        None
    }

    fn merge(&mut self, pair: Pair, prefix: &str) {
        let (left, right) =
            (self.pieces[pair.0 as usize].clone(), self.pieces[pair.1 as usize].clone());
        let joined = format!("{left}{}", right.strip_prefix(prefix).unwrap_or(&right));
        let next = self.pieces.len() as u32;
        let id = *self.ids.entry(joined.clone()).or_insert(next);

        if id == next {
            self.pieces.push(joined);
        }
        self.merges.push((left, right));
        let (_, mut places) = self.pairs.remove(&pair).unwrap_or_default();
        places.sort_unstable();
        places.dedup();
        let mut grown = BTreeSet::new();
        places.into_iter().for_each(|word| self.merge_in(word, pair, id, &mut grown));
        self.pairs.remove(&pair);

        grown.into_iter().for_each(|pair| self.offer(pair));
    }

    /// Joins the pair wherever it stands in one word and moves the counts of the pairs around it.
    fn merge_in(&mut self, word: usize, pair: Pair, id: u32, grown: &mut BTreeSet<Pair>) {
        let (old, n) = std::mem::take(&mut self.words[word]);
        let mut new = Vec::with_capacity(old.len());
        let mut at = 0;

        while at < old.len() {
            let here = old.get(at..at + 2).is_some_and(|two| (two[0], two[1]) == pair);
            new.push(if here { id } else { old[at] });
            at += if here { 2 } else { 1 };
        }

        if new.len() < old.len() {
            for gone in old.windows(2) {
                if let Some((count, _)) = self.pairs.get_mut(&(gone[0], gone[1])) {
                    *count -= n;
                }
            }
            for come in new.windows(2) {
                self.add((come[0], come[1]), n, word);
                grown.insert((come[0], come[1]));
            }
        }

        self.words[word] = (new, n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        text.split_whitespace().for_each(|word| *counts.entry(word.to_string()).or_default() += 1);
        counts
    }

    fn begin(prefix: &str) -> Characters<'_> {
        Characters { special: vec!["[UNK]".to_string()], prefix, alphabet: BTreeSet::new() }
    }

    /// Counts every pair anew before each merge.
    fn naive(
        counts: &BTreeMap<String, u64>,
        prefix: &str,
        vocabulary: usize,
        min_frequency: u64,
    ) -> Vec<String> {
        let mut pieces = first_pieces(counts, &begin(prefix), vocabulary);
        let mut words: Vec<(Vec<String>, u64)> =
            counts.iter().map(|(word, n)| (characters(word, prefix).collect(), *n)).collect();
        words.retain(|(word, _)| word.iter().all(|piece| pieces.contains(piece)));

        while pieces.len() < vocabulary {
            let id = |piece: &String| pieces.iter().position(|known| known == piece).unwrap();
            let mut pairs: BTreeMap<(usize, usize), u64> = BTreeMap::new();

            for (word, n) in &words {
                word.windows(2)
                    .for_each(|pair| *pairs.entry((id(&pair[0]), id(&pair[1]))).or_default() += n);
            }

            let best = pairs.into_iter().max_by_key(|(pair, n)| (*n, Reverse(*pair)));
            let Some((pair, _)) = best.filter(|(_, n)| *n >= min_frequency) else { break };
            let (left, right) = (pieces[pair.0].clone(), pieces[pair.1].clone());
            let joined = format!("{left}{}", right.strip_prefix(prefix).unwrap());

            for (word, _) in &mut words {
                let mut at = 0;
                while at + 1 < word.len() {
                    if word[at] == left && word[at + 1] == right {
                        word.splice(at..at + 2, [joined.clone()]);
                    }
                    at += 1;
                }
            }

            if !pieces.contains(&joined) {
                pieces.push(joined);
            }
        }

        pieces
    }

    #[test]
    fn merges_equal_a_naive_recount() {
        let text = "low lower lowest newer newest wider widest aaaa aaa banana bandana ananas nab \
                    low low newer newer abcabc abcab cabca bcabc lowlow werewer";
        for prefix in ["", "##"] {
            for (vocabulary, min_frequency) in [(80, 1), (200, 1), (200, 2), (60, 3)] {
                let fast = learn(&counts(text), &begin(prefix), vocabulary, min_frequency).pieces;
                assert_eq!(
                    fast,
                    naive(&counts(text), prefix, vocabulary, min_frequency),
                    "{prefix} {vocabulary}"
                );
            }
        }
    }

    #[test]
    fn rare_characters_leave_room_for_words() {
        let mut found = counts("the the the then then");
        (0..500).for_each(|idx| {
            found.insert(char::from_u32(0x4e00 + idx).unwrap().to_string(), 1);
        });
        let learned = learn(&found, &begin("##"), 100, 1);
        assert!(learned.pieces.contains(&"the".to_string()));
        assert!(learned.pieces.len() <= 100);
    }
}
