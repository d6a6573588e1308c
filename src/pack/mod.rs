//! A project and its dependencies become one zip that runs on a node.
//!
//! This module owns which files of a folder belong to the project, how its requirements become wheels for a named target,
//! where a wheel's files lie, and how the zip is written. Where the packages go, and what is written about them, is the
//! contract in `dependencies/`. It knows nothing of how a project is run.
//!
//! ```text
//! sources   the project's files, by .gitignore and `exclude`
//! resolve   requirements -> exact wheels: by uv if it is there, else by pip; pip fetches them
//! wheel     a wheel -> members of the zip, as `pip install --target` would lay them out
//! zip       all members, sorted, with fixed times and modes -> one file, whole or not at all
//! ```
//!
//! Wheels are unpacked here, and not by `pip install --target`: what pip and uv lay out differs (their own records, scripts
//! with this machine's path in them, bytecode with times), and a zip that is to be the same byte for byte would have to
//! be freed of all that again.

mod error;
mod ignored;
mod resolve;
mod sources;
mod target;
mod wheel;
mod zip;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::PackError;
pub use target::Target;

use crate::dependencies::{PACKED_FOLDER, PACKED_MANIFEST, PackedFor};
use crate::project::{Archive, Project};

/// What to pack, and how.
pub struct Request {
    /// The project's folder.
    pub folder: PathBuf,
    /// The zip to write.
    pub output: PathBuf,
    /// Where it is to run.
    pub target: Target,
    /// Requirements instead of the project's own: a path from the current folder.
    pub requirements: Option<PathBuf>,
    /// Where to write what was chosen.
    pub lock: Option<PathBuf>,
    /// Leave out tests and caches of packages.
    pub strip: bool,
}

/// What packing came to.
pub struct Packed {
    /// Size of the zip in bytes.
    pub zip_bytes: u64,
    /// Files in it.
    pub files: usize,
    /// Of the project itself.
    pub project_files: usize,
    /// Bytes of all files, unpacked.
    pub unpacked_bytes: u64,
    /// Where the requirements stood, and what got the wheels; None: the project has none.
    pub source: Option<(String, &'static str)>,
    /// Name, version and unpacked size in bytes of each package, the largest first.
    pub packages: Vec<(String, u64)>,
    /// What may not be as expected, a sentence each.
    pub notes: Vec<String>,
}

/// Where the content of a member comes from.
#[derive(Clone)]
enum Content {
    File(PathBuf),
    Bytes(Vec<u8>),
    Link(String),
    Wheel(Arc<Archive>, String),
}

/// A file or symbolic link of the zip to be.
#[derive(Clone)]
struct Member {
    content: Content,
    is_executable: bool,
    size_bytes: u64,
}

/// By their paths in the zip, and thus sorted.
type Members = BTreeMap<String, Member>;

/// Packs a project.
///
/// # Errors
/// See [`PackError`]. The zip appears when it is whole, and an earlier one is then replaced; else it stays.
pub fn pack(request: &Request) -> Result<Packed, PackError> {
    let project = Project::open(&request.folder)?;
    if !matches!(project, Project::Folder(_)) {
        return Err(PackError::NotAFolder {
            path: request.folder.clone(),
        });
    }
    let manifest = project.manifest()?;
    let source = resolve::Source::of(&project, &manifest, request.requirements.as_deref())?;
    let mut notes = Vec::new();
    if let Some(source) = source.as_ref().filter(|source| source.names_own_package) {
        notes.push(format!(
            "`dray` of {} is left out: `dray run` brings that package itself",
            source.shown
        ));
    }
    let source = source.filter(resolve::Source::asks_for_anything);
    let written: Vec<&Path> = std::iter::once(&request.output)
        .chain(&request.lock)
        .map(PathBuf::as_path)
        .collect();
    let mut members = sources::collect(&request.folder, &manifest.exclude, &written, source.is_some())?;
    let project_files = members.len();
    let mut packages = Vec::new();
    let mut described = None;
    let mut distributions = Vec::new();
    if let Some(source) = source {
        let wheels = resolve::wheels(&source, &request.folder, &request.target)?;
        for path in &wheels.files {
            let wheel = wheel::open(path)?;
            let size_bytes = wheel.add_to(&mut members, request.strip, &mut notes)?;
            let distribution = wheel.distribution;
            packages.push((format!("{} {}", distribution.name, distribution.version), size_bytes));
            distributions.push(distribution);
        }
        distributions.sort_by_key(|distribution| distribution.name.to_lowercase());
        packages.sort_by_key(|(_, size_bytes)| std::cmp::Reverse(*size_bytes));
        let packed_for = PackedFor::new(request.target.python, request.target.platform(), distributions.clone());
        let text = serde_json::to_string_pretty(&packed_for).unwrap_or_default() + "\n";
        members.insert(PACKED_MANIFEST.to_owned(), Member::of_text(text));
        described = Some((source.shown, wheels.resolver));
    }
    if let Some(lock) = &request.lock {
        write_lock(lock, &request.target, &distributions)?;
    }
    let unpacked_bytes = members.values().map(|member| member.size_bytes).sum();
    let files = members.len();
    let zip_bytes = zip::write(&request.output, &members)?;
    Ok(Packed {
        zip_bytes,
        files,
        project_files,
        unpacked_bytes,
        source: described,
        packages,
        notes,
    })
}

impl Member {
    fn of_text(text: String) -> Member {
        Member {
            size_bytes: text.len() as u64,
            content: Content::Bytes(text.into_bytes()),
            is_executable: false,
        }
    }
}

/// In the format of requirements.txt with hashes, so that pip and uv read it as well.
fn write_lock(
    path: &Path,
    target: &Target,
    distributions: &[crate::dependencies::Distribution],
) -> Result<(), PackError> {
    let mut text = format!(
        "# Written by `dray pack` for Python {}.{} and {}; read it with `dray pack --requirements`.\n",
        target.python.0,
        target.python.1,
        target.platform()
    );
    for distribution in distributions {
        text += &format!(
            "{}=={} \\\n    --hash=sha256:{}\n",
            distribution.name, distribution.version, distribution.sha256
        );
    }
    fs_err::write(path, text).map_err(|source| PackError::Io {
        doing: "write the lock".to_owned(),
        source,
    })
}

/// The path of a packed file in the zip.
fn in_packed_folder(path: &str) -> String {
    format!("{PACKED_FOLDER}/{path}")
}
