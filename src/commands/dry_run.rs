//! `dray run --dry-run`: the whole plan, printed; nothing is written and no user code runs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use super::run::Plan;
use crate::failure::Failure;
use crate::interpreter::{self, Found};
use crate::outputs;
use crate::project::{Member, MemberKind, Project};
use crate::telemetry;

/// Prints the plan to stdout. An interpreter that cannot be found is an error, after all else was printed.
///
/// A virtual environment in a zip is told of and not tried, since nothing is unpacked; one in a folder is tried.
pub fn print(plan: &Plan) -> Result<(), Failure> {
    let mut text = String::new();
    describe(plan, &mut text)?;
    let request = interpreter::Request {
        project: match &plan.project {
            Project::Folder(folder) => Some(folder.root().to_owned()),
            Project::Zip(_) => None,
        },
        ..plan.interpreter.clone()
    };
    for (index, folder) in environments_to_unpack(plan)?.iter().enumerate() {
        let said = format!(
            "the project brings the environment `{folder}`, which comes before what the node has; whether it works shows \
             once it is unpacked"
        );
        line(&mut text, if index == 0 { "environment" } else { "" }, &said);
    }
    // No cache: a dry run leaves nothing behind.
    let found = interpreter::find(&request, None);
    if let Ok(Found {
        interpreter,
        passed_over,
    }) = &found
    {
        line(
            &mut text,
            "interpreter",
            &format!("{} ({})", interpreter.executable.display(), interpreter.version),
        );
        line(
            &mut text,
            "",
            &format!("chosen as {}, {}", interpreter.source, interpreter.loading),
        );
        for candidate in passed_over {
            line(&mut text, "", &format!("passed over: {candidate}"));
        }
    }
    let text = telemetry::redactor().redact(&text).into_owned();
    // A reader that has seen enough (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    found.map(|_| ()).map_err(Failure::from)
}

/// Folders at the top of a zip that the search for an interpreter will look at once they are unpacked.
fn environments_to_unpack(plan: &Plan) -> Result<Vec<String>, Failure> {
    let is_named = |name: &Option<PathBuf>| name.as_ref().is_some_and(|name| !name.as_os_str().is_empty());
    if !matches!(plan.project, Project::Zip(_))
        || is_named(&plan.interpreter.flag)
        || is_named(&plan.interpreter.environment)
    {
        return Ok(Vec::new());
    }
    let members = plan.project.members()?;
    let folders = members
        .iter()
        .filter_map(|member| member.path.strip_suffix("/pyvenv.cfg"));
    Ok(folders
        .filter(|folder| !folder.contains('/'))
        .map(str::to_owned)
        .collect())
}

fn describe(plan: &Plan, text: &mut String) -> Result<(), Failure> {
    let members = plan.project.members()?;
    let bytes: u64 = members.iter().map(|member| member.size_bytes).sum();
    let (kind, working_folder) = match &plan.project {
        Project::Zip(_) => ("zip, to be unpacked", "a fresh folder below the task folder".to_owned()),
        Project::Folder(folder) => ("folder, run in place", folder.root().display().to_string()),
    };
    if let Project::Zip(archive) = &plan.project {
        archive.check(&plan.limits)?;
    }
    line(
        text,
        "project",
        &format!("{kind}: {} members, {bytes} bytes", members.len()),
    );
    line(text, "task folder", &plan.task_folder.display().to_string());
    line(text, "working folder", &working_folder);
    line(text, "entrypoint", &plan.entrypoint.to_string());
    let arguments: Vec<String> = plan.arguments.iter().map(|argument| format!("{argument:?}")).collect();
    line(text, "arguments", if arguments.is_empty() { "none" } else { "" });
    for argument in arguments {
        line(text, "", &argument);
    }
    line(text, "dependencies", &plan.dependencies.describe());
    let activity = plan.handover.activity.as_ref();
    line(
        text,
        "activity",
        activity.and_then(|activity| activity.name.as_deref()).unwrap_or("none"),
    );
    for (name, value) in plan.handover.parameters_for_display() {
        line(text, "", &format!("parameter {name} = {value}"));
    }
    for service in plan
        .handover
        .linked_services
        .iter()
        .filter_map(|service| service.name.as_deref())
    {
        line(text, "", &format!("linked service {service}"));
    }
    for dataset in plan
        .handover
        .datasets
        .iter()
        .filter_map(|dataset| dataset.name.as_deref())
    {
        line(text, "", &format!("dataset {dataset}"));
    }
    let limit = plan
        .timeout
        .map_or("none".to_owned(), |limit| humantime::format_duration(limit).to_string());
    line(
        text,
        "time limit",
        &format!("{limit}; grace time {}", humantime::format_duration(plan.grace)),
    );
    let summary = if plan.no_summary { "without" } else { "with" };
    let file = plan.task_folder.join(outputs::FILE_NAME);
    line(
        text,
        "outputs",
        &format!("{}, {summary} the `{}` object", file.display(), outputs::SUMMARY_KEY),
    );
    line(text, "members", "");
    for member in &members {
        line(text, "", &describe_member(member));
    }
    Ok(())
}

fn describe_member(member: &Member) -> String {
    let (letter, target) = match &member.kind {
        MemberKind::File => ('-', String::new()),
        MemberKind::Folder => ('d', String::new()),
        MemberKind::Symlink { target } => ('l', format!(" -> {}", target.display())),
    };
    format!(
        "{letter} {:04o} {:>12} {}{target}",
        member.mode & 0o7777,
        member.size_bytes,
        member.path
    )
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", format!("{name:<16}{value}").trim_end());
}
