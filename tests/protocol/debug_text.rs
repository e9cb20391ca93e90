//! Reads the text that `{:?}` makes of a message back as JSON, so that values can be compared field by field with what
//! Java shows of the same bytes.
//!
//! In: structs, vectors, options, strings, numbers and bare words as Rust prints them. Out: the same as a JSON value;
//! names of types are dropped, `None` is null, a bare word (a topic id) is a string.

use serde_json::{Map, Number, Value};

/// The JSON of a debug text.
pub fn parse(text: &str) -> Value {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value();
    assert_eq!(parser.at, text.len(), "text is left behind the value: {}", &text[parser.at..]);
    value
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find([',', ']', '}', ')', '(', '{', ' ', ':']).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn value(&mut self) -> Value {
        if self.eat("[") {
            let mut elements = Vec::new();
            while !self.eat("]") {
                elements.push(self.value());
                self.eat(", ");
            }
            return Value::Array(elements);
        }
        if self.rest().starts_with('"') {
            return Value::String(self.string());
        }
        let word = self.word();
        if word == "Some" && self.eat("(") {
            let value = self.value();
            assert!(self.eat(")"), "Some( without an end");
            return value;
        }
        if self.eat(" { ") {
            let mut fields = Map::new();
            while !self.eat("}") {
                let name = self.word().to_owned();
                assert!(self.eat(": "), "no value for {name}");
                let value = self.value();
                fields.insert(name, value);
                self.eat(", ");
                self.eat(" ");
            }
            return Value::Object(fields);
        }
        match (word, word.parse::<i64>()) {
            ("None", _) => Value::Null,
            ("true", _) => Value::Bool(true),
            ("false", _) => Value::Bool(false),
            (_, Ok(number)) => Value::Number(Number::from(number)),
            (float, Err(_)) if float.contains('.') && float.parse::<f64>().is_ok() => {
                Value::from(float.parse::<f64>().expect("just tried"))
            }
            (bare, Err(_)) => Value::String(bare.to_owned()),
        }
    }

    /// A string without escapes; the golden names have none.
    fn string(&mut self) -> String {
        assert!(self.eat("\""));
        let rest = self.rest();
        let end = rest.find('"').expect("a string ends");
        assert!(!rest[..end].contains('\\'), "an escape in {}", &rest[..end]);
        self.at += end + 1;
        rest[..end].to_owned()
    }
}
