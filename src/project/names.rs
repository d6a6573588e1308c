//! A member's stored name becomes a path in the tree, or is refused. Pure; knows neither files nor archives.

use super::container::Record;
use super::error::ArchiveError;

/// Upper half of code page 437, which names have without the UTF-8 flag (APPNOTE, appendix D).
/// Table: `cp437_DOSLatinUS` of the Unicode Consortium.
const CP437_UPPER: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// Longest name of one file, and longest path, that Linux takes.
const MAX_COMPONENT_BYTES: usize = 255;
const MAX_PATH_BYTES: usize = 3072;

/// Systems with `\` as separator (APPNOTE 4.4.2.2): FAT, OS/2 HPFS, NTFS, VFAT.
const BACKSLASH_HOSTS: [u8; 4] = [0, 6, 10, 14];

/// A path below the tree's root: components joined by `/`, never empty but for the root itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TreePath {
    /// The path.
    pub path: String,
    /// The name ended with a separator, as those of folders do.
    pub names_folder: bool,
}

/// The stored name as text.
///
/// In order: the Info-ZIP unicode path field; the name itself, if its bytes are UTF-8; code page 437. Bytes that are
/// valid UTF-8 count as such without the flag too, because macOS (`ditto`, Finder) and many scripts on Linux write UTF-8
/// without it, and text in code page 437 is next to never valid UTF-8 by chance (`├⌐` would have to be meant for `é`).
///
/// # Errors
/// When a name that claims to be UTF-8 is not.
pub(super) fn decode(record: &Record) -> Result<String, ArchiveError> {
    if let Some(name) = record
        .unicode_name
        .as_deref()
        .and_then(|name| str::from_utf8(name).ok())
    {
        return Ok(name.to_owned());
    }
    match str::from_utf8(&record.name) {
        Ok(name) => Ok(name.to_owned()),
        Err(_) if record.name_is_utf8 => Err(ArchiveError::MemberNameInvalid {
            member: record.name.escape_ascii().to_string(),
            why: "it is marked as UTF-8 and is not",
        }),
        Err(_) => Ok(from_cp437(&record.name)),
    }
}

fn from_cp437(bytes: &[u8]) -> String {
    let upper: Vec<char> = CP437_UPPER.chars().collect();
    bytes
        .iter()
        .map(|&byte| {
            if byte < 0x80 {
                char::from(byte)
            } else {
                upper[usize::from(byte) - 0x80]
            }
        })
        .collect()
}

/// Decides for each host whether `\` separates folders.
///
/// It does in members made on DOS or Windows. Some writers on Windows claim to be Unix; they are known by an archive in
/// which `\` occurs and `/` never does. Elsewhere `\` is a character of the name, as it is for unzip.
pub(super) fn backslash_separates(host: u8, archive_has_slash: bool) -> bool {
    BACKSLASH_HOSTS.contains(&host) || !archive_has_slash
}

/// The path that `name` stands for; `.` and empty components drop out.
///
/// # Errors
/// Absolute names, drive letters, `..`, NUL, and names too long for Linux. The first three are refused with either
/// separator, whatever the host: no honest member has them, and a reader on another system would be led astray.
pub(super) fn tree_path(name: &str, backslash_separates: bool) -> Result<TreePath, ArchiveError> {
    let member = || shown(name);
    let separators = ['/', '\\'];
    if name.contains('\0') {
        return Err(ArchiveError::MemberNameNul { member: member() });
    }
    if name.starts_with(separators) {
        return Err(ArchiveError::MemberAbsolute { member: member() });
    }
    if matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic()) {
        return Err(ArchiveError::MemberDriveLetter { member: member() });
    }
    if name.split(separators).any(|component| component == "..") {
        return Err(ArchiveError::MemberLeavesTree { member: member() });
    }
    let is_separator = |c: char| c == '/' || (backslash_separates && c == '\\');
    let mut path = String::with_capacity(name.len());
    for component in name
        .split(is_separator)
        .filter(|component| !component.is_empty() && *component != ".")
    {
        if component.len() > MAX_COMPONENT_BYTES {
            return Err(ArchiveError::MemberNameInvalid {
                member: member(),
                why: "a part of it is over 255 bytes long",
            });
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(component);
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(ArchiveError::MemberNameInvalid {
            member: member(),
            why: "it is over 3072 bytes long",
        });
    }
    let names_folder = name.ends_with(is_separator) || path.is_empty();
    if name.is_empty() {
        return Err(ArchiveError::MemberNameInvalid {
            member: member(),
            why: "it is empty",
        });
    }
    Ok(TreePath { path, names_folder })
}

/// A name for a message: control characters, which could rewrite a terminal's line, are escaped.
pub(super) fn shown(name: &str) -> String {
    name.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> String {
        tree_path(name, true).unwrap().path
    }

    #[test]
    fn code_page_437_has_its_128_upper_characters() {
        assert_eq!(CP437_UPPER.chars().count(), 128);
        assert_eq!(from_cp437(b"caf\x82 \xe1.py \x80\xff"), "café ß.py Ç\u{a0}");
    }

    #[test]
    fn dots_and_empty_components_drop_out() {
        assert_eq!(path("./a//b/./c"), "a/b/c");
        assert_eq!(
            tree_path("./", true).unwrap(),
            TreePath {
                path: String::new(),
                names_folder: true
            }
        );
        assert!(tree_path("a/", true).unwrap().names_folder);
        assert!(!tree_path("a/b", true).unwrap().names_folder);
    }

    #[test]
    fn backslashes_separate_only_where_asked_for() {
        assert_eq!(path(r"pkg\sub\mod.py"), "pkg/sub/mod.py");
        assert_eq!(tree_path(r"a\b", false).unwrap().path, r"a\b");
        assert!(tree_path(r"pkg\", true).unwrap().names_folder);
        assert!(backslash_separates(0, true) && backslash_separates(3, false));
        assert!(!backslash_separates(3, true));
    }

    #[test]
    fn unsafe_names_are_refused_with_either_separator() {
        for name in ["..", "a/../../b", r"..\b", r"a\..\..\b", "a/.."] {
            assert!(
                matches!(tree_path(name, false), Err(ArchiveError::MemberLeavesTree { .. })),
                "{name}"
            );
        }
        for name in ["/etc/passwd", r"\\server\share", r"\x", "//x"] {
            assert!(
                matches!(tree_path(name, false), Err(ArchiveError::MemberAbsolute { .. })),
                "{name}"
            );
        }
        for name in [r"C:\x", "c:x", "Z:/x"] {
            assert!(
                matches!(tree_path(name, false), Err(ArchiveError::MemberDriveLetter { .. })),
                "{name}"
            );
        }
        assert!(matches!(
            tree_path("a\0b", false),
            Err(ArchiveError::MemberNameNul { .. })
        ));
        assert!(matches!(
            tree_path("", false),
            Err(ArchiveError::MemberNameInvalid { .. })
        ));
        assert!(matches!(
            tree_path(&"x".repeat(256), false),
            Err(ArchiveError::MemberNameInvalid { .. })
        ));
        for name in ["..a", "a..", "...", "a/..b"] {
            assert!(tree_path(name, false).is_ok(), "{name}");
        }
    }

    #[test]
    fn control_characters_are_escaped_in_messages() {
        assert_eq!(shown("a\x1b[2Kb\né"), "a\\u{1b}[2Kb\\né");
    }
}
