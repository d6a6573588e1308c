//! dray runs a zipped Python project as the single command of an Azure Data Factory custom activity, and gives that
//! project an exact way to copy tables between databases.
//!
//! The executable (`main.rs`) uses the supervisor's half alone: [`commands`], [`project`], [`dependencies`], [`pack`],
//! [`activity`], [`interpreter`], [`worker`], [`outputs`], [`sharing`], [`plan_file`], [`report`], [`telemetry`]. The engine ([`copy`], [`database`],
//! [`odbc`]) is reached
//! from the native module of the Python package (`python/`) and nowhere else; the linker leaves it out of the
//! executable. Nothing in this crate knows PyO3.

pub mod activity;
pub mod azure;
pub mod commands;
pub mod connection_string;
pub mod connections;
pub mod copy;
pub mod database;
pub mod dependencies;
pub mod diagnosis;
pub mod failure;
pub mod fingerprint;
pub mod interpreter;
pub mod json_file;
pub mod odbc;
pub mod outputs;
pub mod pack;
pub mod plan_file;
pub mod project;
pub mod rehearsal;
pub mod report;
pub mod sharing;
pub mod telemetry;
pub mod worker;
