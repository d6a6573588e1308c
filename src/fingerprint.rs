//! Whether a file is still the one it was, as far as a look at its inode can tell. Knows nothing of what the file is for.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Identity and state of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// Of the file at `path`, through symbolic links; `None` if there is none.
    pub fn of(path: &Path) -> Option<Fingerprint> {
        Some(Fingerprint::from(&fs_err::metadata(path).ok()?))
    }

    /// Whether both are of one file, whatever was written to it in between.
    pub fn is_same_file(&self, other: &Fingerprint) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<&Metadata> for Fingerprint {
    fn from(metadata: &Metadata) -> Fingerprint {
        Fingerprint {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
