//! What will be done for one table, in plain values that can be printed before anything happens.

use std::{cell::RefCell, fmt};

use super::{
    column_selection::{NamedColumn, named_columns},
    constraints,
    conversion::Conversion,
    dependants::Load,
    drift,
    error::{Phase, Place, Side, TableError},
    merge::{self, KeyChecks},
    ranges::{self, Range},
    request::{Around, Choices, ColumnSelection, Constraints, Lanes, Merge, MergeKind, Narrower, Verify},
    shape::{Make, Making, Neighbours},
    verification::{self, Verification},
};
use crate::database::{
    Column, Connection, Dependants, Dialect, Features, LoadSteps, LogicalType, Mode, NewKey, Relation, Source, Table,
    WireFormat, WriteLane,
};

/// Everything that is decided about one table's copy.
#[derive(Clone, Debug)]
pub struct TablePlan {
    /// What is read.
    pub source: Source,
    /// Where the rows end up.
    pub target: Relation,
    /// How an existing table meets them.
    pub mode: Mode,
    /// Whether the target is there already.
    pub exists: bool,
    /// The columns in the source's order.
    pub columns: Vec<ColumnPlan>,
    /// What is done around the load.
    pub steps: LoadSteps,
    /// What has to hold of the rows before they meet those of the same key.
    pub key_checks: Option<KeyChecks>,
    /// The lane out.
    pub read_lane: LaneChoice,
    /// The lane in.
    pub write_lane: LaneChoice,
    /// The form in which the rows pass from one to the other unparsed, if they do.
    pub wire: Option<WireFormat>,
    /// Whether rows that the target refuses are left out.
    pub sifted: bool,
    /// Whether the lane in leaves the target's constraints unchecked.
    pub unchecked: bool,
    /// What the source table, or the one that is replaced, has and the target, which is to be made, will lack.
    pub not_carried: Vec<String>,
    /// Columns of the target, which is there, that hold fewer values than those of the source.
    pub narrower: Vec<String>,
    /// How many of the statements after the rows give it what its source has.
    pub shaping_statements: usize,
    /// Foreign keys that it gets when all tables of the call are there.
    pub keys: Vec<NewKey>,
    /// How many rows the source believes to have; `None` where it does not know, for queries, and with a condition.
    pub estimated_rows: Option<u64>,
    /// The ranges that the table is read in, two at least; none if it is read in one.
    pub ranges: Vec<Range>,
    /// Most sessions that load it, where the lane can do with several.
    pub write_sessions: usize,
    /// What is looked at after the rows.
    pub verification: Verification,
}

/// One column's way.
#[derive(Clone, Debug)]
pub struct ColumnPlan {
    /// In the source.
    pub source: Column,
    /// In the target.
    pub target: Column,
    /// Between them.
    pub conversion: Conversion,
}

/// The lane that was taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneChoice {
    /// The lane's name.
    pub name: &'static str,
    /// Why this one, and why none before it.
    pub reason: String,
}

const PLACE: Place = Place {
    phase: Phase::Plan,
    side: Side::Target,
};

/// Decides everything but the lanes; pure.
///
/// `columns` are the source's, `existing` is the target as it is now, `staging` a name that is free there.
pub(super) fn columns_and_steps(
    source: &dyn Dialect,
    columns: &[NamedColumn],
    target: &dyn Dialect,
    (relation, existing): (&Relation, Option<&Table>),
    (mode, choices, add_columns): (Mode, Choices, bool),
    staging: &Relation,
    make: &Make<'_>,
) -> Result<(Vec<ColumnPlan>, LoadSteps, Making), Box<TableError>> {
    let same_product = source.name() == target.name();
    let (from_limits, limits) = (source.limits(), target.limits());
    let mut plans = Vec::new();
    let mut refusals: Vec<String> = Vec::new();
    let mut lacking: Vec<&str> = Vec::new();
    let kept = existing.filter(|_| mode != Mode::Replace);
    if let Some(reason) = kept.and_then(|table| table.not_transactional.as_ref()) {
        let mut error = TableError::refused(PLACE, "copy.no_transaction", reason.clone());
        if existing.is_some_and(|table| table.not_replaceable.is_none()) {
            error.hint = Some("use mode `replace`, which loads a new table and swaps it in".to_owned());
        }
        return Err(error);
    }
    if let Some(reason) = kept.and_then(|table| table.drops_rows.as_ref()) {
        let message = format!("the target table may drop rows: {reason}");
        let mut error = TableError::refused(PLACE, "copy.drops_rows", message);
        error.hint = Some("turn that off for the table, or copy into another one and insert from there".to_owned());
        return Err(error);
    }
    let replaced = existing.filter(|_| mode == Mode::Replace);
    if let Some(reason) = replaced.and_then(|table| table.not_replaceable.as_ref()) {
        let message = format!("the target table cannot be replaced: {reason}");
        let mut error = TableError::refused(PLACE, "copy.not_replaceable", message);
        if existing.is_some_and(|table| table.not_transactional.is_none()) {
            error.hint = Some("use mode `truncate`, which empties the table and keeps it".to_owned());
        }
        return Err(error);
    }
    for NamedColumn { column, name } in columns {
        let column = if same_product {
            source.verbatim(column)
        } else {
            column.clone()
        };
        if let Some(reason) = source.unreadable(&column) {
            refusals.push(format!("column `{}`: {reason}", column.name));
            continue;
        }
        let target_column = match kept {
            Some(table) => match same_name(&table.columns, name) {
                // Both compute it, as a table that a copy has made does where the source's does.
                Some(found) if found.generated && column.generated => continue,
                Some(found) if same_product => {
                    let mut found = target.verbatim(found);
                    // Of a column without a type (SQLite) each side knows what its own values are.
                    if found.declared == column.declared {
                        found.logical = column.logical;
                    }
                    Ok(found)
                }
                Some(found) if target.takes_own_alone(found) => Err(format!(
                    "`{}` of the target would change the text of another product's values",
                    found.declared
                )),
                Some(found) => Ok(found.clone()),
                None if add_columns => new_column(&column, name, target, same_product).map(drift::added_column),
                None => {
                    lacking.push(name);
                    continue;
                }
            },
            None => new_column(&column, name, target, same_product),
        };
        let planned = target_column.and_then(|target_column| {
            let conversion = Conversion::plan(&column, &target_column, &limits)?
                .between(&column, &target_column, &from_limits, &limits)
                .choosing(choices);
            Ok((target_column, conversion))
        });
        match planned {
            Ok((target, conversion)) => plans.push(ColumnPlan {
                source: column,
                target,
                conversion,
            }),
            Err(reason) => refusals.push(format!("column `{}`: {reason}", column.name)),
        }
    }
    if !refusals.is_empty() || !lacking.is_empty() {
        return Err(drift::refused(&lacking, refusals));
    }
    if let Some(twice) = plans.iter().enumerate().find_map(|(position, plan)| {
        plans[..position]
            .iter()
            .find(|other| other.target.name == plan.target.name)
            .map(|_| &plan.target.name)
    }) {
        let message = format!("two columns would be called `{twice}`");
        return Err(TableError::refused(PLACE, "copy.columns_refused", message));
    }
    let pairs = || {
        plans
            .iter()
            .map(|plan| (plan.source.clone(), plan.target.clone()))
            .collect()
    };
    let making = match kept {
        Some(_) => Making::default(),
        None => make(pairs()),
    };
    plans.retain_mut(|plan| match making.declared(&plan.target.name) {
        Some(column) => {
            plan.target.declared.clone_from(&column.declared);
            !column.generated
        }
        None => true,
    });
    let create = |name: &Relation| making.create(target, name);
    let mut steps = target.load_steps(mode, existing.is_some(), relation, staging, &create);
    let into = steps.staging.as_ref().unwrap_or(relation);
    let after = making.after_rows(target, into);
    steps.after.splice(0..0, after);
    Ok((plans, steps, making))
}

/// The column of this name; written otherwise only if no other could be meant.
fn same_name<'a>(columns: &'a [Column], name: &str) -> Option<&'a Column> {
    columns.iter().find(|column| column.name == name).or_else(|| {
        let lower = name.to_lowercase();
        let mut alike = columns.iter().filter(|column| column.name.to_lowercase() == lower);
        alike.next().filter(|_| alike.next().is_none())
    })
}

/// The column of this name, for a table that is to be made or to get it.
pub(super) fn new_column(
    column: &Column,
    name: &str,
    target: &dyn Dialect,
    same_product: bool,
) -> Result<Column, String> {
    let name = name.to_owned();
    // In the same product a type is taken over in its own words; a query's types have none to rely on. A column of mixed
    // values is declared without a type (SQLite), and so is its copy.
    let mixed = column.logical == LogicalType::Opaque;
    if same_product && column.from_catalog && (mixed || !column.declared.is_empty()) {
        return Ok(Column {
            name,
            generated: false,
            ..column.clone()
        });
    }
    let (declared, logical) = target.declare(column)?;
    Ok(Column {
        name,
        declared,
        logical,
        generated: false,
        ..column.clone()
    })
}

/// Takes the first lane that offers itself.
pub(super) fn choose<'a, L: ?Sized>(
    lanes: &[&'a L],
    allowed: Lanes,
    offer: impl Fn(&L) -> (&'static str, Result<String, String>),
) -> Result<(&'a L, LaneChoice), String> {
    let mut declined = Vec::new();
    for lane in lanes {
        match offer(lane) {
            (name, _) if allowed == Lanes::Odbc && name != "odbc" => {
                declined.push(format!("not `{name}`: lanes are set to `odbc`"));
            }
            (name, Ok(reason)) => {
                declined.insert(0, reason);
                return Ok((
                    lane,
                    LaneChoice {
                        name,
                        reason: declined.join("; "),
                    },
                ));
            }
            (name, Err(reason)) => declined.push(format!("not `{name}`: {reason}")),
        }
    }
    Err(declined.join("; "))
}

/// What was asked about a table together with others; `None` where it was not, or where that is long ago.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The table that is read.
    pub source: Option<Table>,
    /// The target, if it is there.
    pub target: Option<Option<Table>>,
    /// See [`Dialect::features`].
    pub features: Option<Features>,
    /// See [`Dialect::dependants`].
    pub dependants: Option<Dependants>,
}

/// What was asked for, as far as it is decided about in a plan.
#[derive(Clone, Copy)]
pub(super) struct Wishes<'a> {
    pub mode: Mode,
    pub merge: Option<&'a Merge>,
    pub columns: &'a ColumnSelection,
    /// Whether a target that is there gets the columns that it lacks.
    pub add_columns: bool,
    pub narrower: Narrower,
    pub constraints: Constraints,
    pub lanes: Lanes,
    pub choices: Choices,
    /// Whether rows may pass unparsed.
    pub unparsed: bool,
    /// Whether rows that the target refuses are to be left out.
    pub sifted: bool,
    /// Statements around the load: those of all tables, and the table's own.
    pub around: [&'a Around; 2],
    /// In how many ranges a table is to be read, at most.
    pub ranges: usize,
    pub verify: Verify,
    /// The tables of the call, and the place of this one among them.
    pub neighbours: (&'a Neighbours<'a>, usize),
}

/// The plan for one table, from what both databases say.
pub(super) fn plan(
    (source, what): (&Connection, &Source),
    (target, relation): (&Connection, &Relation),
    known: Known,
    wishes: Wishes<'_>,
    staging: &Relation,
) -> Result<TablePlan, Box<TableError>> {
    let Wishes {
        mode,
        lanes,
        choices,
        unparsed,
        sifted,
        ..
    } = wishes;
    let from = Place {
        phase: Phase::Plan,
        side: Side::Source,
    };
    let source_failed = |error| TableError::database(from, error, Some(source.dialect));
    let mut estimated_rows = None;
    let mut known_rows = None;
    let mut not_transactional = None;
    let mut is_plain = false;
    let mut of_table = |table: Table| {
        known_rows = table.estimated_rows;
        not_transactional = table.not_transactional;
        is_plain = table.is_plain;
        let is_whole = matches!(what, Source::Table { condition: None, .. });
        estimated_rows = table.estimated_rows.filter(|_| is_whole);
        table.columns
    };
    let columns = match (what, known.source) {
        (Source::Table { .. }, Some(table)) => of_table(table),
        (Source::Table { relation, .. }, None) => {
            let table = source.dialect.table(&source.session, relation).map_err(source_failed)?;
            let missing = || TableError::refused(from, "copy.no_such_table", format!("there is no table `{relation}`"));
            of_table(table.ok_or_else(missing)?)
        }
        (Source::Query(sql), _) => source
            .dialect
            .query_columns(&source.session, sql)
            .map_err(source_failed)?,
    };
    // The key is that of all columns, whichever are copied.
    let table_columns = if wishes.ranges > 1 { columns.clone() } else { Vec::new() };
    let columns = named_columns(columns, wishes.columns)?;
    if let Source::Table { relation: read, .. } = what {
        refuse_itself(source, read, target, relation)?;
    }
    let failed = |error| TableError::database(PLACE, error, Some(target.dialect));
    if source.dialect.name() == target.dialect.name() {
        for sql in target.dialect.setup_beside_source(&target.string, &source.string) {
            target.session.execute(sql).map_err(|error| failed(error.into()))?;
        }
    }
    let existing = match known.target {
        Some(existing) => existing,
        None => target.dialect.table(&target.session, relation).map_err(failed)?,
    };
    let (neighbours, index) = wishes.neighbours;
    let removes = mode == Mode::Truncate || wishes.merge.is_some_and(|merge| merge.kind == MergeKind::Mirror);
    let load = Load {
        target,
        relation,
        mode,
        removes,
        around: wishes.around,
        neighbours: Some(wishes.neighbours),
    };
    if let Some(existing) = &existing {
        load.check_kind(existing)?;
    }
    let created = existing.is_none() || mode == Mode::Replace;
    let features = match (what, known.features) {
        (_, Some(features)) if created => Some(features),
        (Source::Table { relation, .. }, _) if created => {
            let relations = std::slice::from_ref(relation);
            let features = source
                .dialect
                .features(&source.session, relations)
                .map_err(source_failed)?;
            features.into_iter().next()
        }
        _ => None,
    };
    // What goes wrong while a table is thought up is told when all else is decided.
    let trouble = RefCell::new(None);
    let make = |pairs: Vec<(Column, Column)>| {
        let made = neighbours.make(index, features.as_ref(), (source, target), pairs);
        made.unwrap_or_else(|error| {
            trouble.replace(Some(error));
            Making::default()
        })
    };
    let (named, staging) = place_of_new(target, relation, existing.as_ref(), mode, staging)?;
    let (columns, mut steps, mut making) = columns_and_steps(
        source.dialect,
        &columns,
        target.dialect,
        (&named, existing.as_ref()),
        (mode, choices, wishes.add_columns),
        &staging,
        &make,
    )?;
    let mut key_checks = None;
    if let Some(merge) = wishes.merge {
        let of_target = (relation, existing.as_ref());
        let made = (&mut making, &make as &Make<'_>);
        (steps, key_checks) = merge::steps(merge, target.dialect, of_target, &columns, steps, made)?;
    }
    if let Some(error) = trouble.take() {
        return Err(failed(error));
    }
    let shaping_statements = making.after_rows(target.dialect, relation).len();
    let kept = existing.as_ref().filter(|_| mode != Mode::Replace);
    if let Some(existing) = kept {
        let (moved, stays) = drift::counters(target.dialect, (relation, existing), &columns);
        steps.after.extend(moved);
        making.carried.not_carried.extend(stays);
    }
    if existing.is_some() {
        let kept = load.look(known.dependants, &making)?;
        neighbours.make_way(index, target.dialect, (removes, shaping_statements), &mut steps);
        steps.after.extend(kept.given);
        making.carried.not_carried.extend(kept.lost);
    }
    let after_load = steps.after.len();
    put_around(&mut steps, target.dialect, relation, wishes.around);
    let verification = Verification::of(wishes.verify, (mode, existing.is_some()), &steps, wishes.around);
    let mut narrower = Vec::new();
    if let Some(existing) = kept {
        drift::check_required(target, (relation, existing), &columns)?;
        let same_product = source.dialect.name() == target.dialect.name();
        // Whoever has rows left out that do not fit has said what becomes of values.
        if wishes.narrower == Narrower::Refuse && !sifted {
            drift::refuse_narrower(&columns, (source.dialect, target.dialect), choices)?;
        }
        narrower = drift::narrower(&columns, target.dialect, same_product);
        // Before all else, the user's own statements too: where the product commits as it changes a table, nothing of the
        // load is a part of that.
        steps
            .before
            .splice(0..0, drift::additions(target.dialect, (relation, existing), &columns)?);
    }
    if wishes.verify == Verify::Checksum {
        verification::can_be_read_back(target.dialect, &columns)?;
    }
    let (from_columns, to_columns) = sides(&columns);
    let loaded = kept.map(|_| relation);
    // An offer may cost a connection: lanes that are not allowed make none.
    let is_allowed = |name: &str| lanes != Lanes::Odbc || name == "odbc";
    let read_lane = choose(source.dialect.read_lanes(), lanes, |lane| {
        match is_allowed(lane.name()) {
            true => (lane.name(), lane.offer(source, what, &from_columns, is_plain)),
            false => (lane.name(), Err(String::new())),
        }
    });
    let write_lane = choose(target.dialect.write_lanes(), lanes, |lane| {
        match is_allowed(lane.name()) {
            true if sifted => (lane.name(), offer_to_sift(lane, target, loaded, &to_columns)),
            true => (lane.name(), lane.offer(target, loaded, &to_columns)),
            false => (lane.name(), Err(String::new())),
        }
    });
    let no_lane = |place: Place| move |reason: String| TableError::refused(place, "copy.no_lane", reason);
    let (read_lane, mut read_choice) = read_lane.map_err(no_lane(from))?;
    let (write_lane, mut write_choice) = write_lane.map_err(no_lane(PLACE))?;
    if existing.is_some() && mode == Mode::Replace && staging == *relation {
        let reason = "; the old table is locked from the beginning: the new one cannot be loaded beside it";
        write_choice.reason.push_str(reason);
    }
    let unchecked = wishes.constraints == Constraints::Skip
        && constraints::skip(
            (target, relation),
            kept,
            (write_lane, &mut write_choice),
            (&mut steps, after_load),
        )?;
    let taken = match unparsed && !sifted {
        true => write_lane.wire_formats(target, &to_columns),
        false => Vec::new(),
    };
    let wire = (read_lane.wire_formats(source, &from_columns).into_iter())
        .find(|format| taken.contains(format) && pass_unparsed(*format, &columns));
    let wire = wire.filter(|_| verification.verify != Verify::Checksum).or_else(|| {
        wire.iter()
            .for_each(|_| read_choice.reason.push_str("; value by value, for the checksum"));
        None
    });
    let mut parts = Vec::new();
    if wishes.ranges > 1 && sifted {
        let reason = "rejected rows are numbered in the order of reading";
        read_choice.reason.push_str(&ranges::in_one(reason));
    } else if wishes.ranges > 1 {
        let facts = ranges::Facts {
            columns: &table_columns,
            estimated_rows: known_rows,
            not_transactional: not_transactional.as_deref(),
        };
        match ranges::plan(source, what, &facts, read_lane, wishes.ranges)? {
            Ok(planned) => {
                parts = planned.ranges;
                read_choice.reason.push_str(&format!("; {}", planned.how));
            }
            Err(reason) => read_choice.reason.push_str(&ranges::in_one(&reason)),
        }
    }
    Ok(TablePlan {
        source: what.clone(),
        target: relation.clone(),
        mode,
        exists: existing.is_some(),
        steps,
        key_checks,
        read_lane: read_choice,
        write_lane: write_choice,
        wire,
        sifted,
        unchecked,
        columns,
        shaping_statements,
        not_carried: making.carried.not_carried,
        keys: making.carried.keys,
        narrower,
        estimated_rows,
        ranges: parts,
        // A part that is taken back is one session's.
        write_sessions: if sifted { 1 } else { wishes.ranges },
        verification,
    })
}

/// What a lane says to a load that leaves rejected rows out.
fn offer_to_sift(
    lane: &dyn WriteLane,
    target: &Connection,
    relation: Option<&Relation>,
    columns: &[Column],
) -> Result<String, String> {
    lane.takes_parts(target)?;
    let reason = lane.offer(target, relation, columns)?;
    Ok(format!(
        "{reason}; each batch behind a savepoint and no row unparsed, for rejected rows are left out"
    ))
}

/// Puts the user's statements around the load. Where the product commits as it makes the table, they come after that; and if
/// it makes it beside the old one, they are about the new one.
pub(super) fn put_around(steps: &mut LoadSteps, target: &dyn Dialect, relation: &Relation, around: [&Around; 2]) {
    let renamed = steps.renamed().cloned();
    let name = target.quote_relation(renamed.as_ref().unwrap_or(relation));
    let spelled = |sql: &String| sql.replace("{target}", &name);
    let before = around.iter().flat_map(|around| &around.before).map(spelled);
    let at = if steps.undo.is_empty() { 0 } else { steps.before.len() };
    steps.before.splice(at..at, before);
    steps
        .after
        .extend(around.iter().rev().flat_map(|around| &around.after).map(spelled));
}

/// Whether every value is in the target what it is in the source, so that there is nothing to convert. What the target
/// forbids beyond its type (NULL, a constraint) its server refuses itself.
fn pass_unparsed(format: WireFormat, columns: &[ColumnPlan]) -> bool {
    columns.iter().all(|column| {
        let ColumnPlan { source, target, .. } = column;
        let equal = source.declared == target.declared && source.logical == target.logical;
        source.from_catalog
            && match format.own {
                true => equal,
                false => column.conversion.passes_in_plain_form(source),
            }
    })
}

/// The target as a table is to be called that takes its place, and where that is loaded; both as given if none is.
pub(super) fn place_of_new(
    target: &Connection,
    relation: &Relation,
    existing: Option<&Table>,
    mode: Mode,
    free: &Relation,
) -> Result<(Relation, Relation), Box<TableError>> {
    if existing.is_none() || mode != Mode::Replace {
        return Ok((relation.clone(), free.clone()));
    }
    let failed = |error| TableError::database(PLACE, error, Some(target.dialect));
    let staging = (target.dialect)
        .staging(&target.session, relation, free)
        .map_err(failed)?;
    if staging.schema == relation.schema || relation.schema.is_some() {
        return Ok((relation.clone(), staging));
    }
    let schema = target.dialect.default_schema(&target.session).map_err(failed)?;
    Ok((relation.whole(schema.as_ref()), staging))
}

/// A table that is loaded is locked, or gone, for whoever reads it.
fn refuse_itself(
    source: &Connection,
    read: &Relation,
    target: &Connection,
    written: &Relation,
) -> Result<(), Box<TableError>> {
    let resolved = |connection: &Connection, relation: &Relation| -> Result<Relation, Box<TableError>> {
        let schema = match &relation.schema {
            Some(schema) => Some(schema.clone()),
            None => connection
                .dialect
                .default_schema(&connection.session)
                .map_err(|error| TableError::database(PLACE, error, Some(connection.dialect)))?,
        };
        Ok(relation.whole(schema.as_ref()))
    };
    if source.string == target.string && resolved(source, read)? == resolved(target, written)? {
        let message = "source and target are the same table".to_owned();
        return Err(TableError::refused(PLACE, "copy.same_table", message));
    }
    Ok(())
}

/// The columns on both sides.
pub(super) fn sides(columns: &[ColumnPlan]) -> (Vec<Column>, Vec<Column>) {
    columns
        .iter()
        .map(|plan| (plan.source.clone(), plan.target.clone()))
        .unzip()
}

impl fmt::Display for TablePlan {
    /// As a dry run prints it: a line for the table, one a column, one a lane, and the statements.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Table { relation, .. } => relation.to_string(),
            Source::Query(_) => "query".to_owned(),
        };
        writeln!(f, "{source} -> {} ({:?})", self.target, self.mode)?;
        for column in &self.columns {
            let (from, to) = (&column.source, &column.target);
            writeln!(f, "  {} {} -> {} {}", from.name, from.declared, to.name, to.declared)?;
        }
        writeln!(f, "  read by {}: {}", self.read_lane.name, self.read_lane.reason)?;
        for range in &self.ranges {
            writeln!(f, "    where {}", range.shown)?;
        }
        writeln!(f, "  written by {}: {}", self.write_lane.name, self.write_lane.reason)?;
        if let Some(WireFormat { name, .. }) = self.wire {
            writeln!(f, "  unparsed, as {name}")?;
        }
        for thing in &self.not_carried {
            writeln!(f, "  not carried: {thing}")?;
        }
        for column in &self.narrower {
            writeln!(f, "  narrower: {column}")?;
        }
        for sql in self
            .steps
            .before
            .iter()
            .chain(&self.steps.after)
            .chain(&self.steps.after_commit)
            .chain(&self.steps.cleanup)
        {
            writeln!(f, "  {sql}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
