//! The seam between narrow and wide: in which form a connection's driver is spoken to.
//!
//! The linked unixODBC converts between the two byte by byte (it is built without iconv), so a narrow call to a driver
//! that has wide entry points turns `é` into `Ã©`, and a wide call to one without drops the high byte. Neither is an
//! error to anyone. So: wide where the driver exports `SQLDriverConnectW` (psqlodbcw, MariaDB, FreeTDS, Microsoft's),
//! narrow UTF-8 elsewhere (sqliteodbc as Debian builds it). Text cells and parameters take the same form, unless the
//! product's dialect says otherwise.

use super::Error;

/// The form of SQL text, names, diagnostics and text cells of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-16 through the functions with a W.
    Wide,
    /// UTF-8 through the functions without.
    Narrow,
}

impl Encoding {
    /// Bytes of one code unit: of a terminator, and the step of a text buffer.
    pub fn unit_bytes(self) -> usize {
        match self {
            Encoding::Wide => 2,
            Encoding::Narrow => 1,
        }
    }

    /// Appends `text` in this encoding, without a terminator.
    pub fn encode_into(self, text: &str, out: &mut Vec<u8>) {
        match self {
            Encoding::Wide => {
                out.reserve(2 * text.len());
                text.encode_utf16()
                    .for_each(|unit| out.extend_from_slice(&unit.to_ne_bytes()));
            }
            Encoding::Narrow => out.extend_from_slice(text.as_bytes()),
        }
    }

    /// Bytes that `text` takes in this encoding.
    pub fn encoded_bytes(self, text: &str) -> usize {
        match self {
            Encoding::Wide => text.encode_utf16().count() * 2,
            Encoding::Narrow => text.len(),
        }
    }

    /// The text in `bytes`: as it lies there, or decoded into `scratch`, whatever was in it.
    ///
    /// # Errors
    /// The encoding that it is not valid in.
    pub fn decode<'a>(self, bytes: &'a [u8], scratch: &'a mut String) -> Result<&'a str, &'static str> {
        match self {
            Encoding::Wide => {
                scratch.clear();
                append_utf16(bytes, scratch).ok_or("UTF-16")?;
                Ok(scratch)
            }
            Encoding::Narrow => std::str::from_utf8(bytes).map_err(|_| "UTF-8"),
        }
    }

    /// Appends the text in `bytes` to `out`.
    ///
    /// # Errors
    /// [`Error::InvalidText`] for an unpaired surrogate or broken UTF-8: a replacement character would be mangled text.
    pub fn decode_into(self, bytes: &[u8], out: &mut String, column: usize) -> Result<(), Error> {
        let invalid = |encoding| Error::InvalidText { column, encoding };
        match self {
            Encoding::Wide => append_utf16(bytes, out).ok_or_else(|| invalid("UTF-16")),
            Encoding::Narrow => {
                out.push_str(std::str::from_utf8(bytes).map_err(|_| invalid("UTF-8"))?);
                Ok(())
            }
        }
    }
}

/// ASCII that is put together before it is appended.
const RUN_BYTES: usize = 256;

/// Appends UTF-16; `None` if it is not valid. Four units of ASCII at a time: most text has little else.
fn append_utf16(bytes: &[u8], out: &mut String) -> Option<()> {
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    out.reserve(bytes.len() / 2);
    let unit = |pair: &[u8; 2]| u16::from_ne_bytes(*pair);
    let mut run = [0_u8; RUN_BYTES];
    let mut rest = bytes;
    while let Some((first, others)) = rest.split_first_chunk::<2>() {
        let mut length = 0;
        while let Some((four, others)) = rest.split_first_chunk::<8>()
            && u64::from_ne_bytes(*four) & 0xFF80_FF80_FF80_FF80 == 0
            && let Some(place) = run.get_mut(length..length + 4)
        {
            let [a, b, c, d, e, f, g, h] = *four;
            place.copy_from_slice(&[[a, b], [c, d], [e, f], [g, h]].map(|pair| unit(&pair) as u8));
            length += 4;
            rest = others;
        }
        if length > 0 {
            out.push_str(std::str::from_utf8(&run[..length]).ok()?);
            continue;
        }
        rest = others;
        if let Some(character) = char::from_u32(u32::from(unit(first))) {
            out.push(character);
            continue;
        }
        // The first of two.
        let (second, others) = rest.split_first_chunk::<2>()?;
        rest = others;
        out.push(char::decode_utf16([unit(first), unit(second)]).next()?.ok()?);
    }
    Some(())
}

/// A NUL-terminated UTF-16 copy of `text`, and its length without the terminator.
pub(super) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_both_encodings() {
        for encoding in [Encoding::Wide, Encoding::Narrow] {
            let mut bytes = Vec::new();
            encoding.encode_into("aé€😀", &mut bytes);
            assert_eq!(bytes.len(), encoding.encoded_bytes("aé€😀"));
            let mut text = String::new();
            encoding.decode_into(&bytes, &mut text, 1).unwrap();
            assert_eq!(text, "aé€😀");
        }
    }

    #[test]
    fn utf16_of_every_length_and_mixture_is_what_it_was() {
        let mut text = String::new();
        for round in 0..600_usize {
            text.push_str(["a", "bc", "é", "def", "€", "ghijklmno", "😀", "\u{7f}", "\u{80}"][round * round % 9]);
            let mut bytes = Vec::new();
            Encoding::Wide.encode_into(&text, &mut bytes);
            let mut decoded = "x".to_owned();
            Encoding::Wide.decode_into(&bytes, &mut decoded, 1).unwrap();
            assert!(decoded.strip_prefix('x') == Some(&text), "{round}");
        }
    }

    #[test]
    fn an_unpaired_surrogate_is_refused() {
        let bytes: Vec<u8> = [0x0061_u16, 0xD83D]
            .iter()
            .flat_map(|unit| unit.to_ne_bytes())
            .collect();
        assert!(Encoding::Wide.decode_into(&bytes, &mut String::new(), 3).is_err());
        for units in [[0xDE00_u16, 0x0061], [0xD83D, 0xD83D], [0xD83D, 0x0061]] {
            let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_ne_bytes()).collect();
            assert_eq!(Encoding::Wide.decode(&bytes, &mut String::new()), Err("UTF-16"));
        }
        assert!(Encoding::Wide.decode_into(&[0x61], &mut String::new(), 3).is_err());
        assert!(Encoding::Narrow.decode_into(&[0xC3], &mut String::new(), 3).is_err());
    }
}
