//! From a text to its [`Node`].

use std::iter::Peekable;
use std::str::CharIndices;

use serde_json::{Number, Value};

use super::{Fault, Node};

/// No expression that a person wrote nests deeper; one that does would exhaust the stack.
const MAX_DEPTH: usize = 100;

/// The expression at the start of `text`, and what follows it.
///
/// # Errors
/// [`Fault::Syntax`].
pub(super) fn parse_start(text: &str) -> Result<(Node, &str), Fault> {
    let mut reader = Reader {
        text,
        characters: text.char_indices().peekable(),
    };
    let node = reader.expression(0)?;
    reader.skip_blanks();
    let at = reader.at();
    Ok((node, &text[at..]))
}

/// The expression that is the whole of `text`.
///
/// # Errors
/// [`Fault::Syntax`].
pub fn parse(text: &str) -> Result<Node, Fault> {
    let (node, rest) = parse_start(text)?;
    if rest.is_empty() {
        return Ok(node);
    }
    Err(Fault::Syntax {
        text: text.to_owned(),
        problem: format!("`{rest}` follows where it should end"),
    })
}

/// Whether `.text` may be written for this member.
pub(super) fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && characters.all(|other| other.is_alphanumeric() || other == '_')
}

struct Reader<'a> {
    text: &'a str,
    characters: Peekable<CharIndices<'a>>,
}

impl Reader<'_> {
    fn expression(&mut self, depth: usize) -> Result<Node, Fault> {
        if depth > MAX_DEPTH {
            return Err(self.fault(format!("it nests deeper than {MAX_DEPTH} levels")));
        }
        let mut node = self.value(depth)?;
        loop {
            self.skip_blanks();
            let lenient = self.rest().starts_with("?.") || self.rest().starts_with("?[");
            if lenient {
                self.characters.next();
            }
            let key = match self.peek() {
                Some('.') => {
                    self.characters.next();
                    let name = self.name();
                    if name.is_empty() {
                        return Err(self.expected("a name behind the `.`"));
                    }
                    Node::Literal(Value::String(name))
                }
                Some('[') => {
                    self.characters.next();
                    let key = self.expression(depth + 1)?;
                    self.expect(']')?;
                    key
                }
                _ => return Ok(node),
            };
            node = Node::Member {
                whole: Box::new(node),
                key: Box::new(key),
                lenient,
            };
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        self.skip_blanks();
        match self.peek() {
            Some('\'') => self.quoted().map(|text| Node::Literal(Value::String(text))),
            Some(digit) if digit.is_ascii_digit() || digit == '-' || digit == '+' => self.number(),
            _ => {
                let name = self.name();
                if name.is_empty() {
                    return Err(self.expected("a value"));
                }
                self.skip_blanks();
                if self.peek() != Some('(') {
                    return match name.to_ascii_lowercase().as_str() {
                        "true" => Ok(Node::Literal(Value::Bool(true))),
                        "false" => Ok(Node::Literal(Value::Bool(false))),
                        "null" => Ok(Node::Literal(Value::Null)),
                        _ => Err(self.expected(&format!("`(` behind `{name}`"))),
                    };
                }
                self.characters.next();
                self.arguments(depth).map(|arguments| Node::Call { name, arguments })
            }
        }
    }

    fn arguments(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut arguments = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(')') {
            self.characters.next();
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(depth + 1)?);
            self.skip_blanks();
            match self.peek() {
                Some(',') => self.characters.next(),
                _ => {
                    self.expect(')')?;
                    return Ok(arguments);
                }
            };
        }
    }

    /// A text in single quotes; two of them inside stand for one.
    fn quoted(&mut self) -> Result<String, Fault> {
        self.characters.next();
        let mut text = String::new();
        loop {
            match self.characters.next() {
                Some((_, '\'')) if self.peek() == Some('\'') => {
                    self.characters.next();
                    text.push('\'');
                }
                Some((_, '\'')) => return Ok(text),
                Some((_, other)) => text.push(other),
                None => return Err(self.fault("a text in single quotes does not end".to_owned())),
            }
        }
    }

    fn number(&mut self) -> Result<Node, Fault> {
        let at = self.at();
        let rest = &self.text[at..];
        let is_part = |character: char| character.is_ascii_alphanumeric() || "+-.".contains(character);
        let end = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
        let number: Option<Number> = serde_json::from_str(rest[..end].trim_start_matches('+')).ok();
        let Some(number) = number else {
            return Err(self.fault(format!("`{}` is no number", &rest[..end])));
        };
        for _ in 0..end {
            self.characters.next();
        }
        Ok(Node::Literal(Value::Number(number)))
    }

    fn name(&mut self) -> String {
        self.skip_blanks();
        let mut name = String::new();
        while let Some(character) = self.peek().filter(|other| other.is_alphanumeric() || *other == '_') {
            name.push(character);
            self.characters.next();
        }
        name
    }

    fn expect(&mut self, sign: char) -> Result<(), Fault> {
        self.skip_blanks();
        match self.peek() {
            Some(found) if found == sign => {
                self.characters.next();
                Ok(())
            }
            _ => Err(self.expected(&format!("`{sign}`"))),
        }
    }

    fn expected(&mut self, wanted: &str) -> Fault {
        let problem = match self.rest() {
            "" => format!("it ends where {wanted} should stand"),
            rest => format!("`{rest}` stands where {wanted} should"),
        };
        self.fault(problem)
    }

    fn fault(&self, problem: String) -> Fault {
        Fault::Syntax {
            text: self.text.to_owned(),
            problem,
        }
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.characters.next();
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.characters.peek().map(|(_, character)| *character)
    }

    fn at(&mut self) -> usize {
        self.characters.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn rest(&mut self) -> &str {
        let at = self.at();
        &self.text[at..]
    }
}
