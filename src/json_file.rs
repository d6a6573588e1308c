//! Reads a small JSON file that somebody else wrote: ADF's three files, and the outputs.json of a script.
//!
//! Owns what such files have in common: they may be absent, may start with a byte order mark (ADF writes one elsewhere:
//! Azure-DataFactory issue 91), may be UTF-16 (PowerShell and .NET write that readily), and when one is malformed a
//! person needs the line and the column. It knows nothing of what the documents mean, and no message of it ever holds
//! a piece of the file: any value in there may be a secret.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Files above this size are refused unread: 64 MiB. ADF's own limit for a whole activity payload is about 896 KB.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// A place in a file, both counted from 1; the column counts characters, not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a JSON file could not be used. The texts hold the path, a position and what was expected, never file content.
#[derive(Debug, thiserror::Error)]
pub enum JsonFileError {
    /// It exists but cannot be read. The source names the path.
    #[error("cannot read a JSON file")]
    Unreadable(#[source] std::io::Error),
    /// A folder, a pipe or a device stands where the file should be.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path as it was asked for.
        path: PathBuf,
    },
    /// Larger than [`MAX_FILE_BYTES`].
    #[error("`{}` holds {size_bytes} bytes, the limit is {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge {
        /// The path as it was asked for.
        path: PathBuf,
        /// Its size.
        size_bytes: u64,
    },
    /// Neither UTF-8 nor UTF-16 with a byte order mark.
    #[error("`{}` is not valid {encoding} text at {position}", path.display())]
    NotText {
        /// The path as it was asked for.
        path: PathBuf,
        /// `UTF-8` or `UTF-16`.
        encoding: &'static str,
        /// The first bad character.
        position: Position,
    },
    /// No content but white space.
    #[error("`{}` is empty, expected {expected}", path.display())]
    Empty {
        /// The path as it was asked for.
        path: PathBuf,
        /// What should be there, such as `a JSON object`.
        expected: &'static str,
    },
    /// Not JSON.
    #[error("`{}` is not valid JSON at {position}: {problem}", path.display())]
    NotJson {
        /// The path as it was asked for.
        path: PathBuf,
        /// Where the parser stopped.
        position: Position,
        /// The parser's words, such as "expected `,` or `}`".
        problem: String,
    },
    /// JSON, but another kind of value than the one that belongs there.
    #[error("`{}`, {position}: `{pointer}` is {found}, expected {expected}", path.display())]
    WrongShape {
        /// The path as it was asked for.
        path: PathBuf,
        /// Where the value starts.
        position: Position,
        /// Which value, such as `$.typeProperties.extendedProperties` or `$[2]`.
        pointer: String,
        /// Kind of the value found, such as `a string`.
        found: &'static str,
        /// What belongs there, such as `an object`.
        expected: &'static str,
    },
}

/// One step from a value to a value inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The member of an object with exactly this key.
    Key(String),
    /// The element of an array, from 0.
    Index(usize),
}

/// A parsed file, with its text for looking up positions later.
#[derive(Clone, Debug)]
pub struct JsonFile {
    path: PathBuf,
    text: String,
    /// The document.
    pub value: Value,
}

impl JsonFile {
    /// Reads and parses `path`; `None` if there is no such file.
    ///
    /// `expected` completes the message for an empty file, such as `a JSON object`.
    pub fn read(path: &Path, expected: &'static str) -> Result<Option<Self>, JsonFileError> {
        let metadata = match fs_err::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound && fs_err::symlink_metadata(path).is_err() => {
                return Ok(None);
            }
            Err(error) => return Err(JsonFileError::Unreadable(error)),
        };
        if !metadata.is_file() {
            return Err(JsonFileError::NotAFile { path: path.to_owned() });
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(JsonFileError::TooLarge {
                path: path.to_owned(),
                size_bytes: metadata.len(),
            });
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        // One byte more than allowed, so that a file that grew since it was measured is noticed.
        fs_err::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(JsonFileError::Unreadable)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(JsonFileError::TooLarge {
                path: path.to_owned(),
                size_bytes: bytes.len() as u64,
            });
        }
        Self::parse(path, bytes, expected).map(Some)
    }

    /// Parses `bytes` as the content of `path` (which is only named in errors).
    pub fn parse(path: &Path, bytes: Vec<u8>, expected: &'static str) -> Result<Self, JsonFileError> {
        let text = decode(path, bytes)?;
        if text.trim_matches(is_json_space).is_empty() {
            return Err(JsonFileError::Empty {
                path: path.to_owned(),
                expected,
            });
        }
        match serde_json::from_str(&text) {
            Ok(value) => Ok(JsonFile {
                path: path.to_owned(),
                text,
                value,
            }),
            Err(error) => Err(JsonFileError::NotJson {
                path: path.to_owned(),
                position: position_of(&text, &error),
                problem: without_position(&error),
            }),
        }
    }

    /// The path that the document came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The error for a value of the wrong kind at `steps` from the root.
    pub fn wrong_shape(&self, steps: &[Step], found: &Value, expected: &'static str) -> JsonFileError {
        JsonFileError::WrongShape {
            path: self.path.clone(),
            position: self.locate(steps),
            pointer: pointer(steps),
            found: kind_of(found),
            expected,
        }
    }

    /// Where the value at `steps` from the root starts.
    ///
    /// Parses the text a second time: positions are wanted for errors only, and keeping one for each value would double
    /// the memory of a good file.
    fn locate(&self, steps: &[Step]) -> Position {
        let mut deserializer = serde_json::Deserializer::from_str(&self.text);
        let raw = (Locate { steps }).deserialize(&mut deserializer).ok().flatten();
        // A raw value is a slice of the text it was parsed from, so its address tells its offset.
        let offset = raw.map_or(0, |raw| {
            raw.get().as_ptr().addr().saturating_sub(self.text.as_ptr().addr())
        });
        end_of(self.text.get(..offset).unwrap_or(""))
    }
}

/// What kind of JSON value this is, with its article: `a string`, `an object`, `null`.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// `$.a[0].b` for the steps that lead from the root to a value.
pub fn pointer(steps: &[Step]) -> String {
    steps.iter().fold(String::from("$"), |mut text, step| {
        match step {
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
        text
    })
}

fn is_json_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, JsonFileError> {
    let utf16 = |to_unit: fn([u8; 2]) -> u16| {
        let units = bytes[2..].chunks(2).map(|pair| match *pair {
            [first, second] => to_unit([first, second]),
            // Half a unit at the end; an unpaired surrogate is refused below.
            _ => 0xD800,
        });
        let mut text = String::with_capacity(bytes.len());
        for character in char::decode_utf16(units) {
            match character {
                Ok(character) => text.push(character),
                Err(_) => {
                    let position = end_of(&text);
                    return Err(JsonFileError::NotText {
                        path: path.to_owned(),
                        encoding: "UTF-16",
                        position,
                    });
                }
            }
        }
        Ok(text)
    };
    match bytes.as_slice() {
        [0xFF, 0xFE, ..] => utf16(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => utf16(u16::from_be_bytes),
        _ => {
            let mut text = String::from_utf8(bytes).map_err(|error| {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let position = end_of(&String::from_utf8_lossy(valid));
                JsonFileError::NotText {
                    path: path.to_owned(),
                    encoding: "UTF-8",
                    position,
                }
            })?;
            if text.starts_with('\u{FEFF}') {
                text.drain(..'\u{FEFF}'.len_utf8());
            }
            Ok(text)
        }
    }
}

/// The position just behind the last character of `text`.
fn end_of(text: &str) -> Position {
    let last_line = text.rsplit('\n').next().unwrap_or("");
    Position {
        line: text.matches('\n').count() + 1,
        column: last_line.chars().count() + 1,
    }
}

/// serde_json counts columns in bytes, from 1 for the first byte read; people count characters.
fn position_of(text: &str, error: &serde_json::Error) -> Position {
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or("");
    let before = line
        .as_bytes()
        .get(..error.column().saturating_sub(1))
        .unwrap_or(line.as_bytes());
    Position {
        line: error.line().max(1),
        column: String::from_utf8_lossy(before).chars().count() + 1,
    }
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map(|(problem, _)| problem.to_owned())
        .unwrap_or(text)
}

/// Descends along `steps` and returns the text of the value there.
struct Locate<'a> {
    steps: &'a [Step],
}

impl<'de> DeserializeSeed<'de> for Locate<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.steps {
            [] => <&RawValue>::deserialize(deserializer).map(Some),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Locate<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // To the end, not to the first hit: of equal keys the last one counts, and the parser wants its closing brace.
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            match self.steps.split_first() {
                Some((Step::Key(wanted), rest)) if *wanted == key => {
                    found = map.next_value_seed(Locate { steps: rest })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Some((Step::Index(wanted), rest)) = self.steps.split_first() {
            for _ in 0..*wanted {
                seq.next_element::<IgnoredAny>()?;
            }
            found = seq.next_element_seed(Locate { steps: rest })?.flatten();
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(bytes: impl Into<Vec<u8>>) -> Result<JsonFile, JsonFileError> {
        JsonFile::parse(Path::new("a.json"), bytes.into(), "a JSON object")
    }

    #[test]
    fn a_byte_order_mark_is_dropped_in_utf8_and_both_utf16() {
        let text = "{\"é\": \"𝄞\"}";
        let mut utf8 = vec![0xEF, 0xBB, 0xBF];
        utf8.extend(text.as_bytes());
        let mut little = vec![0xFF, 0xFE];
        little.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        let mut big = vec![0xFE, 0xFF];
        big.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
        for bytes in [utf8, little, big] {
            assert_eq!(parse(bytes).unwrap().value, json!({"é": "𝄞"}));
        }
    }

    #[test]
    fn a_missing_comma_is_reported_with_line_and_character_column() {
        let message = parse("{\n \"é\": 1 \"b\": 2}").unwrap_err().to_string();
        assert_eq!(
            message,
            "`a.json` is not valid JSON at line 2, column 9: expected `,` or `}`"
        );
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_where_it_stops_being_so() {
        let message = parse(b"{\n \"a\": \"\xE9\"}".to_vec()).unwrap_err().to_string();
        assert_eq!(message, "`a.json` is not valid UTF-8 text at line 2, column 8");
    }

    #[test]
    fn a_file_of_white_space_is_called_empty() {
        let message = parse(" \r\n").unwrap_err().to_string();
        assert_eq!(message, "`a.json` is empty, expected a JSON object");
    }

    #[test]
    fn the_wrong_kind_of_value_is_located_and_not_quoted() {
        let file = parse("{\"a\": [1,\n  {\"b\": \"hush\"}]}").unwrap();
        let steps = [Step::Key("a".into()), Step::Index(1), Step::Key("b".into())];
        let message = file.wrong_shape(&steps, &json!("hush"), "an object").to_string();
        assert_eq!(
            message,
            "`a.json`, line 2, column 9: `$.a[1].b` is a string, expected an object"
        );
    }

    #[test]
    fn every_kind_of_value_is_located_where_it_starts() {
        for value in ["1", "-2", "1.5", "true", "null", "\"s\"", "[1]", "{\"x\":1}"] {
            let file = parse(format!("{{\"a\": {value}}}")).unwrap();
            let error = file.wrong_shape(&[Step::Key("a".into())], &Value::Null, "x");
            assert!(error.to_string().contains("line 1, column 7"), "{value}: {error}");
        }
    }

    #[test]
    fn an_absent_file_is_none_and_a_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(JsonFile::read(&folder.path().join("no.json"), "x").unwrap().is_none());
        assert!(matches!(
            JsonFile::read(folder.path(), "x"),
            Err(JsonFileError::NotAFile { .. })
        ));
    }

    #[test]
    fn a_dangling_link_is_an_error_and_not_an_absent_file() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("a.json");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(matches!(JsonFile::read(&link, "x"), Err(JsonFileError::Unreadable(_))));
    }

    #[test]
    fn a_file_above_the_limit_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs_err::File::create(&path)
            .unwrap()
            .set_len(MAX_FILE_BYTES + 1)
            .unwrap();
        assert!(matches!(
            JsonFile::read(&path, "x"),
            Err(JsonFileError::TooLarge { .. })
        ));
    }
}
