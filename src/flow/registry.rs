//! Components by name: one look-up for all kinds of them, and what a list tells of each.

use crate::error::{Error, Result};

/// What a list tells of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in pipeline files and on the command line.
    pub name: String,
    /// What it is, in one line.
    pub about: String,
    /// The keys that it reads, by their whole names.
    pub keys: Vec<String>,
}

/// The component of a kind that has this name, which `name_of` tells of each.
///
/// # Errors
/// If there is none: the nearest name is suggested, and all are listed.
pub fn find<T: Copy>(
    kind: &str,
    all: &[T],
    name: &str,
    name_of: impl Fn(T) -> &'static str,
) -> Result<T> {
    if let Some(found) = all.iter().copied().find(|one| name_of(*one) == name) {
        return Ok(found);
    }
    let names: Vec<&str> = all.iter().map(|one| name_of(*one)).collect();
    Err(unknown(kind, name, &names))
}

/// An error for a name that no component of a kind has.
pub fn unknown(kind: &str, name: &str, known: &[&str]) -> Error {
    let error = Error::usage(format!("there is no {kind} `{name}`"));
    let near = nearest(name, known.iter().copied(), 0.7);
    let error =
        near.map(|near| format!("did you mean `{near}`?")).into_iter().fold(error, Error::hint);
    error.hint(format!("known here: {}", known.join(", ")))
}

/// The known name nearest to `name`, if its Jaro–Winkler similarity is above `least`.
pub fn nearest<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str>,
    least: f64,
) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > least)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Names in a sentence: `a, b or c`.
pub fn one_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_string(),
        [some @ .., last] => format!("{} or {last}", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let all = ["linear", "cosine"];
        assert_eq!(find("schedule", &all, "cosine", |name| name).unwrap(), "cosine");
        let error = find("schedule", &all, "lineer", |name| name).unwrap_err().to_string();

        for part in [
            "there is no schedule `lineer`",
            "did you mean `linear`?",
            "known here: linear, cosine",
        ] {
            assert!(error.contains(part), "{error}");
        }

        assert!(
            !find("schedule", &all, "x", |name| name)
                .unwrap_err()
                .to_string()
                .contains("did you mean")
        );
        assert_eq!([one_of(&["a"]), one_of(&["a", "b", "c"])], ["a", "a, b or c"]);
    }
}
