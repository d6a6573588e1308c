//! Which tables a request means, and what each is called at the target.

use super::{
    error::{Phase, Place, Side, TableError},
    journal,
    listing::{Listing, Question},
    pattern::Pattern,
    request::{Endpoint, Selection, TableOptions, TableRequest},
};
use crate::database::{Connection, LockName, Relation, Source};

/// One table to be copied, with its names settled.
pub(super) struct Job<'a> {
    pub source: &'a Endpoint,
    pub what: Source,
    pub target: Relation,
    /// What else is said of it.
    pub options: &'a TableOptions,
}

impl Job<'_> {
    /// How many rows will come, if the whole table has so many: a condition leaves some out, nobody knows how many.
    pub fn estimate(&self, rows_of_table: Option<u64>) -> Option<u64> {
        match self.what {
            Source::Table { condition: None, .. } => rows_of_table,
            _ => None,
        }
    }
}

/// A part of the request, with its names read.
pub(super) struct Named<'a> {
    copy: &'a TableRequest,
    names: Names<'a>,
}

enum Names<'a> {
    Query {
        sql: String,
        target: Relation,
    },
    Tables {
        patterns: Vec<(Pattern, &'a str)>,
        excluded: Vec<Pattern>,
        overrides: Vec<Override<'a>>,
    },
}

/// What is said of some tables: their pattern, its text, and the options.
type Override<'a> = (Pattern, &'a str, &'a TableOptions);

/// A part of the request whose tables are not known, since its source could not be asked for them.
#[derive(Clone)]
pub(super) struct Unlisted {
    pub source: String,
    /// What was asked for, such as `SalesLT.*`.
    pub table: String,
    pub target: String,
    pub mode: &'static str,
    pub error: Box<TableError>,
}

fn malformed(message: String) -> Box<TableError> {
    refused(Side::Source, "copy.name", message)
}

impl<'a> Named<'a> {
    /// Reads the names.
    ///
    /// # Errors
    /// One is malformed, or a query's target has none.
    pub fn read(copy: &'a TableRequest) -> Result<Self, Box<TableError>> {
        let parse = |text: &'a String| Pattern::parse(text).map_err(malformed);
        let names = match &copy.selection {
            Selection::Query(sql) => {
                let Some(into) = &copy.options.into else {
                    return Err(malformed("a query needs the target's name in `into`".to_owned()));
                };
                Names::Query {
                    sql: sql.trim().trim_end_matches(';').trim_end().to_owned(),
                    target: parse_target(into)?,
                }
            }
            Selection::Tables {
                names,
                exclude,
                overrides,
            } => {
                let said = overrides.iter().map(|(_, options)| options);
                let templates = std::iter::once(&copy.options).chain(said);
                for into in templates.filter_map(|options| options.into.as_ref()) {
                    parse_target(into)?;
                }
                Names::Tables {
                    patterns: (names.iter())
                        .map(|text| parse(text).map(|pattern| (pattern, text.as_str())))
                        .collect::<Result<_, _>>()?,
                    excluded: exclude.iter().map(parse).collect::<Result<_, _>>()?,
                    overrides: (overrides.iter())
                        .map(|(text, options)| {
                            let pattern = Pattern::parse(text);
                            let refused =
                                |message| refused(Side::Source, "copy.overrides", format!("`overrides`: {message}"));
                            Ok((pattern.map_err(refused)?, text.as_str(), options))
                        })
                        .collect::<Result<_, Box<TableError>>>()?,
                }
            }
        };
        Ok(Named { copy, names })
    }

    /// What the source has to be asked for, if anything.
    pub fn question(&self) -> Option<Question<'a>> {
        let Names::Tables {
            patterns,
            excluded,
            overrides,
        } = &self.names
        else {
            return None;
        };
        let said = overrides.iter().map(|(pattern, _, _)| pattern);
        let all = (patterns.iter().map(|(pattern, _)| pattern))
            .chain(excluded)
            .chain(said);
        let elsewhere = all.map(Pattern::relation).filter(|relation| relation.is_elsewhere());
        let wild = patterns.iter().filter(|(pattern, _)| pattern.exact().is_none());
        let question = Question {
            source: &self.copy.source,
            elsewhere: elsewhere.cloned().collect(),
            lists: wild.map(|(pattern, _)| pattern.relation().clone()).collect(),
        };
        if !question.elsewhere.is_empty() || !question.lists.is_empty() {
            return Some(question);
        }
        let all = std::iter::once(&self.copy.options).chain(overrides.iter().map(|(_, _, options)| *options));
        let mut templates = all.filter_map(|options| options.into.as_deref());
        let has_none = |(pattern, _): &(Pattern, &str)| pattern.exact().is_some_and(|table| table.schema.is_none());
        let asks = patterns.iter().any(has_none) && templates.any(|into| into.contains("{schema}"));
        asks.then_some(question)
    }

    /// The same as a part whose source did not answer.
    pub fn unlisted(&self, error: &TableError) -> Unlisted {
        let table = match &self.names {
            Names::Query { .. } => "query".to_owned(),
            Names::Tables { patterns, .. } => {
                let texts: Vec<&str> = patterns.iter().map(|(_, text)| *text).collect();
                texts.join(", ")
            }
        };
        let target = self.copy.options.into.clone().unwrap_or_else(|| table.clone());
        Unlisted {
            source: self.copy.source.label.clone(),
            mode: self.copy.options.meeting.mode_name(),
            error: Box::new(error.clone()).of(&table, &target),
            table,
            target,
        }
    }

    /// The tables that are meant, given what the source has answered.
    ///
    /// # Errors
    /// A pattern means no table, or what is said of the tables makes no sense.
    pub fn jobs(&self, listing: &Listing) -> Result<Vec<Job<'a>>, Box<TableError>> {
        let copy = self.copy;
        let (patterns, excluded, overrides) = match &self.names {
            Names::Query { sql, target } => {
                return Ok(vec![Job {
                    source: &copy.source,
                    what: Source::Query(sql.clone()),
                    target: target.clone(),
                    options: &copy.options,
                }]);
            }
            Names::Tables {
                patterns,
                excluded,
                overrides,
            } => (patterns, excluded, overrides),
        };
        let schema = listing.schema.as_deref();
        let reached = |pattern: &Pattern| {
            let relation = listing.reach(pattern.relation()).map_err(malformed)?;
            Ok::<Pattern, Box<TableError>>(pattern.called(relation))
        };
        let excluded: Vec<Pattern> = excluded.iter().map(reached).collect::<Result<_, _>>()?;
        let overrides: Vec<Override<'a>> = (overrides.iter())
            .map(|(pattern, text, options)| Ok((reached(pattern)?, *text, *options)))
            .collect::<Result<_, Box<TableError>>>()?;
        let mut relations: Vec<Relation> = Vec::new();
        for (pattern, text) in patterns {
            let pattern = reached(pattern)?;
            let matched: Vec<Relation> = match pattern.exact() {
                Some(relation) => vec![relation.clone()],
                None => {
                    // The journal of a database that is a target as well is no table of the user's.
                    let matches =
                        |relation: &&Relation| pattern.matches(relation, schema) && relation.name != journal::NAME;
                    let matched: Vec<Relation> = listing.relations.iter().filter(matches).cloned().collect();
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
        let options = options_of(&relations, &copy.options, &overrides)?;
        for said in std::iter::once(&copy.options).chain(overrides.iter().map(|(_, _, options)| *options)) {
            let tables = options.iter().filter(|options| std::ptr::eq(**options, said)).count();
            if let Some(into) = said
                .into
                .as_deref()
                .filter(|into| tables > 1 && !into.contains("{table}"))
            {
                let message = format!("`into` is `{into}` for {tables} tables; put `{{table}}` into it");
                return Err(malformed(message));
            }
        }
        relations
            .into_iter()
            .zip(options)
            .map(|(relation, options)| {
                let target = target_name(&relation, options.into.as_deref(), schema).map_err(malformed)?;
                let what = Source::Table {
                    relation,
                    condition: options.condition.clone(),
                };
                Ok(Job {
                    source: &copy.source,
                    what,
                    target,
                    options,
                })
            })
            .collect()
    }
}

/// What is said of each of these tables: what stands by its own name, else by the pattern that it matches, else `all`.
///
/// # Errors
/// Two of the same rank stand by one table, or one by none.
fn options_of<'a>(
    relations: &[Relation],
    all: &'a TableOptions,
    overrides: &[Override<'a>],
) -> Result<Vec<&'a TableOptions>, Box<TableError>> {
    let refused = |message: String| refused(Side::Source, "copy.overrides", message);
    for (pattern, text, _) in overrides {
        // As for what is excluded: without a schema, whichever it has.
        if !relations.iter().any(|relation| pattern.excludes(relation)) {
            return Err(refused(format!(
                "`overrides` has `{text}`, and no table of this name is copied"
            )));
        }
    }
    let of = |relation: &Relation| {
        let mut found: Vec<_> = (overrides.iter())
            .filter(|(pattern, _, _)| pattern.excludes(relation))
            .collect();
        if found.iter().any(|(pattern, _, _)| pattern.exact().is_some()) {
            found.retain(|(pattern, _, _)| pattern.exact().is_some());
        }
        match found.as_slice() {
            [] => Ok(all),
            [(_, _, options)] => Ok(*options),
            [(_, one, _), (_, other, _), ..] => Err(refused(format!(
                "`overrides` has `{one}` and `{other}`, and the table `{relation}` is both"
            ))),
        }
    };
    relations.iter().map(of).collect()
}

/// Reads a target's name, or the template for one.
///
/// # Errors
/// Those of [`Relation::parse`], and for a table of a linked server.
pub(super) fn parse_target(text: &str) -> Result<Relation, Box<TableError>> {
    let malformed = |message: String| refused(Side::Target, "copy.name", message);
    let relation = Relation::parse(text).map_err(malformed)?;
    match &relation.server {
        Some(server) => Err(malformed(format!(
            "the target `{text}` has four parts, `database.schema.table` are the most of a target: dray writes into no linked \
             server; make a connection of its own to `{server}`"
        ))),
        None => Ok(relation),
    }
}

/// These tables by the one name that each has for a connection, see [`crate::database::Dialect::reach`].
///
/// # Errors
/// One is out of its reach, or it could not be asked.
pub(super) fn reach(
    (connection, side): (&Connection, Side),
    relations: &[Relation],
) -> Result<Vec<Relation>, Box<TableError>> {
    if !relations.iter().any(Relation::is_elsewhere) {
        return Ok(relations.to_vec());
    }
    let phase = Phase::Plan;
    let reached = connection.dialect.reach(&connection.session, relations);
    let reached =
        reached.map_err(|error| TableError::database(Place { phase, side }, error, Some(connection.dialect)))?;
    let named = |reached: Result<Relation, String>| reached.map_err(|message| refused(side, "copy.name", message));
    reached.into_iter().map(named).collect()
}

/// The target's name for a source table; `default_schema` is that of a table without one.
pub(super) fn target_name(
    relation: &Relation,
    into: Option<&str>,
    default_schema: Option<&str>,
) -> Result<Relation, String> {
    match into {
        None => Ok(Relation::new(None, relation.name.clone())),
        Some(template) => {
            // Parsed first: a dot or quote in a source's name is a part of the name.
            let parsed = Relation::parse(template)?;
            let fill = |text: &str| {
                let schema = relation.schema.as_deref().or(default_schema).unwrap_or_default();
                text.replace("{schema}", schema).replace("{table}", &relation.name)
            };
            let part = |part: &Option<String>| part.as_deref().map(fill).filter(|part| !part.is_empty());
            Ok(Relation {
                server: None,
                catalog: part(&parsed.catalog),
                schema: part(&parsed.schema),
                name: fill(&parsed.name),
            })
        }
    }
}

/// A name that no other run takes, for products that load a new table beside the old one; by it, [`is_staging_of`] knows
/// what killed runs have left.
pub(super) fn staging_name(target: &Relation, lock: LockName) -> Relation {
    // 64 characters are the most of MariaDB and MySQL, and `_old` may follow.
    let kept: String = target.name.chars().take(36).collect();
    let tag = &uuid::Uuid::new_v4().simple().to_string()[..8];
    target.beside(format!("{kept}{}{tag}", staging_mark(lock)))
}

/// Whether a table was made by a load of the target that this lock stands for.
pub(super) fn is_staging_of(name: &str, lock: LockName) -> bool {
    let tag = name
        .rsplit_once(&staging_mark(lock))
        .map(|(_, tag)| tag.trim_end_matches("_old"));
    tag.is_some_and(|tag| tag.len() == 8 && tag.bytes().all(|letter| letter.is_ascii_hexdigit()))
}

fn staging_mark(LockName(number): LockName) -> String {
    format!("__dray_{:08x}", number >> 32)
}

/// A request that makes no sense.
pub(super) fn refused(side: Side, code: &str, message: String) -> Box<TableError> {
    TableError::refused(
        Place {
            phase: Phase::Plan,
            side,
        },
        code,
        message,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::odbc::ConnectionString;

    #[test]
    fn a_killed_loads_table_is_known_by_its_name_and_another_tables_is_not() {
        let target = |name: &str| Relation::new(None, name);
        let (one, other) = (LockName(7 << 32), LockName(8 << 32));
        let long = "x".repeat(64);
        for name in ["t", long.as_str()] {
            let staging = staging_name(&target(name), one).name;
            assert!(staging.chars().count() + "_old".len() <= 64);
            assert!(is_staging_of(&staging, one) && is_staging_of(&format!("{staging}_old"), one));
            assert!(!is_staging_of(&staging, other));
        }
        assert!(!is_staging_of("t", one) && !is_staging_of("t__dray_00000007", one));
    }

    #[test]
    fn a_targets_name_takes_the_sources_parts_as_they_are() {
        let relation = Relation::new(Some("SalesLT".to_owned()), "a.b");
        let name = |into: Option<&str>| target_name(&relation, into, Some("dbo")).unwrap();
        assert_eq!(name(None), Relation::new(None, "a.b"));
        let expected = Relation::new(Some("staging".to_owned()), "SalesLT_a.b");
        assert_eq!(name(Some("staging.{schema}_{table}")), expected);
        let expected = Relation {
            catalog: Some("SalesLT db".to_owned()),
            ..Relation::new(None, "a.b")
        };
        assert_eq!(name(Some("[{schema} db]..{table}")), expected);
    }

    #[test]
    fn a_table_of_another_database_has_its_own_name_in_the_target() {
        let relation = Relation::parse("other.dbo.orders").unwrap();
        let name = |into: Option<&str>| target_name(&relation, into, Some("dbo")).unwrap().to_string();
        assert_eq!(name(None), "orders");
        assert_eq!(name(Some("{schema}.{table}")), "dbo.orders");
    }

    #[test]
    fn a_table_of_a_linked_server_is_no_target() {
        let error = parse_target("[linked].db.dbo.t").unwrap_err();
        assert_eq!((error.code.as_str(), error.side), ("copy.name", Side::Target));
        assert!(
            error.message.contains("four parts") && error.message.contains("`linked`"),
            "{}",
            error.message
        );
        let copy = TableRequest {
            source: Endpoint {
                label: String::new(),
                string: ConnectionString::parse("Server=a").unwrap(),
            },
            selection: Selection::Tables {
                names: vec!["t".to_owned()],
                exclude: Vec::new(),
                overrides: Vec::new(),
            },
            options: TableOptions {
                into: Some("linked...{table}".to_owned()),
                ..TableOptions::default()
            },
        };
        let error = Named::read(&copy).err().unwrap();
        assert_eq!((error.code.as_str(), error.side), ("copy.name", Side::Target));
    }
}
