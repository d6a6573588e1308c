//! ODBC connection strings as text: taken apart, changed, escaped and written; printed only with their values masked.
//!
//! Grammar: Microsoft's ODBC reference, SQLDriverConnect, "Comments": `keyword=value` parted by `;`; a value in braces is
//! taken as it stands, with a closing brace in it doubled; of equal keywords the first one counts. ADO.NET, whose strings
//! ADF's linked services hold in places, quotes with `"` and `'` instead. Pure text: knows no driver manager, no product.

use std::{borrow::Cow, fmt};

/// What may enclose a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// Braces: ODBC.
    Braces,
    /// Double and single quotes: ADO.NET (SqlConnection.ConnectionString in Microsoft's .NET reference).
    Quotes,
    /// Either, for text of which nobody knows what it is.
    Either,
}

/// One `keyword=value` as it stands in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The keyword without surrounding blanks, in its own case; empty if there is no equals sign.
    pub keyword: &'a str,
    /// The value as written, braces and all, without surrounding blanks.
    pub written: &'a str,
    /// What the value means: braces or quotes taken off, doubled ones halved.
    pub value: Cow<'a, str>,
    /// What is wrong with it, in words that hold nothing of the text but the keyword.
    pub fault: Option<Fault>,
}

/// What is wrong with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Text without an equals sign.
    NoEquals,
    /// An equals sign with nothing before it.
    NoName,
    /// A brace or quote that is not closed; the value is all the rest.
    Open,
    /// Text between the closing brace or quote and the semicolon.
    GoesOn,
}

/// The attributes of a connection string in their order, faulty ones too.
pub fn attributes(text: &str, quoting: Quoting) -> Vec<Attribute<'_>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';' || c == '\0');
        if rest.is_empty() {
            return found;
        }
        let Some(equals) = rest.find(['=', ';']).filter(|&at| rest.as_bytes()[at] == b'=') else {
            found.push(Attribute {
                keyword: "",
                written: "",
                value: Cow::Borrowed(""),
                fault: Some(Fault::NoEquals),
            });
            rest = rest.split_once(';').map_or("", |(_, after)| after);
            continue;
        };
        let keyword = rest[..equals].trim();
        let after = rest[equals + 1..].trim_start();
        let closing = match after.chars().next() {
            Some('{') if quoting != Quoting::Quotes => Some('}'),
            Some(quote @ ('"' | '\'')) if quoting != Quoting::Braces => Some(quote),
            _ => None,
        };
        let (end, closed) = match closing {
            Some(closing) => enclosed_end(after, closing),
            None => (after.find(';').unwrap_or(after.len()), true),
        };
        let (written, behind) = (after[..end].trim_end(), &after[end..]);
        let tail = behind.split(';').next().unwrap_or_default();
        let fault = if !closed {
            Some(Fault::Open)
        } else if keyword.is_empty() {
            Some(Fault::NoName)
        } else if !tail.trim().is_empty() {
            Some(Fault::GoesOn)
        } else {
            None
        };
        found.push(Attribute {
            keyword,
            written,
            value: closing.map_or(Cow::Borrowed(written), |closing| inner(written, closing, closed)),
            fault,
        });
        rest = &behind[tail.len()..];
    }
}

/// Where a value that opens with a brace or quote ends (behind the closing one), and whether it was closed at all.
fn enclosed_end(text: &str, closing: char) -> (usize, bool) {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == closing && characters.next_if(|&(_, next)| next == closing).is_none() {
            return (at + closing.len_utf8(), true);
        }
    }
    (text.len(), false)
}

/// An enclosed value without what encloses it.
fn inner(written: &str, closing: char, closed: bool) -> Cow<'_, str> {
    let inner = written.get(1..).unwrap_or_default();
    let inner = match closed {
        true => inner.strip_suffix(closing).unwrap_or(inner),
        false => inner,
    };
    let doubled = [closing, closing].iter().collect::<String>();
    match inner.contains(&doubled) {
        true => Cow::Owned(inner.replace(&doubled, &closing.to_string())),
        false => Cow::Borrowed(inner),
    }
}

/// A password as it has to stand behind `PWD=`: in braces, closing ones doubled, if it holds any character that the ODBC
/// reference reserves, or blanks at an end; else unchanged.
///
/// `%` and `+` count as reserved because psqlodbc 13.02 decodes a bare password like a URL (`a+b` arrives as `a b`) and
/// takes one in braces as it stands. Tried with psqlodbc 13.02 and MariaDB Connector/ODBC 3.1.15 on real servers; the
/// latter fails on blanks at an end in either form.
pub fn escaped_password(password: &str) -> Cow<'_, str> {
    let is_reserved = password.contains([
        '[', ']', '{', '}', '(', ')', ',', ';', '?', '*', '=', '!', '@', '%', '+',
    ]);
    if is_reserved || password.trim() != password || password.starts_with(['"', '\'']) {
        Cow::Owned(in_braces(password))
    } else {
        Cow::Borrowed(password)
    }
}

/// Any other value as it has to stand behind its equals sign: in braces only if it would end early or not start where it
/// should.
///
/// psqlodbc 13.02 takes the braces around a user name as a part of it, so `user@server` must not get any; there, a name
/// with a semicolon cannot be written at all.
pub fn escaped(value: &str) -> Cow<'_, str> {
    if value.contains(';') || value.starts_with(['{', '"', '\'']) || value.trim() != value {
        Cow::Owned(in_braces(value))
    } else {
        Cow::Borrowed(value)
    }
}

fn in_braces(value: &str) -> String {
    format!("{{{}}}", value.replace('}', "}}"))
}

/// A text that is no connection string; says where, and holds nothing of the values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// An ODBC connection string: attributes in order, keys whatever their case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnectionString {
    attributes: Vec<Owned>,
}

#[derive(Clone, PartialEq, Eq)]
struct Owned {
    key: String,
    value: String,
    /// The value as it was written. A driver gets its own words back: sqliteodbc, for one, does not know braces.
    written: String,
}

impl ConnectionString {
    /// Reads `Key=value` pairs between semicolons. A value in braces may hold anything; `}}` in it stands for `}`.
    ///
    /// # Errors
    /// [`Malformed`] for a pair without `=`, an empty key, a brace that is not closed, or text behind a closing one.
    /// The message holds keys and positions, never a value.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut string = ConnectionString::default();
        for (at, attribute) in attributes(text, Quoting::Braces).into_iter().enumerate() {
            let key = attribute.keyword;
            // A pair without `=` may be a part of a password, so it is not repeated.
            let problem = match attribute.fault {
                None => None,
                Some(Fault::NoEquals) => Some(format!("attribute {} has no `=`", at + 1)),
                Some(Fault::NoName) => Some(format!("attribute {} has no name", at + 1)),
                Some(Fault::Open) => Some(format!("the value of `{key}` has an open `{{`")),
                Some(Fault::GoesOn) => Some(format!("the value of `{key}` goes on after its `}}`")),
            };
            if let Some(problem) = problem {
                return Err(Malformed(problem));
            }
            string.push_written(key, &attribute.value, attribute.written);
        }
        Ok(string)
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
        self.attributes.insert(0, Owned::new(key, value));
    }

    /// Appends the attribute unless the key is there.
    pub fn set_default(&mut self, key: &str, value: &str) {
        if self.get(key).is_none() {
            self.push(key, value);
        }
    }

    /// Appends the attribute; its value is put in braces where it could not stand without.
    pub fn push(&mut self, key: &str, value: &str) {
        self.attributes.push(Owned::new(key, value));
    }

    /// Appends a password, see [`escaped_password`].
    pub fn push_password(&mut self, key: &str, password: &str) {
        self.push_written(key, password, &escaped_password(password));
    }

    /// Appends a value that is written in a particular way.
    pub fn push_written(&mut self, key: &str, value: &str, written: &str) {
        self.attributes.push(Owned {
            key: key.to_owned(),
            value: value.to_owned(),
            written: written.to_owned(),
        });
    }

    /// Appends all attributes of another string.
    pub fn append(&mut self, other: ConnectionString) {
        self.attributes.extend(other.attributes);
    }

    /// Removes all attributes of this key.
    pub fn remove(&mut self, key: &str) {
        self.attributes.retain(|attribute| !attribute.is(key));
    }

    /// Replaces each value for which `change` gives another; passwords and the like are escaped as such.
    ///
    /// # Errors
    /// The first one of `change`.
    pub fn change_values<E>(
        &mut self,
        mut change: impl FnMut(&str, &str) -> Result<Option<String>, E>,
    ) -> Result<(), E> {
        for attribute in &mut self.attributes {
            if let Some(value) = change(&attribute.key, &attribute.value)? {
                attribute.written = match attribute.is_secret() {
                    true => escaped_password(&value).into_owned(),
                    false => escaped(&value).into_owned(),
                };
                attribute.value = value;
            }
        }
        Ok(())
    }

    /// The values that are secrets, for whoever masks them in what is written.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.attributes
            .iter()
            .filter(|attribute| attribute.is_secret())
            .map(|attribute| attribute.value.as_str())
    }

    /// Where the string leads and as whom, the same for strings that mean the same: keys in lower case and values, sorted,
    /// without secrets, which change, and without the driver, which another node may call otherwise.
    pub fn identity(&self) -> String {
        let mut parts: Vec<(String, &str)> = Vec::new();
        for attribute in &self.attributes {
            let key = attribute.key.to_ascii_lowercase();
            // Of equal keys the first one counts.
            if !attribute.is_secret() && key != "driver" && !parts.iter().any(|(other, _)| *other == key) {
                parts.push((key, &attribute.value));
            }
        }
        parts.sort_unstable();
        parts
            .iter()
            .map(|(key, value)| format!("{key}={}\n", escaped(value)))
            .collect()
    }

    /// The whole string, secrets and all, as the driver manager takes it.
    pub fn reveal(&self) -> String {
        self.attributes
            .iter()
            .map(|attribute| format!("{}={};", attribute.key, attribute.written))
            .collect()
    }
}

impl Owned {
    /// An attribute that was not in the text.
    fn new(key: &str, value: &str) -> Self {
        Owned {
            key: key.to_owned(),
            value: value.to_owned(),
            written: escaped(value).into_owned(),
        }
    }

    fn is(&self, key: &str) -> bool {
        self.key.eq_ignore_ascii_case(key)
    }

    fn is_secret(&self) -> bool {
        let key = self.key.to_ascii_lowercase();
        SECRET_KEYS.iter().any(|name| key.ends_with(name))
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
    fn the_identity_of_a_string_depends_on_no_secret_and_no_order() {
        let identity = |text: &str| ConnectionString::parse(text).unwrap().identity();
        let one = identity("Driver={D};Server=h;Port=1;UID=u;PWD=a");
        assert_eq!(one, identity("PWD=b;uid=u;port=1;SERVER=h;Driver={E}"));
        assert_ne!(one, identity("Driver={D};Server=h;Port=2;UID=u;PWD=a"));
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

    fn pairs(text: &str, quoting: Quoting) -> Vec<(String, String)> {
        attributes(text, quoting)
            .into_iter()
            .filter(|attribute| attribute.fault != Some(Fault::NoEquals))
            .map(|attribute| (attribute.keyword.to_owned(), attribute.value.into_owned()))
            .collect()
    }

    fn pair(keyword: &str, value: &str) -> (String, String) {
        (keyword.to_owned(), value.to_owned())
    }

    #[test]
    fn braces_keep_semicolons_and_doubled_braces_are_halved() {
        assert_eq!(
            pairs(
                " Driver = {PostgreSQL Unicode}; pwd={a;b}}c};;Port=1 ;junk;x=",
                Quoting::Braces
            ),
            [
                pair("Driver", "PostgreSQL Unicode"),
                pair("pwd", "a;b}c"),
                pair("Port", "1"),
                pair("x", "")
            ]
        );
    }

    #[test]
    fn quotes_open_a_value_only_where_they_are_asked_for() {
        assert_eq!(
            pairs("Password=\"a;\"\"b\";x=1", Quoting::Quotes),
            [pair("Password", "a;\"b"), pair("x", "1")]
        );
        assert_eq!(
            pairs("Password=\"a;x=1", Quoting::Braces),
            [pair("Password", "\"a"), pair("x", "1")]
        );
    }

    #[test]
    fn an_unclosed_brace_takes_the_rest_and_says_so() {
        let found = attributes("a=1;b={x;c=2", Quoting::Braces);
        assert_eq!(found.len(), 2);
        assert!(found[0].fault.is_none() && found[1].fault == Some(Fault::Open));
    }

    #[test]
    fn every_short_value_over_the_reserved_characters_survives_escaping_and_parsing() {
        // All strings of up to five characters over the ones that matter: exhaustive, so no generator is needed.
        let alphabet = ['a', ' ', '{', '}', ';', '=', '"', 'é'];
        let mut values = vec![String::new()];
        let mut from = 0;
        for _ in 0..5 {
            let until = values.len();
            for index in from..until {
                for character in alphabet {
                    values.push(format!("{}{character}", values[index]));
                }
            }
            from = until;
        }
        assert!(values.len() > 37_000);
        for value in values {
            for quoting in [Quoting::Braces, Quoting::Either] {
                let text = format!("UID={};PWD={};End=1", escaped(&value), escaped_password(&value));
                assert_eq!(
                    pairs(&text, quoting),
                    [pair("UID", &value), pair("PWD", &value), pair("End", "1")],
                    "{text:?}"
                );
            }
        }
    }

    #[test]
    fn a_plain_password_gets_no_braces() {
        assert_eq!(escaped_password("p-w_1.é#$&"), "p-w_1.é#$&");
    }

    #[test]
    fn psqlodbc_is_kept_from_decoding_a_password_like_a_url() {
        assert_eq!(escaped_password("a+b"), "{a+b}");
        assert_eq!(escaped_password("a%20b"), "{a%20b}");
    }

    #[test]
    fn a_user_of_a_server_gets_no_braces_which_psqlodbc_would_keep() {
        assert_eq!(escaped("user@server"), "user@server");
        assert_eq!(escaped("DOM\\u}"), "DOM\\u}");
    }
}
