//! The scanner: validates JSON text (RFC 8259) in one pass, byte by byte where it must and word by word where it can.
//!
//! It keeps one bit per level of nesting and never recurses, so depth is bounded by the text's length alone.
//! Knows nothing of payloads.

use std::ops::Range;

/// What is wrong, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: &'static str,
}

/// A key as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// At the opening quote.
    pub(super) start: usize,
    /// Behind the closing quote.
    pub(super) end: usize,
    /// It has to be unescaped before it is compared.
    pub(super) is_escaped: bool,
}

/// Reads text from front to back. The text has to be UTF-8 for the verdict to be JSON's.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    /// Where it stands.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The byte at which it stands. Past the end it is NUL, which no JSON text contains.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// Skips white space.
    #[inline(always)]
    pub(super) fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Skips white space; nothing may follow.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.fault("something follows the document's end") }
    }

    /// Steps over an opening bracket at which it stands.
    pub(super) fn open(&mut self) {
        self.at += 1;
    }

    /// The next key of an object and its colon, then it stands at the value; none at the object's end, which it steps
    /// over.
    pub(super) fn member(&mut self, is_first: bool) -> Result<Option<Key>, Fault> {
        self.space();
        match self.peek() {
            b'}' => {
                self.at += 1;
                return Ok(None);
            }
            b',' if !is_first => {
                self.at += 1;
                self.space();
            }
            _ if is_first => {}
            _ => return self.fault(MEMBER_OR_END),
        }
        self.key().map(Some)
    }

    /// Steps to an array's next element; false at the array's end, which it steps over.
    pub(super) fn element(&mut self, is_first: bool) -> Result<bool, Fault> {
        self.space();
        match self.peek() {
            b']' => {
                self.at += 1;
                return Ok(false);
            }
            b',' if !is_first => {
                self.at += 1;
                self.space();
            }
            _ if is_first => {}
            _ => return self.fault(ELEMENT_OR_END),
        }
        Ok(true)
    }

    /// Steps over the value at which it stands.
    pub(super) fn value(&mut self) -> Result<Range<usize>, Fault> {
        let start = self.at;
        let mut levels = Levels::default();
        loop {
            let is_open = match self.peek() {
                b'"' => self.string().map(|_| false)?,
                b'{' => self.enter(&mut levels, true)?,
                b'[' => self.enter(&mut levels, false)?,
                _ => self.scalar().map(|()| false)?,
            };
            if !is_open && !self.after_value(&mut levels)? {
                return Ok(start..self.at);
            }
        }
    }

    /// Steps into a container up to its first value; false where it is empty, and it stands behind it.
    #[inline(always)]
    fn enter(&mut self, levels: &mut Levels, is_object: bool) -> Result<bool, Fault> {
        self.at += 1;
        self.space();
        if self.peek() == if is_object { b'}' } else { b']' } {
            self.at += 1;
            return Ok(false);
        }
        levels.push(is_object);
        if is_object {
            self.key()?;
        }
        Ok(true)
    }

    /// Steps over what stands between two values; false where the outermost one ended.
    #[inline(always)]
    fn after_value(&mut self, levels: &mut Levels) -> Result<bool, Fault> {
        while let Some(is_object) = levels.last() {
            self.space();
            match self.peek() {
                b',' => {
                    self.at += 1;
                    self.space();
                    if is_object {
                        self.key()?;
                    }
                    return Ok(true);
                }
                b'}' if is_object => {}
                b']' if !is_object => {}
                _ => return self.fault(if is_object { MEMBER_OR_END } else { ELEMENT_OR_END }),
            }
            self.at += 1;
            levels.pop();
        }
        Ok(false)
    }

    /// A key, its colon and the space behind it.
    #[inline(always)]
    fn key(&mut self) -> Result<Key, Fault> {
        if self.peek() != b'"' {
            return self.fault("a key in double quotes is missing");
        }
        let start = self.at;
        let is_escaped = self.string()?;
        let end = self.at;
        self.space();
        if self.peek() != b':' {
            return self.fault("a colon is missing behind the key");
        }
        self.at += 1;
        self.space();
        Ok(Key { start, end, is_escaped })
    }

    /// Steps over the string at whose opening quote it stands. Whether it has escapes.
    #[inline(always)]
    fn string(&mut self) -> Result<bool, Fault> {
        let mut is_escaped = false;
        self.at += 1;
        loop {
            self.at = plain_end(self.text, self.at);
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(is_escaped);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return self.fault("a control character in a string has to be escaped"),
                None => return self.fault("the string has no end"),
            }
            is_escaped = true;
        }
    }

    #[inline(always)]
    fn escape(&mut self) -> Result<(), Fault> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let is_hex =
                    self.text.get(self.at + 2..self.at + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
                if !is_hex {
                    return self.fault("`\\u` needs four hexadecimal digits");
                }
                self.at += 6;
            }
            _ => return self.fault("no escape begins like this"),
        }
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.fault("a value is missing"),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.text[self.at..].starts_with(word) {
            return self.fault("a value is missing");
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !self.peek().is_ascii_digit() {
            return self.fault("a digit is missing in the number");
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    #[cold]
    fn fault<T>(&self, message: &'static str) -> Result<T, Fault> {
        let message = if self.at < self.text.len() { message } else { "the document ends too early" };
        Err(Fault { at: self.at, message })
    }
}

const MEMBER_OR_END: &str = "a comma or `}` is missing";
const ELEMENT_OR_END: &str = "a comma or `]` is missing";

/// The open containers, one bit each: set for an object.
#[derive(Default)]
struct Levels {
    bits: u64,
    depth: usize,
    below: Vec<u64>,
}

impl Levels {
    #[inline(always)]
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.below.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(is_object);
        self.depth += 1;
    }

    #[inline(always)]
    fn last(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }

    #[inline(always)]
    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.below.pop().unwrap_or_default();
        }
    }
}

/// From `at` on, the first byte that is a quote, a backslash or a control character; else the text's end.
#[inline(always)]
fn plain_end(text: &[u8], mut at: usize) -> usize {
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let marks = special_bytes(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while text.get(at).is_some_and(|&byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

/// The high bit of each byte that is a quote, a backslash or below a space. A borrow can set wrong bits above the
/// lowest one that is right, and only that one counts.
#[inline(always)]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * b' ' as u64) & !word;
    (zero(quote) | zero(backslash) | control) & HIGHS
}

/// A member or an element of a container.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Where the key stands, in an object.
    pub(super) key: Option<Key>,
    /// Where the value stands.
    pub(super) value: Range<usize>,
}

impl Item {
    /// Where it begins: at its key, else at its value.
    pub(super) fn start(&self) -> usize {
        self.key.map_or(self.value.start, |key| key.start)
    }
}

/// The items of the container that begins at a place of valid JSON; none where no container begins there.
pub(super) struct Items<'a> {
    scanner: Scanner<'a>,
    bracket: u8,
    is_first: bool,
}

impl<'a> Items<'a> {
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        let mut scanner = Scanner::new(text, at);
        let bracket = scanner.peek();
        scanner.open();
        Self { scanner, bracket, is_first: true }
    }

    fn read(&mut self) -> Result<Option<Item>, Fault> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        let key = match self.bracket {
            b'{' => match self.scanner.member(is_first)? {
                Some(key) => Some(key),
                None => return Ok(None),
            },
            b'[' if self.scanner.element(is_first)? => None,
            _ => return Ok(None),
        };
        Ok(Some(Item { key, value: self.scanner.value()? }))
    }
}

impl Iterator for Items<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.read().ok().flatten()
    }
}
