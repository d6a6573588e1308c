//! One call from its request to its report: connections, names, and one table after the other.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    error::{Phase, Place, Side, TableError},
    pattern::Pattern,
    pipeline,
    plan::{self, TablePlan},
    report::{Report, TableReport},
    request::{Endpoint, Request, Selection, TableRequest},
};
use crate::{
    database::{Connection, Mode, Purpose, Relation, Source},
    odbc::{DriverSearch, Interrupt},
};

/// One table to be copied, with its names settled.
struct Job<'a> {
    source: &'a Endpoint,
    what: Source,
    target: Relation,
}

/// Copies what the request says and reports on every table.
///
/// A table that fails leaves the others whole and is itself as it was before; its error is in its report. `done` is
/// called after each table. Once `interrupt` is raised, the running table is rolled back and the others are not begun.
///
/// # Errors
/// If nothing could be begun: a connection that fails, names that make no sense.
pub fn run(
    request: &Request,
    search: &DriverSearch,
    interrupt: &Interrupt,
    done: &mut dyn FnMut(&TableReport),
) -> Result<Report, Box<TableError>> {
    let started = Instant::now();
    let mut jobs = Vec::new();
    let mut sources: HashMap<String, Connection> = HashMap::new();
    for copy in &request.copies {
        jobs.extend(jobs_of(copy, search, interrupt, &mut sources)?);
    }
    if let Some(twice) =
        (0..jobs.len()).find(|second| jobs[..*second].iter().any(|job| job.target == jobs[*second].target))
    {
        let message = format!(
            "several tables would go into `{}`; give them names with `into`",
            jobs[twice].target
        );
        return Err(refused(Side::Target, "copy.same_target", message));
    }
    let mut report = Report::default();
    // The first connection to the target is made before any table: a wrong password is one error and not three hundred.
    let mut target = Some(connect(
        &request.target,
        Purpose::Write,
        Side::Target,
        search,
        interrupt,
    )?);
    for job in &jobs {
        if interrupt.is_raised() {
            break;
        }
        let table = copy_table(job, request, search, interrupt, &mut sources, &mut target);
        report.rows += table.rows;
        report.bytes += table.bytes;
        match &table.error {
            None => tracing::info!(
                event = "copy.table",
                source = table.source,
                table = table.table,
                target = table.target,
                rows = table.rows,
                bytes = table.bytes,
                duration_ms = table.duration_ms,
                "table copied"
            ),
            Some(error) => tracing::error!(
                event = "copy.table_failed",
                source = table.source,
                table = table.table,
                target = table.target,
                code = error.code,
                duration_ms = table.duration_ms,
                "{error}"
            ),
        }
        done(&table);
        report.tables.push(table);
    }
    report.duration_ms = milliseconds(started.elapsed());
    Ok(report)
}

fn copy_table(
    job: &Job<'_>,
    request: &Request,
    search: &DriverSearch,
    interrupt: &Interrupt,
    sources: &mut HashMap<String, Connection>,
    target: &mut Option<Connection>,
) -> TableReport {
    let started = Instant::now();
    let table = match &job.what {
        Source::Table { relation, .. } => relation.to_string(),
        Source::Query(_) => "query".to_owned(),
    };
    let mut report = TableReport {
        source: job.source.label.clone(),
        table,
        target: job.target.to_string(),
        rows: 0,
        bytes: 0,
        duration_ms: 0,
        mode: mode_name(request.mode),
        created: false,
        read_lane: "",
        write_lane: "",
        error: None,
    };
    let reading = interrupt.child();
    let result = (|| -> Result<pipeline::Moved, Box<TableError>> {
        // A lane takes its connection over, and each table begins with sessions that no other has touched.
        let source = match sources.remove(&job.source.string.reveal()) {
            Some(connection) => connection,
            None => connect(job.source, Purpose::Read, Side::Source, search, interrupt)?,
        };
        source.session.set_interrupt(&reading);
        let target = match target.take() {
            Some(connection) => connection,
            None => connect(&request.target, Purpose::Write, Side::Target, search, interrupt)?,
        };
        let staging = staging_name(&job.target);
        let plan: TablePlan = plan::plan(
            &source,
            &job.what,
            &target,
            &job.target,
            (request.mode, request.lanes),
            &staging,
        )?;
        tracing::debug!(event = "copy.plan", plan = %plan, "planned");
        report.created = !plan.exists || request.mode == Mode::Replace;
        report.read_lane = plan.read_lane.name;
        report.write_lane = plan.write_lane.name;
        // Also when the run was told to stop.
        let reconnect = || connect(&request.target, Purpose::Write, Side::Target, search, &Interrupt::new());
        let budget = pipeline::Budget::of(request.memory_limit_bytes);
        pipeline::run(&plan, source, target, (&reading, interrupt), budget, &reconnect)
    })();
    match result {
        Ok(moved) => {
            report.rows = moved.rows;
            report.bytes = moved.bytes;
        }
        Err(error) => {
            report.created = false;
            report.error = Some(error.of(&report.table, &report.target));
        }
    }
    report.duration_ms = milliseconds(started.elapsed());
    report
}

/// The tables that a part of the request means; connects to the source only if wildcards or names ask for it.
fn jobs_of<'a>(
    copy: &'a TableRequest,
    search: &DriverSearch,
    interrupt: &Interrupt,
    sources: &mut HashMap<String, Connection>,
) -> Result<Vec<Job<'a>>, Box<TableError>> {
    let malformed = |message: String| refused(Side::Source, "copy.name", message);
    let (names, exclude, condition) = match &copy.selection {
        Selection::Query(sql) => {
            let Some(into) = &copy.into else {
                return Err(malformed("a query needs the target's name in `into`".to_owned()));
            };
            let target = Relation::parse(into).map_err(malformed)?;
            let sql = sql.trim().trim_end_matches(';').trim_end().to_owned();
            return Ok(vec![Job {
                source: &copy.source,
                what: Source::Query(sql),
                target,
            }]);
        }
        Selection::Tables {
            names,
            exclude,
            condition,
        } => (names, exclude, condition),
    };
    let parse = |texts: &[String]| {
        texts
            .iter()
            .map(|text| Pattern::parse(text))
            .collect::<Result<Vec<_>, _>>()
    };
    let patterns = parse(names).map_err(malformed)?;
    let excluded = parse(exclude).map_err(malformed)?;
    let mut relations: Vec<Relation> = Vec::new();
    for (pattern, text) in patterns.iter().zip(names) {
        let matched: Vec<Relation> = match pattern.exact() {
            Some(relation) => vec![relation.clone()],
            None => {
                let key = copy.source.string.reveal();
                if !sources.contains_key(&key) {
                    let connection = connect(&copy.source, Purpose::Read, Side::Source, search, interrupt)?;
                    sources.insert(key.clone(), connection);
                }
                let Some(connection) = sources.get(&key) else { continue };
                let place = Place {
                    phase: Phase::Plan,
                    side: Side::Source,
                };
                let failed = |error| TableError::database(place, error, Some(connection.dialect));
                let schema = connection.dialect.default_schema(&connection.session).map_err(failed)?;
                let all = connection.dialect.relations(&connection.session).map_err(failed)?;
                let matched: Vec<Relation> = all
                    .into_iter()
                    .filter(|relation| pattern.matches(relation, schema.as_deref()))
                    .collect();
                if matched.is_empty() {
                    let message = format!("no table of `{}` matches `{text}`", copy.source.label);
                    return Err(refused(Side::Source, "copy.no_match", message));
                }
                matched
            }
        };
        for relation in matched {
            if !excluded.iter().any(|pattern| pattern.excludes(&relation)) && !relations.contains(&relation) {
                relations.push(relation);
            }
        }
    }
    if let Some(into) = copy
        .into
        .as_deref()
        .filter(|into| relations.len() > 1 && !into.contains("{table}"))
    {
        let message = format!(
            "`into` is `{into}` for {} tables; put `{{table}}` into it",
            relations.len()
        );
        return Err(malformed(message));
    }
    relations
        .into_iter()
        .map(|relation| {
            let target = target_name(&relation, copy.into.as_deref()).map_err(malformed)?;
            let what = Source::Table {
                relation,
                condition: condition.clone(),
            };
            Ok(Job {
                source: &copy.source,
                what,
                target,
            })
        })
        .collect()
}

/// The target's name for a source table.
fn target_name(relation: &Relation, into: Option<&str>) -> Result<Relation, String> {
    match into {
        None => Ok(Relation {
            schema: None,
            name: relation.name.clone(),
        }),
        Some(template) => {
            // Parsed first: a dot or quote in a source's name is a part of the name.
            let parsed = Relation::parse(template)?;
            let fill = |text: &str| {
                let schema = relation.schema.as_deref().unwrap_or_default();
                text.replace("{schema}", schema).replace("{table}", &relation.name)
            };
            let schema = parsed.schema.as_deref().map(fill).filter(|schema| !schema.is_empty());
            Ok(Relation {
                schema,
                name: fill(&parsed.name),
            })
        }
    }
}

/// A name that no other run takes, for products that load a new table beside the old one.
fn staging_name(target: &Relation) -> Relation {
    // 64 characters are the most of MariaDB and MySQL, and `_old` may follow.
    let kept: String = target.name.chars().take(40).collect();
    let tag = &uuid::Uuid::new_v4().simple().to_string()[..8];
    Relation {
        schema: target.schema.clone(),
        name: format!("{kept}__dray_{tag}"),
    }
}

fn connect(
    endpoint: &Endpoint,
    purpose: Purpose,
    side: Side,
    search: &DriverSearch,
    interrupt: &Interrupt,
) -> Result<Connection, Box<TableError>> {
    let place = Place {
        phase: Phase::Connect,
        side,
    };
    Connection::open(search, &endpoint.string, purpose, purpose == Purpose::Write, interrupt).map_err(|error| {
        let mut error = TableError::database(place, error, None);
        error.message = format!("`{}`: {}", endpoint.label, error.message);
        error
    })
}

fn refused(side: Side, code: &str, message: String) -> Box<TableError> {
    TableError::refused(
        Place {
            phase: Phase::Plan,
            side,
        },
        code,
        message,
    )
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Append => "append",
        Mode::Truncate => "truncate",
        Mode::Replace => "replace",
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_targets_name_takes_the_sources_parts_as_they_are() {
        let relation = Relation {
            schema: Some("SalesLT".to_owned()),
            name: "a.b".to_owned(),
        };
        let name = |into: Option<&str>| target_name(&relation, into).unwrap();
        assert_eq!(
            name(None),
            Relation {
                schema: None,
                name: "a.b".to_owned()
            }
        );
        let expected = Relation {
            schema: Some("staging".to_owned()),
            name: "SalesLT_a.b".to_owned(),
        };
        assert_eq!(name(Some("staging.{schema}_{table}")), expected);
    }
}
