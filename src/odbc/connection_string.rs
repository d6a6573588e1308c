//! `Key=value;Key={value}` read, changed and written; printed only with its values masked.

use std::fmt;

use super::Error;

/// An ODBC connection string: attributes in order, keys whatever their case, the first of equal keys wins (ODBC
/// reference, `SQLDriverConnect`).
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Eq)]
struct Attribute {
    key: String,
    value: String,
    /// The value as it was written. A driver gets its own words back: sqliteodbc, for one, does not know braces.
    written: String,
}

impl ConnectionString {
    /// Reads `Key=value` pairs between semicolons. A value in braces may hold anything; `}}` in it stands for `}`.
    ///
    /// # Errors
    /// [`Error::ConnectionString`] for a pair without `=`, an empty key, or a brace that is not closed. The message
    /// holds keys and positions, never a value.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut attributes = Vec::new();
        let mut rest = text.trim_start_matches('\u{feff}');
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';' || c == '\0');
            if rest.is_empty() {
                return Ok(ConnectionString { attributes });
            }
            let position = attributes.len() + 1;
            // A pair without `=` may be a part of a password, so it is not repeated.
            let (key, after) = rest
                .split_once('=')
                .filter(|(key, _)| !key.contains(';'))
                .ok_or_else(|| Error::ConnectionString(format!("attribute {position} has no `=`")))?;
            let key = key.trim();
            if key.is_empty() {
                return Err(Error::ConnectionString(format!("attribute {position} has no name")));
            }
            let after = after.trim_start_matches([' ', '\t']);
            let value;
            let start = after;
            if let Some(quoted) = after.strip_prefix('{') {
                (value, rest) = braced(quoted)
                    .ok_or_else(|| Error::ConnectionString(format!("the value of `{key}` has an open `{{`")))?;
                rest = rest.trim_start();
                if !rest.is_empty() && !rest.starts_with(';') {
                    return Err(Error::ConnectionString(format!(
                        "the value of `{key}` goes on after its `}}`"
                    )));
                }
            } else {
                let end = after.find(';').unwrap_or(after.len());
                value = after[..end].trim_end().to_owned();
                rest = &after[end..];
            }
            let written = start[..start.len() - rest.len()].trim_end().to_owned();
            attributes.push(Attribute {
                key: key.to_owned(),
                value,
                written,
            });
        }
    }

    /// The value of the first attribute with this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.is(key))
            .map(|attribute| attribute.value.as_str())
    }

    /// Keys and values in order.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes
            .iter()
            .map(|attribute| (attribute.key.as_str(), attribute.value.as_str()))
    }

    /// Keys in order, and their values as they were written, braces and all: what the driver itself gets to see.
    pub fn written(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes
            .iter()
            .map(|attribute| (attribute.key.as_str(), attribute.written.as_str()))
    }

    /// Puts the attribute in front and removes others of that key.
    pub fn set(&mut self, key: &str, value: &str) {
        self.remove(key);
        self.attributes.insert(0, Attribute::new(key, value));
    }

    /// Appends the attribute unless the key is there.
    pub fn set_default(&mut self, key: &str, value: &str) {
        if self.get(key).is_none() {
            self.attributes.push(Attribute::new(key, value));
        }
    }

    /// Removes all attributes of this key.
    pub fn remove(&mut self, key: &str) {
        self.attributes.retain(|attribute| !attribute.is(key));
    }

    /// The values that are secrets, for whoever masks them in what is written.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.attributes
            .iter()
            .filter(|attribute| {
                let key = attribute.key.to_ascii_lowercase();
                SECRET_KEYS.iter().any(|name| key.ends_with(name))
            })
            .map(|attribute| attribute.value.as_str())
    }

    /// The whole string, secrets and all, as the driver manager takes it.
    pub fn reveal(&self) -> String {
        self.attributes
            .iter()
            .map(|attribute| format!("{}={};", attribute.key, attribute.written))
            .collect()
    }
}

impl Attribute {
    /// An attribute that was not in the text; its value is put in braces where it could not stand without.
    fn new(key: &str, value: &str) -> Self {
        let plain = value.trim() == value && !value.starts_with('{') && !value.contains([';', '}']);
        let written = if plain {
            value.to_owned()
        } else {
            format!("{{{}}}", value.replace('}', "}}"))
        };
        Attribute {
            key: key.to_owned(),
            value: value.to_owned(),
            written,
        }
    }

    fn is(&self, key: &str) -> bool {
        self.key.eq_ignore_ascii_case(key)
    }
}

/// The text up to the closing brace with `}}` undone, and what follows the brace.
fn braced(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('}')?;
        value.push_str(before);
        match after.strip_prefix('}') {
            Some(after) => {
                value.push('}');
                rest = after;
            }
            None => return Some((value, after)),
        }
    }
}

/// Keys, or ends of keys, whose values are secrets: passwords of the user, of a certificate's key or a proxy, and tokens.
const SECRET_KEYS: [&str; 5] = ["pwd", "password", "passwd", "token", "secret"];

/// Keys whose values say where a connection goes and hold no secret.
const PUBLIC_KEYS: [&str; 7] = ["driver", "dsn", "server", "servername", "port", "database", "db"];

impl fmt::Display for ConnectionString {
    /// Only driver, server, port and database are printed; every other value is `***`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for attribute in &self.attributes {
            let public = PUBLIC_KEYS.iter().any(|name| attribute.is(name));
            write!(
                f,
                "{}={};",
                attribute.key,
                if public { &attribute.value } else { "***" }
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionString({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_tokens_are_secrets_and_the_rest_is_not() {
        let string =
            ConnectionString::parse("Driver={D};UID=u;PWD={a;}}b};SSLPassword=c;AccessToken=d;Server=s").unwrap();
        assert_eq!(string.secrets().collect::<Vec<_>>(), ["a;}b", "c", "d"]);
    }

    #[test]
    fn braces_hold_semicolons_and_doubled_braces() {
        let string = ConnectionString::parse(" driver = {My Driver} ;PWD={a;b}}c=};UID=me ;").unwrap();
        assert_eq!(string.get("DRIVER"), Some("My Driver"));
        assert_eq!(string.get("pwd"), Some("a;b}c="));
        assert_eq!(string.get("uid"), Some("me"));
        assert_eq!(ConnectionString::parse(&string.reveal()).unwrap(), string);
    }

    #[test]
    fn the_first_of_equal_keys_wins() {
        assert_eq!(ConnectionString::parse("Port=1;PORT=2").unwrap().get("port"), Some("1"));
    }

    #[test]
    fn what_is_printed_holds_no_password() {
        let string = ConnectionString::parse("Driver=x;Server=h;UID=me;PWD=geheim;AccessToken=abc").unwrap();
        assert_eq!(string.to_string(), "Driver=x;Server=h;UID=***;PWD=***;AccessToken=***;");
        assert!(!format!("{string:?}").contains("geheim"));
    }

    #[test]
    fn a_malformed_string_is_refused_without_repeating_it() {
        for text in ["Driver=x;geheim", "Driver=x;PWD={geheim", "=geheim", "PWD={geheim}x"] {
            let message = ConnectionString::parse(text).unwrap_err().to_string();
            assert!(!message.contains("geheim"), "{message}");
        }
    }
}
