//! The packages that a project needs: packed into it, asked of the interpreter, or installed once for the node.
//!
//! This module owns the contract between `dray pack` and `dray run` (where packed packages lie in a project, what is
//! written about them), the reading of requirements, and what is kept on the node for later tasks. It knows nothing of the
//! script, of ADF, or of how packages are got for packing (`pack/`).
//!
//! ```text
//! packed      PACKED_FOLDER of the project; unpacked once for the node (`lay_out`), checked against it (`PackedFor`)
//! installed   `install`: the project's requirements, by uv or pip, once for the node
//! neither     `check`: the interpreter's own packages against requirements.txt, before the script starts
//! ```
//!
//! In the first two cases the script finds the packages through PYTHONPATH, as it finds the package `dray`: so do its
//! child interpreters, nothing of the interpreter changes, and it needs no virtual environment.

mod check;
mod error;
mod glibc;
mod install;
mod packed;
mod packed_for;
mod requirement;
mod requirements;
mod store;

pub use check::check;
pub use error::DependencyError;
pub use glibc::glibc_version;
pub use install::install;
pub use packed::lay_out;
pub use packed_for::{Distribution, PackedFor};
pub use requirements::{Requirements, asks_for_anything, decoded, has_hashes, without_own_package};
pub use store::{Store, StoreEntry, Wait};

use std::path::PathBuf;

/// Where packed packages lie in a project: the folder that Azure Functions has made known, so that what was packed by
/// hand with `pip install --target` works too.
pub const PACKED_FOLDER: &str = ".python_packages/lib/site-packages";

/// What `dray pack` writes about them.
pub const PACKED_MANIFEST: &str = ".python_packages/dray.json";

/// A folder of packages for the script's path.
pub struct Packages {
    /// Goes into PYTHONPATH.
    pub folder: PathBuf,
    /// Keeps it from being removed while the run lasts. None: it is the run's own.
    pub entry: Option<StoreEntry>,
}
