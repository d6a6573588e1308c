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
    /// As [`Encoding::decode_into`].
    pub fn decode<'a>(self, bytes: &'a [u8], scratch: &'a mut String, column: usize) -> Result<&'a str, Error> {
        match self {
            Encoding::Wide => {
                scratch.clear();
                self.decode_into(bytes, scratch, column)?;
                Ok(scratch)
            }
            Encoding::Narrow => valid(bytes, column),
        }
    }

    /// Appends the text in `bytes` to `out`.
    ///
    /// # Errors
    /// [`Error::InvalidText`] for an unpaired surrogate or broken UTF-8: a replacement character would be mangled text.
    pub fn decode_into(self, bytes: &[u8], out: &mut String, column: usize) -> Result<(), Error> {
        match self {
            Encoding::Wide => {
                if !bytes.len().is_multiple_of(2) {
                    return Err(Error::InvalidText {
                        column,
                        encoding: "UTF-16",
                    });
                }
                out.reserve(bytes.len() / 2);
                let units = bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]]));
                for character in char::decode_utf16(units) {
                    out.push(character.map_err(|_| Error::InvalidText {
                        column,
                        encoding: "UTF-16",
                    })?);
                }
            }
            Encoding::Narrow => out.push_str(valid(bytes, column)?),
        }
        Ok(())
    }
}

fn valid(bytes: &[u8], column: usize) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::InvalidText {
        column,
        encoding: "UTF-8",
    })
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
    fn an_unpaired_surrogate_is_refused() {
        let bytes: Vec<u8> = [0x0061_u16, 0xD83D]
            .iter()
            .flat_map(|unit| unit.to_ne_bytes())
            .collect();
        assert!(Encoding::Wide.decode_into(&bytes, &mut String::new(), 3).is_err());
        assert!(Encoding::Narrow.decode_into(&[0xC3], &mut String::new(), 3).is_err());
    }
}
