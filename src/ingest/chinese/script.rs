//! Traditional and simplified characters, by OpenCC's dictionaries of words and characters
//! (`ferrous-opencc`): `头发` is `頭髮`, `出发` is `出發`.

use std::sync::LazyLock;

use ferrous_opencc::OpenCC;
use ferrous_opencc::config::BuiltinConfig;
use serde::{Deserialize, Serialize};

use crate::text::words::is_cjk;

/// The characters that Chinese is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Script {
    /// As each document is written.
    #[default]
    AsIs,
    /// Simplified, as in mainland China.
    Hans,
    /// Traditional, by OpenCC's standard.
    Hant,
}

// Their dictionaries are part of the program; a test makes both.
static TO_HANS: LazyLock<Option<OpenCC>> =
    LazyLock::new(|| OpenCC::from_config(BuiltinConfig::T2s).ok());
static TO_HANT: LazyLock<Option<OpenCC>> =
    LazyLock::new(|| OpenCC::from_config(BuiltinConfig::S2t).ok());

/// A text in a script; `None` where it is written so.
pub(super) fn converted(text: &str, script: Script) -> Option<String> {
    let dictionary = match script {
        Script::AsIs => return None,
        Script::Hans => &TO_HANS,
        Script::Hant => &TO_HANT,
    };
    if !text.contains(is_cjk) {
        return None;
    }
    let other = dictionary.as_ref()?.convert(text);
    (other != text).then_some(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_decide_between_characters() {
        let to = |text: &str, script| converted(text, script).unwrap_or_else(|| text.to_string());
        for (hans, hant) in [
            ("头发干燥，理发后出发，发现皇后在后面。", "頭髮乾燥，理髮後出發，發現皇后在後面。"),
            ("心脏病患者的血压", "心臟病患者的血壓"),
            ("2 台 PCR 仪, ok", "2 臺 PCR 儀, ok"),
        ] {
            assert_eq!(to(hans, Script::Hant), hant);
            assert_eq!(to(hant, Script::Hans), hans);
            assert_eq!(converted(hans, Script::Hans), None);
            assert_eq!(converted(hant, Script::AsIs), None);
        }
        assert_eq!(converted("no characters", Script::Hans), None);
    }
}
