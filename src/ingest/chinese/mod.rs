//! Chinese text in one form: one script, one width, without the templates of its kind, and statutes
//! article by article.
//!
//! Each is off until a pipeline file asks for it: `ingest.script` and `ingest.width` for all
//! sources, `split` and `templates` for one. Texts in other languages are left as they are,
//! Japanese and Korean among them, which share characters with Chinese and none of these rules.

mod articles;
mod script;
mod templates;
mod width;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::ingest::Document;
use crate::text::languages::{is_chinese, is_written_chinese};
pub use articles::Split;
pub use script::Script;
pub use templates::{TEMPLATES, Template, check};
pub use width::Width;

/// How Chinese is written: keys of `[ingest]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// The characters.
    pub script: Script,
    /// Letters, digits and punctuation.
    pub width: Width,
}

/// Whether a document is Chinese: by its language, and where none is stated by its characters.
pub(super) fn is_one(document: &Document, stated: Option<&str>) -> bool {
    match document.language.as_deref().or(stated) {
        Some(language) => is_chinese(Some(language)),
        None => is_written_chinese(&document.text),
    }
}

/// Writes a document in one form, and counts what that changed.
pub(super) fn in_form(document: &mut Document, form: Form, templates: &[String]) {
    let mut counts = Vec::new();
    let mut change =
        |text: &mut String, name: &'static str, of: &dyn Fn(&str) -> Option<String>| {
            if let Some(other) = of(text) {
                *text = other;
                counts.push((name.to_string(), 1));
            }
        };
    let owned = |text: Cow<'_, str>| match text {
        Cow::Borrowed(_) => None,
        Cow::Owned(text) => Some(text),
    };

    let text = &mut document.text;
    // Widths first: what templates and articles look for is written in one then.
    change(text, "chinese: of another width", &|text| owned(width::folded(text, form.width)));
    change(text, "chinese: of another script", &|text| script::converted(text, form.script));
    change(text, "chinese: with a template", &|text| templates::cleaned(text, templates));
    if let Some(title) = &mut document.title {
        let folded = width::folded(title, form.width).into_owned();
        *title = script::converted(&folded, form.script).unwrap_or(folded);
    }
    document.counts.extend(counts);
}

/// A document as the parts that its source wants.
pub(super) fn split(document: Document, how: Split) -> Vec<Document> {
    match how {
        Split::Whole => vec![document],
        Split::Articles => articles::split(document),
    }
}
