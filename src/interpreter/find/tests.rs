//! Against the Pythons of this machine: the first `python3` on PATH is taken as known to do.

use super::*;
use std::os::unix::fs::symlink;
use std::process::Command;

/// The real interpreter behind `python3` on PATH.
fn real_python() -> PathBuf {
    let output = Command::new("python3")
        .args(["-I", "-c", "import sys; print(sys.executable)"])
        .output()
        .unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// An executable file, written by a process of its own (see the tests of `probe`).
fn script(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    fs_err::write(&draft, text).unwrap();
    assert!(
        Command::new("install")
            .arg("-m755")
            .args([&draft, path])
            .status()
            .unwrap()
            .success()
    );
}

fn environment(folder: &Path) -> PathBuf {
    let made = Command::new(real_python())
        .args(["-m", "venv", "--without-pip"])
        .arg(folder)
        .status()
        .unwrap();
    assert!(made.success());
    folder.join("bin/python3")
}

fn on_path(folder: &Path) -> Request {
    Request {
        path: Some(folder.into()),
        ..Request::default()
    }
}

#[test]
fn a_python_on_path_is_found_with_what_it_is() {
    let root = tempfile::tempdir().unwrap();
    symlink(real_python(), root.path().join("python3")).unwrap();
    let found = find(&on_path(root.path()), None).unwrap();
    assert_eq!(found.interpreter.executable, root.path().join("python3"));
    assert_eq!(found.interpreter.source, Source::SearchPath("python3".to_owned()));
    assert!(
        found
            .interpreter
            .version_text
            .starts_with(&found.interpreter.version.to_string())
    );
    assert!(!found.interpreter.is_virtual_environment());
    assert_eq!(found.passed_over, []);
}

#[test]
fn the_interpreter_survives_run_json() {
    let found = find(&Request::from_environment().unwrap(), None).unwrap();
    let json = serde_json::to_string(&found.interpreter).unwrap();
    assert_eq!(serde_json::from_str::<Interpreter>(&json).unwrap(), found.interpreter);
}

#[test]
fn a_named_python_comes_before_all_others_and_the_flag_before_the_variable() {
    let root = tempfile::tempdir().unwrap();
    let (project, named) = (root.path().join("project"), root.path().join("named"));
    environment(&project.join(".venv"));
    let named = environment(&named);
    let mut request = Request {
        project: Some(project),
        ..Request::from_environment().unwrap()
    };
    request.environment = Some(named.clone());
    assert_eq!(find(&request, None).unwrap().interpreter.executable, named);
    request.flag = Some(real_python());
    let found = find(&request, None).unwrap();
    assert_eq!(
        (found.interpreter.executable, found.interpreter.source),
        (real_python(), Source::Flag)
    );
}

#[test]
fn a_named_python_that_does_not_do_is_an_error_even_if_another_would() {
    let mut request = Request::from_environment().unwrap();
    request.flag = Some(PathBuf::from("/bin/true"));
    let error = find(&request, None).unwrap_err();
    assert!(matches!(
        &error,
        InterpreterError::Named {
            origin: Source::Flag,
            ..
        }
    ));
    assert_eq!(
        error.to_string(),
        "`/bin/true`, named by `--python`, cannot run this project: it did not answer as a Python would: it ended with \
         exit status: 0 and wrote nothing"
    );
}

#[test]
fn the_projects_virtual_environment_comes_before_the_active_one() {
    let root = tempfile::tempdir().unwrap();
    let (project, active) = (root.path().join("project"), root.path().join("active"));
    let in_project = environment(&project.join("env"));
    environment(&active);
    let request = Request {
        project: Some(project),
        virtual_env: Some(active),
        ..Request::from_environment().unwrap()
    };
    let found = find(&request, None).unwrap().interpreter;
    assert_eq!(
        (found.executable.clone(), found.source.clone()),
        (in_project, Source::Project("env".to_owned()))
    );
    assert!(found.is_virtual_environment());
}

#[test]
fn a_broken_virtual_environment_of_the_project_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let interpreter = environment(&root.path().join(".venv"));
    fs_err::remove_file(&interpreter).unwrap();
    symlink("/opt/gone/python3", &interpreter).unwrap();
    let request = Request {
        project: Some(root.path().to_owned()),
        ..Request::from_environment().unwrap()
    };
    let found = find(&request, None).unwrap();
    assert!(
        matches!(found.passed_over[0].reason, Refusal::BaseGone { .. }),
        "{}",
        found.passed_over[0]
    );
}

#[test]
fn a_broken_active_virtual_environment_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let gone = root.path().join("gone");
    let request = Request {
        virtual_env: Some(gone),
        ..Request::from_environment().unwrap()
    };
    let error = find(&request, None).unwrap_err();
    let InterpreterError::Named { origin, refusal, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((origin, *refusal), (Source::VirtualEnv, Refusal::Missing));
}

#[test]
fn the_environment_that_dray_is_called_in_comes_before_path_and_after_the_active_one() {
    let root = tempfile::tempdir().unwrap();
    let (own, active) = (root.path().join("own"), root.path().join("active"));
    let (own_python, active_python) = (environment(&own), environment(&active));
    assert_eq!(around_command(own.join("bin/dray").as_os_str()), Some(own.clone()));
    assert_eq!(around_command(root.path().join("bin/dray").as_os_str()), None);
    assert_eq!(around_command("dray".as_ref()), None);
    let request = Request {
        own_environment: Some(own),
        path: Request::from_environment().unwrap().path,
        ..Request::default()
    };
    let found = find(&request, None).unwrap().interpreter;
    assert_eq!((found.executable, found.source), (own_python, Source::OwnEnvironment));
    let request = Request {
        virtual_env: Some(active),
        ..request
    };
    assert_eq!(find(&request, None).unwrap().interpreter.executable, active_python);
}

#[test]
fn an_active_virtual_environment_of_another_version_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let interpreter = environment(&root.path().join("active"));
    let version = find(
        &Request {
            flag: Some(interpreter),
            ..Request::default()
        },
        None,
    )
    .unwrap()
    .interpreter
    .version;
    let request = Request {
        virtual_env: Some(root.path().join("active")),
        path: Some(root.path().into()),
        requires_python: Some(format!(">{}.{}.{}", version.major, version.minor, version.micro)),
        ..Request::default()
    };
    let InterpreterError::NoneFound { passed_over } = find(&request, None).unwrap_err() else {
        panic!("not passed over")
    };
    assert_eq!(passed_over.len(), 1);
    assert!(matches!(passed_over[0].reason, Refusal::RequiresPython { .. }));
}

#[test]
fn a_virtual_environment_of_another_minor_version_is_broken() {
    let root = tempfile::tempdir().unwrap();
    environment(&root.path().join("env"));
    let file = root.path().join("env/pyvenv.cfg");
    let text = fs_err::read_to_string(&file).unwrap();
    let changed: String = text
        .lines()
        .map(|line| {
            if line.starts_with("version") {
                "version = 3.2.1\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    fs_err::write(&file, changed).unwrap();
    let request = Request {
        flag: Some(root.path().join("env")),
        ..Request::default()
    };
    let error = find(&request, None).unwrap_err().to_string();
    assert!(
        error.contains("broken virtual environment: made for Python 3.2.1"),
        "{error}"
    );
}

#[test]
fn when_none_does_all_are_listed_with_their_reasons() {
    let root = tempfile::tempdir().unwrap();
    script(&root.path().join("python3"), "#!/bin/sh\necho not here >&2\nexit 127\n");
    fs_err::write(root.path().join("python"), "").unwrap();
    let path = root.path().display();
    let error = find(&on_path(root.path()), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no usable Python found for this project: `{path}/python3` (`python3` on PATH): it did not answer as a Python \
             would: it ended with exit status: 127 and wrote: stderr `not here`; `{path}/python` (`python` on PATH): this \
             user may not execute it"
        )
    );
}

#[test]
fn requires_python_that_is_no_specifier_is_the_projects_fault() {
    use crate::failure::{ExitCode, Failing};
    let request = Request {
        requires_python: Some("^3.9".to_owned()),
        ..Request::default()
    };
    let error = find(&request, None).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Project);
    assert!(
        error
            .to_string()
            .starts_with("`requires-python` of the project is `^3.9`, which is not"),
        "{error}"
    );
}

#[test]
fn an_answer_is_asked_for_once_and_again_when_the_interpreter_changes() {
    let root = tempfile::tempdir().unwrap();
    let (bin, cache) = (root.path().join("bin"), root.path().join("cache"));
    fs_err::create_dir(&bin).unwrap();
    symlink(real_python(), bin.join("python3")).unwrap();
    let first = find(&on_path(&bin), Some(&cache)).unwrap().interpreter;
    // What is remembered is told from what is asked by a mark in the entry.
    let entry = fs_err::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let text = fs_err::read_to_string(&entry).unwrap();
    fs_err::write(
        &entry,
        text.replace(&first.version_text.replace('\n', "\\n"), "remembered"),
    )
    .unwrap();
    assert_eq!(
        find(&on_path(&bin), Some(&cache)).unwrap().interpreter.version_text,
        "remembered"
    );
    fs_err::remove_file(bin.join("python3")).unwrap();
    let other = environment(&root.path().join("other"));
    symlink(fs_err::canonicalize(other).unwrap(), bin.join("python3")).unwrap();
    symlink("/etc/hostname", bin.join("pyvenv.cfg")).unwrap();
    assert_eq!(
        find(&on_path(&bin), Some(&cache)).unwrap().interpreter.version_text,
        first.version_text
    );
}

#[test]
fn without_a_library_of_its_own_build_a_python_is_hosted_or_refused_as_asked() {
    let mut request = Request {
        flag: Some(real_python()),
        ..Request::default()
    };
    request.loading = LoadingChoice::Hosted;
    assert_eq!(
        find(&request, None).unwrap().interpreter.loading,
        super::super::Loading::Hosted { required: true }
    );
    assert!(
        "static"
            .parse::<LoadingChoice>()
            .unwrap_err()
            .to_string()
            .contains("allowed are `auto`")
    );
}
