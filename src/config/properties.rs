//! Java's properties format: the syntax of `server.properties`, `meta.properties` and client files.
//!
//! In: the bytes of a file. Out: its entries in order, each with the line it starts on, and every line
//! that is not well-formed. Nothing is dropped here: repeated keys stay, values keep trailing blanks.
//! Bytes that are UTF-8 are read as UTF-8, all others as Latin-1, which is what Java assumes for the file.

use std::fmt::Write as _;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    pub line: usize,
    pub key: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    pub line: usize,
    pub what: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    pub entries: Vec<Property>,
    pub errors: Vec<SyntaxError>,
}

impl Properties {
    pub fn parse(bytes: &[u8]) -> Properties {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
        };
        let mut properties = Properties::default();
        let mut lines = natural_lines(&text).enumerate();
        while let Some((index, first)) = lines.next() {
            let first = first.trim_start_matches(is_blank);
            if first.is_empty() || first.starts_with(['#', '!']) {
                continue;
            }
            let mut logical = first.to_owned();
            while continues(&logical) {
                logical.pop();
                if logical.is_empty() {
                    break; // nothing to continue: the next line stands for itself, and may be a comment
                }
                match lines.next() {
                    Some((_, next)) => logical.push_str(next.trim_start_matches(is_blank)),
                    None => break,
                }
            }
            if !logical.is_empty() {
                properties.take(index + 1, &logical);
            }
        }
        properties
    }

    /// The last value of `key`, as Java's own class keeps it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }

    fn take(&mut self, line: usize, logical: &str) {
        let (key, value) = split(logical);
        match (unescape(key), unescape(value)) {
            (Ok(key), Ok(value)) => self.entries.push(Property { line, key, value }),
            (Err(what), _) | (_, Err(what)) => self.errors.push(SyntaxError { line, what }),
        }
    }
}

/// One line that reads back as this pair.
pub fn line_of(key: &str, value: &str) -> String {
    format!("{}={}", escape(key, true), escape(value, false))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Lines as Java ends them: by `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let ending = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + ending..]);
        Some(&text[..end])
    })
}

/// An odd number of backslashes at the end joins the next line; an even number is escaped backslashes.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// The key ends at the first unescaped `=`, `:` or blank; blanks around one `=` or `:` belong to neither.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .find(|c: char| {
            let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
            escaped = c == '\\' && !escaped;
            ends
        })
        .unwrap_or(line.len());
    let rest = line[end..].trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], value.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Result<String, String> {
    // Java strings are UTF-16, so a character beyond the first plane is written as two \u escapes.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut buffer = [0u16; 2];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = if c != '\\' {
            c
        } else {
            match chars.next() {
                None => break,
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let all_hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                    let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| all_hex);
                    units
                        .push(unit.ok_or_else(|| format!("\\u{digits}: \\u needs four hexadecimal digits"))?);
                    continue;
                }
                Some(other) => other,
            }
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    String::from_utf16(&units).map_err(|_| "a \\u escape is half of a surrogate pair".to_owned())
}

fn escape(text: &str, is_key: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut leading = true;
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\x0c' => out.push_str("\\f"),
            ' ' if is_key || leading => out.push_str("\\ "),
            '=' | ':' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            other => {
                let mut buffer = [0u16; 2];
                for unit in other.encode_utf16(&mut buffer) {
                    write!(out, "\\u{unit:04X}").expect("writing to a string cannot fail");
                }
            }
        }
        leading = leading && c == ' ';
    }
    out
}
