//! `[[internal]]` and `[http://external]` links.

use super::languages;

/// Names of the file namespaces in wikis that do not say their own (old dumps) or use an alias.
static FILES: &[&str] = &[
    "afbeelding",
    "archivo",
    "arquivo",
    "attēls",
    "bestand",
    "bild",
    "datei",
    "dosya",
    "fichier",
    "ficheiro",
    "fil",
    "file",
    "grafika",
    "hình",
    "image",
    "imagem",
    "imagen",
    "immagine",
    "plik",
    "resim",
    "soubor",
    "súbor",
    "tập tin",
    "изображение",
    "картинка",
    "слика",
    "файл",
    "קובץ",
    "תמונה",
    "صورة",
    "ملف",
    "ファイル",
    "画像",
    "图像",
    "圖像",
    "文件",
    "檔案",
    "档案",
    "그림",
    "파일",
];

/// Names of the namespace whose links lead to a file and show their label.
static MEDIA: &[&str] = &[
    "media",
    "medien",
    "medium",
    "média",
    "медиа",
    "медия",
    "медіа",
    "メディア",
    "媒体",
    "媒體",
    "媒体文件",
    "媒體檔案",
    "미디어",
];

/// Names of the category namespace, likewise.
static CATEGORIES: &[&str] = &[
    "categoria",
    "categorie",
    "categoría",
    "category",
    "catégorie",
    "kategori",
    "kategoria",
    "kategorie",
    "kategorija",
    "kategória",
    "luokka",
    "thể loại",
    "категория",
    "категорија",
    "категорія",
    "קטגוריה",
    "تصنيف",
    "カテゴリ",
    "分类",
    "分類",
    "분류",
];

/// Longest target of a link, in bytes. MediaWiki's titles have at most 255.
const MAX_TARGET_BYTES: usize = 400;

/// What a link leaves behind in the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown<'t> {
    /// Nothing.
    Nothing,
    /// The end of its content, from this place on.
    From(usize),
    /// This text.
    Text(&'t str),
    /// It is no link; all its content is text.
    All,
}

/// What `[[content]]` shows; `pipe` is the place of the first `|` of its own.
pub(super) fn internal<'t>(content: &'t str, pipe: Option<usize>, site: &super::Site) -> Shown<'t> {
    let target = &content[..pipe.unwrap_or(content.len())];
    if target.len() > MAX_TARGET_BYTES || target.contains(['\n', '[', ']', '{', '}']) {
        return Shown::All;
    }
    let trimmed = target.trim_matches([' ', super::GAP]);
    let plain = trimmed.strip_prefix(':');

    if plain.is_none() && is_hidden(trimmed, site) {
        return Shown::Nothing;
    }
    let is_media = prefix(trimmed).is_some_and(|prefix| MEDIA.contains(&prefix.as_str()));

    match pipe {
        // The name of a file is no word.
        None if is_media => Shown::Nothing,
        Some(pipe) if content[pipe + 1..].trim_matches([' ', super::GAP]).is_empty() => {
            Shown::Text(pipe_trick(plain.unwrap_or(trimmed)))
        }
        Some(pipe) => Shown::From(pipe + 1),
        None => Shown::Text(plain.unwrap_or(trimmed).trim_start_matches('#')),
    }
}

/// Whether what `target` names is not shown where the link stands: a file, a category, an
/// interlanguage link.
pub(super) fn is_hidden(target: &str, site: &super::Site) -> bool {
    is_media(target, site)
        || prefix(target)
            .is_some_and(|prefix| is_category(&prefix, site) || languages::is_code(&prefix))
}

/// Whether `target` names a file.
pub(super) fn is_media(target: &str, site: &super::Site) -> bool {
    prefix(target)
        .is_some_and(|prefix| FILES.contains(&prefix.as_str()) || site.files.contains(&prefix))
}

fn is_category(prefix: &str, site: &super::Site) -> bool {
    CATEGORIES.contains(&prefix) || site.categories.iter().any(|own| own == prefix)
}

/// What stands before the first `:`, in lower case.
fn prefix(target: &str) -> Option<String> {
    let head = &target.as_bytes()[..target.len().min(64)];
    let colon = memchr::memchr(b':', head)?;
    Some(target[..colon].trim_matches([' ', super::GAP]).replace('_', " ").to_lowercase())
}

/// `[[a (b)|]]` and `[[a, b|]]` show `a`; `[[Help:a|]]` shows `a`.
fn pipe_trick(target: &str) -> &str {
    let target = target.rsplit_once(':').map_or(target, |(_, title)| title);
    let without =
        target.split(['(', '（']).next().filter(|head| !head.trim().is_empty()).unwrap_or(target);
    without.split(", ").next().unwrap_or(without).trim()
}

/// Whether `text` begins with a scheme that makes `[…]` an external link.
pub(super) fn has_scheme(text: &str) -> bool {
    const SCHEMES: &[&str] = &[
        "http://",
        "https://",
        "//",
        "ftp://",
        "ftps://",
        "mailto:",
        "news:",
        "irc://",
        "gopher://",
        "tel:",
        "urn:",
    ];

    let head = text.as_bytes();
    SCHEMES.iter().any(|scheme| {
        head.len() >= scheme.len() && head[..scheme.len()].eq_ignore_ascii_case(scheme.as_bytes())
    })
}

/// Where the label of `[content]` begins; `None` when it has none.
pub(super) fn external_label(content: &str) -> Option<usize> {
    let space = content.find([' ', '\t', '\u{a0}'])?;
    let label = content[space..].trim_start();
    (!label.trim_matches([' ', super::GAP]).is_empty()).then(|| content.len() - label.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::wikitext::Site;

    #[test]
    fn links_show_their_label() {
        let site = Site { files: vec!["fails".to_owned()], ..Site::default() };
        let check = |content: &str, expected: Shown| {
            assert_eq!(internal(content, content.find('|'), &site), expected)
        };
        check("a", Shown::Text("a"));
        check("a|b", Shown::From(2));
        check("a (x)|", Shown::Text("a"));
        check("Help:a, x|", Shown::Text("a"));
        check(":Category:a", Shown::Text("Category:a"));
        check("Category:a", Shown::Nothing);
        check("IMAGE:a.png|thumb|b", Shown::Nothing);
        check("Fails:a.png", Shown::Nothing);
        check("fr:a", Shown::Nothing);
        check("zh-min-nan:a", Shown::Nothing);
        check("Star Trek: a", Shown::Text("Star Trek: a"));
        check("#a", Shown::Text("a"));
        check("a\nb", Shown::All);
    }

    #[test]
    fn an_address_without_a_label_shows_nothing() {
        assert_eq!(external_label("http://a b c"), Some(9));
        assert_eq!(external_label("http://a "), None);
        assert_eq!(external_label("http://a"), None);
        assert!(has_scheme("HTTPS://a") && has_scheme("//a") && !has_scheme("sic"));
    }
}
