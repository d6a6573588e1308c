//! Which Pythons there are, and why each would or would not do.

use std::path::Path;

use super::{Area, Check, Status};
use crate::interpreter::{Loading, Request, Source, Surveyed, survey};

/// A check for each candidate, and one that says so if none would do.
pub fn checks(request: &Request, cache: Option<&Path>) -> Vec<Check> {
    let surveyed = match survey(request, cache) {
        Ok(surveyed) => surveyed,
        Err(error) => {
            let check = Check::new(Area::Project, "requires-python", Status::Failed, error.to_string());
            return vec![check];
        }
    };
    // One that a person named is the only one that a run would look at.
    let named = surveyed
        .first()
        .filter(|first| matches!(first.source, Source::Flag | Source::Environment));
    let chosen = match named {
        Some(named) => named.outcome.is_ok().then_some(0),
        None => surveyed.iter().position(|each| each.outcome.is_ok()),
    };
    let mut checks: Vec<Check> = surveyed
        .iter()
        .enumerate()
        .map(|(at, each)| check(each, chosen == Some(at)))
        .collect();
    if chosen.is_none() {
        let text = "none that a run could use, so that neither drivers nor connections could be tried; `--python` or \
                    `DRAY_PYTHON` names one";
        checks.push(Check::new(Area::Python, "", Status::Failed, text.to_owned()));
    }
    checks
}

fn check(surveyed: &Surveyed, is_chosen: bool) -> Check {
    let subject = surveyed.candidate.display().to_string();
    let check = match &surveyed.outcome {
        Ok(interpreter) => {
            let role = if is_chosen {
                "which a run takes"
            } else {
                "which would do as well"
            };
            let text = format!(
                "{} ({}): {role}; {}",
                interpreter.version, surveyed.source, interpreter.loading
            );
            let library = match &interpreter.loading {
                Loading::Library { library, .. } => Some(library.display().to_string()),
                Loading::Hosted { .. } => None,
            };
            let status = if is_chosen { Status::Ok } else { Status::Note };
            Check::new(Area::Python, &subject, status, text)
                .fact("version", interpreter.version.to_string())
                .fact("libpython", library)
                .fact("is_virtual_environment", interpreter.is_virtual_environment())
        }
        Err(refusal) => {
            let text = format!("would not do ({}): {refusal}", surveyed.source);
            Check::new(Area::Python, &subject, Status::Note, text).fact("refusal", refusal.to_string())
        }
    };
    check
        .fact("is_chosen", is_chosen)
        .fact("source", surveyed.source.to_string())
}
