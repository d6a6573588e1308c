//! The native module `dray._native`: functions only, every public class is Python.
//!
//! It turns Python values into requests of the engine and back, and releases the GIL around every call that may block.
//! Python loads it when the first call needs it: a script that wants nothing of the engine or the log starts without it.

mod arrow;
mod bars;
mod blocking;
mod connection;
mod copy;
mod doctor;
mod failures;
mod names;
mod plan_file;
mod run;
mod secrets;
mod values;
mod verify;

use pyo3::prelude::*;

/// `dray._native`.
#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use crate::arrow::{
        close_all_rows, close_rows, forget_rows, open_rows, rows_error, rows_lane, rows_schema, rows_stream, write_rows,
    };
    #[pymodule_export]
    use crate::connection::{close, commit, connect, execute, query, rollback, set_autocommit};
    #[pymodule_export]
    use crate::copy::{cancel_copy, copy_progress, copy_tables, forget_copy, plan_copy, watch_copy};
    #[pymodule_export]
    use crate::doctor::examine;
    #[pymodule_export]
    use crate::names::{connection_string, dataset_table};
    #[pymodule_export]
    use crate::plan_file::read_plan;
    #[pymodule_export]
    use crate::run::{HandoverError, handover_json, log, redact, set_phase};
    #[pymodule_export]
    use crate::secrets::{activity_arguments, add_secret, fetch_secret};

    #[pymodule_export]
    use crate::verify::verify_tables;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::run::begin_in_worker(module.py())
    }
}
