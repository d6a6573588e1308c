//! The ways in which a secret may be spelled inside other text. Pure.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// What Python's `urllib.parse.quote` and most others leave as it is.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Fewer characters of base64 say nothing of a secret.
const FEWEST_IN_BASE64: usize = 4;

/// The ways in which a secret may appear inside other text.
pub(super) fn spellings(secret: &str) -> BTreeSet<String> {
    let json = Value::from(secret).to_string();
    let json = json[1..json.len() - 1].to_owned();
    // Python's json.dumps escapes all that is not ASCII, in units of UTF-16.
    let ascii_json = json.chars().fold(String::new(), |mut text, character| {
        if character.is_ascii() {
            text.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
        text
    });
    let quoted = utf8_percent_encode(secret, &UNRESERVED).to_string();
    let path = quoted.replace("%2F", "/");
    let form = quoted.replace("%20", "+");
    let mut all = BTreeSet::from([
        secret.to_owned(),
        json,
        ascii_json,
        // Inside a JSON string inside a JSON string, and in Python's repr of a text with both kinds of quotes.
        secret.replace('\\', "\\\\").replace('\'', "\\'"),
        // Inside the braces of a connection string.
        secret.replace('}', "}}"),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        lower_escapes(&quoted),
        lower_escapes(&form),
        quoted,
        path,
        form,
    ]);
    // What a secret of one or two bytes leaves whole in base64 may be a single letter, or nothing at all.
    let in_base64 = in_base64(secret.as_bytes());
    all.extend(in_base64.into_iter().filter(|text| text.len() >= FEWEST_IN_BASE64));
    all
}

/// What a secret looks like inside data in base64 (RFC 4648), in both alphabets, wherever it starts in a group of three
/// bytes; each once as far as it can be told without what stands beside it, and once as it ends the data. Lines broken in
/// the middle are not found.
fn in_base64(secret: &[u8]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for bytes_before in 0..3 {
        let mut data = vec![0; bytes_before];
        data.extend_from_slice(secret);
        // Of the first characters, those count that hold no bit of what stands before.
        let from = (bytes_before * 8).div_ceil(6);
        let to = data.len() * 8 / 6;
        for alphabet in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = alphabet.encode(&data);
            all.insert(text[from..to].to_owned());
            all.insert(text[from..].to_owned());
        }
    }
    all
}

/// Percent escapes with lower-case digits, as some clients write them.
fn lower_escapes(text: &str) -> String {
    let mut after_percent = 0;
    text.chars()
        .map(|character| {
            if character == '%' {
                after_percent = 2;
                return character;
            }
            let escape = after_percent > 0;
            after_percent = i32::max(0, after_percent - 1);
            if escape {
                character.to_ascii_lowercase()
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_secret_is_known_in_base64_wherever_it_starts_and_whatever_follows() {
        let spellings = spellings("s3cr3t?>pass");
        for before in ["", "u", "us", "use", "user:"] {
            for after in ["", "1", "12", "123"] {
                let encoded = STANDARD.encode(format!("{before}s3cr3t?>pass{after}"));
                let longest = spellings
                    .iter()
                    .filter(|each| encoded.contains(*each))
                    .map(String::len)
                    .max();
                // At most one character at either end has bits of the secret and of its neighbour.
                assert!(longest.is_some_and(|length| length >= 14), "{encoded}");
            }
        }
    }

    #[test]
    fn a_secret_alone_in_base64_is_known_as_a_whole() {
        let spellings = spellings("hush!");
        assert!(spellings.contains(STANDARD.encode("hush!").trim_end_matches('=')));
    }
}
