//! The executable `dray`: the supervisor, started again as the worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    dray::commands::main()
}
