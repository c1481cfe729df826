//! What generators rewrite texts with: the parameters, the thesauri and the lexicon.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::OnceLock;

use rand_chacha::ChaCha8Rng;

use super::gate::{self, Verdict};
use super::thesaurus::Thesaurus;
use super::wordnet::readers::{self, Entries};
use super::wordnet::{self, WordNet};
use super::{
    ConceptNames, Generator, Material, Mention, Params, chinese, edits, has_new_unknown_word,
};
use crate::error::{Error, Result};
use crate::text::languages::{is_chinese, is_english};

/// Rewrites texts by any generator.
pub struct Rewriter<'a> {
    params: Params,
    concepts: Option<&'a dyn ConceptNames>,
    wordnet: &'static WordNet,
    thesauri: Thesauri,
}

impl<'a> Rewriter<'a> {
    /// Reads what the parameters name.
    ///
    /// # Errors
    /// If a thesaurus cannot be read.
    pub fn new(params: Params, concepts: Option<&'a dyn ConceptNames>) -> Result<Self> {
        let thesauri = Thesauri::read(&params)?;
        Ok(Rewriter { params, concepts, wordnet: wordnet::english()?, thesauri })
    }

    /// A whole text, rewritten; `None` where the generator has nothing to offer for it.
    ///
    /// # Errors
    /// If the embedded thesaurus is damaged, which a test rules out.
    pub fn rewrite(
        &self,
        generator: &dyn Generator,
        text: &str,
        language: Option<&str>,
        stream: &mut ChaCha8Rng,
    ) -> Result<Option<String>> {
        let mentions = self.mentions(text);
        let thesaurus = self.thesaurus(language, text)?;
        let material = self.material(text, &mentions, language, thesaurus);
        let edits = edits::edits(text, generator.swaps(&material, stream));
        Ok((!edits.is_empty()).then(|| edits::apply(text, &edits)))
    }

    /// Whether a translation there and back says the same in other words, as far as that can be
    /// seen: by the gate that every build has, and in English without words that are none.
    pub fn is_paraphrase(&self, text: &str, translated: &str, language: Option<&str>) -> bool {
        if is_english(language) && has_new_unknown_word(text, translated, self.wordnet) {
            return false;
        }
        let changed = self.says_of_others(&self.mentions(text), translated);
        let judged = gate::Anchor::new(text).judge(translated, changed, self.params.bounds);
        matches!(judged, Verdict::Paraphrase(_))
    }

    /// Whether a rewritten text mentions other concepts.
    pub fn says_of_others(&self, before: &[Mention], text: &str) -> bool {
        let concepts = |mentions: &[Mention]| -> BTreeSet<usize> {
            mentions.iter().map(|mention| mention.concept).collect()
        };
        concepts(before) != concepts(&self.mentions(text))
    }

    /// The lexicon, where there is one.
    pub fn concepts(&self) -> Option<&'a dyn ConceptNames> {
        self.concepts
    }

    /// The embedded English thesaurus.
    pub fn wordnet(&self) -> &'static WordNet {
        self.wordnet
    }

    /// The concepts that a text mentions.
    pub fn mentions(&self, text: &str) -> Vec<Mention> {
        self.concepts.map_or_else(Vec::new, |concepts| concepts.mentions(text))
    }

    /// The thesaurus for a document's language.
    ///
    /// # Errors
    /// If the embedded thesaurus is damaged, which a test rules out.
    pub fn thesaurus(&self, language: Option<&str>, text: &str) -> Result<Option<&Thesaurus>> {
        self.thesauri.of(language, text)
    }

    /// All that a generator may look at of a passage.
    pub fn material<'m>(
        &'m self,
        passage: &'m str,
        mentions: &'m [Mention],
        language: Option<&'m str>,
        thesaurus: Option<&'m Thesaurus>,
    ) -> Material<'m> {
        Material {
            passage,
            anchor: OnceCell::new(),
            readings: OnceCell::new(),
            language,
            mentions,
            wordnet: self.wordnet,
            thesaurus,
            concepts: self.concepts,
            params: &self.params,
        }
    }
}

/// The thesauri that are matched in texts without spaces.
struct Thesauri {
    /// What the user's files say.
    own: Entries,
    users: Option<Thesaurus>,
    /// Built for the first document in Chinese.
    chinese: OnceLock<std::result::Result<Thesaurus, String>>,
}

impl Thesauri {
    fn read(params: &Params) -> Result<Self> {
        let mut own = Entries::default();
        for path in &params.thesaurus {
            readers::read(path.as_ref(), &mut own)?;
        }
        let users = if params.thesaurus.is_empty() { None } else { Some(Thesaurus::build(&own)?) };
        Ok(Thesauri { own, users, chinese: OnceLock::new() })
    }

    /// The one for a document's language; the embedded words are in simplified characters.
    fn of(&self, language: Option<&str>, text: &str) -> Result<Option<&Thesaurus>> {
        if !is_chinese(language) || chinese::is_traditional(text) {
            return Ok(self.users.as_ref());
        }
        let build = || {
            let all =
                chinese::with_embedded(&self.own).and_then(|entries| Thesaurus::build(&entries));
            all.map_err(|error| error.to_string())
        };
        self.chinese
            .get_or_init(build)
            .as_ref()
            .map(Some)
            .map_err(|cause| Error::data(cause.clone()))
    }
}
