//! The copy engine: a request becomes plans, a plan becomes rows on their way, and all of it a report.
//!
//! It knows no database by name: what differs between products is a method of their dialect or a lane that they offer
//! (`database/`). Exact or refused: a value arrives as it left, or the table's copy fails and names table, column, row
//! and reason. All or nothing: a table that fails is as it was before.

mod conversion;
mod error;
mod job;
mod pattern;
mod pipeline;
mod plan;
mod report;
mod request;
#[cfg(test)]
mod types_page;

pub use self::{
    conversion::{Conversion, Refusal},
    error::{Phase, Side, TableError},
    job::run,
    plan::{ColumnPlan, LaneChoice, TablePlan},
    report::{Report, TableReport},
    request::{Endpoint, Lanes, MEMORY_LIMIT_BYTES, Request, Selection, TableRequest},
};
pub use crate::database::Mode;
