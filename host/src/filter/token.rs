//! From text to tokens: words, literals, punctuation and operators, each with its place.

use crate::filter::error::{Fault, shown};
use crate::filter::syntax::Function;

/// A token and its place, in bytes from the start of the filter.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Word(String),
    Text(String),
    Number(f64),
    Operator(Function),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const OPERATORS: &[(&str, Function)] = &[
    ("==", Function::Eq),
    ("!=", Function::Neq),
    (">=", Function::Gte),
    ("<=", Function::Lte),
    ("=", Function::Eq),
    (">", Function::Gt),
    ("<", Function::Lt),
];

/// All tokens of a filter; the last is `End`.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, Fault> {
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_while(char::is_whitespace);
        let token = Token { at: lexer.at, kind: lexer.kind()? };
        let is_last = token.kind == Kind::End;
        tokens.push(token);
        if is_last {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += char.len_utf8();
        Some(char)
    }

    fn take(&mut self, prefix: &str) -> bool {
        let is_there = self.rest().starts_with(prefix);
        self.at += if is_there { prefix.len() } else { 0 };
        is_there
    }

    fn skip_while(&mut self, is_wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|char| !is_wanted(char)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn kind(&mut self) -> Result<Kind, Fault> {
        let Some(first) = self.peek() else { return Ok(Kind::End) };
        match first {
            '\'' | '"' => self.text(first),
            '-' | '.' | '0'..='9' => self.number(),
            _ if is_word_start(first) => Ok(Kind::Word(self.skip_while(is_word_part).to_owned())),
            _ => self.punctuation(first),
        }
    }

    fn punctuation(&mut self, first: char) -> Result<Kind, Fault> {
        if let Some((_, function)) = OPERATORS.iter().find(|(operator, _)| self.take(operator)) {
            return Ok(Kind::Operator(*function));
        }
        let kind = match first {
            '(' => Kind::Open,
            ')' => Kind::Close,
            '[' => Kind::OpenList,
            ']' => Kind::CloseList,
            ',' => Kind::Comma,
            _ => return Err(Fault::new(self.at, format!("`{}` has no meaning", first.escape_debug()))),
        };
        self.at += first.len_utf8();
        Ok(kind)
    }

    /// `12`, `-0.5`, `1e-3`.
    fn number(&mut self) -> Result<Kind, Fault> {
        let start = self.at;
        self.take("-");
        self.skip_while(|char| char.is_ascii_digit() || char == '.');
        if self.take("e") || self.take("E") {
            let _ = self.take("-") || self.take("+");
        }
        self.skip_while(is_word_part);
        let text = self.source.get(start..self.at).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Kind::Number(number)),
            Ok(_) => Err(Fault::new(start, format!("`{}` is too large a number", shown(text)))),
            Err(_) => Err(Fault::new(start, format!("`{}` is no number", shown(text)))
                .hint("put everything that is not a plain number in quotes, such as \"5s\"")),
        }
    }

    fn text(&mut self, quote: char) -> Result<Kind, Fault> {
        let start = self.at;
        self.next();
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.next() {
                None => {
                    return Err(
                        Fault::new(start, "a text starts and does not end").hint(format!("close it with {quote}"))
                    );
                }
                Some('\\') => self.escape(at, &mut text)?,
                Some(char) if char == quote => return Ok(Kind::Text(text)),
                Some(char) => text.push(char),
            }
        }
    }

    /// The escapes of JSON and Python; a backslash before anything else stays, so that `\%` reaches a pattern.
    fn escape(&mut self, at: usize, text: &mut String) -> Result<(), Fault> {
        match self.next() {
            Some(char @ ('\\' | '\'' | '"' | '/')) => text.push(char),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => text.push(self.unicode().ok_or_else(|| {
                Fault::new(at, "`\\u` is no character").hint("it needs four hexadecimal digits, such as \\u00e9")
            })?),
            Some(other) => text.extend(['\\', other]),
            None => {}
        }
        Ok(())
    }

    /// What follows `\u`: one unit of UTF-16, or a pair of surrogates as JSON writes it.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if let Some(char) = char::from_u32(first.into()) {
            return Some(char);
        }
        let second = self.take("\\u").then(|| self.hex()).flatten()?;
        char::decode_utf16([first, second]).next()?.ok()
    }

    fn hex(&mut self) -> Option<u16> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        self.at += 4;
        u16::from_str_radix(digits, 16).ok()
    }
}

fn is_word_start(char: char) -> bool {
    char.is_alphabetic() || char == '_'
}

fn is_word_part(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(source: &str) -> Kind {
        let mut tokens = tokens(source).unwrap();
        assert_eq!(tokens.len(), 2, "{source}");
        tokens.remove(0).kind
    }

    #[test]
    fn numbers_are_read_in_every_form() {
        for (text, number) in
            [("12", 12.0), ("-0.5", -0.5), ("1e3", 1000.0), ("2.5E-2", 0.025), (".5", 0.5), ("1e+2", 100.0)]
        {
            assert_eq!(only(text), Kind::Number(number));
        }
        for text in ["5s", "1.2.3", "1e", "-", "1e999", "0x1"] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }

    #[test]
    fn texts_take_both_quotes_and_escapes() {
        let cases = [
            (r#""it's""#, "it's"),
            (r#"'say "hi"'"#, "say \"hi\""),
            (r#"'it\'s'"#, "it's"),
            (r#""a\\b\n\t\"""#, "a\\b\n\t\""),
            (r#""50\%""#, "50\\%"),
            (r#""\u00e9\ud83d\ude00""#, "é😀"),
        ];
        for (source, text) in cases {
            assert_eq!(only(source), Kind::Text(text.to_owned()));
        }
        for source in [r#""open"#, r#""\u12""#, r#""\ud83d""#, "\"\\"] {
            assert!(tokens(source).is_err(), "{source}");
        }
    }

    #[test]
    fn operators_are_read_at_their_full_length() {
        let kinds: Vec<_> = tokens("a<=1 b!=2 c==3").unwrap().into_iter().map(|token| token.kind).collect();
        for function in [Function::Lte, Function::Neq, Function::Eq] {
            assert!(kinds.contains(&Kind::Operator(function)));
        }
    }
}
