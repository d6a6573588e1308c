//! What reaches stderr. Logging is set up once a process, so each of these tests runs itself again as a child process
//! and reads what that wrote.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::*;

/// Runs `body` in a child process whose stderr is a pipe, and returns the lines it wrote there.
fn lines_of_child(test: &str, body: impl FnOnce()) -> Option<Vec<String>> {
    const CHILD: &str = "DRAY_TELEMETRY_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        body();
        return None;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("telemetry::tests::{test}"),
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(
        String::from_utf8(output.stderr)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect(),
    )
}

fn settings(format: LogFormat) -> Settings {
    let batch = BatchIdentity::from_env(|name| (name == "AZ_BATCH_TASK_ID").then(|| "task-1".into()));
    Settings {
        format,
        level: LevelSpec::default(),
        batch,
        secrets: vec!["hush!".to_owned()],
    }
}

#[test]
fn events_of_rust_are_one_json_object_a_line_with_secrets_masked() {
    let Some(lines) = lines_of_child("events_of_rust_are_one_json_object_a_line_with_secrets_masked", || {
        init(settings(LogFormat::Auto)).unwrap();
        set_phase("unpacking");
        let _span = tracing::info_span!("table", table = "a.hush!").entered();
        let error = std::io::Error::other("hush! inside");
        tracing::info!(
            event = "project.unpacked",
            members = 5u64,
            ratio = f64::NAN,
            "unpacked hush!"
        );
        tracing::debug!("below the level");
        tracing::warn!(error = &error as &dyn std::error::Error, big = u128::MAX);
    }) else {
        return;
    };
    let records: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2, "{lines:?}");
    assert_eq!(records[0]["event"], "project.unpacked");
    assert_eq!(records[0]["message"], "unpacked ***");
    assert_eq!(records[0]["phase"], "unpacking");
    assert_eq!(records[0]["task_id"], "task-1");
    assert_eq!(records[0]["logger"], "dray::telemetry::tests");
    assert_eq!(
        records[0]["fields"],
        json!({"table": "a.***", "members": 5, "ratio": "NaN"})
    );
    assert_eq!(records[1]["level"], "warning");
    assert_eq!(records[1]["message"], "log");
    assert_eq!(records[1]["fields"]["error"], "*** inside");
    assert_eq!(records[1]["fields"]["big"].to_string(), u128::MAX.to_string());
}

#[test]
fn records_of_python_come_out_the_same_way() {
    let Some(lines) = lines_of_child("records_of_python_come_out_the_same_way", || {
        let mut settings = settings(LogFormat::Json);
        settings.level = "info,noisy=error".parse().unwrap();
        init(settings).unwrap();
        redactor().add("later");
        let fields = json!({"event": "load.done", "rows": 3, "hush!": "later"});
        let fields = fields.as_object().unwrap().clone();
        emit(
            LogLevel::Critical,
            "sales.load",
            "say later",
            fields,
            Some("Traceback\nValueError: hush!"),
        );
        emit(LogLevel::Warning, "noisy.child", "not wanted", Map::new(), None);
        emit(LogLevel::Debug, "sales.load", "not wanted", Map::new(), None);
    }) else {
        return;
    };
    assert_eq!(lines.len(), 1, "{lines:?}");
    let mut record: Value = serde_json::from_str(&lines[0]).unwrap();
    record.as_object_mut().unwrap().remove("time").unwrap();
    assert_eq!(
        record,
        json!({"level": "critical", "event": "load.done", "message": "say ***", "task_id": "task-1",
            "logger": "sales.load", "exception": "Traceback\nValueError: ***", "fields": {"rows": 3, "***": "***"}})
    );
}

#[test]
fn text_is_for_people_and_has_no_colour_in_a_file() {
    let Some(lines) = lines_of_child("text_is_for_people_and_has_no_colour_in_a_file", || {
        init(settings(LogFormat::Text)).unwrap();
        tracing::error!(code = 7, "it failed");
    }) else {
        return;
    };
    assert!(
        lines[0].ends_with("error    it failed code=7 (dray::telemetry::tests)"),
        "{lines:?}"
    );
}

#[test]
fn records_of_many_threads_do_not_mix() {
    let Some(lines) = lines_of_child("records_of_many_threads_do_not_mix", || {
        init(settings(LogFormat::Json)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || (0..100).for_each(|_| tracing::info!(thread, "{}", "x".repeat(1000))));
            }
        });
    }) else {
        return;
    };
    assert_eq!(lines.len(), 800);
    assert!(lines.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

#[test]
fn logging_is_set_up_once() {
    let lines = lines_of_child("logging_is_set_up_once", || {
        init(settings(LogFormat::Json)).unwrap();
        assert!(matches!(init(settings(LogFormat::Json)), Err(TelemetryError::Twice)));
    });
    assert!(lines.is_none_or(|lines| lines.is_empty()));
}
