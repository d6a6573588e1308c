use super::*;
use std::os::unix::fs::PermissionsExt;

/// A payload in a source tree, a cache folder, and folders of runs.
struct Node {
    root: tempfile::TempDir,
}

impl Node {
    fn new() -> Node {
        let node = Node {
            root: tempfile::tempdir().unwrap(),
        };
        node.write("named/dray/__init__.py", "one = 1\n");
        node.write("named/dray/_run.py", "two = 2\n");
        node.write("named/dray/_native.abi3.so", "module");
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Writes a file that looks as if that was done a minute ago.
    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, content).unwrap();
        let file = fs_err::File::options().write(true).open(&path).unwrap();
        file.file()
            .set_modified(SystemTime::now() - Duration::from_secs(60))
            .unwrap();
    }

    fn begin(&self, run: &str) -> LaidOut {
        let payload = Payload::in_named_folder(&self.path("named")).unwrap();
        LaidOut::new(&payload, self.path(run), Some(&self.path("cache"))).unwrap()
    }

    /// A run that compiles a module, as Python does.
    fn run(&self, run: &str) {
        let laid_out = self.begin(run);
        let compiled = self.path(run).join("dray/__pycache__");
        fs_err::create_dir_all(&compiled).unwrap();
        fs_err::write(compiled.join("_run.cpython-311.pyc"), "code").unwrap();
        laid_out.give_back();
    }

    fn has_compiled(&self, run: &str) -> bool {
        self.path(run).join("dray/__pycache__/_run.cpython-311.pyc").exists()
    }

    fn is_whole(&self, run: &str) -> bool {
        let content = |file: &str| fs_err::read_to_string(self.path(run).join("dray").join(file)).ok();
        ["__init__.py", "_run.py", "_native.abi3.so"]
            .iter()
            .all(|file| content(file) == fs_err::read_to_string(self.path("named/dray").join(file)).ok())
    }

    /// The names of spares.
    fn kept(&self) -> Vec<String> {
        let mut names: Vec<String> = fs_err::read_dir(self.path("cache"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn spare(&self) -> PathBuf {
        let kept = self.kept();
        assert_eq!(kept.len(), 1, "{kept:?}");
        self.path("cache").join(&kept[0])
    }

    fn record(&self) -> PathBuf {
        self.spare().join(RECORD)
    }
}

#[test]
fn a_run_gets_what_the_one_before_gave_back_compiled_files_included() {
    let node = Node::new();
    node.run("first");
    assert!(!node.path("first").exists());

    let second = node.begin("second");
    assert!(node.is_whole("second") && node.has_compiled("second"));
    assert!(node.kept().is_empty(), "it belongs to the run now");
    // As Python does when it finds that it does not fit.
    fs_err::write(node.path("second/dray/__pycache__/_run.cpython-311.pyc"), "other").unwrap();
    second.give_back();
    assert!(node.spare().join("dray/_native.abi3.so").exists());
}

#[test]
fn two_runs_at_once_have_one_each() {
    let node = Node::new();
    node.run("first");
    let (second, third) = (node.begin("second"), node.begin("third"));
    assert!(node.has_compiled("second") && !node.has_compiled("third"));
    assert!(node.is_whole("second") && node.is_whole("third"));
    second.give_back();
    third.give_back();
    assert_eq!(node.kept().len(), 2);
}

#[test]
fn a_spare_with_an_altered_a_missing_or_an_added_file_is_not_used() {
    let alterations: [fn(&Path); 6] = [
        // The same size: told by its times.
        |spare| fs_err::write(spare.join("dray/_run.py"), "two = 3\n").unwrap(),
        |spare| fs_err::write(spare.join("dray/__pycache__/_run.cpython-311.pyc"), "").unwrap(),
        |spare| fs_err::remove_file(spare.join("dray/_native.abi3.so")).unwrap(),
        |spare| fs_err::remove_dir_all(spare).unwrap(),
        |spare| fs_err::write(spare.join("sitecustomize.py"), "").unwrap(),
        |spare| std::os::unix::fs::symlink("/tmp", spare.join("link")).unwrap(),
    ];
    for (number, alter) in alterations.iter().enumerate() {
        let node = Node::new();
        node.run("first");
        alter(&node.spare());
        node.begin("second");
        assert!(
            node.is_whole("second") && !node.has_compiled("second"),
            "alteration {number}"
        );
        assert!(node.kept().is_empty(), "alteration {number}");
    }
}

#[test]
fn a_spare_without_a_record_that_can_be_trusted_is_not_used() {
    let damages: [fn(&Path); 3] = [
        |record| fs_err::remove_file(record).unwrap(),
        |record| {
            let text = fs_err::read(record).unwrap();
            fs_err::write(record, &text[..text.len() / 2]).unwrap();
        },
        |record| fs_err::set_permissions(record, std::fs::Permissions::from_mode(0o666)).unwrap(),
    ];
    for (number, damage) in damages.iter().enumerate() {
        let node = Node::new();
        node.run("first");
        damage(&node.record());
        node.begin("second");
        assert!(
            node.is_whole("second") && !node.has_compiled("second"),
            "damage {number}"
        );
    }
}

#[test]
fn a_cache_that_others_may_write_is_neither_used_nor_filled() {
    let node = Node::new();
    node.run("first");
    fs_err::set_permissions(node.path("cache"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let second = node.begin("second");
    assert!(node.is_whole("second") && !node.has_compiled("second"));
    second.give_back();
    assert!(node.path("second").exists());
    assert_eq!(node.kept().len(), 1);
}

#[test]
fn a_rebuilt_module_is_taken_up() {
    let node = Node::new();
    node.run("first");
    node.write("named/dray/_native.abi3.so", "MODULE"); // in place, of the same size
    node.run("second");
    assert_eq!(
        fs_err::read(node.path("named/dray/_native.abi3.so")).unwrap(),
        b"MODULE"
    );
    assert_eq!(node.kept().len(), 2, "the old one is another dray's, for all we know");
    node.begin("third");
    assert!(node.is_whole("third") && node.has_compiled("third"));
}

#[test]
fn what_has_just_been_written_is_not_kept() {
    let node = Node::new();
    fs_err::write(node.path("named/dray/_run.py"), "two = 4\n").unwrap();
    let first = node.begin("first");
    assert!(node.is_whole("first"));
    first.give_back();
    assert!(node.path("first").exists());
}

#[test]
fn a_folder_that_the_script_has_changed_is_not_given_back() {
    let changes: [fn(&Path); 4] = [
        |folder| fs_err::write(folder.join("dray/_run.py"), "two = 3\n").unwrap(),
        |folder| fs_err::remove_file(folder.join("dray/__init__.py")).unwrap(),
        |folder| fs_err::write(folder.join("numpy.py"), "").unwrap(),
        |folder| {
            fs_err::create_dir_all(folder.join("dray/__pycache__")).unwrap();
            fs_err::write(folder.join("dray/__pycache__/_other.cpython-311.pyc"), "").unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let node = Node::new();
        let first = node.begin("first");
        change(&node.path("first"));
        first.give_back();
        assert!(node.kept().is_empty(), "change {number}");
    }
}

#[test]
fn what_a_later_run_has_compiled_is_kept_too() {
    let node = Node::new();
    node.run("first");
    let second = node.begin("second");
    fs_err::write(node.path("second/dray/__pycache__/__init__.cpython-311.pyc"), "code").unwrap();
    second.give_back();
    node.begin("third");
    assert!(node.has_compiled("third"));
    assert!(node.path("third/dray/__pycache__/__init__.cpython-311.pyc").exists());
}

#[test]
fn what_a_later_run_has_changed_is_not_used_again() {
    let changes: [fn(&Path); 3] = [
        |folder| fs_err::write(folder.join("dray/_run.py"), "two = 3\n").unwrap(),
        |folder| fs_err::write(folder.join("numpy.py"), "").unwrap(),
        |folder| fs_err::remove_file(folder.join(RECORD)).unwrap(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let node = Node::new();
        node.run("first");
        let second = node.begin("second");
        change(&node.path("second"));
        second.give_back();
        node.begin("third");
        assert!(node.is_whole("third"), "change {number}");
        assert!(!node.path("third/numpy.py").exists(), "change {number}");
    }
}

#[test]
fn no_more_are_kept_than_tasks_run_at_once_and_the_oldest_of_others_go_first() {
    let node = Node::new();
    let runs: Vec<LaidOut> = (0..6).map(|number| node.begin(&format!("run-{number}"))).collect();
    runs.iter().for_each(LaidOut::give_back);
    assert_eq!(node.kept().len(), KEPT);

    node.write("named/dray/_run.py", "two = 22\n");
    node.run("newer");
    assert_eq!(node.kept().len(), KEPT);
    node.begin("newest");
    assert!(node.has_compiled("newest"));
}

#[test]
fn what_a_killed_run_left_in_the_cache_goes() {
    let node = Node::new();
    node.run("first");
    let leftover = node.path("cache").join(format!("{UNFINISHED}0-0"));
    fs_err::create_dir_all(leftover.join("dray")).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    fs_err::File::open(&leftover)
        .unwrap()
        .file()
        .set_modified(long_ago)
        .unwrap();
    node.run("second");
    assert!(!leftover.exists());
}

#[test]
fn a_cache_on_another_file_system_is_copied_from() {
    // /dev/shm is one of its own wherever there is one.
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let node = Node::new();
    let payload = || Payload::in_named_folder(&node.path("named")).unwrap();
    let cache = elsewhere.path().join("cache");
    let begin = |run: &str| LaidOut::new(&payload(), node.path(run), Some(&cache)).unwrap();
    let first = begin("first");
    fs_err::create_dir_all(node.path("first/dray/__pycache__")).unwrap();
    fs_err::write(node.path("first/dray/__pycache__/_run.cpython-311.pyc"), "code").unwrap();
    first.give_back();

    for run in ["second", "third"] {
        let laid_out = begin(run);
        assert!(node.is_whole(run) && node.has_compiled(run), "{run}");
        laid_out.give_back();
    }
    let time = |path: PathBuf| fs_err::metadata(path).unwrap().modified().unwrap();
    assert_eq!(
        time(node.path("named/dray/_run.py")),
        time(node.path("third/dray/_run.py"))
    );
    assert_eq!(fs_err::read_dir(&cache).unwrap().count(), 1);
}
