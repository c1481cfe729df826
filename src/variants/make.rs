//! The variants of one document: words first, then the order, then the gate.

use std::collections::HashSet;

use super::gate::{Difference, Facts};
use super::import::Row;
use super::{Compare, Document, How, Kit, Variation};
use crate::draw;
use crate::error::Result;
use crate::rewrite::Mention;
use crate::rewrite::edits::{self, Edit};
use crate::text::sentences::sentences;

/// How often a variant is tried, for each that is wanted: a draw may come to what is there already.
const TRIES: usize = 3;

/// A variant of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// What it says.
    pub text: String,
    /// What was done, joined by `+`.
    pub kind: String,
    /// What was replaced in the document, before sentences were moved.
    pub edits: Vec<Edit>,
}

/// A variant that says something else than its document.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// The variant.
    pub variant: Variant,
    /// What differs.
    pub difference: Difference,
    /// The file and place that it was read from, where it was not made here.
    pub place: Option<(String, u64)>,
}

/// What is said of a document in other ways.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Family {
    /// What goes on.
    pub variants: Vec<Variant>,
    /// What the gate turned away.
    pub rejected: Vec<Rejected>,
    /// What was made elsewhere and says nothing, or nothing new.
    pub unusable: Vec<Unusable>,
}

/// A row of a file that is no variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Unusable {
    /// What it says.
    pub text: String,
    /// What was done.
    pub kind: String,
    /// The reason it is refused for.
    pub reason: &'static str,
    /// The file and place that it was read from.
    pub place: (String, u64),
}

/// Makes up to `wanted` variants of a document, among them those that were made elsewhere: all are
/// taken that the gate lets through, also where they are more.
///
/// # Errors
/// If the embedded thesaurus is damaged, which a test rules out.
pub fn family(
    id: &str,
    text: &str,
    language: Option<&str>,
    wanted: usize,
    imported: &[Row],
    kit: &Kit,
) -> Result<Family> {
    let mut family = Family::default();
    if wanted == 0 && imported.is_empty() {
        return Ok(family);
    }
    let mentions = kit.rewriter.mentions(text);
    let facts = Facts::of(text, &mentions);
    // With its signs: `<` and `>` are no spaces here.
    let key = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let mut seen: HashSet<String> = HashSet::from([key(text)]);
    let mut admit = |variant: Variant, place: Option<(String, u64)>, family: &mut Family| {
        let said = key(&variant.text);
        let is_empty = said.is_empty();
        if is_empty || !seen.insert(said) {
            // One that was made here is simply made again.
            let reason = if is_empty { "no_text" } else { "not_new" };
            let Variant { text, kind, .. } = variant;
            family.unusable.extend(place.map(|place| Unusable { text, kind, reason, place }));
            return;
        }
        let other = Facts::of(&variant.text, &kit.rewriter.mentions(&variant.text));
        let (before, after) = match kit.params.compare {
            Compare::Counts => (facts.clone(), other),
            Compare::Sets => (facts.once(), other.once()),
        };
        match before.difference(&after, kit.rewriter.concepts()) {
            None => family.variants.push(variant),
            Some(difference) => family.rejected.push(Rejected { variant, difference, place }),
        }
    };

    for row in imported {
        let Row { text, kind, file, offset } = row.clone();
        let variant = Variant { text, kind, edits: Vec::new() };
        admit(variant, Some((file, offset)), &mut family);
    }

    let (orders, wordings): (Vec<&Variation>, Vec<&Variation>) = kit
        .variations
        .iter()
        .copied()
        .partition(|variation| matches!(variation.how, How::Order(_)));
    let sentences = sentences(text);
    let document = Document { text, language, mentions: &mentions, sentences: &sentences };
    for attempt in 0..TRIES * wanted {
        if family.variants.len() >= wanted {
            break;
        }
        let wording = wordings.get(attempt % wordings.len().max(1)).copied();
        let order = orders.first().copied();
        let key = format!("{id}\n{attempt}");
        let mut stream = draw::stream(kit.seed, "variant", key.as_bytes());
        if let Some(variant) = made(&document, wording, order, kit, &mut stream)? {
            admit(variant, None, &mut family);
        }
    }
    Ok(family)
}

/// One variant: other words, then another order of what they make; `None` where neither has
/// anything to offer.
fn made(
    document: &Document,
    wording: Option<&Variation>,
    order: Option<&Variation>,
    kit: &Kit,
    stream: &mut rand_chacha::ChaCha8Rng,
) -> Result<Option<Variant>> {
    let mut variant =
        Variant { text: document.text.to_string(), kind: String::new(), edits: Vec::new() };
    if let Some(Variation { name, how: How::Words(swaps), .. }) = wording {
        variant.edits = edits::edits(document.text, swaps(document, kit, stream)?);
        if !variant.edits.is_empty() {
            variant.text = edits::apply(document.text, &variant.edits);
            variant.kind = (*name).to_string();
        }
    }

    if let Some(Variation { name, how: How::Order(permuted), .. }) = order {
        let is_same = variant.edits.is_empty();
        let found: Vec<Mention> =
            if is_same { Vec::new() } else { kit.rewriter.mentions(&variant.text) };
        let cut = if is_same { Vec::new() } else { sentences(&variant.text) };
        let reworded = Document {
            text: &variant.text,
            language: document.language,
            mentions: if is_same { document.mentions } else { &found },
            sentences: if is_same { document.sentences } else { &cut },
        };
        if let Some(text) = permuted(&reworded, kit, stream) {
            let kinds = [variant.kind.as_str(), name];
            let kinds: Vec<&str> = kinds.into_iter().filter(|kind| !kind.is_empty()).collect();
            (variant.kind, variant.text) = (kinds.join("+"), text);
        }
    }
    Ok((!variant.kind.is_empty()).then_some(variant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::plan::Pipeline;
    use crate::flow::settings::Settings;
    use crate::knowledge::lexicon::LexiconSpec;
    use crate::rewrite::back_translation::Translations;
    use crate::rewrite::edits::apply;
    use crate::rewrite::lexicon::LexiconNames;
    use crate::rewrite::rewriter::Rewriter;
    use crate::variants::VARIATIONS;

    const LEXICON: &str = "id\tname\tkind\tsynonyms\n\
        D1\tMyocardial Infarction\tdisease\theart attack|cardiac infarct\n\
        D2\tAspirin\tdrug\tacetylsalicylic acid\nD3\tHypertension\tdisease\thigh blood pressure\n\
        D4\t哮喘\tdisease\t支气管哮喘病\nD5\t咳嗽\tdisease\t久咳症\n";
    const TEXT: &str = "Myocardial infarction (MI) is a common cause of death. Aspirin was given to \
        12 patients with MI, and it did not lower the dose of 100 mg. Hypertension came before a \
        heart attack. The large clinic began a new course in the town. Aspirin helps against \
        hypertension.";
    const CHINESE: &str = "哮喘是常见病。三岁儿童的咳嗽应当检查。支气管哮喘病不宜拖延治疗。";

    /// The variants of a text by some kinds.
    fn of(text: &str, language: &str, kinds: &[&str], wanted: usize, imported: &[Row]) -> Family {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("words.tsv");
        std::fs::write(&file, LEXICON).unwrap();
        let mut pipeline = Pipeline::new(&Settings::new().unwrap()).unwrap();
        pipeline.variants.kinds = kinds.iter().map(|kind| (*kind).to_string()).collect();
        pipeline.variants.alias_share = 0.7;
        let spec = LexiconSpec::of_path(file.display().to_string());
        let names = LexiconNames::read(&[spec], &pipeline.density.names(), 1 << 30).unwrap();
        let rewriter = Rewriter::new(pipeline.negatives.rewriting(), Some(&names)).unwrap();
        let (params, translations) = (&pipeline.variants, Translations::default());
        let variations = params.variations().unwrap();
        let kit = Kit { rewriter, translations, params, variations, seed: 17 };
        family("t:1", text, Some(language), wanted, imported, &kit).unwrap()
    }

    /// Whatever is done to it, a document says the same, and the edits say what was done.
    #[test]
    fn variants_say_the_same_and_tell_how() {
        for variation in VARIATIONS {
            let n: usize = [(TEXT, "en"), (CHINESE, "zh")]
                .into_iter()
                .map(|(text, language)| {
                    let found = of(text, language, &[variation.name], 3, &[]);
                    for one in &found.variants {
                        assert_eq!(one.kind, variation.name);
                        assert_ne!(one.text, text);
                        if matches!(variation.how, How::Words(_)) {
                            assert_eq!(apply(text, &one.edits), one.text);
                        }
                    }
                    found.variants.len()
                })
                .sum();
            // Nothing translates here.
            assert!(n > 0 || variation.name == "backtranslate", "{}", variation.name);
        }
    }

    #[test]
    fn kinds_are_combined_and_none_stands_twice() {
        let found = of(TEXT, "en", &["permute", "alias", "synonym"], 6, &[]);
        assert_eq!(found.variants.len(), 6);
        let kinds: HashSet<&str> = found.variants.iter().map(|one| one.kind.as_str()).collect();
        assert!(kinds.contains("alias+permute") && kinds.contains("synonym+permute"), "{kinds:?}");
        let texts: HashSet<&str> = found.variants.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts.len(), 6);
        assert!(
            found
                .variants
                .iter()
                .any(|one| one.text.to_lowercase().contains("acetylsalicylic acid"))
        );
        assert_eq!(of(TEXT, "en", &["permute", "alias", "synonym"], 6, &[]), found);
        assert_eq!(of(TEXT, "en", &[], 6, &[]), Family::default());
    }

    #[test]
    fn what_is_made_elsewhere_goes_through_the_same_gate() {
        let row = |text: &str| Row {
            text: text.to_string(),
            kind: "faq".to_string(),
            file: "made.jsonl".to_string(),
            offset: 7,
        };
        let short = "Aspirin was given to 12 patients.";
        let made = [
            row("To 12 patients, acetylsalicylic acid was given."),
            row("To 21 patients, aspirin was given."),
            row("To 12 patients, aspirin was not given."),
            row("To 12 patients, morphine was given."),
            row(short),
        ];
        let found = of(short, "en", &[], 0, &made);
        assert_eq!(found.variants.len(), 1);
        assert_eq!(found.variants[0].text, made[0].text);
        let kinds: Vec<&str> = found.rejected.iter().map(|one| one.difference.kind).collect();
        assert_eq!(kinds, ["numbers", "negations", "concepts"]);
        let unusable: Vec<&str> = found.unusable.iter().map(|one| one.reason).collect();
        assert_eq!(unusable, ["not_new"]);
        assert_eq!(found.rejected[0].place, Some(("made.jsonl".to_string(), 7)));
        assert_eq!(found.rejected[2].difference.detail, "lost Aspirin");
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let text = "Aspirin helps. The clinic is in the town. It stands near a lake. The day began. \
                    Hypertension came back. Aspirin was given. Hypertension ended.";
        let found = of(text, "en", &["extract"], 1, &[]);
        // `It` leans on the clinic.
        let expected = "Aspirin helps. The clinic is in the town. Hypertension came back. Aspirin was \
                        given. Hypertension ended.";
        assert_eq!(found.variants[0].text, expected);
        let law = "第一条 阿司匹林应当登记。\n第二条 本法自公布之日起施行。";
        assert!(of(law, "zh", &["extract"], 1, &[]).variants.is_empty());
    }
}
