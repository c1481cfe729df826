//! Apertium: rule-based translation English → Spanish → English, in child processes.
//!
//! `apt install apertium-eng-spa`. A direction is a pipeline of about a dozen small programs, which
//! Apertium's mode files list. The wrapper script `apertium -z` cannot be talked to sentence by
//! sentence (its `gawk` stage holds the answer back until the next sentence comes), so the mode's
//! own pipeline is started with null flush (`-z`) at every stage; marks at unknown words are off
//! (`-n` to the generator, as the wrapper's `-u`).
//!
//! **Why a pipeline lives for one group of sentences.** The tagger carries state from sentence to
//! sentence: the same 300 sentences in reverse order gave 51 other Spanish sentences (apertium
//! 3.8.3). A group ([`super::GROUP`]) is therefore translated in order by fresh processes, which
//! makes it a pure function of the group, whatever other groups run beside it. Starting costs 0.1
//! s; a group takes about 1 s.
//!
//! **When a child hangs or dies.** The first sentence without an answer is suspected. Its whole
//! process group is killed (`process.rs`) and the group of sentences begins again in fresh
//! processes; a sentence suspected twice is marked as failed and left out, and after [`MAX_FAILED`]
//! such sentences the rest of the group is given up. Which sentences take too long is the one thing
//! in a build that the machine decides: a note and the books say so where it happened.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::rewrite::back_translation::process::{ask, said};
use crate::rewrite::back_translation::{Engine, Probe, RoundTrips};
use crate::rewrite::inflect::takes_an;
use crate::text::words::capitalised;

/// How to get it.
pub const HOW_TO_INSTALL: &str = "apt install apertium apertium-eng-spa";
/// How to do without it.
const WITHOUT: &str = "build without it: `--set negatives.back_translation.engine=none`";
/// Sentences of one group that may fail before the rest of it is given up.
pub const MAX_FAILED: usize = 4;
/// How long the program may take to say its version, and then to translate one sentence.
const TRIAL: Duration = Duration::from_secs(20);

/// The two directions as shell pipelines.
#[derive(Clone, Debug)]
pub struct Apertium {
    there: String,
    back: String,
    version: String,
    timeout: Duration,
}

/// Looks whether Apertium and its English–Spanish data are installed and translate a sentence; once
/// in a process.
pub fn probe() -> Probe {
    static FOUND: OnceLock<Probe> = OnceLock::new();
    let look = || {
        let found = locate();
        let is_installed = found.is_ok();
        let found = found.and_then(|found| {
            Apertium::new(found.clone(), TRIAL)
                .try_out()
                .map(|()| found)
                .map_err(|cause| format!("it is installed, but {cause}"))
        });

        Probe {
            engine: "apertium",
            available: found.is_ok(),
            is_broken: is_installed && found.is_err(),
            version: found.as_ref().ok().map(|found| found.version.clone()),
            detail: found.err(),
            how_to_install: HOW_TO_INSTALL,
        }
    };
    FOUND.get_or_init(look).clone()
}

/// What is installed.
#[derive(Clone, Debug)]
struct Installed {
    there: String,
    back: String,
    version: String,
}

fn locate() -> std::result::Result<Installed, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .map(|folder| folder.join("apertium"))
        .find(|file| file.is_file());
    let program = program.ok_or("there is no `apertium` on the PATH")?;
    let data = match std::env::var_os("APERTIUM_DATADIR") {
        Some(folder) => PathBuf::from(folder),
        None => program
            .parent()
            .and_then(Path::parent)
            .unwrap_or(Path::new("/usr"))
            .join("share/apertium"),
    };

    let told = said(&program, "-V", TRIAL)?.trim().replace("Apertium ", "");
    let mut hasher = Xxh3::new();
    let there = pipeline(&data.join("modes/eng-spa.mode"), &mut hasher)?;
    let back = pipeline(&data.join("modes/spa-eng.mode"), &mut hasher)?;
    Ok(Installed { there, back, version: format!("{told} eng-spa {:016x}", hasher.digest()) })
}

/// The pipeline of a mode file with null flush at every stage; hashes the data files it names.
fn pipeline(mode: &Path, hasher: &mut Xxh3) -> std::result::Result<String, String> {
    let text = std::fs::read_to_string(mode)
        .map_err(|cause| format!("cannot read `{}`: {cause}", mode.display()))?;
    for file in text.split('\'').skip(1).step_by(2) {
        hasher.update(
            &std::fs::read(file).map_err(|cause| format!("cannot read `{file}`: {cause}"))?,
        );
    }

    let stages = text.trim().split(" | ").map(|stage| match stage.trim().split_once(' ') {
        Some((program, arguments)) => format!("{program} -z {arguments}"),
        None => format!("{} -z", stage.trim()),
    });
    Ok(stages.collect::<Vec<_>>().join(" | "))
}

impl Apertium {
    /// Opens the installed Apertium and lets it translate one sentence.
    ///
    /// # Errors
    /// If it is not installed or does not answer.
    pub fn open(timeout: Duration) -> Result<Self> {
        let unusable = |cause: String| Error::io("Apertium cannot be used", cause);
        let installed = locate().map_err(|cause| unusable(cause).hint(HOW_TO_INSTALL))?;
        let engine = Apertium::new(installed, timeout);
        engine.try_out().map_err(|cause| unusable(cause).hint(WITHOUT))?;
        Ok(engine)
    }

    fn new(installed: Installed, timeout: Duration) -> Self {
        let Installed { there, back, version } = installed;
        Apertium { there, back, version, timeout }
    }

    /// Translates one sentence; the error says in words what went wrong.
    fn try_out(&self) -> std::result::Result<(), String> {
        let trips = self.translate("en", &["The house is red.".to_string()]);
        match trips.map_err(|error| error.to_string())?.texts.first() {
            Some(Some(_)) => Ok(()),
            _ => Err("it gives no answer to a simple sentence".to_string()),
        }
    }

    /// An engine of two given shell pipelines that read and write sentences ended by NUL.
    pub fn of_pipelines(there: &str, back: &str, timeout: Duration) -> Self {
        let version = "custom pipelines".to_string();
        Apertium { there: there.to_string(), back: back.to_string(), version, timeout }
    }

    /// Translates what is there, in order, beginning again in fresh processes after each failure.
    fn one_way(
        &self,
        pipeline: &str,
        mut sentences: Vec<Option<String>>,
        restarts: &mut u64,
    ) -> Result<Vec<Option<String>>> {
        let mut suspects = vec![0_u8; sentences.len()];
        let mut n_failed = 0;

        loop {
            let live: Vec<usize> =
                (0..sentences.len()).filter(|at| sentences[*at].is_some()).collect();
            let asked: Vec<&str> = live.iter().filter_map(|at| sentences[*at].as_deref()).collect();
            let answers: Vec<String> =
                ask(pipeline, &asked, self.timeout)?.iter().map(|answer| bare(answer)).collect();
            let Some(&suspect) = live.get(answers.len()) else {
                let mut translated = vec![None; sentences.len()];
                live.into_iter()
                    .zip(answers)
                    .for_each(|(at, answer)| translated[at] = Some(answer));
                return Ok(translated);
            };
            *restarts += 1;
            suspects[suspect] += 1;
            if suspects[suspect] < 2 {
                continue;
            }
            n_failed += 1;
            let last = if n_failed >= MAX_FAILED { sentences.len() } else { suspect + 1 };
            sentences[suspect..last].fill(None);
        }
    }
}

impl Engine for Apertium {
    fn name(&self) -> &'static str {
        "apertium"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn takes(&self, language: &str) -> bool {
        language == "en"
    }

    fn translate(&self, _: &str, batch: &[String]) -> Result<RoundTrips> {
        let mut restarts = 0;
        let escaped = batch.iter().map(|sentence| Some(escape(sentence))).collect();
        let spanish = self.one_way(&self.there, escaped, &mut restarts)?;
        let spanish = spanish.into_iter().map(|text| text.map(|text| join_signs(&text))).collect();
        let english = self.one_way(&self.back, spanish, &mut restarts)?;
        let tidy = |(text, source): (Option<String>, &String)| {
            text.map(|text| tidy(&unescape(&text), source))
        };

        Ok(RoundTrips { texts: english.into_iter().zip(batch).map(tidy).collect(), restarts })
    }
}

/// An answer without the mark that ends each sentence.
fn bare(answer: &str) -> String {
    answer.strip_suffix("[]").unwrap_or(answer).to_string()
}

/// One line without control characters, with the characters that mean something to Apertium
/// escaped.
fn escape(sentence: &str) -> String {
    let mut escaped = String::with_capacity(sentence.len() + 8);
    for word in sentence
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
    {
        if !escaped.is_empty() {
            escaped.push(' ');
        }
        for c in word.chars() {
            if "[]{}^$/\\@<>".contains(c) {
                escaped.push('\\');
            }
            escaped.push(c);
        }
    }
    escaped
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

/// Takes out doubled spaces and spaces before a sign, which the transfer rules leave behind.
fn join_signs(text: &str) -> String {
    let mut joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for sign in [".", ",", ";", ":", "!", "?", ")"] {
        joined = joined.replace(&format!(" {sign} "), &format!("{sign} "));
        if let Some(start) = joined.strip_suffix(&format!(" {sign}")) {
            joined = format!("{start}{sign}");
        }
    }
    joined
}

/// The round trip with spaces and capitals as the source has them.
fn tidy(text: &str, source: &str) -> String {
    let source_words: Vec<&str> = crate::text::words::words(source).map(|word| word.text).collect();
    let text = join_signs(text);
    let mut tidied = String::with_capacity(text.len());
    let mut at = 0;

    for (nth, word) in crate::text::words::words(&text).enumerate() {
        tidied.push_str(&text[at..word.start]);
        at = word.start + word.text.len();
        let title = word.text.chars().next().is_some_and(char::is_uppercase)
            && word.text.chars().skip(1).all(char::is_lowercase)
            && word.text.chars().count() > 1;
        let opens = nth == 0 || tidied.trim_end().ends_with(['.', '!', '?', ':']);

        if nth == 0 && source.chars().next().is_some_and(char::is_uppercase) {
            tidied.push_str(&capitalised(word.text));
        } else if title && !opens && !source_words.contains(&word.text) {
            tidied.push_str(&word.text.to_lowercase());
        } else {
            tidied.push_str(word.text);
        }
    }

    tidied.push_str(&text[at..]);
    repair_articles(&tidied, source)
}

/// Chooses "a" or "an" by the next word, except where the source has the same two words.
fn repair_articles(text: &str, source: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_string).collect();
    for at in 1..words.len() {
        let first = words[at].split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
        let wanted = if takes_an(first) { "an" } else { "a" };
        let article = words[at - 1].as_str();
        let wrong = matches!(article, "a" | "an") && article != wanted && !first.is_empty();
        if wrong && !source.contains(&format!("{article} {first}")) {
            words[at - 1] = wanted.to_string();
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_string()).collect()
    }

    /// A fake engine: a shell script that answers each sentence in capitals, dies at "crash" and
    /// sleeps at "hang".
    fn fake(folder: &Path) -> String {
        let script = folder.join("engine.sh");
        let text = "tr '\\0' '\\n' | while IFS= read -r line; do case \"$line\" in *crash*) exit \
                    1;; \
                    *hang*) sleep 600;; *) printf '%s' \"$line\" | tr 'a-z' 'A-Z'; printf '\\0';; \
                    esac; done\n";
        std::fs::write(&script, text).unwrap();
        format!("sh {}", script.display())
    }

    #[test]
    fn a_child_that_hangs_or_dies_costs_only_its_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let back = "cat";
        let engine = Apertium::of_pipelines(&fake(folder.path()), back, Duration::from_millis(400));
        let batch = strings(&["one", "a crash", "two [x]", "a hang", "three"]);
        let RoundTrips { texts: found, restarts } = engine.translate("en", &batch).unwrap();
        let expected = [Some("ONE"), None, Some("TWO [X]"), None, Some("THREE")];
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
        assert_eq!(restarts, 4);
    }

    #[test]
    fn after_too_many_failures_the_rest_is_given_up() {
        let engine = Apertium::of_pipelines("true", "cat", Duration::from_secs(5));
        let found = engine.translate("en", &strings(&["a", "b", "c", "d", "e", "f"])).unwrap();
        assert_eq!(found.texts, vec![None; 6]);
        assert_eq!(found.restarts, 2 * MAX_FAILED as u64);
    }

    #[test]
    fn text_is_escaped_and_tidied() {
        assert_eq!(escape("a\0b [c]\n d/e"), "a b \\[c\\] d\\/e");
        assert_eq!(unescape("\\[c\\] d\\/e\\"), "[c] d/e");
        assert_eq!(tidy("the dog , Was red .", "The dog was red."), "The dog, was red.");
        assert_eq!(tidy("it is an useful dose", "it is a good dose"), "it is a useful dose");
        assert_eq!(tidy("Oral Aspirin (5 %)", "oral Aspirin (5 %)"), "Oral Aspirin (5 %)");
    }

    #[test]
    fn real_apertium_makes_the_round_trip_and_a_group_is_a_pure_function() {
        if !probe().available {
            return;
        }
        let engine = Apertium::open(Duration::from_secs(60)).unwrap();
        let batch = strings(&[
            "The patient drinks <5 [mg] of water.",
            "We found no difference.",
            "The red house is big.",
        ]);
        let found = engine.translate("en", &batch).unwrap().texts;
        assert!(found.iter().all(Option::is_some), "{found:?}");
        let first = found[0].as_deref().unwrap();
        assert!(
            first.contains("patient") && first.contains("<5 [mg]") && !first.contains('*'),
            "{first}"
        );
        let again = Apertium::open(Duration::from_secs(60)).unwrap();
        assert_eq!(again.translate("en", &batch).unwrap().texts, found);
    }
}
