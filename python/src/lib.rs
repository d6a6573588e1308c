//! The native module `dray._native`: functions only, every public class is Python.
//!
//! It turns Python values into requests of the engine and back, releases the GIL around every call that may block, and
//! carries the entry point that the worker calls after it has loaded libpython.

mod blocking;
mod connection;
mod copy;
mod failures;
mod values;

use pyo3::prelude::*;

/// `dray._native`.
#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::connection::{close, commit, connect, execute, query, rollback, set_autocommit};
    #[pymodule_export]
    use super::copy::copy_tables;

    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        Ok(())
    }
}
