//! outputs.json as a whole, on real folders.

use std::os::unix::fs::symlink;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::failure::{Failing, Failure};

/// A task folder with a working folder of its own in it.
struct Task {
    folder: TempDir,
    values: Map<String, Value>,
    summary: Option<Summary>,
    redactor: Redactor,
    before: Option<Fingerprint>,
}

impl Task {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("project")).unwrap();
        let summary = Summary {
            status: Status::Succeeded,
            exit_code: 0,
            entrypoint: Some("main.py".to_owned()),
            python: Some("3.11.7".to_owned()),
            durations_ms: vec![("unpack", 3), ("total", 20)],
            peak_memory_bytes: Some(1 << 24),
            error: None,
            copies: Vec::new(),
        };
        Task {
            folder,
            values: Map::new(),
            summary: Some(summary),
            redactor: Redactor::new(),
            before: None,
        }
    }

    fn values(mut self, values: Value) -> Self {
        self.values = values.as_object().unwrap().clone();
        self
    }

    fn without_summary(mut self) -> Self {
        self.summary = None;
        self
    }

    fn summary(&mut self) -> &mut Summary {
        self.summary.as_mut().unwrap()
    }

    /// Writes the script's own outputs.json into its working folder.
    fn script_wrote(&self, content: impl AsRef<[u8]>) {
        fs_err::write(self.folder.path().join("project/outputs.json"), content).unwrap();
    }

    fn settle(&self) -> Result<Settled, OutputsError> {
        settle(&Settlement {
            task_folder: self.folder.path(),
            working_folder: &self.folder.path().join("project"),
            before: self.before,
            values: &self.values,
            summary: self.summary.as_ref(),
            redactor: &self.redactor,
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("outputs.json")
    }

    fn written(&self) -> Value {
        serde_json::from_slice(&fs_err::read(self.path()).unwrap()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs_err::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn the_scripts_file_and_dray_outputs_and_the_summary_are_joined() {
    let task = Task::new().values(json!({"rows": 5, "both": "dray"}));
    task.script_wrote("{\"file\": 1.10, \"both\": \"file\"}");
    let settled = task.settle().unwrap();
    let bytes = fs_err::read(task.path()).unwrap();
    assert_eq!(
        settled,
        Settled {
            path: Some(task.path()),
            bytes: bytes.len()
        }
    );
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        concat!(
            r#"{"file":1.10,"both":"dray","rows":5,"dray":{"version":1,"status":"succeeded","exit_code":0,"#,
            r#""entrypoint":"main.py","python":"3.11.7","durations_ms":{"unpack":3,"total":20},"#,
            r#""peak_memory_bytes":16777216}}"#
        )
    );
    assert_eq!(task.names(), ["outputs.json", "project"], "no temporary file is left");
}

#[test]
fn a_file_that_the_script_wrote_into_the_task_folder_counts_too() {
    let task = Task::new().without_summary();
    fs_err::write(task.path(), "{\"a\": 1, \"b\": 1}").unwrap();
    task.script_wrote("{\"b\": 2}");
    task.settle().unwrap();
    assert_eq!(task.written(), json!({"a": 1, "b": 2}));
}

#[test]
fn a_byte_order_mark_does_not_reach_adf() {
    let task = Task::new().without_summary();
    task.script_wrote(b"\xEF\xBB\xBF{\"\xC3\xA9\": 1}");
    task.settle().unwrap();
    assert_eq!(fs_err::read(task.path()).unwrap(), "{\"é\":1}".as_bytes());
}

#[test]
fn without_outputs_and_summary_no_file_is_written() {
    let task = Task::new().without_summary();
    assert_eq!(task.settle().unwrap(), Settled { path: None, bytes: 0 });
    assert_eq!(task.names(), ["project"]);
}

#[test]
fn an_unchanged_file_of_a_project_run_in_place_is_none_of_this_run() {
    let mut task = Task::new().without_summary();
    task.script_wrote("{\"a\": 1}");
    task.before = fingerprint_in(&task.folder.path().join("project"));
    task.settle().unwrap();
    assert_eq!(task.names(), ["project"]);
    task.script_wrote("{\"a\": 22}");
    task.settle().unwrap();
    assert_eq!(task.written(), json!({"a": 22}));
}

#[test]
fn in_a_working_folder_that_is_the_task_folder_an_unchanged_file_is_none_of_this_run_either() {
    let task = Task::new();
    fs_err::write(task.path(), "{\"a\": 1}").unwrap();
    let settled = |before| {
        settle(&Settlement {
            task_folder: task.folder.path(),
            working_folder: task.folder.path(),
            before,
            values: &task.values,
            summary: task.summary.as_ref(),
            redactor: &task.redactor,
        })
        .unwrap();
        task.written().get("a").cloned()
    };
    assert_eq!(settled(None), Some(json!(1)));
    assert_eq!(settled(fingerprint_in(task.folder.path())), None);
}

#[test]
fn nan_is_refused_with_its_place_and_the_summary_says_so() {
    let task = Task::new().values(json!({"rows": 5}));
    task.script_wrote("{\"a\":\n NaN}");
    let error = task.settle().unwrap_err();
    assert_eq!((error.code(), error.exit_code().number()), ("outputs.not_json", 115));
    let sentence = Failure::from(error).sentence();
    assert!(
        sentence.contains("project/outputs.json` is not valid JSON at line 2, column 2"),
        "{sentence}"
    );
    let written = task.written();
    assert_eq!(written.as_object().unwrap().keys().collect::<Vec<_>>(), ["dray"]);
    assert_eq!(written["dray"]["status"], "failed");
    assert_eq!(written["dray"]["exit_code"], 115);
    assert_eq!(written["dray"]["error"]["code"], "outputs.not_json");
    assert_eq!(written["dray"]["error"]["message"], sentence);
}

#[test]
fn an_array_is_refused() {
    let task = Task::new();
    task.script_wrote("[1]");
    let error = task.settle().unwrap_err();
    assert_eq!(error.code(), "outputs.not_an_object");
    assert!(
        Failure::from(error)
            .sentence()
            .ends_with("`$` is an array, expected an object")
    );
}

#[test]
fn refused_outputs_of_a_failed_run_do_not_hide_why_it_failed() {
    let mut task = Task::new();
    task.script_wrote("{");
    task.summary().status = Status::Failed;
    task.summary().exit_code = 1;
    task.summary().error = Some(ErrorReport {
        code: "script.raised".to_owned(),
        message: "boom".to_owned(),
        ..ErrorReport::default()
    });
    task.settle().unwrap_err();
    let written = task.written();
    assert_eq!(written["dray"]["exit_code"], 1);
    assert_eq!(
        written["dray"]["error"],
        json!({"code": "script.raised", "message": "boom"})
    );
    assert_eq!(written["dray"]["outputs_error"]["code"], "outputs.not_json");
}

#[test]
fn refused_outputs_without_a_summary_leave_no_file() {
    let task = Task::new().without_summary();
    fs_err::write(task.path(), "{").unwrap();
    assert_eq!(task.settle().unwrap_err().code(), "outputs.not_json");
    assert_eq!(task.names(), ["project"]);
}

#[test]
fn outputs_at_the_limit_pass_and_one_byte_more_is_refused() {
    // {"a":""} around the text.
    let limit = "x".repeat(MAX_BYTES - 8);
    let task = Task::new().without_summary().values(json!({"a": limit}));
    assert_eq!(task.settle().unwrap().bytes, MAX_BYTES);
    let task = Task::new().without_summary().values(json!({"a": format!("{limit}x")}));
    assert_eq!(task.settle().unwrap_err().code(), "outputs.too_large");
}

#[test]
fn too_large_outputs_are_refused_with_the_largest_keys_named() {
    let task = Task::new().values(json!({"small": 1, "middle": "m".repeat(500_000), "large": "l".repeat(1_600_000)}));
    let error = task.settle().unwrap_err();
    assert_eq!(error.exit_code().number(), 115);
    let message = error.to_string();
    assert!(
        message.contains("the limit is 2000000 bytes; the largest: `large` (1600007 bytes), `middle`"),
        "{message}"
    );
    let written = task.written();
    assert_eq!(written.as_object().unwrap().len(), 1);
    assert_eq!(written["dray"]["error"]["code"], "outputs.too_large");
}

#[test]
fn the_reports_of_copies_give_way_before_the_values_do() {
    let mut task = Task::new().values(json!({"rows": 5}));
    task.summary().copies = vec![json!({"table": "t".repeat(1000)}); 2500];
    task.settle().unwrap();
    let written = task.written();
    assert_eq!(written["rows"], 5);
    assert_eq!(written["dray"]["copies_left_out"], 2500);
    assert_eq!(written["dray"]["status"], "succeeded");
}

#[test]
fn the_key_of_the_summary_is_reserved_unless_it_is_switched_off() {
    let passed_on = json!({"dray": {"status": "of another activity"}, "a": 1});
    let task = Task::new().values(passed_on.clone());
    task.settle().unwrap();
    assert_eq!(
        (&task.written()["dray"]["status"], &task.written()["a"]),
        (&json!("succeeded"), &json!(1))
    );
    let task = Task::new().without_summary().values(passed_on.clone());
    task.settle().unwrap();
    assert_eq!(task.written(), passed_on);
}

#[test]
fn secrets_are_masked_in_values_keys_and_errors_but_not_in_drays_own_keys() {
    let mut task = Task::new().values(json!({"k-hush1": ["a hush1"], "n": 1}));
    task.redactor.add_all(["hush1", "failed", "version"]);
    task.summary().status = Status::Failed;
    task.summary().error = Some(ErrorReport {
        code: "script.raised".to_owned(),
        message: "login with hush1 failed".to_owned(),
        traceback: Some("File main.py\n  connect('hush1')".to_owned()),
        ..ErrorReport::default()
    });
    task.settle().unwrap();
    let written = task.written();
    assert_eq!(written["k-***"], json!(["a ***"]));
    assert_eq!(written["dray"]["status"], "failed");
    assert_eq!(written["dray"]["version"], 1);
    assert_eq!(written["dray"]["error"]["message"], "login with *** ***");
    assert_eq!(written["dray"]["error"]["traceback"], "File main.py\n  connect('***')");
}

#[test]
fn a_folder_of_that_name_is_reported_by_its_path() {
    let task = Task::new();
    fs_err::create_dir(task.path()).unwrap();
    for error in [
        task.settle().unwrap_err(),
        remove_stale(task.folder.path()).unwrap_err(),
    ] {
        assert_eq!(error.code(), "outputs.in_the_way");
        assert!(
            error
                .to_string()
                .ends_with("outputs.json`: a folder of that name is in the way"),
            "{error}"
        );
    }
}

#[test]
fn a_link_is_read_through_and_then_replaced() {
    let task = Task::new().without_summary();
    let elsewhere = task.folder.path().join("project/elsewhere.json");
    fs_err::write(&elsewhere, "{\"a\": 1}").unwrap();
    symlink(&elsewhere, task.path()).unwrap();
    task.settle().unwrap();
    assert!(fs_err::symlink_metadata(task.path()).unwrap().is_file());
    assert_eq!(task.written(), json!({"a": 1}));
    assert_eq!(fs_err::read_to_string(&elsewhere).unwrap(), "{\"a\": 1}");
}

#[test]
fn a_stale_file_is_removed_with_what_was_left_of_writing_one() {
    let task = Task::new();
    assert!(!remove_stale(task.folder.path()).unwrap());
    fs_err::write(task.path(), "{}").unwrap();
    fs_err::write(task.folder.path().join(".outputs.json.tmp"), "{").unwrap();
    assert!(remove_stale(task.folder.path()).unwrap());
    assert_eq!(task.names(), ["project"]);
}

#[test]
fn a_folder_that_takes_no_file_is_the_nodes_fault_and_names_the_path() {
    let task = Task::new();
    // /proc takes no new files, from root either.
    let error = write(Path::new("/proc/self"), b"{}").unwrap_err();
    assert_eq!((error.code(), error.exit_code().number()), ("outputs.not_written", 117));
    assert!(
        Failure::from(error)
            .sentence()
            .starts_with("cannot write `/proc/self/outputs.json`: ")
    );
    drop(task);
}

#[test]
fn a_disk_that_refuses_in_the_middle_leaves_no_half_file() {
    const CHILD: &str = "DRAY_OUTPUTS_TEST_CHILD";
    if std::env::var_os(CHILD).is_none() {
        // The kernel lets this test's second process write no file beyond a few kilobytes.
        let status = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg("outputs::tests::a_disk_that_refuses_in_the_middle_leaves_no_half_file")
            .env(CHILD, "1")
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let task = Task::new().values(json!({"a": "x".repeat(100_000)}));
    assert_eq!(task.settle().unwrap_err().code(), "outputs.not_written");
    assert_eq!(task.names(), ["project"]);
}
