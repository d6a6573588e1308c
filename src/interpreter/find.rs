//! Chooses the Python of a run.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use pep440_rs::VersionSpecifiers;
use serde::Serialize;

use super::cache::Cache;
use super::candidates::{Candidate, Environment, around_command, environment_of, in_project, on_path};
use super::facts::{Build, Facts};
use super::probe::probe;
use super::suitability::judge;
use super::{Interpreter, InterpreterError, Loading, LoadingChoice, Refusal, Source, path_text};

/// What decides about the Python of a run. Empty values count as absent, as in a shell's `PYTHON= command`.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `--python`: a file, a name to look up on PATH, or the folder of a virtual environment or installation.
    pub flag: Option<PathBuf>,
    /// `DRAY_PYTHON`, with the same values.
    pub environment: Option<PathBuf>,
    /// The project's tree on disk: searched for a virtual environment, and the current folder of the probe.
    pub project: Option<PathBuf>,
    /// `VIRTUAL_ENV`: the folder of the active virtual environment.
    pub virtual_env: Option<PathBuf>,
    /// The folder of the virtual environment that dray is installed in.
    pub own_environment: Option<PathBuf>,
    /// `PATH`.
    pub path: Option<OsString>,
    /// `requires-python` of the project's pyproject.toml.
    pub requires_python: Option<String>,
    /// Major and minor version that the project's packed dependencies are for.
    pub packed_for: Option<(u32, u32)>,
    /// `DRAY_LOADING`.
    pub loading: LoadingChoice,
}

impl Request {
    /// Takes DRAY_PYTHON, VIRTUAL_ENV, PATH and DRAY_LOADING from the environment of this process, and the virtual
    /// environment that dray is installed in from the command by which it was started.
    ///
    /// Fails with [`InterpreterError::LoadingChoice`] if DRAY_LOADING has an unknown value.
    pub fn from_environment() -> Result<Request, InterpreterError> {
        let loading = std::env::var_os("DRAY_LOADING").unwrap_or_default();
        Ok(Request {
            environment: std::env::var_os("DRAY_PYTHON").map(PathBuf::from),
            virtual_env: std::env::var_os("VIRTUAL_ENV").map(PathBuf::from),
            own_environment: std::env::args_os().next().as_deref().and_then(around_command),
            path: std::env::var_os("PATH"),
            loading: loading.to_string_lossy().parse()?,
            ..Request::default()
        })
    }
}

/// The Python of a run, and all that was tried before it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The one to run.
    pub interpreter: Interpreter,
    /// In the order in which they were considered.
    pub passed_over: Vec<PassedOver>,
}

/// A candidate that does not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// The file, or the folder that should have had one.
    #[serde(with = "path_text")]
    pub candidate: PathBuf,
    /// Why it was considered.
    pub source: Source,
    /// Why it does not do; a sentence about it.
    #[serde(serialize_with = "as_sentence")]
    pub reason: Refusal,
}

fn as_sentence<S: serde::Serializer>(reason: &Refusal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reason)
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}): {}", self.candidate.display(), self.source, self.reason)
    }
}

/// Chooses the Python of a run: the first that does, in the order `--python`, DRAY_PYTHON, a virtual environment at the
/// top of the project, VIRTUAL_ENV, the one that dray is installed in, `python3` and then `python` on PATH, and `python3.N`
/// on PATH, newest first.
///
/// A Python is asked what it is by running it, at most 30 s, unless `cache` (see [`super::cache_folder`]) remembers its
/// answer. Nothing after the first that does is looked at.
///
/// One that a person named (`--python`, DRAY_PYTHON) and that does not do is an error; no other is tried. So is a broken
/// VIRTUAL_ENV when its turn comes: its packages are wanted. One that works but is of the wrong kind or version is passed
/// over. A broken environment in the project is passed over with a warning: zips made from a developer's folder carry
/// environments of other machines.
pub fn find(request: &Request, cache: Option<&Path>) -> Result<Found, InterpreterError> {
    find_unless(&|| false, request, cache, None)
}

/// As [`find`], but ends without a Python once `is_over` says that nobody wants it any more; the error then says nothing
/// that matters. What was `foreseen` for the same request without the project is not looked for again if that has no
/// environment.
///
/// # Errors
/// Those of [`find`].
pub fn find_unless(
    is_over: &dyn Fn() -> bool,
    request: &Request,
    cache: Option<&Path>,
    foreseen: Option<&Foreseen>,
) -> Result<Found, InterpreterError> {
    if let Some(foreseen) = foreseen.filter(|foreseen| foreseen.is_first)
        && given(&request.project).is_none_or(|project| in_project(project).is_empty())
    {
        log_found(&foreseen.interpreter);
        return Ok(Found {
            interpreter: foreseen.interpreter.clone(),
            passed_over: Vec::new(),
        });
    }
    let search = Search {
        is_over,
        ..Search::new(request, cache)?
    };
    let mut passed_over = Vec::new();
    for candidate in candidates(request) {
        let Candidate { path, source, state } = candidate;
        match state.and_then(|()| search.consider(&path, &source)) {
            Ok(interpreter) => {
                return Ok(Found {
                    interpreter,
                    passed_over,
                });
            }
            Err(refusal) if is_final(&source, &refusal) => {
                return Err(InterpreterError::Named {
                    origin: source,
                    candidate: path,
                    refusal: Box::new(refusal),
                });
            }
            Err(reason) => {
                let refused = PassedOver {
                    candidate: path,
                    source,
                    reason,
                };
                if is_over() {
                    break;
                }
                report(&refused);
                passed_over.push(refused);
            }
        }
    }
    Err(InterpreterError::NoneFound { passed_over })
}

/// A candidate and what it comes to.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// The file, or the folder that should have had one.
    pub candidate: PathBuf,
    /// Why it is considered.
    pub source: Source,
    /// Whether it would do.
    pub outcome: Result<Interpreter, Refusal>,
}

/// Every candidate of [`find`], those behind the one that it takes included, in its order.
///
/// # Errors
/// `requires-python` of the project makes no sense.
pub fn survey(request: &Request, cache: Option<&Path>) -> Result<Vec<Surveyed>, InterpreterError> {
    let search = Search::new(request, cache)?;
    let surveyed = candidates(request).map(|Candidate { path, source, state }| Surveyed {
        outcome: state.and_then(|()| search.consider(&path, &source)),
        candidate: path,
        source,
    });
    Ok(surveyed.collect())
}

fn candidates(request: &Request) -> impl Iterator<Item = Candidate> {
    let search_path = request.path.clone();
    let named = |name: &Option<PathBuf>, source: Source| {
        given(name).map(|name| Candidate::named(name, source, request.path.as_deref()))
    };
    let flag = named(&request.flag, Source::Flag);
    // The flag outranks the variable, and either ends the search.
    let environment = if flag.is_none() {
        named(&request.environment, Source::Environment)
    } else {
        None
    };
    let in_project = std::iter::once_with(|| given(&request.project).map(in_project).unwrap_or_default()).flatten();
    let active = std::iter::once_with(|| given(&request.virtual_env).map(Candidate::active_environment)).flatten();
    let own = std::iter::once_with(|| given(&request.own_environment).map(Candidate::own_environment)).flatten();
    let on_path = std::iter::once_with(move || on_path(search_path.as_deref())).flatten();
    flag.into_iter()
        .chain(environment)
        .chain(in_project)
        .chain(active)
        .chain(own)
        .chain(on_path)
}

/// The Python that [`find`] will most likely come to.
#[derive(Clone, Debug)]
pub struct Foreseen {
    /// It.
    pub interpreter: Interpreter,
    /// Whether nothing came before it.
    is_first: bool,
}

/// Foresees by what `cache` remembers alone: nothing is run, and nothing logged. None: that cannot be foreseen.
pub fn foresee(request: &Request, cache: Option<&Path>) -> Option<Foreseen> {
    let search = Search::new(request, cache).ok()?;
    for (before, candidate) in candidates(request).enumerate() {
        if candidate.state.is_err() {
            continue;
        }
        let facts = search.cache.as_ref()?.recall(&candidate.path)?;
        if let Ok(found) = search.judge(&facts, environment_of(&candidate.path).as_ref()) {
            return Some(Foreseen {
                interpreter: interpreter(&candidate.path, &candidate.source, &facts, found),
                is_first: before == 0,
            });
        }
    }
    None
}

fn given(path: &Option<PathBuf>) -> Option<&Path> {
    path.as_deref().filter(|path| !path.as_os_str().is_empty())
}

fn is_final(source: &Source, refusal: &Refusal) -> bool {
    match source {
        Source::Flag | Source::Environment => true,
        Source::VirtualEnv => refusal.is_broken(),
        Source::Project(_) | Source::OwnEnvironment | Source::SearchPath(_) => false,
    }
}

fn report(refused: &PassedOver) {
    let (candidate, source, reason) = (refused.candidate.display(), &refused.source, &refused.reason);
    if matches!(source, Source::Project(_)) {
        tracing::warn!(event = "interpreter.passed_over", %candidate, %source, %reason);
    } else {
        tracing::debug!(event = "interpreter.passed_over", %candidate, %source, %reason);
    }
}

fn log_found(found: &Interpreter) {
    tracing::info!(
        event = "interpreter.found",
        executable = %found.executable.display(),
        source = %found.source,
        version = %found.version,
        loading = %found.loading,
        "found the interpreter"
    );
}

struct Search<'a> {
    request: &'a Request,
    requires_python: Option<VersionSpecifiers>,
    cache: Option<Cache>,
    is_over: &'a dyn Fn() -> bool,
}

impl<'a> Search<'a> {
    fn new(request: &'a Request, cache: Option<&Path>) -> Result<Search<'a>, InterpreterError> {
        let requires_python = match &request.requires_python {
            Some(text) => {
                Some(
                    VersionSpecifiers::from_str(text).map_err(|error| InterpreterError::RequiresPython {
                        text: text.clone(),
                        cause: error.to_string().lines().next().unwrap_or_default().to_owned(),
                    })?,
                )
            }
            None => None,
        };
        Ok(Search {
            request,
            requires_python,
            cache: cache.and_then(Cache::open),
            is_over: &|| false,
        })
    }

    fn judge(&self, facts: &Facts, environment: Option<&Environment>) -> Result<(Build, Loading), Refusal> {
        let made_for = environment.and_then(|environment| environment.made_for.as_deref());
        let (build, loading) = judge(facts, made_for, self.requires_python.as_ref(), self.request.loading)?;
        let found = (facts.version.major, facts.version.minor);
        if let Some(packed_for) = self.request.packed_for.filter(|packed_for| *packed_for != found) {
            return Err(Refusal::PackedFor {
                found: facts.version.clone(),
                packed_for,
            });
        }
        Ok((build.clone(), loading))
    }

    fn consider(&self, candidate: &Path, source: &Source) -> Result<Interpreter, Refusal> {
        let environment = environment_of(candidate);
        let facts = self.facts(candidate).map_err(|refusal| match &environment {
            // A copied, not linked, interpreter starts and then does not find its standard library.
            Some(environment) if environment.home.as_ref().is_some_and(|home| !Path::new(home).is_dir()) => {
                Refusal::BaseGone {
                    home: environment.home.clone().unwrap_or_default(),
                }
            }
            _ => refusal,
        })?;
        let found = interpreter(candidate, source, &facts, self.judge(&facts, environment.as_ref())?);
        log_found(&found);
        Ok(found)
    }

    fn facts(&self, candidate: &Path) -> Result<Facts, Refusal> {
        if let Some(facts) = self.cache.as_ref().and_then(|cache| cache.recall(candidate)) {
            return Ok(facts);
        }
        let seen = Cache::before(candidate);
        let started = std::time::Instant::now();
        let facts = probe(candidate, given(&self.request.project), self.is_over)?;
        tracing::debug!(
            event = "interpreter.probed", candidate = %candidate.display(), duration_ms = started.elapsed().as_millis()
        );
        if let Some(cache) = &self.cache {
            cache.keep(seen, &facts);
        }
        Ok(facts)
    }
}

fn interpreter(candidate: &Path, source: &Source, facts: &Facts, (build, loading): (Build, Loading)) -> Interpreter {
    Interpreter {
        executable: facts.executable.clone(),
        candidate: candidate.to_owned(),
        source: source.clone(),
        version: facts.version.clone(),
        version_text: facts.version_text.clone(),
        prefix: build.prefix,
        base_prefix: build.base_prefix,
        loading,
    }
}

#[cfg(test)]
mod tests;
