//! Elements of an XML file, cut out by byte search.
//!
//! A dump is many records inside one root element. Running an XML parser over all of it on one
//! thread would cost as much as parsing the records, so a [`Cutter`] looks for the open and close
//! tags of the elements asked for and hands over their bytes; whoever parses them finds out whether
//! the inside is well-formed. A literal `</name>` inside a record's text is escaped
//! (`&lt;/name&gt;`), so the first close tag is the right one. Comments and CDATA sections
//! *between* records are skipped as such.
//!
//! Damage is contained: an open tag met inside an unclosed element of the same name ends the
//! damaged stretch (so many elements that are not closed are as many refusals), a close tag that
//! closes nothing tells of an open tag that was lost, a comment that is never closed hides no
//! records, an element above the size limit is passed over up to its end, and a file that stops
//! early still gives every element that was whole.

use std::borrow::Cow;
use std::io::{BufRead, ErrorKind};

use memchr::{memchr, memmem};

use super::Broken;

/// How much of a refused stretch is handed over as its bytes.
const SAMPLE_BYTES: usize = crate::flow::books::KEPT_BYTES;

/// Longest open tag that is read as one.
const MAX_TAG_BYTES: usize = 1 << 14;

/// What a [`Cutter`] found next.
#[derive(Debug, PartialEq)]
pub(super) enum Cut {
    /// The open tag of a root element that is not itself one of the names asked for, from `<` to
    /// `>`.
    Root(Vec<u8>),
    /// A whole element: which name it has (its place in the list), where it begins, its bytes with
    /// both tags.
    Element {
        /// Where in the list of names.
        name: usize,
        /// Where it begins, in bytes of the input.
        offset: u64,
        /// From the open tag to the close tag.
        bytes: Vec<u8>,
    },
    /// A damaged or oversized stretch; cutting goes on behind it.
    Refused(Broken),
    /// The input is used up; `Some` when it ended where an XML file cannot end.
    End(Option<Broken>),
}

/// How the input ended.
#[derive(Debug)]
enum Source {
    Open,
    Ended,
    Failed(&'static str, String),
}

/// Where in the document the cutter is.
#[derive(Debug, PartialEq)]
enum Where {
    BeforeRoot,
    Inside,
    AfterRoot,
}

/// Cuts the elements called `names` out of `input`.
pub(super) struct Cutter<'a> {
    input: &'a mut dyn BufRead,
    names: &'a [&'a str],
    max_bytes: usize,
    buffer: Vec<u8>,
    /// Start of the part of `buffer` not used yet.
    at: usize,
    /// Offset of `buffer[0]` in the input.
    base: u64,
    source: Source,
    place: Where,
    root: Vec<u8>,
    /// Offset behind what was handed over last.
    handed_over: u64,
    /// A comment or the like was never closed: none is skipped any more.
    unclosed: bool,
    /// A name and the place in the input before which it is known not to close: elements that are
    /// not closed would each be searched to the same end.
    not_closed: (usize, u64),
}

impl<'a> Cutter<'a> {
    /// A cutter at the start of `input`; elements longer than `max_bytes` are refused.
    pub(super) fn new(input: &'a mut dyn BufRead, names: &'a [&'a str], max_bytes: usize) -> Self {
        let (buffer, max_bytes) = (Vec::with_capacity(1 << 16), max_bytes.max(1));
        let (source, place, root) = (Source::Open, Where::BeforeRoot, Vec::new());
        let (at, base, handed_over, unclosed, not_closed) = (0, 0, 0, false, (0, 0));
        Cutter {
            input,
            names,
            max_bytes,
            buffer,
            at,
            base,
            source,
            place,
            root,
            handed_over,
            unclosed,
            not_closed,
        }
    }

    /// Name of the root element, empty before it was met.
    pub(super) fn root(&self) -> &[u8] {
        &self.root
    }

    /// The next thing in the file. After [`Cut::End`] it is `End(None)` for ever.
    pub(super) fn next(&mut self) -> Cut {
        loop {
            if !self.seek_markup() {
                return self.finish();
            }
            self.want(64 + self.root.len());
            let head = &self.buffer[self.at..];
            if let Some(close) = closes_with(head).filter(|_| !self.unclosed) {
                if let Some(refused) = self.skip_section(close) {
                    return refused;
                }
            } else if head.starts_with(b"<!") && self.place != Where::Inside {
                self.skip_declaration();
            } else if let Some(name) = self.name_here() {
                if self.place != Where::Inside {
                    self.place = Where::AfterRoot;
                    self.root = self.names[name].as_bytes().to_vec();
                }
                return self.element(name);
            } else if self.place == Where::Inside {
                if self.root_closes_here() {
                    self.place = Where::AfterRoot;
                    self.skip_past(b">");
                } else if let Some(length) = self.stray_close() {
                    return self.lost_open(length);
                } else {
                    self.at += 1;
                }
            } else if self.buffer.get(self.at + 1).is_some_and(|&byte| is_name_start(byte)) {
                match self.take_root() {
                    Some(tag) => return Cut::Root(tag),
                    None => return self.finish(),
                }
            } else if self.buffer.len() - self.at == 1 {
                return self.finish();
            } else {
                self.at += 1;
            }
        }
    }

    fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Reads one more piece of the input; false at its end.
    fn fill(&mut self) -> bool {
        if !matches!(self.source, Source::Open) {
            return false;
        }
        if self.at > 1 << 16 && self.at > self.buffer.len() / 2 {
            self.buffer.drain(..self.at);
            self.base += self.at as u64;
            self.at = 0;
        }

        loop {
            match self.input.fill_buf() {
                Ok([]) => {
                    self.source = Source::Ended;
                    return false;
                }
                Ok(bytes) => {
                    let n_bytes = bytes.len();
                    self.buffer.extend_from_slice(bytes);
                    self.input.consume(n_bytes);
                    return true;
                }

                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let cut_off = error.kind() == ErrorKind::UnexpectedEof;
                    let reason = if cut_off { "truncated" } else { "corrupt_stream" };
                    self.source = Source::Failed(reason, error.to_string());
                    return false;
                }
            }
        }
    }

    /// Has at least `n_bytes` unused bytes in the buffer, unless the input ends before.
    fn want(&mut self, n_bytes: usize) {
        while self.buffer.len() - self.at < n_bytes && self.fill() {}
    }

    /// Goes to the next `<`; false when there is none. Before the root, text means that this is no
    /// XML.
    fn seek_markup(&mut self) -> bool {
        loop {
            if self.place != Where::Inside {
                // Again for what is read then: white space may go on, however the input arrives.
                while self.buffer.get(self.at).is_none_or(u8::is_ascii_whitespace) {
                    let rest = &self.buffer[self.at..];
                    self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                    self.want(4);
                    if self.at == self.buffer.len() {
                        break;
                    }
                }

                self.want(4);
                let rest = &self.buffer[self.at..];

                if rest.starts_with(b"\xEF\xBB\xBF") {
                    self.at += 3;
                    continue;
                }

                if rest.first().is_some_and(|byte| *byte != b'<' && !byte.is_ascii_whitespace()) {
                    return false;
                }
            }
            let rest = &self.buffer[self.at..];
            match memchr(b'<', rest) {
                Some(distance) => {
                    self.at += distance;
                    return true;
                }
                None if self.place == Where::Inside => self.at = self.buffer.len(),
                None => {}
            }
            if !self.fill() {
                return false;
            }
        }
    }

    /// Goes behind a comment, a CDATA section or an instruction that ends with `close`. One between
    /// records that is not closed within `max_bytes`, though records follow, is refused and the
    /// records are looked at.
    fn skip_section(&mut self, close: &[u8]) -> Option<Cut> {
        if self.place != Where::Inside {
            self.skip_past(close);
            return None;
        }

        let mut searched = 0;
        loop {
            if let Some(distance) = memmem::find(&self.buffer[self.at + searched..], close) {
                self.at += searched + distance + close.len();
                return None;
            }
            searched = (self.buffer.len() - self.at).saturating_sub(close.len() - 1);
            if searched >= self.max_bytes || !self.fill() {
                break;
            }
        }

        let open = |name: &&str| {
            memmem::find(&self.buffer[self.at..], format!("<{name}").as_bytes()).is_some()
        };
        if !self.names.iter().any(open) {
            self.skip_past(close);
            return None;
        }

        self.unclosed = true;
        let detail = format!("no `{}` closes what opens here", String::from_utf8_lossy(close));
        Some(self.refuse(2, "malformed", detail))
    }

    /// Length of a close tag that begins here and has a name asked for: outside of such an element
    /// it closes nothing.
    fn stray_close(&self) -> Option<usize> {
        let head = self.buffer[self.at..].strip_prefix(b"</")?;
        // At the very end it may be the beginning of a longer name, such as the root's.
        let ends = |name: &&&str| head.len() > name.len() && ends_name(head, name.len());
        self.names
            .iter()
            .find(|name| head.starts_with(name.as_bytes()) && ends(name))
            .map(|name| 2 + name.len())
    }

    /// Refuses what lies between the element before and a close tag that closes nothing.
    fn lost_open(&mut self, length: usize) -> Cut {
        let offset = self.handed_over;
        let start = usize::try_from(offset.saturating_sub(self.base)).unwrap_or(0).min(self.at);
        let close = String::from_utf8_lossy(&self.buffer[self.at..self.at + length]).into_owned();
        self.at += length;
        let bytes = self.buffer[start..self.at].iter().copied().take(SAMPLE_BYTES).collect();
        self.handed_over = self.offset();

        Cut::Refused(Broken {
            bytes,
            ..Broken::new(offset, "malformed", format!("`{close}>` closes nothing"))
        })
    }

    /// Goes behind the next `needle`, or to the end.
    fn skip_past(&mut self, needle: &[u8]) {
        loop {
            if let Some(distance) = memmem::find(&self.buffer[self.at..], needle) {
                self.at += distance + needle.len();
                return;
            }
            self.at = self.at.max(self.buffer.len().saturating_sub(needle.len() - 1));
            if !self.fill() {
                self.at = self.buffer.len();
                return;
            }
        }
    }

    /// Goes behind a `<!DOCTYPE ...>`, with or without an internal subset in brackets.
    fn skip_declaration(&mut self) {
        let mut brackets = 0_i32;
        loop {
            while self.at < self.buffer.len() {
                let byte = self.buffer[self.at];
                self.at += 1;
                match byte {
                    b'[' => brackets += 1,
                    b']' => brackets -= 1,
                    b'>' if brackets <= 0 => return,
                    _ => {}
                }
            }
            if !self.fill() {
                return;
            }
        }
    }

    /// The name asked for whose open tag begins here.
    fn name_here(&self) -> Option<usize> {
        let head = &self.buffer[self.at + 1..];
        // One byte rules nearly every other tag out.
        let begins = |name: &str| {
            head.first() == name.as_bytes().first() && head.starts_with(name.as_bytes())
        };
        self.names.iter().position(|name| begins(name) && ends_name(head, name.len()))
    }

    fn root_closes_here(&self) -> bool {
        let head = &self.buffer[self.at + 1..];
        let end = 1 + self.root.len();
        head.first() == Some(&b'/')
            && head[1..].starts_with(&self.root)
            && head.len() > end
            && ends_name(head, end)
    }

    /// Takes the open tag of the root; `None` when the input ends inside it.
    fn take_root(&mut self) -> Option<Vec<u8>> {
        let length = self.tag_length()?;
        let tag = self.buffer[self.at..self.at + length].to_vec();
        self.at += length;
        let name = tag[1..]
            .iter()
            .take_while(|&&byte| !matches!(byte, b'>' | b'/') && !byte.is_ascii_whitespace());
        self.root = name.copied().collect();
        self.place = if tag.ends_with(b"/>") { Where::AfterRoot } else { Where::Inside };
        self.handed_over = self.offset();

        Some(tag)
    }

    /// Length of the tag that begins here, up to and with its `>`, when that comes within
    /// [`MAX_TAG_BYTES`].
    fn tag_length(&mut self) -> Option<usize> {
        loop {
            let head = &self.buffer[self.at..];
            let head = &head[..head.len().min(MAX_TAG_BYTES)];
            match memchr(b'>', head) {
                Some(place) => return Some(place + 1),
                None if head.len() == MAX_TAG_BYTES || !self.fill() => return None,
                None => {}
            }
        }
    }

    /// Cuts the element `name` that begins here.
    fn element(&mut self, name: usize) -> Cut {
        if let Some(length) =
            self.tag_length().filter(|length| self.buffer[self.at + length - 2] == b'/')
        {
            return self.take(name, length);
        }

        let close = format!("</{}", self.names[name]);
        let finder = memmem::Finder::new(close.as_bytes());
        let known = if self.not_closed.0 == name {
            self.not_closed.1.saturating_sub(self.offset())
        } else {
            0
        };
        let mut searched = usize::try_from(known).unwrap_or(0);

        loop {
            let record = &self.buffer[self.at..];
            let window = record.len().min(self.max_bytes);
            match finder.find(&record[searched.min(window)..window]) {
                Some(distance) => {
                    let found = searched + distance;
                    let Some(length) = self.close_length(found, close.len()) else {
                        searched = found + close.len();
                        continue;
                    };
                    self.not_closed = (name, self.offset() + found as u64);
                    return self.whole(name, found + length);
                }
                None => searched = window.saturating_sub(close.len() - 1).max(searched),
            }
            let is_full = window == self.max_bytes;
            if is_full || !self.fill() {
                self.not_closed = (name, self.offset() + searched as u64);
                return match self.opens_again(name, window) {
                    Some(place) => self.refuse_unclosed(name, place),
                    None if is_full => self.oversized(name, &close),
                    None => self.finish(),
                };
            }
        }
    }

    /// Length of the close tag at `found` (from the unused start), or `None` when it belongs to a
    /// longer name.
    fn close_length(&mut self, found: usize, mut length: usize) -> Option<usize> {
        loop {
            match self.buffer.get(self.at + found + length).copied() {
                Some(b'>') => return Some(length + 1),
                Some(byte) if byte.is_ascii_whitespace() => length += 1,
                Some(_) => return None,
                None if self.fill() => {}
                None => return None,
            }
        }
    }

    /// Takes an element of `length` bytes, unless the same name opens again inside it: then what
    /// comes before that is a damaged stretch.
    fn whole(&mut self, name: usize, length: usize) -> Cut {
        match self.opens_again(name, length) {
            Some(place) => self.refuse_unclosed(name, place),
            None => self.take(name, length),
        }
    }

    /// Where the element `name` that begins here opens again within `length` bytes.
    fn opens_again(&self, name: usize, length: usize) -> Option<usize> {
        let open = format!("<{}", self.names[name]);
        let record = &self.buffer[self.at..self.at + length.min(self.buffer.len() - self.at)];
        let mut again = memmem::find_iter(record.get(1..)?, open.as_bytes()).map(|place| place + 1);
        again.find(|&place| ends_name(record, place + open.len()))
    }

    fn refuse_unclosed(&mut self, name: usize, length: usize) -> Cut {
        self.refuse(
            length,
            "malformed",
            format!("`<{}>` is not closed before the next one", self.names[name]),
        )
    }

    fn take(&mut self, name: usize, length: usize) -> Cut {
        let offset = self.offset();
        let bytes = self.buffer[self.at..self.at + length].to_vec();
        self.at += length;
        self.handed_over = self.offset();
        Cut::Element { name, offset, bytes }
    }

    fn refuse(&mut self, length: usize, reason: &'static str, detail: String) -> Cut {
        let offset = self.offset();
        let bytes = self.buffer[self.at..self.at + length.min(SAMPLE_BYTES)].to_vec();
        self.at += length;
        self.handed_over = self.offset();
        Cut::Refused(Broken { bytes, ..Broken::new(offset, reason, detail) })
    }

    /// Passes over an element that grew above the limit, up to its close tag or the next open tag.
    fn oversized(&mut self, name: usize, close: &str) -> Cut {
        let start = self.offset();
        let sample = self.buffer[self.at..self.at + SAMPLE_BYTES.min(self.max_bytes)].to_vec();
        let open = format!("<{}", self.names[name]);
        // Nothing closes and nothing opens in what was searched.
        self.at += self.max_bytes.saturating_sub(close.len()).max(1);

        loop {
            let rest = &self.buffer[self.at..];
            let closed = memmem::find(rest, close.as_bytes()).map(|place| (place, true));
            let opened = memmem::find(rest, open.as_bytes()).map(|place| (place, false));
            match [closed, opened].into_iter().flatten().min() {
                Some((place, closes)) => {
                    self.at += place;
                    self.want(close.len() + 2);
                    let length = if closes { close.len() } else { open.len() };

                    if !ends_name(&self.buffer[self.at..], length) {
                        self.at += 1;
                        continue;
                    }

                    if closes {
                        self.skip_past(b">");
                    }
                    break;
                }
                None => self.at = self.at.max(self.buffer.len().saturating_sub(close.len())),
            }
            if !self.fill() {
                self.at = self.buffer.len();
                break;
            }
        }

        let n_bytes = self.offset() - start;
        self.handed_over = self.offset();
        let detail = format!(
            "a `{}` of {n_bytes} bytes is above `max_record_bytes` = {}",
            self.names[name], self.max_bytes
        );
        Cut::Refused(Broken { bytes: sample, ..Broken::new(start, "too_large", detail) })
    }

    /// What the end of the input means, given what is left unused.
    fn finish(&mut self) -> Cut {
        let offset = self.offset();
        let rest = self.buffer.split_off(self.at);
        let blank = rest.iter().all(u8::is_ascii_whitespace);
        let bytes: Vec<u8> = rest.iter().copied().take(SAMPLE_BYTES).collect();
        let broken = |reason, detail: String| {
            Some(Broken { bytes: bytes.clone(), ..Broken::new(offset, reason, detail) })
        };
        let root = String::from_utf8_lossy(&self.root).into_owned();
        let end = match (&self.source, &self.place) {
            (Source::Failed(reason, error), _) => {
                broken(reason, format!("the input cannot be read further: {error}"))
            }
            (_, Where::BeforeRoot) if blank && offset == 0 => {
                broken("wrong_format", "the file is empty".to_owned())
            }
            (Source::Ended, Where::BeforeRoot) if blank || rest.first() == Some(&b'<') => {
                broken("truncated", "the file ends before its root element begins".to_owned())
            }
            (_, Where::BeforeRoot) => {
                broken("wrong_format", "the file does not begin as XML".to_owned())
            }
            (_, Where::AfterRoot) if blank => None,
            (Source::Ended, Where::AfterRoot) if rest.first() == Some(&b'<') => {
                broken("truncated", "the file ends inside a record".to_owned())
            }
            (_, Where::AfterRoot) => {
                broken("malformed", format!("bytes that are no XML after `</{root}>`"))
            }
            (_, Where::Inside) if blank => {
                broken("truncated", format!("the file ends without `</{root}>`"))
            }

            (_, Where::Inside) => broken("truncated", "the file ends inside a record".to_owned()),
        };

        self.source = Source::Ended;
        self.place = Where::AfterRoot;
        self.base = offset;
        self.at = 0;
        self.buffer.clear();

        Cut::End(end)
    }
}

/// What ends a comment, a CDATA section or an instruction, where one begins here.
fn closes_with(head: &[u8]) -> Option<&'static [u8]> {
    if !matches!(head.get(1), Some(b'!' | b'?')) {
        return None;
    }
    [(&b"<!--"[..], &b"-->"[..]), (b"<![CDATA[", b"]]>"), (b"<?", b"?>")]
        .into_iter()
        .find_map(|(open, close)| head.starts_with(open).then_some(close))
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':') || byte >= 0x80
}

/// Whether a name that runs up to `length` in `head` ends there.
fn ends_name(head: &[u8], length: usize) -> bool {
    head.get(length).is_none_or(|&byte| matches!(byte, b'>' | b'/') || byte.is_ascii_whitespace())
}

/// The value of attribute `name` in the open tag `tag`, not unescaped.
pub(super) fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = tag;
    loop {
        let (before, behind) = rest.split_once('=')?;
        let behind = behind.trim_start();
        let Some(quote) = behind.chars().next().filter(|mark| matches!(mark, '"' | '\'')) else {
            rest = behind;
            continue;
        };
        let (value, left) = behind[1..].split_once(quote).unwrap_or((&behind[1..], ""));
        let parted = before
            .trim_end()
            .strip_suffix(name)
            .is_some_and(|space| space.ends_with(char::is_whitespace));
        if parted {
            return Some(value);
        }
        rest = left;
    }
}

/// `bytes` as text, and how many of them were no UTF-8 and became U+FFFD.
pub(super) fn decode(bytes: &[u8]) -> (Cow<'_, str>, u64) {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), 0),
        Err(_) => {
            let replaced = bytes.utf8_chunks().map(|chunk| chunk.invalid().len() as u64).sum();
            (String::from_utf8_lossy(bytes), replaced)
        }
    }
}

/// Text of an element's content: references replaced, CDATA opened, tags and comments left out.
pub(super) fn text(content: Cow<'_, str>) -> Cow<'_, str> {
    let bytes = content.as_bytes();
    let Some(first) = memchr::memchr2(b'<', b'&', bytes) else { return content };
    let mut out = String::with_capacity(content.len());
    out.push_str(&content[..first]);
    let mut at = first;

    while at < bytes.len() {
        let rest = &content[at..];
        let (value, length) = markup(rest);
        out.push_str(value);
        at += length;
        let next =
            memchr::memchr2(b'<', b'&', &bytes[at..]).map_or(bytes.len(), |distance| at + distance);
        out.push_str(&content[at..next]);
        at = next;
    }

    Cow::Owned(out)
}

/// What the markup at the start of `rest` stands for, and its length.
fn markup(rest: &str) -> (&str, usize) {
    for (reference, value) in
        [("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"), ("&quot;", "\""), ("&apos;", "'")]
    {
        if rest.starts_with(reference) {
            return (value, reference.len());
        }
    }

    for (open, close) in [("<![CDATA[", "]]>"), ("<!--", "-->")] {
        if let Some(inside) = rest.strip_prefix(open) {
            let end = memmem::find(inside.as_bytes(), close.as_bytes()).unwrap_or(inside.len());
            let value = if open == "<![CDATA[" { &inside[..end] } else { "" };
            return (value, rest.len().min(open.len() + end + close.len()));
        }
    }

    if rest.starts_with('<') {
        return ("", memchr(b'>', rest.as_bytes()).map_or(rest.len(), |place| place + 1));
    }
    ("&", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each is a record that is lost, and none is searched to the end of the file again.
    #[test]
    fn elements_that_are_not_closed_are_as_many_refusals() {
        for end in ["", "<page>last</page></mediawiki>"] {
            let text = format!("<mediawiki>{}{end}", "<page><title>a</title>\n".repeat(20_000));
            let mut input = text.as_bytes();
            let mut cutter = Cutter::new(&mut input, &["page"], 1 << 26);
            let (mut refused, mut whole) = (0, 0);

            loop {
                match cutter.next() {
                    Cut::Refused(_) | Cut::End(Some(_)) => refused += 1,
                    Cut::Element { .. } => whole += 1,
                    Cut::Root(_) => {}
                    Cut::End(None) => break,
                }
            }

            assert_eq!((refused, whole), (20_000, usize::from(!end.is_empty())), "{end}");
        }
    }

    #[test]
    fn an_attribute_is_found_by_its_whole_name() {
        let tag = "<a:b xml:id='1' id = \"two\" say=\" id='3' \" empty='' bare=4 last=\"5";
        for (name, value) in [
            ("xml:id", Some("1")),
            ("id", Some("two")),
            ("say", Some(" id='3' ")),
            ("empty", Some("")),
            ("bare", None),
            ("last", Some("5")),
            ("a", None),
            ("d", None),
        ] {
            assert_eq!(attribute(tag, name), value, "{name}");
        }
    }
}
