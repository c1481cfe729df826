//! English inflection both ways: which lemma and form a word may be, and the same form of another
//! lemma.
//!
//! Reading follows WordNet's `morphy` (irregular list first, then endings), kept to lemmas that
//! WordNet has. Writing uses a table of the strong verbs, WordNet's exception lists for doubled
//! consonants and irregular plurals, and the regular rules; where the tables leave a choice,
//! nothing is written rather than guessed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use rustc_hash::FxBuildHasher;

use crate::rewrite::wordnet::{Pos, WordNet};

/// What an inflection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// The lemma itself.
    Base,
    /// Plural of a noun.
    Plural,
    /// `gives`
    ThirdPerson,
    /// `gave`
    Past,
    /// `given`
    Participle,
    /// `giving`
    Ing,
    /// `higher`
    Comparative,
    /// `highest`
    Superlative,
}

/// One way to read a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Dictionary form.
    pub lemma: String,
    /// Part of speech.
    pub pos: Pos,
    /// Which form of the lemma the word is; a regular `-ed` is read as both [`Form::Past`] and
    /// [`Form::Participle`].
    pub form: Form,
}

/// Strong verbs: base, past, participle.
#[rustfmt::skip]
static STRONG: &[(&str, &str, &str)] = &[
    ("arise", "arose", "arisen"), ("beat", "beat", "beaten"), ("become", "became", "become"),
    ("begin", "began", "begun"), ("bend", "bent", "bent"), ("bind", "bound", "bound"),
    ("bite", "bit", "bitten"),
    ("blow", "blew", "blown"), ("break", "broke", "broken"), ("bring", "brought", "brought"),
    ("build", "built", "built"), ("buy", "bought", "bought"), ("catch", "caught", "caught"),
    ("choose", "chose", "chosen"), ("come", "came", "come"), ("cost", "cost", "cost"),
    ("cut", "cut", "cut"),
    ("deal", "dealt", "dealt"), ("draw", "drew", "drawn"), ("drink", "drank", "drunk"),
    ("drive", "drove", "driven"), ("eat", "ate", "eaten"), ("fall", "fell", "fallen"),
    ("feed", "fed", "fed"),
    ("feel", "felt", "felt"), ("fight", "fought", "fought"), ("find", "found", "found"),
    ("fly", "flew", "flown"),
    ("forget", "forgot", "forgotten"), ("get", "got", "got"), ("give", "gave", "given"),
    ("go", "went", "gone"),
    ("grow", "grew", "grown"), ("hear", "heard", "heard"), ("hide", "hid", "hidden"),
    ("hit", "hit", "hit"),
    ("hold", "held", "held"), ("hurt", "hurt", "hurt"), ("keep", "kept", "kept"),
    ("know", "knew", "known"),
    ("lay", "laid", "laid"), ("lead", "led", "led"), ("leave", "left", "left"),
    ("lend", "lent", "lent"),
    ("let", "let", "let"), ("lie", "lay", "lain"), ("lose", "lost", "lost"),
    ("make", "made", "made"),
    ("mean", "meant", "meant"), ("meet", "met", "met"), ("pay", "paid", "paid"),
    ("put", "put", "put"),
    ("read", "read", "read"), ("ride", "rode", "ridden"), ("rise", "rose", "risen"),
    ("run", "ran", "run"),
    ("say", "said", "said"), ("see", "saw", "seen"), ("seek", "sought", "sought"),
    ("sell", "sold", "sold"),
    ("send", "sent", "sent"), ("set", "set", "set"), ("shake", "shook", "shaken"),
    ("show", "showed", "shown"),
    ("shrink", "shrank", "shrunk"), ("shut", "shut", "shut"), ("sink", "sank", "sunk"),
    ("sit", "sat", "sat"),
    ("sleep", "slept", "slept"), ("speak", "spoke", "spoken"), ("spend", "spent", "spent"),
    ("spread", "spread", "spread"), ("stand", "stood", "stood"), ("steal", "stole", "stolen"),
    ("stick", "stuck", "stuck"), ("strike", "struck", "struck"), ("swell", "swelled", "swollen"),
    ("swim", "swam", "swum"), ("take", "took", "taken"), ("teach", "taught", "taught"),
    ("tear", "tore", "torn"),
    ("tell", "told", "told"), ("think", "thought", "thought"), ("throw", "threw", "thrown"),
    ("understand", "understood", "understood"), ("undergo", "underwent", "undergone"),
    ("wake", "woke", "woken"),
    ("wear", "wore", "worn"), ("win", "won", "won"), ("withdraw", "withdrew", "withdrawn"),
    ("write", "wrote", "written"), ("quit", "quit", "quit"), ("bleed", "bled", "bled"),
    ("bet", "bet", "bet"),
    ("breed", "bred", "bred"), ("burst", "burst", "burst"), ("cast", "cast", "cast"),
    ("cling", "clung", "clung"),
    ("creep", "crept", "crept"), ("dig", "dug", "dug"), ("split", "split", "split"),
    ("swing", "swung", "swung"),
    ("shed", "shed", "shed"), ("shoot", "shot", "shot"), ("sing", "sang", "sung"),
    ("ring", "rang", "rung"),
    ("sweep", "swept", "swept"), ("hang", "hung", "hung"), ("spin", "spun", "spun"),
    ("forbid", "forbade", "forbidden"),
    ("freeze", "froze", "frozen"), ("slide", "slid", "slid"), ("overcome", "overcame", "overcome"),
    ("undertake", "undertook", "undertaken"), ("forgive", "forgave", "forgiven"),
    ("foresee", "foresaw", "foreseen"),
    ("upset", "upset", "upset"), ("broadcast", "broadcast", "broadcast"),
    ("thrust", "thrust", "thrust"),
];

/// Endings of regular forms: part of speech, form, ending, what stands in its place in the lemma.
#[rustfmt::skip]
static ENDINGS: &[(Pos, Form, &str, &str)] = &[
    (Pos::Noun, Form::Plural, "s", ""), (Pos::Noun, Form::Plural, "ies", "y"),
    (Pos::Noun, Form::Plural, "ses", "s"), (Pos::Noun, Form::Plural, "xes", "x"),
    (Pos::Noun, Form::Plural, "zes", "z"), (Pos::Noun, Form::Plural, "ches", "ch"),
    (Pos::Noun, Form::Plural, "shes", "sh"), (Pos::Noun, Form::Plural, "men", "man"),
        (Pos::Verb, Form::ThirdPerson, "s", ""),
    (Pos::Verb, Form::ThirdPerson, "ies", "y"), (Pos::Verb, Form::ThirdPerson, "es", ""),
    (Pos::Verb, Form::Past, "ed", "e"), (Pos::Verb, Form::Past, "ed", ""),
        (Pos::Verb, Form::Past, "ied", "y"),
    (Pos::Verb, Form::Ing, "ing", "e"), (Pos::Verb, Form::Ing, "ing", ""),
    (Pos::Adjective, Form::Comparative, "er", ""), (Pos::Adjective, Form::Comparative, "er", "e"),
    (Pos::Adjective, Form::Superlative, "est", ""), (Pos::Adjective, Form::Superlative, "est", "e"),
];

/// Words whose readings a thread remembers; a text has few thousand different ones, and each comes
/// again and again.
const REMEMBERED: usize = 1 << 15;

thread_local! {
    static READ: RefCell<HashMap<String, Rc<[Reading]>, FxBuildHasher>> = RefCell::default();
}

/// Every way to read a lower-case word that the embedded WordNet knows, in a fixed order.
pub fn readings(word: &str, wordnet: &WordNet) -> Rc<[Reading]> {
    if let Some(found) = READ.with_borrow(|read| read.get(word).cloned()) {
        return found;
    }
    let found: Rc<[Reading]> = read(word, wordnet).into();
    READ.with_borrow_mut(|read| {
        if read.len() >= REMEMBERED {
            read.clear();
        }
        read.insert(word.to_string(), Rc::clone(&found));
    });
    found
}

fn read(word: &str, wordnet: &WordNet) -> Vec<Reading> {
    let mut found: Vec<Reading> = Vec::new();
    let mut add = |lemma: &str, pos: Pos, form: Form| {
        let known = wordnet.usage(lemma).and_then(|usage| usage.count(pos)).is_some();
        let reading = Reading { lemma: lemma.to_string(), pos, form };
        if known && !found.contains(&reading) {
            found.push(reading);
        }
    };

    for pos in Pos::ALL {
        add(word, pos, Form::Base);
        for lemma in wordnet.irregular_lemmas(word, pos) {
            irregular(word, lemma, pos).into_iter().for_each(|form| add(lemma, pos, form));
        }
    }

    for (pos, form, ending, instead) in ENDINGS {
        // "mass" and "thus" are no plurals.
        let plural_like = *ending == "s"
            && (word.ends_with("ss") || word.ends_with("us") || word.ends_with("is"));
        let Some(stem) = word.strip_suffix(ending).filter(|stem| stem.len() >= 2 && !plural_like)
        else {
            continue;
        };
        let lemma = format!("{stem}{instead}");
        if inflect(&lemma, *pos, *form, wordnet).is_some_and(|forms| forms != word) {
            continue;
        }
        add(&lemma, *pos, *form);

        if *form == Form::Past {
            add(&lemma, *pos, Form::Participle);
        }
    }

    found
}

/// What forms the irregular `word` is of `lemma`.
fn irregular(word: &str, lemma: &str, pos: Pos) -> Vec<Form> {
    if let Some((_, past, participle)) =
        STRONG.iter().find(|(base, ..)| *base == lemma).filter(|_| pos == Pos::Verb)
    {
        let past = (word == *past).then_some(Form::Past);
        let participle = (word == *participle).then_some(Form::Participle);
        let ing = word.ends_with("ing").then_some(Form::Ing);
        return past.into_iter().chain(participle).chain(ing).collect();
    }
    match pos {
        Pos::Noun => vec![Form::Plural],
        Pos::Verb if word.ends_with("ing") => vec![Form::Ing],
        Pos::Verb if word.ends_with('s') => vec![Form::ThirdPerson],
        Pos::Verb => vec![Form::Past, Form::Participle],
        _ if word.ends_with("est") || word == "best" || word == "worst" || word == "least" => {
            vec![Form::Superlative]
        }
        _ => vec![Form::Comparative],
    }
}

/// The given form of a lemma; `None` where the tables do not decide it or the lemma has no such
/// form.
pub fn inflect(lemma: &str, pos: Pos, form: Form, wordnet: &WordNet) -> Option<String> {
    match (pos, form) {
        (_, Form::Base) => Some(lemma.to_string()),
        (Pos::Noun, Form::Plural) => plural(lemma, wordnet),
        (Pos::Verb, Form::ThirdPerson) => Some(with_s(lemma)),
        (Pos::Verb, Form::Past | Form::Participle) => past(lemma, form, wordnet),
        (Pos::Verb, Form::Ing) => Some(ing(lemma, wordnet)),
        (Pos::Adjective, Form::Comparative | Form::Superlative) => {
            Some(graded(lemma, form, wordnet))
        }

        _ => None,
    }
}

fn plural(lemma: &str, wordnet: &WordNet) -> Option<String> {
    match wordnet.irregular_forms(lemma, Pos::Noun) {
        [] if lemma.ends_with("ics") || lemma.ends_with("ness") => None,
        [] => Some(match lemma.strip_suffix("man").filter(|_| !lemma.ends_with("human")) {
            Some(stem) => format!("{stem}men"),
            None => with_s(lemma),
        }),
        [only] => Some((*only).to_string()),
        _ => None,
    }
}

/// The regular ending -s of nouns and verbs: `boxes`, `studies`, `days`.
fn with_s(lemma: &str) -> String {
    if let Some(stem) = lemma.strip_suffix('y').filter(|stem| !ends_with_vowel(stem)) {
        return format!("{stem}ies");
    }
    let hisses = ["s", "x", "z", "ch", "sh"].iter().any(|ending| lemma.ends_with(ending));
    let echoes =
        matches!(lemma, "go" | "do" | "undergo" | "echo" | "potato" | "tomato" | "hero" | "veto");
    format!("{lemma}{}", if hisses || echoes { "es" } else { "s" })
}

fn past(lemma: &str, form: Form, wordnet: &WordNet) -> Option<String> {
    if let Some((_, past, participle)) = STRONG.iter().find(|(base, ..)| *base == lemma) {
        return Some((if form == Form::Past { *past } else { *participle }).to_string());
    }
    let listed = wordnet.irregular_forms(lemma, Pos::Verb);
    let mut finite = listed.iter().filter(|form| !form.ends_with("ing") && !form.ends_with('s'));
    if let Some(listed) = finite.clone().find(|form| form.ends_with("ed")) {
        return Some((*listed).to_string());
    }

    if finite.next().is_some() {
        return None;
    }
    Some(match lemma.strip_suffix('y').filter(|stem| !ends_with_vowel(stem)) {
        Some(stem) => format!("{stem}ied"),
        None if lemma.ends_with('e') => format!("{lemma}d"),
        None => format!("{lemma}ed"),
    })
}

fn ing(lemma: &str, wordnet: &WordNet) -> String {
    if let Some(listed) =
        wordnet.irregular_forms(lemma, Pos::Verb).iter().find(|form| form.ends_with("ing"))
    {
        return (*listed).to_string();
    }

    if let Some(stem) = lemma.strip_suffix("ie") {
        return format!("{stem}ying");
    }
    match lemma.strip_suffix('e').filter(|stem| !stem.ends_with(['e', 'y', 'o'])) {
        Some(stem) => format!("{stem}ing"),
        None => format!("{lemma}ing"),
    }
}

/// `higher`, `happier`, `bigger`, `more severe`.
fn graded(lemma: &str, form: Form, wordnet: &WordNet) -> String {
    let (ending, adverb) = if form == Form::Comparative { ("er", "more") } else { ("est", "most") };
    match lemma {
        "good" => return (if ending == "er" { "better" } else { "best" }).to_string(),
        "bad" => return (if ending == "er" { "worse" } else { "worst" }).to_string(),
        _ => {}
    }

    let listed =
        wordnet.irregular_forms(lemma, Pos::Adjective).iter().find(|form| form.ends_with(ending));
    if let Some(listed) = listed {
        return (*listed).to_string();
    }

    match (syllables(lemma), lemma.strip_suffix('y').filter(|stem| !ends_with_vowel(stem))) {
        (1 | 2, Some(stem)) => format!("{stem}i{ending}"),
        (1, None) if lemma.ends_with('e') => format!("{}{ending}", &lemma[..lemma.len() - 1]),
        (1, None) => format!("{lemma}{ending}"),
        _ => format!("{adverb} {lemma}"),
    }
}

/// Groups of vowels, a silent final e left out.
fn syllables(word: &str) -> usize {
    let word = word.strip_suffix('e').filter(|stem| stem.len() > 2).unwrap_or(word);
    let vowel = |c: char| "aeiouy".contains(c);
    let starts = word
        .chars()
        .zip(std::iter::once(' ').chain(word.chars()))
        .filter(|(c, p)| vowel(*c) && !vowel(*p));
    starts.count().max(1)
}

fn ends_with_vowel(stem: &str) -> bool {
    stem.ends_with(['a', 'e', 'i', 'o', 'u'])
}

/// Whether a word begins with a vowel sound, so that "an" stands before it.
pub fn takes_an(word: &str) -> bool {
    let mut letters = word.chars();
    let Some(first) = letters.next() else { return false };
    let capitals = word.len() > 1 && word.chars().all(|c| !c.is_lowercase());
    if capitals || letters.next().is_none_or(|c| !c.is_alphabetic()) {
        return "AEFHILMNORSXaefhilmnorsx8".contains(first);
    }
    let word = word.to_lowercase();
    let starts = |list: &[&str]| list.iter().any(|start| word.starts_with(start));
    let silent_h = starts(&["hour", "honest", "honor", "honour", "heir"]);
    let you = starts(&[
        "uni", "use", "usu", "uti", "ura", "ure", "uro", "ute", "eu", "ubi", "one", "once", "ewe",
    ]);
    let un = starts(&["unin", "unim", "unid"]);

    silent_h || (word.starts_with(['a', 'e', 'i', 'o', 'u']) && (!you || un))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::wordnet::english;

    #[test]
    fn forms_are_written() {
        use Form::{Comparative, Ing, Participle, Past, Plural, Superlative, ThirdPerson};
        #[rustfmt::skip]
        let cases = [
            ("study", Pos::Noun, Plural, "studies"), ("box", Pos::Noun, Plural, "boxes"),
            ("day", Pos::Noun, Plural, "days"), ("criterion", Pos::Noun, Plural, "criteria"),
            ("woman", Pos::Noun, Plural, "women"), ("watch", Pos::Verb, ThirdPerson, "watches"),
            ("carry", Pos::Verb, ThirdPerson, "carries"), ("give", Pos::Verb, Past, "gave"),
            ("give", Pos::Verb, Participle, "given"), ("stop", Pos::Verb, Past, "stopped"),
            ("stop", Pos::Verb, Ing, "stopping"), ("use", Pos::Verb, Past, "used"),
            ("use", Pos::Verb, Ing, "using"),
            ("carry", Pos::Verb, Past, "carried"), ("lie", Pos::Verb, Ing, "lying"),
            ("see", Pos::Verb, Ing, "seeing"),
            ("lead", Pos::Verb, Past, "led"), ("high", Pos::Adjective, Comparative, "higher"),
            ("big", Pos::Adjective, Superlative, "biggest"),
            ("early", Pos::Adjective, Comparative, "earlier"),
            ("severe", Pos::Adjective, Comparative, "more severe"),
            ("good", Pos::Adjective, Comparative, "better"),
        ];

        for (lemma, pos, form, expected) in cases {
            assert_eq!(
                inflect(lemma, pos, form, english().unwrap()).as_deref(),
                Some(expected),
                "{lemma} {form:?}"
            );
        }
    }

    #[test]
    fn forms_are_read() {
        #[rustfmt::skip]
        let cases = [
            ("studies", "study", Pos::Noun, Form::Plural),
            ("studies", "study", Pos::Verb, Form::ThirdPerson),
            ("gave", "give", Pos::Verb, Form::Past), ("given", "give", Pos::Verb, Form::Participle),
            ("used", "use", Pos::Verb, Form::Participle), ("running", "run", Pos::Verb, Form::Ing),
            ("higher", "high", Pos::Adjective, Form::Comparative),
            ("quickly", "quickly", Pos::Adverb, Form::Base),
        ];

        for (word, lemma, pos, form) in cases {
            let found = readings(word, english().unwrap());
            let expected = Reading { lemma: lemma.to_string(), pos, form };
            assert!(found.contains(&expected), "{word}: {found:?}");
        }

        assert!(
            readings("mass", english().unwrap()).iter().all(|reading| reading.form == Form::Base)
        );
    }

    #[test]
    fn the_article_follows_the_sound() {
        for word in ["effect", "hour", "MRI", "SSRI", "unusual", "unimportant", "X", "F-test"] {
            assert!(takes_an(word), "an {word}");
        }
        for word in ["dose", "use", "unit", "European", "one", "UK", "history", "T"] {
            assert!(!takes_an(word), "a {word}");
        }
    }
}
