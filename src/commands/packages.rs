//! Where a run's packages come from: decided with the rest of the plan, provided before the script starts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::options::{OptionError, Options, RunArguments};
use super::run::RunFailure;
use crate::dependencies::{
    self, DependencyError, PACKED_FOLDER, Packages, PackedFor, Requirements, Store, Wait, glibc_version,
};
use crate::failure::Failure;
use crate::interpreter::{self, Interpreter};
use crate::project::{EntryKind, Entrypoint, Manifest, Project};
use crate::telemetry;
use crate::worker::Stops;

/// What is done about the packages of a run.
pub enum Dependencies {
    /// They are in the project.
    Packed {
        /// What they were packed for, if `dray pack` did it.
        packed_for: Option<PackedFor>,
        /// `--fresh-dependencies`.
        fresh: bool,
    },
    /// `--install`.
    Install(Requirements),
    /// The interpreter is to have them.
    Check(Requirements),
    /// The project names none, or is to be run whatever it names.
    Unknown,
}

impl Dependencies {
    /// Decides by what is in the project and what was asked for. Packed packages that this node cannot load are refused.
    pub fn decide(
        project: &Project,
        manifest: &Manifest,
        options: &Options,
        arguments: &RunArguments,
    ) -> Result<Dependencies, Failure> {
        let switch = |name, flag| -> Result<bool, OptionError> { options.switch(name, flag) };
        let install = switch("install", arguments.install)?;
        let ignore = switch("ignore-requirements", arguments.ignore_requirements)?;
        let fresh = switch("fresh-dependencies", arguments.fresh_dependencies)?;
        if project.kind_at(PACKED_FOLDER) == Some(EntryKind::Folder) {
            let packed_for = PackedFor::of(project)?;
            if let Some(packed_for) = &packed_for {
                packed_for.check_node(glibc_version())?;
            }
            return Ok(Dependencies::Packed { packed_for, fresh });
        }
        if install {
            let requirements = Requirements::of(project, manifest)?.ok_or(DependencyError::NothingToInstall)?;
            return Ok(Dependencies::Install(requirements));
        }
        if ignore {
            return Ok(Dependencies::Unknown);
        }
        Ok(Requirements::in_file(project)?.map_or(Dependencies::Unknown, Dependencies::Check))
    }

    /// Major and minor version of the Python that packed packages ask for.
    pub fn python_version(&self) -> Option<(u32, u32)> {
        match self {
            Dependencies::Packed { packed_for, .. } => packed_for.as_ref()?.python_version(),
            _ => None,
        }
    }

    /// The node's folder for packed packages; None: they are unpacked for this run alone.
    pub fn store_of_packed(&self) -> Option<Store> {
        match self {
            Dependencies::Packed { fresh: false, .. } => open_store()
                .inspect_err(|cause| tracing::debug!(event = "dependencies.no_store", cause))
                .ok(),
            _ => None,
        }
    }

    /// For a dry run.
    pub fn describe(&self) -> String {
        match self {
            Dependencies::Packed {
                packed_for: Some(packed_for),
                ..
            } => format!(
                "packed for Python {} and {}, {} distributions",
                packed_for.python,
                packed_for.platform,
                packed_for.distributions.len()
            ),
            Dependencies::Packed { .. } => "packed, not said for what".to_owned(),
            Dependencies::Install(requirements) => format!("{}, to be installed", requirements.file),
            Dependencies::Check(requirements) => format!("{}, to be met by the interpreter", requirements.file),
            Dependencies::Unknown => "none that the project names".to_owned(),
        }
    }
}

fn open_store() -> Result<Store, String> {
    let cache = interpreter::cache_folder(|name| std::env::var_os(name))
        .ok_or("`DRAY_CACHE` is `off`, or neither AZ_BATCH_NODE_SHARED_DIR, XDG_CACHE_HOME nor HOME is set")?;
    Store::open(&cache).map_err(|error| format!("`{}`: {error}", cache.display()))
}

/// What the script will find: the packed packages, as they were laid out, those that are installed, or none, once the
/// interpreter was seen to have what it needs.
pub fn provide(
    dependencies: &Dependencies,
    packed: Option<Packages>,
    interpreter: &Interpreter,
    entrypoint: &Entrypoint,
    working_folder: &Path,
    stops: &Stops,
    deadline: Option<Instant>,
) -> Result<Option<Packages>, Failure> {
    match dependencies {
        Dependencies::Packed { .. } => Ok(packed),
        Dependencies::Unknown => Ok(None),
        Dependencies::Check(requirements) => {
            telemetry::set_phase("checking requirements");
            let script_folder = match entrypoint {
                Entrypoint::File { path } => folder_of(&working_folder.join(path)),
                _ => working_folder.to_owned(),
            };
            dependencies::check(requirements, interpreter, working_folder, &script_folder)?;
            Ok(None)
        }
        Dependencies::Install(requirements) => {
            telemetry::set_phase("installing dependencies");
            let store = open_store().map_err(|cause| DependencyError::NoStore { cause })?;
            let installed = stops
                .cancelling(None, |cancel| {
                    let wait = Wait { cancel, deadline };
                    dependencies::install(requirements, interpreter, working_folder, &store, wait)
                })
                .map_err(|error| RunFailure::Signals(nix::Error::from_raw(error.raw_os_error().unwrap_or(0))))?;
            super::run::refuse_if_stopped(stops, "dependencies were installed")?;
            Ok(Some(installed?))
        }
    }
}

fn folder_of(script: &Path) -> PathBuf {
    script.parent().map_or_else(|| script.to_owned(), Path::to_owned)
}

/// Removes what the node's later tasks will not need, beside the script that runs; only after something was added.
pub fn prune(packages: Option<&Packages>) {
    let is_new = packages.is_some_and(|packages| packages.entry.as_ref().is_some_and(|entry| entry.is_new));
    if is_new && let Ok(store) = open_store() {
        // Whatever it has not removed when the run ends, the next one removes.
        std::thread::spawn(move || store.prune());
    }
}
