//! What `dray pack` writes about the packages it packed, and whether they run on this node.

use serde::{Deserialize, Serialize};

use super::{DependencyError, PACKED_MANIFEST};
use crate::project::Project;

/// The format that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// Larger than that of a project with a thousand packages.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The file [`PACKED_MANIFEST`] of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedFor {
    format: u32,
    /// Version of Python, such as `3.12`.
    pub python: String,
    /// Its ABI, such as `cp312`.
    pub abi: String,
    /// The platform tag that was asked for, such as `manylinux_2_39_x86_64`; a package may need less.
    pub platform: String,
    /// What was packed, sorted by name.
    pub distributions: Vec<Distribution>,
}

/// One packed package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// As its wheel spells it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// File name of the wheel.
    pub wheel: String,
    /// SHA-256 of the wheel, in hexadecimal.
    pub sha256: String,
}

impl PackedFor {
    /// What is to be written for packages that were got for `python` (major and minor version) and `platform`.
    pub fn new(python: (u32, u32), platform: String, distributions: Vec<Distribution>) -> PackedFor {
        PackedFor {
            format: FORMAT,
            python: format!("{}.{}", python.0, python.1),
            abi: format!("cp{}{}", python.0, python.1),
            platform,
            distributions,
        }
    }

    /// Reads that of a project; None where it has none.
    ///
    /// # Errors
    /// [`DependencyError::Manifest`]; those of reading a project.
    pub fn of(project: &Project) -> Result<Option<PackedFor>, DependencyError> {
        let Some(bytes) = project.read_small(PACKED_MANIFEST, MAX_BYTES)? else {
            return Ok(None);
        };
        let malformed = |cause: String| DependencyError::Manifest { cause };
        let packed: PackedFor = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if packed.format != FORMAT {
            return Err(malformed(format!(
                "its format is {}, and this version of dray reads {FORMAT}",
                packed.format
            )));
        }
        if packed.python_version().is_none() {
            return Err(malformed(format!(
                "`python` is `{}`, not a version such as `3.12`",
                packed.python
            )));
        }
        Ok(Some(packed))
    }

    /// Major and minor version of Python.
    pub fn python_version(&self) -> Option<(u32, u32)> {
        let (major, minor) = self.python.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }

    /// Refuses a node whose C library is older than that of a packed wheel, or of another processor.
    ///
    /// # Errors
    /// [`DependencyError::Platform`] with the packages that would not load.
    pub fn check_node(&self, glibc: (u32, u32)) -> Result<(), DependencyError> {
        let needing: Vec<String> = self
            .distributions
            .iter()
            .filter(|distribution| !runs_on(&distribution.wheel, glibc))
            .map(|distribution| format!("{} {}", distribution.name, distribution.version))
            .collect();
        if needing.is_empty() {
            return Ok(());
        }
        Err(DependencyError::Platform {
            packed_for: self.platform.clone(),
            glibc,
            needing,
        })
    }
}

/// Whether the platform tags of a wheel's file name (PEP 425, PEP 600) let it run on this processor under `glibc`.
fn runs_on(wheel: &str, glibc: (u32, u32)) -> bool {
    let Some(tags) = wheel.strip_suffix(".whl").and_then(|stem| stem.rsplit('-').next()) else {
        return true; // nothing that a wheel is named like says nothing
    };
    tags.split('.').any(|tag| match least_glibc(tag) {
        Some(least) => least <= glibc,
        None => tag == "any" || tag == format!("linux_{}", std::env::consts::ARCH),
    })
}

/// The glibc that a platform tag of this processor asks for.
fn least_glibc(tag: &str) -> Option<(u32, u32)> {
    let tag = tag.strip_suffix(std::env::consts::ARCH)?.strip_suffix('_')?;
    match tag {
        "manylinux1" => Some((2, 5)),
        "manylinux2010" => Some((2, 12)),
        "manylinux2014" => Some((2, 17)),
        _ => {
            let (major, minor) = tag.strip_prefix("manylinux_")?.split_once('_')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(wheels: &[&str]) -> PackedFor {
        let distributions = wheels
            .iter()
            .map(|wheel| Distribution {
                name: wheel.split('-').next().unwrap().to_owned(),
                version: "1".to_owned(),
                wheel: (*wheel).to_owned(),
                sha256: String::new(),
            })
            .collect();
        PackedFor::new((3, 12), "manylinux_2_39_x86_64".to_owned(), distributions)
    }

    #[test]
    fn a_wheel_runs_where_any_of_its_tags_does() {
        let wheels = [
            "a-1-py3-none-any.whl",
            "b-1-cp312-cp312-manylinux_2_28_x86_64.whl",
            "c-1-cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "d-1-cp312-cp312-linux_x86_64.whl",
        ];
        assert!(packed(&wheels).check_node((2, 28)).is_ok());
        match packed(&wheels).check_node((2, 27)).unwrap_err() {
            DependencyError::Platform { needing, .. } => assert_eq!(needing, ["b 1"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wheel_of_another_processor_runs_nowhere_here() {
        let other = packed(&["a-1-cp312-cp312-manylinux_2_17_sparc.whl"]);
        assert!(other.check_node((2, 99)).is_err());
    }
}
