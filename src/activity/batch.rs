//! Which Batch task this is: the `AZ_BATCH_` variables of the task's environment, typed.
//!
//! Source: azure-docs, `articles/batch/batch-compute-node-environment-variables.md`, and for
//! `AZ_BATCH_NODE_STARTUP_WORKING_DIR` the changelog of the node agent 1.7.14. All are absent outside a task.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Map, Value};

/// Identity and folders of a Batch task; every part is absent outside of one. An empty variable counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchIdentity {
    /// AZ_BATCH_ACCOUNT_NAME.
    pub account_name: Option<String>,
    /// AZ_BATCH_ACCOUNT_URL.
    pub account_url: Option<String>,
    /// AZ_BATCH_POOL_ID.
    pub pool_id: Option<String>,
    /// AZ_BATCH_NODE_ID.
    pub node_id: Option<String>,
    /// AZ_BATCH_JOB_ID; ADF names its jobs `adfv2-<pool>`.
    pub job_id: Option<String>,
    /// AZ_BATCH_TASK_ID; a new GUID for each run of an activity.
    pub task_id: Option<String>,
    /// AZ_BATCH_NODE_IS_DEDICATED; false on a spot node.
    pub node_is_dedicated: Option<bool>,
    /// AZ_BATCH_TASK_DIR: holds stdout.txt, stderr.txt and the working directory.
    pub task_dir: Option<PathBuf>,
    /// AZ_BATCH_TASK_WORKING_DIR: where ADF puts its files and looks for outputs.json.
    pub task_working_dir: Option<PathBuf>,
    /// AZ_BATCH_NODE_ROOT_DIR.
    pub node_root_dir: Option<PathBuf>,
    /// AZ_BATCH_NODE_SHARED_DIR: writable for all tasks of the node.
    pub node_shared_dir: Option<PathBuf>,
    /// AZ_BATCH_NODE_STARTUP_DIR: the start task's, read only for tasks.
    pub node_startup_dir: Option<PathBuf>,
    /// AZ_BATCH_NODE_STARTUP_WORKING_DIR.
    pub node_startup_working_dir: Option<PathBuf>,
    /// AZ_BATCH_NODE_MOUNTS_DIR: file systems that the pool mounts.
    pub node_mounts_dir: Option<PathBuf>,
    /// AZ_BATCH_JOB_PREP_DIR.
    pub job_prep_dir: Option<PathBuf>,
    /// AZ_BATCH_JOB_PREP_WORKING_DIR.
    pub job_prep_working_dir: Option<PathBuf>,
}

impl BatchIdentity {
    /// Reads the variables through `get`, which is `std::env::var_os` in a run and a map in a test.
    ///
    /// Identifiers that are not UTF-8 get replacement characters; folders keep their bytes.
    pub fn from_env(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).map(|value| value.to_string_lossy().into_owned());
        let folder = |name: &str| set(name).map(PathBuf::from);
        BatchIdentity {
            account_name: text("AZ_BATCH_ACCOUNT_NAME"),
            account_url: text("AZ_BATCH_ACCOUNT_URL"),
            pool_id: text("AZ_BATCH_POOL_ID"),
            node_id: text("AZ_BATCH_NODE_ID"),
            job_id: text("AZ_BATCH_JOB_ID"),
            task_id: text("AZ_BATCH_TASK_ID"),
            node_is_dedicated: text("AZ_BATCH_NODE_IS_DEDICATED").and_then(|value| flag(&value)),
            task_dir: folder("AZ_BATCH_TASK_DIR"),
            task_working_dir: folder("AZ_BATCH_TASK_WORKING_DIR"),
            node_root_dir: folder("AZ_BATCH_NODE_ROOT_DIR"),
            node_shared_dir: folder("AZ_BATCH_NODE_SHARED_DIR"),
            node_startup_dir: folder("AZ_BATCH_NODE_STARTUP_DIR"),
            node_startup_working_dir: folder("AZ_BATCH_NODE_STARTUP_WORKING_DIR"),
            node_mounts_dir: folder("AZ_BATCH_NODE_MOUNTS_DIR"),
            job_prep_dir: folder("AZ_BATCH_JOB_PREP_DIR"),
            job_prep_working_dir: folder("AZ_BATCH_JOB_PREP_WORKING_DIR"),
        }
    }

    /// The parts that every log record carries: `pool_id`, `node_id`, `job_id` and `task_id`, those that are set.
    pub fn log_members(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("pool_id", &self.pool_id),
            ("node_id", &self.node_id),
            ("job_id", &self.job_id),
            ("task_id", &self.task_id),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
    }

    /// All parts under their field names, null where absent; paths that are not UTF-8 get replacement characters.
    pub fn to_json(&self) -> Map<String, Value> {
        let texts = [
            ("account_name", &self.account_name),
            ("account_url", &self.account_url),
            ("pool_id", &self.pool_id),
            ("node_id", &self.node_id),
            ("job_id", &self.job_id),
            ("task_id", &self.task_id),
        ];
        let folders = [
            ("task_dir", &self.task_dir),
            ("task_working_dir", &self.task_working_dir),
            ("node_root_dir", &self.node_root_dir),
            ("node_shared_dir", &self.node_shared_dir),
            ("node_startup_dir", &self.node_startup_dir),
            ("node_startup_working_dir", &self.node_startup_working_dir),
            ("node_mounts_dir", &self.node_mounts_dir),
            ("job_prep_dir", &self.job_prep_dir),
            ("job_prep_working_dir", &self.job_prep_working_dir),
        ];
        let mut members = Map::new();
        for (name, value) in texts {
            members.insert(name.to_owned(), Value::from(value.clone()));
        }
        members.insert("node_is_dedicated".to_owned(), Value::from(self.node_is_dedicated));
        for (name, value) in folders {
            members.insert(
                name.to_owned(),
                Value::from(value.as_ref().map(|path| path.to_string_lossy().into_owned())),
            );
        }
        members
    }
}

fn flag(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_a_task_arrive_typed() {
        let batch = BatchIdentity::from_env(|name| match name {
            "AZ_BATCH_POOL_ID" => Some("linux-pool".into()),
            "AZ_BATCH_NODE_IS_DEDICATED" => Some("False".into()),
            "AZ_BATCH_TASK_WORKING_DIR" => Some("/mnt/batch/tasks/workitems/j/job-1/t/wd".into()),
            "AZ_BATCH_JOB_ID" => Some("".into()),
            _ => None,
        });
        assert_eq!(batch.pool_id.as_deref(), Some("linux-pool"));
        assert_eq!(batch.node_is_dedicated, Some(false));
        assert_eq!(batch.job_id, None, "an empty variable counts as absent");
        assert_eq!(batch.log_members().collect::<Vec<_>>(), [("pool_id", "linux-pool")]);
        let document = batch.to_json();
        assert_eq!(document["task_working_dir"], "/mnt/batch/tasks/workitems/j/job-1/t/wd");
        assert_eq!(document["node_is_dedicated"], false);
        assert_eq!(document["task_id"], Value::Null);
    }

    #[test]
    fn outside_a_task_all_is_absent() {
        let batch = BatchIdentity::from_env(|_| None);
        assert_eq!(batch, BatchIdentity::default());
        assert!(batch.to_json().values().all(Value::is_null));
    }
}
