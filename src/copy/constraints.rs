//! Loads of a table that is there without a look at its constraints.
//!
//! Knows which statements stand where in a plan's steps, and no product's SQL for it.

use super::{
    error::{Phase, Place, Side, TableError},
    plan::LaneChoice,
};
use crate::database::{Connection, LoadSteps, Relation, Table, WriteLane};

const PLACE: Place = Place {
    phase: Phase::Plan,
    side: Side::Target,
};

/// Has the rows enter the target unchecked, if it is kept: by statements around the load, where the lane does not do so
/// itself. `after_load` is the place in those after the rows that no statement of the load stands behind. Returns whether
/// the lane is to do it, and says in its reason what holds then.
///
/// # Errors
/// The product has no way to it, also where the table is made and nothing is to be left unchecked.
pub(super) fn skip(
    (target, relation): (&Connection, &Relation),
    kept: Option<&Table>,
    (lane, choice): (&dyn WriteLane, &mut LaneChoice),
    (steps, after_load): (&mut LoadSteps, usize),
) -> Result<bool, Box<TableError>> {
    let unchecked = target.dialect.unchecked(&target.session, relation);
    let unchecked = unchecked.map_err(|error| TableError::database(PLACE, error, Some(target.dialect)))?;
    let unchecked = match (unchecked, kept.and_then(|table| table.kind)) {
        (Ok(_), Some(kind)) => Err(format!("the target is {}", kind.what)),
        (unchecked, _) => unchecked,
    };
    let unchecked = unchecked.map_err(|reason| {
        let message = format!("constraints of the target cannot be left unchecked: {reason}");
        let mut error = TableError::refused(PLACE, "copy.constraints", message);
        error.hint = Some(
            "leave `constraints=\"skip\"` out, or drop the constraints with `before` and add them with `after`"
                .to_owned(),
        );
        error
    })?;
    if kept.is_none() {
        return Ok(false);
    }
    choice.reason.push_str("; ");
    choice.reason.push_str(&unchecked.words);
    // Rows that lie in another table first are not what the lane loads into this one.
    if lane.leaves_unchecked() && steps.staging.is_none() {
        return Ok(true);
    }
    let [off, on] = unchecked.around;
    steps.after.splice(after_load..after_load, on);
    match steps.staging {
        Some(_) => drop(steps.after.splice(0..0, off)),
        None => steps.before.extend(off),
    }
    Ok(false)
}
