//! unpacked bytes → UTF-8: which encoding a file has, and a stream of its text.
//!
//! In this order: a byte order mark, the pipeline file's `encoding`, UTF-16 without one where every
//! second byte is zero, an XML declaration, and else the first bytes beyond ASCII, however far down
//! the file they stand: UTF-8 where at least half of them are valid UTF-8, otherwise what chardetng
//! guesses (GBK, Big5, Shift_JIS, EUC-KR, windows-125x, ...).
//!
//! An invalid sequence becomes one U+FFFD and is counted: a marked repair. Nothing behind it is
//! lost.
//!
//! Places: in UTF-8 files the place of a record is exact in the file's own bytes, in spite of byte
//! order mark and repairs. In files of other encodings it is the place in the text as UTF-8.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How much is decoded at once.
const CHUNK: usize = 256 << 10;
/// How much is looked at before an encoding is guessed, from the first byte beyond ASCII on.
const SAMPLE: usize = 256 << 10;
/// How much is looked at for marks, declarations and zero bytes.
const HEAD: usize = 1024;

/// Into how many stretches a sample is cut, at most, for the guess.
const VOTES: usize = 16;

const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// What the decoder tells about the text it gave: places, repairs, and the encoding.
#[derive(Debug, Default)]
pub struct Marks {
    /// Places (in the text, in the file) behind which the two run parallel again, and whether there
    /// was a repair.
    shifts: VecDeque<(u64, u64, bool)>,
    /// The last of them that was passed.
    base: (u64, u64),
    /// Repairs that were passed and not counted yet.
    passed: u64,
    /// The file's encoding, once it is known.
    pub encoding: Option<&'static Encoding>,
}

impl Marks {
    /// The place in the file of a place in the text. Places must be asked for in ascending order.
    pub fn locate(&mut self, place: u64) -> u64 {
        self.pass(place);
        (self.base.1 + place).saturating_sub(self.base.0)
    }

    /// Repairs up to a place in the text that were not counted before.
    pub fn repairs(&mut self, up_to: u64) -> u64 {
        self.pass(up_to);
        std::mem::take(&mut self.passed)
    }

    fn pass(&mut self, place: u64) {
        while let Some((text, file, repair)) =
            self.shifts.front().copied().filter(|shift| shift.0 <= place)
        {
            self.base = (text, file);
            self.passed += u64::from(repair);
            self.shifts.pop_front();
        }
    }
}

/// How far the encoding is known.
enum State {
    /// Nothing was read.
    Fresh,
    /// Only ASCII so far, or nothing but what follows it.
    Ascii,
    Utf8,
    Other(Decoder),
}

/// A stream of bytes as UTF-8 text.
pub struct Utf8<R> {
    input: R,
    state: State,
    label: Option<&'static Encoding>,
    raw: Vec<u8>,
    text: Vec<u8>,
    taken: usize,
    /// Place in the text behind `text`.
    text_end: u64,
    /// Place in the file of `raw[0]`.
    raw_start: u64,
    ended: bool,
    failure: Option<io::Error>,
    marks: Rc<RefCell<Marks>>,
}

impl<R: Read> Utf8<R> {
    /// Decodes `input`; `label` is the encoding where a person said it.
    pub fn new(input: R, label: Option<&'static Encoding>) -> Self {
        Utf8 {
            input,
            state: State::Fresh,
            label,
            raw: Vec::new(),
            text: Vec::new(),
            taken: 0,
            text_end: 0,
            raw_start: 0,
            ended: false,
            failure: None,
            marks: Rc::default(),
        }
    }

    /// Where places, repairs and the encoding show up while reading.
    pub fn marks(&self) -> Rc<RefCell<Marks>> {
        Rc::clone(&self.marks)
    }

    /// Reads on until `raw` holds `n` bytes, the input ends, or it fails.
    fn read_raw(&mut self, n: usize) {
        while self.raw.len() < n && !self.ended {
            let old = self.raw.len();
            self.raw.resize(old.max(n).max(old + CHUNK / 4), 0);
            let read = self.input.read(&mut self.raw[old..]);
            self.raw.truncate(old + *read.as_ref().unwrap_or(&0));

            match read {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => {
                    self.failure = Some(cause);
                    self.ended = true;
                }
            }
        }
    }

    /// Decodes the next stretch into `text`, which is empty.
    fn advance(&mut self) {
        match &self.state {
            State::Fresh => {
                self.read_raw(HEAD);
                self.begin();
            }
            State::Ascii => self.read_raw(1),
            State::Utf8 | State::Other(_) => self.read_raw(CHUNK.min(self.raw.len() + CHUNK / 4)),
        }
        match &self.state {
            State::Fresh | State::Ascii => self.decode_ascii(),
            State::Utf8 => self.decode_utf8(),
            State::Other(_) => self.decode_other(),
        }
    }

    /// Looks at the head for everything that says what the encoding is.
    fn begin(&mut self) {
        if let Some((encoding, n)) = Encoding::for_bom(&self.raw) {
            self.raw.drain(..n);
            if encoding == UTF_8 {
                self.raw_start = n as u64;
                self.mark(false, 0);
            }
            return self.choose(encoding);
        }

        let head = &self.raw[..self.raw.len().min(HEAD)];
        match self.label.or_else(|| wide(head)).or_else(|| declared(head)) {
            Some(encoding) => self.choose(encoding),
            None => self.state = State::Ascii,
        }
    }

    fn choose(&mut self, encoding: &'static Encoding) {
        self.marks.borrow_mut().encoding = Some(encoding);
        self.state = match encoding {
            _ if encoding == UTF_8 => State::Utf8,
            _ => State::Other(encoding.new_decoder_without_bom_handling()),
        };
    }

    fn decode_ascii(&mut self) {
        let n = Encoding::ascii_valid_up_to(&self.raw);
        if n == self.raw.len() {
            self.give_raw();
            return;
        }

        self.text.extend_from_slice(&self.raw[..n]);
        self.raw.drain(..n);
        self.raw_start += n as u64;
        self.text_end += n as u64;
        self.read_raw(SAMPLE);

        self.choose(guess(&self.raw[..self.raw.len().min(SAMPLE)], self.ended));
    }

    /// Hands over all of `raw` as it is.
    fn give_raw(&mut self) {
        std::mem::swap(&mut self.text, &mut self.raw);
        self.raw.clear();
        self.raw_start += self.text.len() as u64;
        self.text_end += self.text.len() as u64;
    }

    fn decode_utf8(&mut self) {
        let mut done = 0;
        loop {
            let (valid, invalid) = match simdutf8::compat::from_utf8(&self.raw[done..]) {
                Ok(_) if done == 0 => return self.give_raw(),
                Ok(rest) => (rest.len(), 0),
                Err(error) => (error.valid_up_to(), error.error_len().unwrap_or(usize::MAX)),
            };
            self.text.extend_from_slice(&self.raw[done..done + valid]);
            self.text_end += valid as u64;
            done += valid;
            // A sequence cut by the end of the chunk waits for its rest; at the end of the file
            // none comes.
            let left = self.raw.len() - done;
            let waits = invalid == usize::MAX && (!self.ended || self.failure.is_some());
            if invalid == 0 || waits || left == 0 {
                break;
            }
            done += invalid.min(left);
            self.repair(done as u64);
        }

        self.raw.drain(..done);
        self.raw_start += done as u64;
    }

    fn decode_other(&mut self) {
        let State::Other(decoder) = &mut self.state else { return };
        let mut done = 0;

        loop {
            let needed = decoder.max_utf8_buffer_length_without_replacement(self.raw.len() - done);
            let old = self.text.len();
            self.text.resize(old + needed.unwrap_or(4 * CHUNK).max(16), 0);
            let (result, read, written) = decoder.decode_to_utf8_without_replacement(
                &self.raw[done..],
                &mut self.text[old..],
                self.ended,
            );
            self.text.truncate(old + written);
            self.text_end += written as u64;
            done += read;
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(_, _) => {
                    self.text.extend_from_slice(REPLACEMENT);
                    self.text_end += REPLACEMENT.len() as u64;
                    self.marks.borrow_mut().shifts.push_back((self.text_end, self.text_end, true));
                }
            }
        }

        self.raw.drain(..done);
    }

    /// Puts U+FFFD in the place of what ends `done` bytes into `raw`.
    fn repair(&mut self, done: u64) {
        self.text.extend_from_slice(REPLACEMENT);
        self.text_end += REPLACEMENT.len() as u64;
        self.mark(true, done);
    }

    fn mark(&self, repair: bool, done: u64) {
        self.marks.borrow_mut().shifts.push_back((self.text_end, self.raw_start + done, repair));
    }
}

impl<R: Read> BufRead for Utf8<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.taken == self.text.len() {
            if self.ended && self.raw.is_empty() {
                return self.failure.take().map_or(Ok(&[]), Err);
            }
            // Half a character before a failure belongs to what was lost, not to the text.
            if self.failure.is_some()
                && self.raw.len() < 4
                && std::str::from_utf8(&self.raw).is_err()
            {
                self.raw.clear();
                continue;
            }

            self.text.clear();
            self.taken = 0;
            self.advance();
        }
        Ok(&self.text[self.taken..])
    }

    fn consume(&mut self, n: usize) {
        self.taken += n;
    }
}

impl<R: Read> Read for Utf8<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let text = self.fill_buf()?;
        let n = text.len().min(buffer.len());
        buffer[..n].copy_from_slice(&text[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// UTF-16 without a mark, where at least three in four bytes of one parity are zero and almost none
/// of the other.
fn wide(head: &[u8]) -> Option<&'static Encoding> {
    let pairs = head.len() / 2;
    if pairs < 2 {
        return None;
    }
    let zeros = |parity: usize| head.chunks_exact(2).filter(|pair| pair[parity] == 0).count();
    let (high_first, low_first) = (zeros(0), zeros(1));

    match () {
        () if low_first * 4 >= pairs * 3 && high_first * 50 <= pairs => Some(UTF_16LE),
        () if high_first * 4 >= pairs * 3 && low_first * 50 <= pairs => Some(UTF_16BE),
        () => None,
    }
}

/// The encoding of an XML declaration. One that says UTF-16 is wrong here, or it could not have
/// been read.
fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let head = head.trim_ascii_start().strip_prefix(b"<?xml")?;
    let declaration = &head[..memchr::memmem::find(head, b"?>")?];
    let at = memchr::memmem::find(declaration, b"encoding")?;
    let value = declaration[at + b"encoding".len()..]
        .trim_ascii_start()
        .strip_prefix(b"=")?
        .trim_ascii_start();
    let (quote, rest) = value.split_first()?;
    let label = &rest[..memchr::memchr(*quote, rest)?];

    Encoding::for_label(label).filter(|encoding| encoding.is_ascii_compatible())
}

/// The encoding of a sample that begins with a byte beyond ASCII.
fn guess(sample: &[u8], complete: bool) -> &'static Encoding {
    if simdutf8::basic::from_utf8(sample).is_ok() {
        return UTF_8;
    }
    let (mut valid, mut invalid) = (0, 0);

    for chunk in sample.utf8_chunks() {
        valid += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        invalid += usize::from(!chunk.invalid().is_empty());
    }
    // The last character of a sample is often cut.
    if valid >= invalid || (invalid == 1 && !complete) {
        return UTF_8;
    }
    vote(sample, complete)
}

/// What chardetng guesses for most of the stretches of a sample: one stray byte spoils one of them,
/// not all.
fn vote(sample: &[u8], complete: bool) -> &'static Encoding {
    let mut votes: Vec<(&'static Encoding, usize)> = Vec::new();
    let mut rest = sample;

    while !rest.is_empty() {
        let least = (sample.len() / VOTES).max(1024).min(rest.len());
        let n = memchr::memchr(b'\n', &rest[least..]).map_or(rest.len(), |at| least + at + 1);
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        detector.feed(&rest[..n], complete || n < rest.len());
        let guess = detector.guess(None, Utf8Detection::Deny);

        match votes.iter_mut().find(|(encoding, _)| *encoding == guess) {
            Some((_, n)) => *n += 1,
            None => votes.push((guess, 1)),
        }

        rest = &rest[n..];
    }
    // Of equals the first one: `max_by_key` takes the last.
    votes.iter().rev().max_by_key(|(_, n)| *n).map_or(UTF_8, |(encoding, _)| encoding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::drip::Drip;
    use proptest::prelude::*;

    fn decode(bytes: &[u8], step: usize) -> (String, u64, &'static str) {
        decode_as(None, bytes, step)
    }

    fn decode_as(
        label: Option<&'static Encoding>,
        bytes: &[u8],
        step: usize,
    ) -> (String, u64, &'static str) {
        let mut stream = Utf8::new(Drip { bytes, step, fails: false }, label);
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        let marks = stream.marks();
        let repairs = marks.borrow_mut().repairs(u64::MAX);
        let encoding = marks.borrow().encoding.map_or("ASCII", Encoding::name);
        (String::from_utf8(text).unwrap(), repairs, encoding)
    }

    fn check(bytes: &[u8], expected: &str, encoding: &str) {
        for step in [1, 7, 1 << 20] {
            assert_eq!(decode(bytes, step), (expected.to_string(), 0, encoding), "step {step}");
        }
    }

    const CHINESE: &str = "第一条　为了保护民事主体的合法权益，调整民事关系，维护社会和经济秩序，根据宪法，制定本法。\n";

    #[test]
    fn encodings_are_told() {
        let utf16 = |text: &str, swap: bool| -> Vec<u8> {
            text.encode_utf16()
                .flat_map(|unit| if swap { unit.to_be_bytes() } else { unit.to_le_bytes() })
                .collect()
        };
        check(b"plain", "plain", "ASCII");
        check("naïve".as_bytes(), "naïve", "UTF-8");
        check("\u{FEFF}naïve".as_bytes(), "naïve", "UTF-8");
        check(&utf16("\u{FEFF}中文", false), "中文", "UTF-16LE");
        check(&utf16("\u{FEFF}中文", true), "中文", "UTF-16BE");
        check(
            &utf16("<?xml version='1.0' encoding='UTF-16'?><a/>", false),
            "<?xml version='1.0' encoding='UTF-16'?><a/>",
            "UTF-16LE",
        );
        check(&utf16("plain text", true), "plain text", "UTF-16BE");
        check(
            b"<?xml version='1.0' encoding=\"iso-8859-2\"?>\xb1",
            "<?xml version='1.0' encoding=\"iso-8859-2\"?>ą",
            "ISO-8859-2",
        );
        check(&encoding_rs::GB18030.encode(CHINESE).0, CHINESE, "GBK");
        check(
            &encoding_rs::WINDOWS_1252.encode("Là-bas, où l’été était déjà passé, près du café").0,
            "Là-bas, où l’été était déjà passé, près du café",
            "windows-1252",
        );
    }

    #[test]
    fn a_long_ascii_head_does_not_decide() {
        let text = format!("{}{CHINESE}", "id,department,text\n".repeat(100_000));
        let bytes = encoding_rs::GBK.encode(&text).0.into_owned();
        assert_eq!(decode(&bytes, 65_536), (text, 0, "GBK"));
    }

    #[test]
    fn invalid_bytes_are_marked_and_places_stay_true() {
        let bytes = b"\xef\xbb\xbfna\xc3\xafve \xff\xfe caf\xc3\xa9 \xe4\xb8 end\xc3";
        for step in [1, 3, 100] {
            let mut stream = Utf8::new(Drip { bytes, step, fails: false }, None);
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "naïve \u{FFFD}\u{FFFD} café \u{FFFD} end\u{FFFD}");
            let marks = stream.marks();
            let mut marks = marks.borrow_mut();

            for (word, repairs) in [("na", 0), ("caf", 2), ("end", 1)] {
                let place = text.find(word).unwrap();
                assert_eq!(marks.repairs(place as u64), repairs, "{word}");
                let file = memchr::memmem::find(bytes, word.as_bytes()).unwrap();
                assert_eq!(marks.locate(place as u64), file as u64, "{word}");
            }

            assert_eq!(marks.repairs(text.len() as u64), 1);
        }
    }

    #[test]
    fn what_was_read_before_a_failure_is_given() {
        let mut stream =
            Utf8::new(Drip { bytes: "中文".as_bytes()[..5].as_ref(), step: 2, fails: true }, None);
        let mut text = Vec::new();
        assert!(stream.read_to_end(&mut text).is_err());
        assert_eq!(text, "中".as_bytes());
    }

    /// Markus Kuhn's stress test: every line is there, whatever it holds. Most of it is invalid, so
    /// a person must say that it is UTF-8.
    #[test]
    fn the_utf8_stress_test_keeps_all_its_lines() {
        let Some(data) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        let bytes =
            std::fs::read(std::path::Path::new(&data).join("nasty-inputs/utf8/UTF-8-test.txt"))
                .unwrap();
        let (text, repairs, encoding) = decode_as(Some(UTF_8), &bytes, 1000);
        assert_eq!((text.as_str(), encoding), (String::from_utf8_lossy(&bytes).as_ref(), "UTF-8"));
        let written = memchr::memmem::find_iter(&bytes, REPLACEMENT).count();
        assert_eq!(repairs as usize, text.matches('\u{FFFD}').count() - written);
    }

    #[test]
    fn chinese_books_are_gb18030() {
        let Some(data) = std::env::var_os("KPIPE_TEST_DATA") else { return };
        for entry in std::fs::read_dir(std::path::Path::new(&data).join("zh-tcm-books")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "gz") {
                let mut bytes = Vec::new();
                flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).unwrap())
                    .read_to_end(&mut bytes)
                    .unwrap();
                let (_, repairs, encoding) = decode(&bytes, 1 << 20);
                assert!(
                    encoding == "GBK" && repairs < 20,
                    "{} {encoding} {repairs}",
                    path.display()
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_steps_give_the_same_text(bytes in proptest::collection::vec(any::<u8>(),
            0..300), step in 1_usize..50) {
            let utf8 = |step| {
                let mut stream = Utf8::new(Drip { bytes: &bytes, step, fails: false }, Some(UTF_8));
                let mut text = Vec::new();
                stream.read_to_end(&mut text).unwrap();
                String::from_utf8(text).unwrap()
            };

            let text = utf8(step);
            prop_assume!(Encoding::for_bom(&bytes).is_none_or(|(encoding, _)| encoding == UTF_8));
            let whole = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            prop_assert_eq!(text, String::from_utf8_lossy(whole));
        }
    }
}
