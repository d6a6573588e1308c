use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn run() -> (tempfile::TempDir, Sharing) {
    let folder = tempfile::tempdir().unwrap();
    // Deeper than an address may be long.
    let deep = folder.path().join("d".repeat(120));
    fs_err::create_dir(&deep).unwrap();
    let served = Served {
        on_secret: |secret| HEARD.lock().unwrap().push(secret.to_owned()),
        files: Some(vec![("activity.json".to_owned(), "{}".to_owned())]),
    };
    serve(&deep, served).unwrap();
    let sharing = Sharing::of(Some(&deep));
    assert!(matches!(sharing, Sharing::Run(_)));
    (folder, sharing)
}

fn fetched(value: &str, holds_until: Option<u64>) -> Result<Fetched, ()> {
    let value = value.to_owned();
    Ok(Fetched { value, holds_until })
}

#[test]
fn of_many_who_ask_at_once_one_fetches() {
    let (_folder, sharing) = run();
    let count = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let value = sharing.once("k", || {
                    count.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(50));
                    fetched("once-fetched", None)
                });
                assert_eq!(value.unwrap(), "once-fetched");
            });
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert!(HEARD.lock().unwrap().iter().any(|heard| heard == "once-fetched"));
}

#[test]
fn after_a_failure_the_next_one_tries() {
    let (_folder, sharing) = run();
    assert_eq!(sharing.once("k", || Err("no")), Err("no"));
    assert_eq!(sharing.once("k", || fetched("v", None)), Ok("v".to_owned()));
}

#[test]
fn what_no_longer_holds_is_fetched_again() {
    for sharing in [run().1, Sharing::Process] {
        assert_eq!(
            sharing.once("expires", || fetched("old", Some(1))),
            Ok("old".to_owned())
        );
        assert_eq!(sharing.once("expires", || fetched("new", None)), Ok("new".to_owned()));
        assert_eq!(sharing.once("expires", || fetched("newer", None)), Ok("new".to_owned()));
    }
}

#[test]
fn a_secret_that_is_told_is_known_when_the_call_returns() {
    let (_folder, sharing) = run();
    sharing.tell(&["told".to_owned()]);
    assert!(HEARD.lock().unwrap().iter().any(|heard| heard == "told"));
}

#[test]
fn files_are_handed_on() {
    let (_folder, sharing) = run();
    assert_eq!(sharing.files().unwrap()[0].0, "activity.json");
    assert!(Sharing::Process.files().is_none());
}

#[test]
fn a_run_that_is_over_is_no_obstacle() {
    let sharing = Sharing::Run("/nowhere".into());
    assert_eq!(sharing.once("over", || fetched("v", None)), Ok("v".to_owned()));
}
