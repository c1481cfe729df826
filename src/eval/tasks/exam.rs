//! Questions with lettered answers, in the two forms that they are asked in (OLMES,
//! arXiv:2406.08446): the letter (MCF), or the whole answer as what follows the question (CF),
//! which small models can do something with.

use super::Item;

/// A question of an exam.
pub(super) struct Question {
    pub(super) id: String,
    pub(super) group: String,
    pub(super) description: String,
    pub(super) text: String,
    pub(super) options: Vec<String>,
    pub(super) gold: usize,
}

/// How a prompt is written.
pub(super) struct Prompt {
    /// Before the question.
    pub(super) question: &'static str,
    /// Before the options, where they are listed.
    pub(super) options: &'static str,
    /// Before the answer.
    pub(super) answer: &'static str,
}

/// What stands for the answers.
pub(super) const LETTERS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];

impl Question {
    /// All options in the prompt, and the letter of the right one behind it.
    pub(super) fn lettered(self, prompt: &Prompt) -> Item {
        let options = LETTERS.iter().zip(&self.options);
        let listed: String =
            options.map(|(letter, option)| format!("{letter}. {option}\n")).collect();
        let context = format!(
            "{}{}\n{}{listed}{}",
            prompt.question, self.text, prompt.options, prompt.answer
        );
        let choices = LETTERS.iter().take(self.options.len()).map(|one| (*one).to_string());
        Item {
            id: self.id,
            group: self.group,
            description: self.description,
            context,
            choices: choices.collect(),
            gold: self.gold,
            ..Item::default()
        }
    }

    /// The question alone, and an option behind it.
    pub(super) fn cloze(self, prompt: &Prompt) -> Item {
        Item {
            id: self.id,
            group: self.group,
            context: format!("{}{}\n{}", prompt.question, self.text, prompt.answer),
            choices: self.options,
            gold: self.gold,
            ..Item::default()
        }
    }
}

/// The number of a letter, from 0.
pub(super) fn number_of(letter: &str) -> Option<usize> {
    LETTERS.iter().position(|one| *one == letter.trim())
}
