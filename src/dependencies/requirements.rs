//! What a project says that it needs: requirements.txt, in pip's format, or the dependencies in its pyproject.toml.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::DependencyError;
use super::requirement::{Requirement, normalised};
use crate::project::{Manifest, Project, ProjectError};

/// The file at the top of a project.
pub const FILE_NAME: &str = "requirements.txt";

/// The package that the payload brings. The index has an unrelated one of that name.
const OWN_PACKAGE: &str = "dray";

/// Larger than any; a file of hashes for some hundred packages has half a megabyte.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The requirements of a project, unparsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Where they stand: `requirements.txt` or `pyproject.toml`.
    pub file: &'static str,
    /// In the format of requirements.txt.
    pub text: String,
    /// All files that `text` refers to (`-r`, `-c`), with their content, sorted by path.
    pub others: Vec<(String, String)>,
}

impl Requirements {
    /// Those of requirements.txt, if the project has it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn in_file(project: &Project) -> Result<Option<Requirements>, ProjectError> {
        let Some(text) = read(project, FILE_NAME)? else {
            return Ok(None);
        };
        let mut others = Vec::new();
        let mut seen = BTreeSet::from([FILE_NAME.to_owned()]);
        let mut ahead = vec![(FILE_NAME.to_owned(), text.clone())];
        while let Some((file, text)) = ahead.pop() {
            for line in lines(&text) {
                let Line::File(named) = line.kind() else { continue };
                let path = beside(&file, named);
                if seen.insert(path.clone())
                    && let Some(text) = read(project, &path)?
                {
                    others.push((path.clone(), text.clone()));
                    ahead.push((path, text));
                }
            }
        }
        others.sort();
        Ok(Some(Requirements {
            file: FILE_NAME,
            text,
            others,
        }))
    }

    /// Those of requirements.txt, else `dependencies` of `[project]` in pyproject.toml; None where there are none.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of(project: &Project, manifest: &Manifest) -> Result<Option<Requirements>, ProjectError> {
        if let Some(requirements) = Requirements::in_file(project)? {
            return Ok(Some(requirements));
        }
        Ok((!manifest.dependencies.is_empty()).then(|| Requirements {
            file: "pyproject.toml",
            text: manifest.dependencies.join("\n") + "\n",
            others: Vec::new(),
        }))
    }

    /// Whether they are a file of the project, in the format of requirements.txt.
    pub fn is_file(&self) -> bool {
        self.file == FILE_NAME
    }

    /// All requirements that name a distribution, of the file and of those that it includes by `-r`, but for dray's own
    /// package, which every run has. Options, paths and URLs without a name say nothing that could be checked.
    ///
    /// # Errors
    /// [`DependencyError::Requirement`].
    pub(super) fn parse(&self) -> Result<Vec<Requirement>, DependencyError> {
        let mut requirements = Vec::new();
        let mut seen = BTreeSet::new();
        let mut ahead = vec![self.file.to_owned()];
        while let Some(file) = ahead.pop() {
            if !seen.insert(file.clone()) {
                continue;
            }
            let text = match self.others.iter().find(|(path, _)| *path == file) {
                Some((_, text)) => text,
                None if file == self.file => &self.text,
                None => continue,
            };
            for line in lines(text) {
                match line.kind() {
                    Line::Requirement(text) if is_own(text) => {}
                    Line::Requirement(requirement) => {
                        requirements.push(requirement.parse().map_err(|cause| DependencyError::Requirement {
                            file: file.clone(),
                            line: line.number,
                            text: requirement.to_owned(),
                            cause,
                        })?);
                    }
                    Line::File(named) if !line.is_constraint() => ahead.push(beside(&file, named)),
                    _ => {}
                }
            }
        }
        Ok(requirements)
    }
}

impl Requirements {
    /// The paths that are named as requirements; pip takes them from the folder that it runs in.
    pub(super) fn paths(&self) -> Vec<String> {
        std::iter::once(&self.text)
            .chain(self.others.iter().map(|(_, text)| text))
            .flat_map(|text| lines(text))
            .filter_map(|line| match line.kind() {
                Line::Path(path) => Some(path.to_owned()),
                _ => None,
            })
            .collect()
    }
}

fn read(project: &Project, path: &str) -> Result<Option<String>, ProjectError> {
    let bytes = project.read_small(path, MAX_BYTES)?;
    Ok(bytes.map(|bytes| decoded(&bytes)))
}

/// As pip reads it: UTF-16 where a byte order mark says so, as PowerShell's `pip freeze > requirements.txt` writes it.
pub fn decoded(bytes: &[u8]) -> String {
    let utf16 = |bytes: &[u8], to_unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| to_unit([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => String::from_utf8_lossy(rest).into_owned(),
    }
}

/// A path in the project that is named in the file at `file`.
fn beside(file: &str, named: &str) -> String {
    let named = named.trim_start_matches("./");
    match Path::new(file)
        .parent()
        .and_then(Path::to_str)
        .filter(|folder| !folder.is_empty())
    {
        Some(folder) => format!("{folder}/{named}"),
        None => named.to_owned(),
    }
}

/// A line with its continuations, without its comment.
pub(crate) struct LogicalLine {
    number: usize,
    text: String,
}

enum Line<'a> {
    Requirement(&'a str),
    /// `-r FILE` or `-c FILE`.
    File(&'a str),
    /// A path, `-e` or not.
    Path(&'a str),
    Other,
}

impl LogicalLine {
    /// What it is (pip's "Requirements File Format").
    fn kind(&self) -> Line<'_> {
        let text = self.text.as_str();
        for option in ["-r", "--requirement", "-c", "--constraint"] {
            if let Some(rest) = text.strip_prefix(option)
                && let Some(file) = rest
                    .strip_prefix(['=', ' ', '\t'])
                    .or((option.len() == 2).then_some(rest))
            {
                return Line::File(file.trim());
            }
        }
        // `--hash` and the like follow a requirement.
        let text = text.split(" --").next().unwrap_or(text).trim();
        let editable = text.strip_prefix("-e").or_else(|| text.strip_prefix("--editable"));
        let named = editable.map_or(text, |rest| rest.trim_start_matches(['=', ' ', '\t']));
        if named.starts_with(['.', '/']) || named.ends_with(".whl") && !named.contains(['@', ':']) {
            return Line::Path(named.split(['[', ';']).next().unwrap_or(named).trim());
        }
        let is_url = text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains('@'));
        if text.is_empty() || text.starts_with('-') || is_url || text.contains("${") {
            return Line::Other;
        }
        Line::Requirement(text)
    }

    fn find_links(&self) -> Option<&str> {
        let rest = self
            .text
            .strip_prefix("--find-links")
            .or(self.text.strip_prefix("-f"))?;
        Some(rest.trim_start_matches(['=', ' ', '\t']))
    }

    fn is_constraint(&self) -> bool {
        self.text.starts_with("-c") || self.text.starts_with("--constraint")
    }
}

/// A file of requirements without dray's own package, which must not be looked for in an index; None if neither it nor a file
/// that it includes names that. For another place than `folder`, where the file lies: what it includes stands in place of
/// the inclusion, and what is named from there is named by its whole path.
pub fn without_own_package(text: &str, folder: &Path) -> Option<String> {
    let mut is_named = false;
    let text = flat(text, folder, &mut BTreeSet::new(), &mut is_named);
    is_named.then_some(text)
}

fn flat(text: &str, folder: &Path, seen: &mut BTreeSet<PathBuf>, is_named: &mut bool) -> String {
    let mut flattened = String::new();
    for line in lines(text) {
        let line = match line.kind() {
            Line::Requirement(requirement) if is_own(requirement) => {
                *is_named = true;
                continue;
            }
            Line::File(named) if !named.contains("://") => {
                let path = folder.join(named);
                match fs_err::read(&path) {
                    _ if line.is_constraint() => format!("-c {}", path.display()),
                    Ok(_) if !seen.insert(path.clone()) => continue,
                    Ok(bytes) => flat(&decoded(&bytes), path.parent().unwrap_or(folder), seen, is_named),
                    // Why not, the installer will say.
                    Err(_) => format!("-r {}", path.display()),
                }
            }
            _ => match line
                .find_links()
                .map(|named| folder.join(named))
                .filter(|path| path.exists())
            {
                Some(path) => format!("--find-links {}", path.display()),
                None => line.text,
            },
        };
        flattened += line.trim_end();
        flattened.push('\n');
    }
    flattened
}

fn is_own(requirement: &str) -> bool {
    let parsed = requirement.parse::<Requirement>();
    parsed.is_ok_and(|requirement| normalised(&requirement.name) == OWN_PACKAGE)
}

/// Whether a file of requirements asks for anything, and does not only set options.
pub fn asks_for_anything(text: &str) -> bool {
    lines(text).any(|line| {
        let sets_option = line.text.starts_with("--") || line.text.starts_with("-i") || line.text.starts_with("-f");
        !sets_option || matches!(line.kind(), Line::File(_) | Line::Path(_))
    })
}

/// Whether a file of requirements pins each by its hash, as a lock does.
pub fn has_hashes(text: &str) -> bool {
    lines(text).any(|line| line.text.contains("--hash="))
}

fn lines(text: &str) -> impl Iterator<Item = LogicalLine> {
    let mut joined: Vec<LogicalLine> = Vec::new();
    let mut continues = false;
    for (index, line) in text.lines().enumerate() {
        let (content, next_continues) = match line.strip_suffix('\\') {
            Some(content) => (content, true),
            None => (line, false),
        };
        // A comment begins the line, or stands behind a blank.
        let content = match content.find(" #").into_iter().chain(content.find("\t#")).min() {
            Some(at) => &content[..at],
            None if content.trim_start().starts_with('#') => "",
            None => content,
        };
        match joined.last_mut() {
            Some(last) if continues => {
                last.text.push(' ');
                last.text.push_str(content.trim());
            }
            _ => joined.push(LogicalLine {
                number: index + 1,
                text: content.trim().to_owned(),
            }),
        }
        continues = next_continues;
    }
    joined.into_iter().filter(|line| !line.text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str, others: &[(&str, &str)]) -> Vec<String> {
        let requirements = Requirements {
            file: FILE_NAME,
            text: text.to_owned(),
            others: others
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        };
        requirements
            .parse()
            .unwrap()
            .into_iter()
            .map(|found| found.name)
            .collect()
    }

    #[test]
    fn options_comments_paths_and_urls_are_no_requirements() {
        let text = "# all\n--index-url https://host/simple\n-e .\n./wheels/a.whl\nhttps://host/b.whl\ngit+https://host/c\n\
                    requests[socks] >= 2  # why\nnumpy==2.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n\
                    d @ https://host/d.whl\n${PRIVATE}/x\n";
        assert_eq!(named(text, &[]), ["requests", "numpy", "d"]);
    }

    #[test]
    fn files_that_are_included_count_and_constraints_do_not() {
        let others = [
            ("sub/more.txt", "b\n-r ../requirements.txt\n-r c.txt\n"),
            ("sub/c.txt", "c"),
            ("k.txt", "k"),
        ];
        assert_eq!(named("a\n-r sub/more.txt\n-c k.txt\n", &others), ["a", "b", "c"]);
    }

    #[test]
    fn a_line_that_is_no_requirement_is_named_with_its_number() {
        let requirements = Requirements {
            file: FILE_NAME,
            text: "a\n\n==1\n".to_owned(),
            others: Vec::new(),
        };
        assert_eq!(
            requirements.parse().unwrap_err().to_string(),
            "`requirements.txt` line 3: `==1` is not a requirement: it does not begin with a name"
        );
    }

    #[test]
    fn options_alone_ask_for_nothing() {
        assert!(!asks_for_anything("# none\n--index-url x\n-i y\n\n"));
        assert!(asks_for_anything("-r other.txt\n") && asks_for_anything("--editable .\n") && asks_for_anything("a\n"));
    }

    #[test]
    fn a_file_of_powershell_is_read() {
        let utf16: Vec<u8> = "a==1\r\nb\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(
            named(&decoded(&[&[0xff, 0xfe], utf16.as_slice()].concat()), &[]),
            ["a", "b"]
        );
        assert_eq!(decoded(b"\xef\xbb\xbfa"), "a");
    }

    #[test]
    fn a_lock_is_told_by_its_hashes() {
        assert!(has_hashes("a==1 \\\n    --hash=sha256:00\n"));
        assert!(!has_hashes("a==1 # --hash=\n"));
    }
}
