//! The copy engine: a request becomes plans, a plan becomes rows on their way, and all of it a report.
//!
//! It knows no database by name: what differs between products is a method of their dialect or a lane that they offer
//! (`database/`). Exact or refused: a value arrives as it left, or the table's copy fails and names table, column, row
//! and reason. All or nothing: a table that fails is as it was before.

mod around_run;
mod call;
mod catalog;
mod checksum;
mod column_selection;
mod comparison;
mod constraints;
mod conversion;
mod dependants;
mod drift;
mod dry_run;
mod error;
mod foreign_keys;
mod handing_out;
mod heap;
mod job;
mod journal;
mod listing;
mod merge;
mod passing;
mod pattern;
mod pipeline;
mod plan;
mod pool;
mod progress;
mod ranges;
mod rejects;
mod report;
mod request;
mod retry;
mod run;
mod schedule;
mod settling;
mod shape;
mod shard;
mod sifting;
mod taking_in;
mod transaction;
#[cfg(test)]
mod types_page;
mod verification;
mod watermark;

pub use self::{
    checksum::Checksum,
    comparison::{ComparedTable, Comparison, Difference, DifferenceKind, compare},
    conversion::{Changed, Conversion, Refusal},
    dry_run::{DryRun, PlannedColumn, PlannedTable, Statement, dry_run},
    error::{Phase, Side, TableError},
    handing_out::{CannotRead, HandedOut, ReadRequest, close_all_handed_out, hand_out},
    merge::KeyChecks,
    plan::{ColumnPlan, LaneChoice, TablePlan},
    progress::{Progress, RunningTable, Snapshot},
    report::{Report, Retry, TableReport},
    request::{
        Around, Choice, Choices, ColumnSelection, Constraints, Endpoint, Fraction, Lanes, MEMORY_LIMIT_BYTES,
        MEMORY_LIMIT_BYTES_MIN, Meeting, Merge, MergeKind, Narrower, OnReject, PATIENCE, RUN_ID_CHARACTERS_MAX,
        Request, Run, RunOrigin, Schema, Selection, Shard, TableOptions, TableRequest, Verify,
    },
    run::run,
    taking_in::{WriteRequest, take_in},
    verification::{Verification, Verified},
};
pub use crate::database::Mode;
