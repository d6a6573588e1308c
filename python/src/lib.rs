//! The native module `dray._native`: functions only, every public class is Python.
//!
//! It turns Python values into requests of the engine and back, releases the GIL around every call that may block, and
//! carries the entry point that the worker calls after it has loaded libpython.

mod blocking;
mod connection;
mod copy;
mod failures;
mod names;
mod run;
mod values;
mod worker_main;

use pyo3::pymodule;

/// `dray._native`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::connection::{close, commit, connect, execute, query, rollback, set_autocommit};
    #[pymodule_export]
    use crate::copy::copy_tables;
    #[pymodule_export]
    use crate::names::{connection_string, dataset_table};
    #[pymodule_export]
    use crate::run::{HandoverError, add_secret, begin_worker, handover_json, log, redact, set_phase};
}
