//! How a path is written into JSON: as text where it is UTF-8, else as `{"hex": "2f66ff"}`, so that no path is lost.
//!
//! For `#[serde(with = "path_text")]`; `probe.py` writes paths the same way. Hexadecimal, not a list of numbers: with
//! serde_json's `arbitrary_precision` a number does not survive the buffering of untagged and tagged enums.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes { hex: String },
}

impl From<&Path> for Written {
    fn from(path: &Path) -> Written {
        match path.to_str() {
            Some(text) => Written::Text(text.to_owned()),
            None => Written::Bytes {
                hex: path
                    .as_os_str()
                    .as_bytes()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            },
        }
    }
}

impl Written {
    fn read<E: de::Error>(self) -> Result<PathBuf, E> {
        let hex = match self {
            Written::Text(text) => return Ok(PathBuf::from(text)),
            Written::Bytes { hex } => hex,
        };
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        match hex.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) => Ok(PathBuf::from(OsString::from_vec(bytes))),
            None => Err(E::custom("a path's bytes are not hexadecimal")),
        }
    }
}

/// Writes a path.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    Written::from(path).serialize(serializer)
}

/// Reads a path.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Written::deserialize(deserializer)?.read()
}

/// The same for a path that may be absent.
pub mod option {
    use super::{Deserialize, Deserializer, PathBuf, Serialize, Serializer, Written};

    /// Writes a path, or null.
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_deref().map(Written::from).serialize(serializer)
    }

    /// Reads a path, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Option::<Written>::deserialize(deserializer)?
            .map(Written::read)
            .transpose()
    }
}

/// The same for a list of paths, or of other words of the system.
pub mod list {
    use super::{Deserialize, Deserializer, Path, PathBuf, Serializer, Written};

    /// Writes a list of paths.
    pub fn serialize<S: Serializer, P: AsRef<Path>>(paths: &[P], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| Written::from(path.as_ref())))
    }

    /// Reads a list of paths.
    pub fn deserialize<'de, D: Deserializer<'de>, P: From<PathBuf>>(deserializer: D) -> Result<Vec<P>, D::Error> {
        Vec::<Written>::deserialize(deserializer)?
            .into_iter()
            .map(|path| path.read().map(P::from))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder(#[serde(with = "super")] PathBuf);

    #[test]
    fn a_path_that_is_not_utf8_survives_json() {
        for bytes in [&b"/tmp/\xff\xfe/python3"[..], "/srv/é/python3".as_bytes()] {
            let holder = Holder(PathBuf::from(OsString::from_vec(bytes.to_vec())));
            let json = serde_json::to_string(&holder).unwrap();
            assert_eq!(serde_json::from_str::<Holder>(&json).unwrap(), holder, "{json}");
        }
    }
}
