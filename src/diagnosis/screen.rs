//! The checks as lines for people.

use std::fmt::Write as _;

use super::{Area, Check, Diagnosis, Status};

/// One line a check, what has failed last of all in a few words.
pub fn screen(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    let mut before = None;
    for check in &diagnosis.checks {
        let area = if before == Some(check.area) {
            ""
        } else {
            title(check.area)
        };
        before = Some(check.area);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {area:<11} {}", sign(check.status), line(check));
    }
    let failed: Vec<String> = diagnosis
        .checks
        .iter()
        .filter(|check| check.status == Status::Failed)
        .map(|check| format!("{} {}", title(check.area), check.subject).trim_end().to_owned())
        .collect();
    let _ = match failed.as_slice() {
        [] => writeln!(text, "\nnothing that a run needs has failed"),
        failed => writeln!(text, "\nfailed: {}", failed.join(", ")),
    };
    text
}

/// What is neither good nor bad may be cut: it is whole in the JSON document.
const MAX_NOTE_CHARACTERS: usize = 150;

fn line(check: &Check) -> String {
    let line = match check.subject.as_str() {
        "" => check.text.clone(),
        subject => format!("{subject}: {}", check.text),
    };
    if check.status != Status::Note || line.chars().count() <= MAX_NOTE_CHARACTERS {
        return line;
    }
    line.chars().take(MAX_NOTE_CHARACTERS - 1).chain(['…']).collect()
}

fn sign(status: Status) -> char {
    match status {
        Status::Ok => '+',
        Status::Note => ' ',
        Status::Warning => '!',
        Status::Failed => 'x',
    }
}

fn title(area: Area) -> &'static str {
    match area {
        Area::Image => "image",
        Area::Limits => "limits",
        Area::Disk => "disk",
        Area::Batch => "batch",
        Area::Project => "project",
        Area::Python => "python",
        Area::Driver => "driver",
        Area::Identity => "identity",
        Area::Vault => "key vault",
        Area::Connection => "connection",
        Area::Worker => "worker",
    }
}
