//! ODBC connection strings as text: taking one apart, escaping a value, and making one of an `Odbc` linked service.
//!
//! Grammar: Microsoft's ODBC reference, SQLDriverConnect, "Comments": `keyword=value` parted by `;`; a value in braces is
//! taken as it stands, with a closing brace in it doubled; of equal keywords the first one counts. Knows no driver.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::{Map, Value};

use super::Resource;
use super::error::ActivityError;
use super::reference::{Special, member, scalar_text};
use crate::json_file::kind_of;

/// One `keyword=value` of a connection string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The keyword without surrounding blanks, in its own case.
    pub keyword: &'a str,
    /// The value as written, braces and all, without surrounding blanks.
    pub written: &'a str,
    /// What the value means: braces or quotes taken off, doubled ones halved.
    pub value: Cow<'a, str>,
    /// Where keyword and value stand in the string, without the semicolon.
    pub range: Range<usize>,
    /// Whether an opening brace or quote has its closing one.
    pub closed: bool,
}

/// The attributes of a connection string in their order; text without an equals sign is passed over.
///
/// Quoted values are understood as well, since ADF's own strings are ADO.NET's in places; ODBC knows braces alone, so
/// `quotes` says whether a leading `"` or `'` opens a value.
pub fn attributes(text: &str, quotes: bool) -> Vec<Attribute<'_>> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let rest = &text[start..];
        let Some(equals) = rest.find(['=', ';']).filter(|&at| rest.as_bytes()[at] == b'=') else {
            match rest.find(';') {
                Some(semicolon) => {
                    start += semicolon + 1;
                    continue;
                }
                None => break,
            }
        };
        let after = &rest[equals + 1..];
        let value_start = equals + 1 + (after.len() - after.trim_start().len());
        let value_text = &rest[value_start..];
        let closing = match value_text.chars().next() {
            Some('{') => Some('}'),
            Some(quote @ ('"' | '\'')) if quotes => Some(quote),
            _ => None,
        };
        let (value_end, closed) = match closing {
            Some(closing) => enclosed_end(value_text, closing),
            None => (value_text.find(';').unwrap_or(value_text.len()), true),
        };
        let written = value_text[..value_end].trim_end();
        let value = match closing {
            Some(closing) => {
                let inner = written.get(1..).unwrap_or("");
                let inner = if closed {
                    inner.strip_suffix(closing).unwrap_or(inner)
                } else {
                    inner
                };
                let doubled = [closing, closing].iter().collect::<String>();
                if inner.contains(&doubled) {
                    Cow::Owned(inner.replace(&doubled, &closing.to_string()))
                } else {
                    Cow::Borrowed(inner)
                }
            }
            None => Cow::Borrowed(written),
        };
        let end = start + value_start + value_end;
        found.push(Attribute {
            keyword: rest[..equals].trim(),
            written,
            value,
            range: start..end,
            closed,
        });
        start = match text[end..].find(';') {
            Some(semicolon) => end + semicolon + 1,
            None => text.len(),
        };
    }
    found
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
        in_braces(password)
    } else {
        Cow::Borrowed(password)
    }
}

/// A user name as it has to stand behind `UID=`: in braces only if it would end early or not start where it should.
///
/// psqlodbc 13.02 takes the braces around a user name as a part of it, so `user@server` must not get any; there, a name
/// with a semicolon cannot be written at all.
pub fn escaped_user(user: &str) -> Cow<'_, str> {
    if user.contains(';') || user.starts_with(['{', '"', '\'']) || user.trim() != user {
        in_braces(user)
    } else {
        Cow::Borrowed(user)
    }
}

fn in_braces(value: &str) -> Cow<'_, str> {
    Cow::Owned(format!("{{{}}}", value.replace('}', "}}")))
}

/// The connection string of a linked service; see [`super::Handover::connection_string`].
pub(super) fn of_linked_service(service: &Resource) -> Result<String, ActivityError> {
    let name = service.name.clone().unwrap_or_default();
    let type_name = service.type_name.clone().unwrap_or_default();
    if !type_name.eq_ignore_ascii_case("Odbc") {
        return Err(ActivityError::UnsupportedType { name, type_name });
    }
    let service = OdbcService {
        name,
        properties: service.properties(),
        type_properties: service.type_properties(),
    };
    service.connection_string()
}

/// Keys of the type `Odbc`: azure-docs, connector-odbc.md, and azure-mgmt-datafactory's OdbcLinkedService.
struct OdbcService<'a> {
    name: String,
    properties: Option<&'a Map<String, Value>>,
    type_properties: Option<&'a Map<String, Value>>,
}

impl OdbcService<'_> {
    fn connection_string(&self) -> Result<String, ActivityError> {
        let key = "typeProperties.connectionString";
        let given = self.text(key)?.ok_or(ActivityError::MissingKey {
            name: self.name.clone(),
            key,
        })?;
        let parsed = attributes(&given, false);
        if parsed.iter().any(|attribute| !attribute.closed) {
            let problem = "an opening brace has no closing one";
            return Err(ActivityError::MalformedConnectionString {
                name: self.name.clone(),
                problem,
            });
        }
        if self.is_anonymous()? {
            return Ok(given);
        }
        let user = self.text("typeProperties.userName")?;
        let password = self.text("typeProperties.password")?;
        let credential = self.text("typeProperties.credential")?;
        let has_password = parsed.iter().any(|attribute| is_password(attribute.keyword));
        if password.is_none() && credential.is_none() && !has_password {
            let encrypted = self.member("typeProperties.encryptedCredential").is_some();
            let via_runtime = self
                .properties
                .and_then(|properties| present(properties, "connectVia"))
                .is_some();
            // Without a user there is nothing that a password could have been kept back for (a file, a trusted host).
            if encrypted || (via_runtime && user.is_some()) {
                return Err(ActivityError::PasswordKeptBack {
                    name: self.name.clone(),
                    encrypted,
                });
            }
        }

        // Of equal keywords the first one counts, so what the service's own keys replace has to go.
        let replaced: Vec<Range<usize>> = parsed
            .iter()
            .filter(|attribute| {
                (user.is_some() && is_user(attribute.keyword)) || (password.is_some() && is_password(attribute.keyword))
            })
            .map(|attribute| attribute.range.clone())
            .collect();
        let mut text = without(&given, &replaced);
        if let Some(user) = user {
            append(&mut text, &format!("UID={}", escaped_user(&user)));
        }
        if let Some(password) = password {
            append(&mut text, &format!("PWD={}", escaped_password(&password)));
        }
        if let Some(credential) = credential {
            append(&mut text, credential.trim());
        }
        Ok(text)
    }

    fn is_anonymous(&self) -> Result<bool, ActivityError> {
        match self.text("typeProperties.authenticationType")? {
            None => Ok(false),
            Some(found) if found.eq_ignore_ascii_case("Basic") => Ok(false),
            Some(found) if found.eq_ignore_ascii_case("Anonymous") => Ok(true),
            Some(found) => Err(ActivityError::UnknownAuthentication {
                name: self.name.clone(),
                found,
            }),
        }
    }

    fn member(&self, key: &'static str) -> Option<&Value> {
        let last = key.rsplit('.').next().unwrap_or(key);
        self.type_properties.and_then(|object| present(object, last))
    }

    /// The text of a key that may be a plain value or a SecureString; `None` if absent or null.
    fn text(&self, key: &'static str) -> Result<Option<String>, ActivityError> {
        let Some(value) = self.member(key) else { return Ok(None) };
        let what = || format!("`{key}` of linked service `{}`", self.name);
        let text = match Special::of(value) {
            Some(Special::Secret(text)) => text,
            Some(Special::KeyVaultSecret(reference)) => {
                return Err(ActivityError::KeyVaultReference {
                    what: what(),
                    reference,
                });
            }
            Some(Special::Expression) => return Err(ActivityError::Unevaluated { what: what() }),
            None => scalar_text(value).ok_or_else(|| ActivityError::WrongKind {
                name: self.name.clone(),
                key,
                found: kind_of(value),
                expected: "a string or a SecureString",
            })?,
        };
        if text.contains('\0') {
            return Err(ActivityError::Nul { what: what() });
        }
        Ok(Some(text))
    }
}

fn present<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    member(object, key).filter(|value| !value.is_null())
}

fn is_user(keyword: &str) -> bool {
    ["UID", "User", "Username", "User ID"]
        .iter()
        .any(|other| keyword.eq_ignore_ascii_case(other))
}

fn is_password(keyword: &str) -> bool {
    ["PWD", "Password"]
        .iter()
        .any(|other| keyword.eq_ignore_ascii_case(other))
}

fn without(text: &str, ranges: &[Range<usize>]) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut start = 0;
    for range in ranges {
        kept.push_str(&text[start..range.start]);
        // The semicolon goes with its attribute.
        start = text[range.end..]
            .find(';')
            .map_or(text.len(), |semicolon| range.end + semicolon + 1);
    }
    kept.push_str(&text[start..]);
    kept
}

fn append(text: &mut String, attributes: &str) {
    let end = text.trim_end().len();
    text.truncate(end);
    if !text.is_empty() && !text.ends_with(';') {
        text.push(';');
    }
    text.push_str(attributes);
    if !attributes.is_empty() && !attributes.ends_with(';') {
        text.push(';');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str, quotes: bool) -> Vec<(String, String)> {
        attributes(text, quotes)
            .into_iter()
            .map(|attribute| (attribute.keyword.to_owned(), attribute.value.into_owned()))
            .collect()
    }

    fn pair(keyword: &str, value: &str) -> (String, String) {
        (keyword.to_owned(), value.to_owned())
    }

    #[test]
    fn braces_keep_semicolons_and_doubled_braces_are_halved() {
        assert_eq!(
            pairs(" Driver = {PostgreSQL Unicode}; pwd={a;b}}c};;Port=1 ;junk;x=", false),
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
            pairs("Password=\"a;\"\"b\";x=1", true),
            [pair("Password", "a;\"b"), pair("x", "1")]
        );
        assert_eq!(
            pairs("Password=\"a;x=1", false),
            [pair("Password", "\"a"), pair("x", "1")]
        );
    }

    #[test]
    fn an_unclosed_brace_takes_the_rest_and_says_so() {
        let found = attributes("a=1;b={x;c=2", false);
        assert_eq!(found.len(), 2);
        assert!(found[0].closed && !found[1].closed);
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
            for quotes in [false, true] {
                let text = format!("UID={};PWD={};End=1", escaped_user(&value), escaped_password(&value));
                assert_eq!(
                    pairs(&text, quotes),
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
        assert_eq!(escaped_user("user@server"), "user@server");
        assert_eq!(escaped_user("DOM\\u}"), "DOM\\u}");
    }
}
