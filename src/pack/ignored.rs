//! Which paths the .gitignore files of a folder leave out. The patterns are a library's; what holds where is here.

use std::io;
use std::path::Path;

use gix_ignore::glob::Pattern;
use gix_ignore::glob::pattern::Case;
use gix_ignore::glob::wildmatch;

const FILE_NAME: &str = ".gitignore";

/// Patterns of one place, and the folder that their paths start from.
#[derive(Default)]
struct Patterns {
    /// Path from the repository's root, empty or with a slash at its end.
    base: String,
    /// In the order of the file, of which the last that matches counts.
    patterns: Vec<Pattern>,
}

/// The .gitignore files that hold in a folder, the outermost first.
pub(super) struct Ignored {
    files: Vec<Patterns>,
    /// `exclude` of the project.
    excluded: Patterns,
    /// Path of the project from the repository's root, empty or with a slash at its end.
    project: String,
}

impl Ignored {
    /// What holds at the top of the project in `root`: `exclude`, and the files above it as far as its repository goes. The
    /// user's own file is not read: another machine has another.
    pub fn at_top(root: &Path, exclude: &[String]) -> io::Result<Ignored> {
        let repository = root
            .ancestors()
            .find(|folder| folder.join(".git").exists())
            .unwrap_or(root);
        let below = root.strip_prefix(repository).unwrap_or(Path::new(""));
        let mut ignored = Ignored {
            files: Vec::new(),
            excluded: Patterns::default(),
            project: String::new(),
        };
        let mut folder = repository.to_owned();
        for component in below.components() {
            ignored.enter(&folder, "")?;
            folder.push(component);
            ignored.project += &format!("{}/", component.as_os_str().to_string_lossy());
        }
        ignored.excluded = Patterns {
            base: ignored.project.clone(),
            patterns: patterns(exclude.join("\n").as_bytes()),
        };
        Ok(ignored)
    }

    /// Adds what holds in `folder`, whose path in the project is `relative`. To be undone by [`Ignored::leave`].
    pub fn enter(&mut self, folder: &Path, relative: &str) -> io::Result<()> {
        let bytes = match fs_err::read(folder.join(FILE_NAME)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let slash = if relative.is_empty() { "" } else { "/" };
        self.files.push(Patterns {
            base: format!("{}{relative}{slash}", self.project),
            patterns: patterns(&bytes),
        });
        Ok(())
    }

    /// Takes back what the last folder added.
    pub fn leave(&mut self) {
        self.files.pop();
    }

    /// Whether a path of the project is left out, in a folder that is not.
    pub fn leaves_out(&self, relative: &str, is_folder: bool) -> bool {
        let path = format!("{}{relative}", self.project);
        if self.excluded.judge(&path, is_folder) == Some(true) {
            return true;
        }
        let judged = self.files.iter().rev().find_map(|file| file.judge(&path, is_folder));
        judged.unwrap_or(false)
    }
}

impl Patterns {
    /// Whether the path is left out, by the last pattern that matches it; None: none does.
    fn judge(&self, path: &str, is_folder: bool) -> Option<bool> {
        let path = path.strip_prefix(&self.base)?;
        let name_at = path.rfind('/').map(|at| at + 1);
        let matching = self.patterns.iter().rev().find(|pattern| {
            pattern.matches_repo_relative_path(
                path.into(),
                name_at,
                Some(is_folder),
                Case::Sensitive,
                wildmatch::Mode::NO_MATCH_SLASH_LITERAL,
            )
        })?;
        Some(!matching.is_negative())
    }
}

fn patterns(bytes: &[u8]) -> Vec<Pattern> {
    gix_ignore::parse(bytes, false).map(|(pattern, _, _)| pattern).collect()
}
