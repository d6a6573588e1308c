//! Which entrypoint is meant.

use super::fixtures::*;
use crate::failure::Failing;
use crate::project::{EntryArgument, Entrypoint, ProjectError};

fn place(paths: &[&str]) -> Place {
    Place::new(&zip(&paths.iter().map(|path| file(path, "")).collect::<Vec<_>>()).bytes)
}

fn choose(place: &Place, argument: Option<EntryArgument>) -> Result<Entrypoint, ProjectError> {
    let project = place.project();
    Entrypoint::choose(argument.as_ref(), &project.manifest()?, &project)
}

fn name(name: &str) -> Option<EntryArgument> {
    Some(EntryArgument::Name(name.to_owned()))
}

fn module(name: &str) -> Option<EntryArgument> {
    Some(EntryArgument::Module(name.to_owned()))
}

fn with_manifest(entry: &str, paths: &[&str]) -> Place {
    let mut entries: Vec<Entry> = paths.iter().map(|path| file(path, "")).collect();
    entries.push(file("pyproject.toml", format!("[tool.dray]\nentry = \"{entry}\"\n")).deflated());
    Place::new(&zip(&entries).bytes)
}

#[test]
fn a_named_entrypoint_is_told_by_its_form() {
    let place = place(&["main.py", "jobs/load.py", "pkg/mod.py", "tool", "odd:name"]);
    for (argument, shown) in [
        (name("main.py"), "main.py"),
        (name("./jobs/load.py"), "./jobs/load.py"),
        (name("tool"), "tool"),
        (name("odd:name"), "odd:name"),
        (name("pkg.mod:Load.run"), "pkg.mod:Load.run"),
        (name("installed:main"), "installed:main"),
        (module("pkg.mod"), "-m pkg.mod"),
        (module("not_in_the_project"), "-m not_in_the_project"),
    ] {
        assert_eq!(choose(&place, argument).unwrap().to_string(), shown);
    }
    let function = choose(&place, name("pkg.mod:run")).unwrap();
    assert_eq!(
        function,
        Entrypoint::Function {
            module: "pkg.mod".to_owned(),
            function: "run".to_owned()
        }
    );
    let odd = choose(&place, name("odd:name")).unwrap();
    assert_eq!(
        odd,
        Entrypoint::File {
            path: "odd:name".to_owned()
        }
    );
}

#[test]
fn the_argument_goes_before_the_manifest_before_the_default_files() {
    let all = ["main.py", "__main__.py", "other.py"];
    let manifest = with_manifest("other.py", &all);
    assert_eq!(choose(&manifest, name("main.py")).unwrap().to_string(), "main.py");
    assert_eq!(choose(&manifest, None).unwrap().to_string(), "other.py");
    assert_eq!(choose(&place(&all), None).unwrap().to_string(), "__main__.py");
    assert_eq!(choose(&place(&all[..1]), None).unwrap().to_string(), "main.py");
}

#[test]
fn the_manifest_takes_every_form() {
    for entry in ["-m pkg.mod", "pkg.mod:run", "pkg/mod.py"] {
        assert_eq!(
            choose(&with_manifest(entry, &["pkg/mod.py"]), None)
                .unwrap()
                .to_string(),
            entry
        );
    }
    let (code, sentence) = refusal(choose(&with_manifest("gone.py", &["main.py"]), None));
    assert_eq!(code, "project.entrypoint_missing");
    assert!(sentence.contains("pyproject.toml"), "{sentence}");
}

#[test]
fn a_named_file_that_is_not_there_is_an_error_with_the_nearest_names() {
    let error = choose(&place(&["src/main.py", "mains.py", "x.txt"]), name("main.py")).unwrap_err();
    assert_eq!(error.code(), "project.entrypoint_missing");
    assert_eq!(
        error.hint().unwrap(),
        "the nearest names in the project are `src/main.py`, `mains.py`"
    );
    let far = choose(&place(&["load.py", "pkg/__main__.py"]), name("something_else.py")).unwrap_err();
    assert_eq!(far.hint().unwrap(), "the project has `-m pkg`, `load.py`");
}

#[test]
fn an_entrypoint_outside_the_project_is_an_error() {
    for entry in ["/etc/passwd", "../main.py", "a/../../main.py"] {
        let (code, sentence) = refusal(choose(&place(&["main.py"]), name(entry)));
        assert_eq!(code, "project.entrypoint_invalid", "{sentence}");
    }
}

#[test]
fn a_folder_or_a_path_after_m_is_an_error_that_says_what_to_write() {
    let place = place(&["pkg/__main__.py", "jobs/load.py", "main.py"]);
    for (argument, part) in [
        (name("pkg"), "`pkg/__main__.py`, or `-m pkg`"),
        (name("jobs/"), "without `__main__.py`"),
        (module("main.py"), "`-m main`"),
        (module("jobs/load.py"), "`-m jobs.load`"),
        (module("a..b"), "dotted name"),
    ] {
        let (code, sentence) = refusal(choose(&place, argument));
        assert_eq!(code, "project.entrypoint_invalid");
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn nothing_named_and_nothing_found_lists_the_candidates() {
    let place = place(&[
        "load.py",
        "pkg/__main__.py",
        "pkg/deep/__main__.py",
        "sales-main/main.py",
        "lib/x.py",
    ]);
    let (code, sentence) = refusal(choose(&place, None));
    assert_eq!(code, "project.entrypoint_not_chosen");
    assert!(
        sentence.ends_with("candidates: `-m pkg`, `load.py`, `sales-main/main.py`"),
        "{sentence}"
    );
    let (_, nothing) = refusal(choose(&Place::new(&zip(&[file("readme.md", "")]).bytes), None));
    assert!(nothing.contains("no other Python file"), "{nothing}");
}
