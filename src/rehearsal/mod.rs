//! `dray rehearse`: a custom activity of an exported pipeline, on a laptop.
//!
//! Owns what Data Factory and Batch do between a pipeline's definition and the command's start: finding the activity
//! ([`source`]), evaluating its expressions ([`expression`]), judging it ([`check`]), the files and variables of the task
//! ([`task`]), and what Data Factory shows of its end ([`end`]). Everything is decided before anything is written. It must
//! not know what the command does; that the command is most likely dray itself matters to [`task`] alone.
//!
//! What Data Factory does is documented in part only; sources stand where a fact is used.

mod activity;
mod check;
mod end;
mod error;
mod expression;
mod givens;
mod plan;
mod source;
mod task;
mod template;
mod words;

pub use check::{Finding, Weight};
pub use end::{End, output_of_activity};
pub use error::RehearsalError;
pub use givens::Givens;
pub use plan::{Plan, StandIn, plan};
pub use source::Source;
pub use task::{Task, fresh_root};
