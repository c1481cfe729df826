//! Tasks in words, behind the text they are about.

use std::collections::{BTreeMap, HashSet};

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::{Task, Tools, broken, concepts, mine};
use crate::draw;
use crate::error::Result;
use crate::text::languages::{is_chinese, is_english};
use crate::text::sentences::sentences;

/// The languages with their wordings.
static LANGUAGES: &[(&str, &str)] =
    &[("en", include_str!("templates/en.toml")), ("zh", include_str!("templates/zh.toml"))];

/// With what probability a text with a title, and one without, is asked as a whole: for its title,
/// how it goes on, both; else for neither (AdaptLLM's).
const WITH_TITLE: [f64; 3] = [0.4, 0.1, 0.4];
const TITLE_ALONE: [f64; 3] = [0.5, 0.0, 0.0];
const WITHOUT_TITLE: [f64; 3] = [0.0, 0.5, 0.0];

/// Wordings in a language, by kind and class.
#[derive(Deserialize)]
pub(super) struct Wordings {
    /// What stands between a question and its answer.
    space: String,
    /// What stands between the members of a list.
    list: String,
    /// What stands between a text and the first task.
    intro: Vec<String>,
    #[serde(flatten)]
    kinds: BTreeMap<String, BTreeMap<String, Vec<[String; 2]>>>,
}

/// A text with its tasks.
pub(super) struct Read {
    pub(super) text: String,
    /// The kinds of tasks, joined by `+`.
    pub(super) kinds: String,
}

/// Reads the wordings.
pub(super) fn wordings() -> Result<BTreeMap<&'static str, Wordings>> {
    let of = |(language, text): &(&'static str, &str)| {
        let wordings = toml::from_str(text).map_err(|cause| broken(cause.message()))?;
        Ok((*language, wordings))
    };
    LANGUAGES.iter().map(of).collect()
}

impl Wordings {
    /// One wording of a class, filled in.
    fn worded(
        &self,
        kind: &str,
        class: &str,
        slots: &[(&str, &str)],
        stream: &mut ChaCha8Rng,
    ) -> Option<String> {
        let all = self.kinds.get(kind)?.get(class).filter(|all| !all.is_empty())?;
        let [question, answer] = &all[draw::next_below(stream, all.len())];
        let (question, answer) = (filled(question, slots), filled(answer, slots));
        let space = if question.ends_with(char::is_whitespace) { "" } else { &self.space };
        Some(format!("{question}{space}{answer}"))
    }
}

/// A wording with what stands in its braces. What is filled in may have braces itself.
fn filled(wording: &str, slots: &[(&str, &str)]) -> String {
    let (mut text, mut rest) = (String::new(), wording);
    while let Some((before, behind)) = rest.split_once('{') {
        text.push_str(before);
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        let value = slots.iter().find(|(slot, _)| *slot == name);
        text.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    text + rest
}

impl Tools<'_> {
    /// A text with tasks behind it; `None` where none can be made.
    pub(super) fn read(
        &self,
        id: &str,
        text: &str,
        language: Option<&str>,
        title: Option<&str>,
        notes: &mut BTreeMap<&'static str, u64>,
    ) -> Option<Read> {
        let language = known(language, notes)?;
        let wordings = self.wordings.get(language)?;
        let mut stream = draw::stream(self.seed, "reading", id.as_bytes());
        let (groups, mut kinds) = self.worded(text, language, &mut stream, notes)?;
        let asked = match groups.is_empty() {
            true => String::new(),
            false => {
                let intro = &wordings.intro[draw::next_below(&mut stream, wordings.intro.len())];
                format!("{intro}{}", groups.join("\n\n"))
            }
        };
        let (whole, as_whole) = self.whole(text, title, wordings, &mut stream);
        for kind in &as_whole {
            *notes.entry(note(kind)).or_default() += 1;
        }
        kinds.extend(as_whole);
        (!kinds.is_empty())
            .then(|| Read { text: format!("{whole}{asked}"), kinds: kinds.join("+") })
    }

    /// The tasks of a text without it; `None` where none can be made.
    pub(super) fn questions(
        &self,
        id: &str,
        text: &str,
        language: Option<&str>,
        notes: &mut BTreeMap<&'static str, u64>,
    ) -> Option<Read> {
        let language = known(language, notes)?;
        let mut stream = draw::stream(self.seed, "reading", id.as_bytes());
        let (groups, kinds) = self.worded(text, language, &mut stream, notes)?;
        (!kinds.is_empty()).then(|| Read { text: groups.join("\n\n"), kinds: kinds.join("+") })
    }

    /// The tasks of a text in words, those of a kind together, in the order of a draw; and their
    /// kinds.
    fn worded(
        &self,
        text: &str,
        language: &str,
        stream: &mut ChaCha8Rng,
        notes: &mut BTreeMap<&'static str, u64>,
    ) -> Option<(Vec<String>, Vec<&'static str>)> {
        let wordings = self.wordings.get(language)?;
        let mut kinds: Vec<&'static str> = Vec::new();
        let mut groups = Vec::new();
        for (kind, tasks) in self.chosen(text, language, &wordings.list, stream, notes) {
            let own: Vec<String> = tasks
                .iter()
                .filter_map(|task| {
                    let choices = task.choices.join(&wordings.list);
                    let slots = [
                        ("first", task.first.as_str()),
                        ("second", &task.second),
                        ("choices", &choices),
                    ];
                    wordings.worded(kind, task.class, &slots, stream)
                })
                .collect();
            if !own.is_empty() {
                *notes.entry(note(kind)).or_default() += own.len() as u64;
                kinds.push(kind);
                // Those of a kind stand together, as examples of one another.
                groups.push(own.join("\n\n"));
            }
        }

        draw::shuffle(&mut groups, stream);
        Some((groups, kinds))
    }

    /// The tasks of a text by kind, a few of each class.
    fn chosen(
        &self,
        text: &str,
        language: &str,
        joint: &str,
        stream: &mut ChaCha8Rng,
        notes: &mut BTreeMap<&'static str, u64>,
    ) -> BTreeMap<&'static str, Vec<Task>> {
        let mut all = mine::usable(text, language);
        if let Some(concepts) = self.concepts {
            all.extend(concepts::asked(text, language, joint, concepts, self.wordnet, stream));
            let before = all.len();
            all.retain(|task| !self.asked.asks(&task.first, &task.second, concepts));
            let left_out = (before - all.len()) as u64;
            if left_out > 0 {
                *notes.entry("tasks left out: probes ask the same").or_default() += left_out;
            }
        }
        draw::shuffle(&mut all, stream);
        let mut seen = HashSet::new();
        all.retain(|task| seen.insert((task.kind, task.first.clone(), task.second.clone())));

        let mut of_class: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut chosen: BTreeMap<&'static str, Vec<Task>> = BTreeMap::new();
        for task in all.into_iter().filter(|task| self.params.has(task.kind)) {
            let n = of_class.entry((task.kind, task.class)).or_default();
            if *n < self.params.per_class {
                *n += 1;
                chosen.entry(task.kind).or_default().push(task);
            }
        }
        chosen
    }

    /// A text as it is asked for its title or how it goes on, and as which of these.
    fn whole(
        &self,
        text: &str,
        title: Option<&str>,
        wordings: &Wordings,
        stream: &mut ChaCha8Rng,
    ) -> (String, Vec<&'static str>) {
        let title = title.map(str::trim).filter(|title| !title.is_empty());
        // Readers put the title before the text.
        let bare = title.and_then(|title| text.trim_start().strip_prefix(title));
        let bare = bare.filter(|rest| rest.is_empty() || rest.starts_with(['\n', '\r']));
        let body = bare.map_or(text, str::trim_start);
        let cut: Vec<usize> =
            sentences(body).into_iter().skip(1).map(|sentence| sentence.start).collect();
        let can_cut = !cut.is_empty() && self.params.has("completion");
        let can_title = bare.is_some() && !body.is_empty() && self.params.has("title");
        let [of_title, of_rest, of_both] = match (can_title, can_cut) {
            (true, true) => WITH_TITLE,
            (true, false) => TITLE_ALONE,
            (false, true) => WITHOUT_TITLE,
            (false, false) => return (text.to_string(), Vec::new()),
        };

        let drawn = draw::next_unit(stream);
        let (as_title, as_rest) = match drawn {
            _ if drawn < of_title => (true, false),
            _ if drawn < of_title + of_rest => (false, true),
            _ if drawn < of_title + of_rest + of_both => (true, true),
            _ => return (text.to_string(), Vec::new()),
        };
        let mut kinds = Vec::new();
        let mut said = if as_title { body.to_string() } else { text.to_string() };
        if as_rest {
            let at = cut[draw::next_below(stream, cut.len())];
            let begins = if as_title { "" } else { &text[..text.len() - body.len()] };
            let first = format!("{begins}{}", body[..at].trim_end());
            let slots = [("first", first.as_str()), ("second", &body[at..])];
            if let Some(worded) = wordings.worded("completion", "completion", &slots, stream) {
                said = worded;
                kinds.push("completion");
            }
        }
        if as_title {
            let slots = [("text", said.as_str()), ("title", title.unwrap_or_default())];
            if let Some(worded) = wordings.worded("title", "title", &slots, stream) {
                said = worded;
                kinds.push("title");
            }
        }
        (said, kinds)
    }
}

/// The language of wordings that a text has; `None`, counted, where there is none.
fn known(language: Option<&str>, notes: &mut BTreeMap<&'static str, u64>) -> Option<&'static str> {
    let why = match language {
        Some(_) if is_english(language) => return Some("en"),
        Some(_) if is_chinese(language) => return Some("zh"),
        Some(_) => "no tasks: neither English nor Chinese",
        None => "no tasks: no language is stated",
    };
    *notes.entry(why).or_default() += 1;
    None
}

/// The note that counts the tasks of a kind.
fn note(kind: &str) -> &'static str {
    match kind {
        "nli" => "tasks: nli",
        "cause_effect" => "tasks: cause_effect",
        "paraphrase" => "tasks: paraphrase",
        "definition" => "tasks: definition",
        "topic" => "tasks: topic",
        "cloze" => "tasks: cloze",
        "which_type" => "tasks: which_type",
        "words_to_text" => "tasks: words_to_text",
        "title" => "tasks: title",
        _ => "tasks: completion",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::KINDS;

    /// Whatever is mined in a language can be worded there, and no wording asks for what is not
    /// known.
    #[test]
    fn every_class_has_wordings() {
        for (language, wordings) in wordings().unwrap() {
            let mut classes: Vec<(&str, &str)> = mine::classes(language);
            classes.extend(
                KINDS
                    .iter()
                    .filter(|kind| wordings.kinds[kind.name].contains_key(kind.name))
                    .map(|kind| (kind.name, kind.name)),
            );
            for (kind, class) in classes {
                let all = &wordings.kinds[kind][class];
                assert!(!all.is_empty(), "{language}: {kind}.{class}");
                for [question, answer] in all {
                    let slots = ["{first}", "{second}", "{choices}", "{text}", "{title}"];
                    let rest = slots
                        .iter()
                        .fold(format!("{question}{answer}"), |text, slot| text.replace(slot, ""));
                    assert!(!rest.contains(['{', '}']), "{language}: {question}");
                }
            }
            for kind in KINDS {
                assert!(wordings.kinds.contains_key(kind.name), "{language}: {}", kind.name);
                assert_eq!(note(kind.name), format!("tasks: {}", kind.name));
            }
        }
    }

    #[test]
    fn what_is_filled_in_may_have_braces() {
        let slots = [("first", "a {second} b"), ("second", "c")];
        assert_eq!(filled("{first}: {second}{other}.", &slots), "a {second} b: c.");
        assert_eq!(filled("no slots", &slots), "no slots");
    }
}
