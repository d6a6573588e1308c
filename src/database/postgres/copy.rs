//! What the two bulk lanes have in common: their connection beside the ODBC session, what it finds out about a relation,
//! and the forms in which rows pass unparsed.

use super::{
    super::{Column, Connection, Dialect, Error, LogicalType, Relation, WireFormat},
    binary::Cell,
    client::Client,
    libpq::Libpq,
    settings::Settings,
};

/// The lanes' name.
pub(super) const NAME: &str = "copy";

/// Rows of binary COPY.
pub(super) const BINARY: WireFormat = WireFormat {
    name: "PostgreSQL's binary COPY rows",
    own: true,
};

/// Rows of text COPY, for types whose binary form holds oids of one database.
pub(super) const TEXT: WireFormat = WireFormat {
    name: "PostgreSQL's text COPY rows",
    own: true,
};

/// Makes text forms exact and the same whatever role, database or server have set. Not the time zone, and not the order of
/// a date's parts: conditions and queries of the user are read by them, and no form depends on them.
const SETUP: &str = "SET extra_float_digits = 3; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; \
                     SET bytea_output = 'hex'; SET xmloption = 'content'";

/// A connection that is ready, and the relation that it was asked about.
pub(super) struct Ready {
    /// The connection.
    pub(super) client: Client,
    /// The relation; for a query, nothing.
    pub(super) facts: Facts,
    /// Whether a transaction is open whose snapshot others have as well.
    pub(super) shares_snapshot: bool,
}

impl Ready {
    /// Outside of a transaction.
    fn new(client: Client, facts: Facts) -> Ready {
        Ready {
            client,
            facts,
            shares_snapshot: false,
        }
    }
}

/// What COPY has to know about a relation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// pg_class.relkind, `None` if there is no such relation.
    pub(super) kind: Option<char>,
    /// Whether tables inherit from it, or have once done so.
    pub(super) has_children: bool,
    /// Whether a rule rewrites an INSERT into it.
    pub(super) has_insert_rules: bool,
    /// Whether the user sees a part of its rows.
    pub(super) row_security: bool,
}

impl Facts {
    /// What is known of a [`super::super::Table`] that is plain.
    pub(super) const PLAIN: Facts = Facts {
        kind: Some('r'),
        has_children: false,
        has_insert_rules: false,
        row_security: false,
    };

    /// Whether `COPY relation TO` gives just the rows that a SELECT does; it does without the executor.
    pub(super) fn is_plain_table(self) -> bool {
        self.kind == Some('r') && !self.has_children && !self.row_security
    }

    /// Why COPY cannot load it just as an INSERT would, if so.
    pub(super) fn why_not_loaded(self) -> Option<&'static str> {
        match self.kind {
            None | Some('r' | 'p') if self.has_insert_rules => Some("the target has rules, which COPY does not follow"),
            None | Some('r' | 'p') if self.row_security => Some("COPY does not load a table with row-level security"),
            None | Some('r' | 'p') => None,
            Some(_) => Some("the target is no table, and COPY loads only tables"),
        }
    }
}

/// What a connection is prepared for.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    /// A relation that the server is asked about.
    Relation(&'a Relation),
    /// One that is known, or none.
    Known(Facts),
}

/// Makes a connection beside the session, if the last table has left none, and gives what is so of the relation. It is kept
/// for [`taken`].
///
/// # Errors
/// Why there is none, in words for the plan.
pub(super) fn prepare(connection: &Connection, about: About<'_>) -> Result<Facts, String> {
    let (question, known) = match about {
        About::Relation(relation) => (Some(question(connection.dialect, relation)), Facts::default()),
        About::Known(facts) => (None, facts),
    };
    let words = |error: Error| match &error {
        Error::Client { diagnostic, .. } => connection.dialect.without_values(&diagnostic.to_string()),
        _ => error.to_string(),
    };
    let interrupt = connection.session.interrupt();
    if let Some(mut ready) = connection.kept.take::<Ready>() {
        ready.client.stop_with(&interrupt);
        let asked = question.as_deref().map_or(Ok(known), |sql| ask(&mut ready.client, sql));
        // A connection may have been lost since.
        if let Ok(facts) = asked {
            ready.facts = facts;
            connection.kept.put(ready);
            return Ok(facts);
        }
    }
    let libpq = Libpq::find(&connection.driver)?;
    let settings = Settings::translate(&connection.settings, &libpq)?;
    let mut client = Client::connect(&libpq, &settings, &interrupt).map_err(words)?;
    // PostgreSQL before 10 could be built with times as floats, whose binary form is another one.
    if client
        .parameter(c"integer_datetimes")
        .is_some_and(|value| value != "on")
    {
        return Err("the server keeps times as floating-point numbers".to_owned());
    }
    // In one round trip.
    let relaxed = connection.relaxed.map(|relaxed| relaxed.setup);
    let sql = [Some(SETUP), relaxed, question.as_deref()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ");
    let answered = ask(&mut client, &sql).map_err(words)?;
    let facts = if question.is_some() { answered } else { known };
    connection.kept.put(Ready::new(client, facts));
    Ok(facts)
}

/// The connection that [`prepare`] has made.
pub(super) fn taken(connection: &Connection) -> Result<Ready, Error> {
    let ready = connection.kept.take();
    ready.ok_or_else(|| Error::Unsupported("the lane was started without having been offered".to_owned()))
}

/// Leaves the connection for the next table.
pub(super) fn leave(connection: &Connection, mut client: Client) {
    client.shield();
    connection.kept.put(Ready::new(client, Facts::default()));
}

/// The query for what [`ask`] answers.
pub(super) fn question(dialect: &dyn Dialect, relation: &Relation) -> String {
    let name = dialect
        .quote_relation(relation)
        .replace('\\', "\\\\")
        .replace('\'', "''");
    format!(
        "SELECT c.relkind, c.relhassubclass, \
           EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type = '3'), \
           pg_catalog.row_security_active(c.oid) \
         FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass(E'{name}')"
    )
}

/// What the server says about a relation.
pub(super) fn ask(client: &mut Client, sql: &str) -> Result<Facts, Error> {
    let rows = client.run(sql)?.rows();
    let Some(row) = rows.first() else {
        return Ok(Facts::default());
    };
    let cell = |position: usize| row.get(position).and_then(Option::as_deref).unwrap_or_default();
    Ok(Facts {
        kind: cell(0).chars().next(),
        has_children: cell(1) == "t",
        has_insert_rules: cell(2) == "t",
        row_security: cell(3) == "t",
    })
}

/// The form in which rows of these columns pass unparsed between two PostgreSQL servers: what one side's output functions
/// write, the other's input functions read as the same value.
pub(super) fn wire_format(columns: &[Column]) -> WireFormat {
    let binary = columns.iter().all(|column| match column.logical {
        LogicalType::Opaque => is_portable(&column.declared),
        logical => Cell::of_type(logical).is_some(),
    });
    if binary { BINARY } else { TEXT }
}

/// Types that only the server knows and whose binary form is the same in every database and version: no oids of what users
/// have made, no settings.
const PORTABLE: [&str; 39] = [
    "\"char\"",
    "bit",
    "bit varying",
    "box",
    "cidr",
    "circle",
    "daterange",
    "inet",
    "int4range",
    "int8range",
    "interval",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "money",
    "numrange",
    "path",
    "pg_lsn",
    "point",
    "polygon",
    "time with time zone",
    "tsrange",
    "tstzrange",
    // As elements of arrays.
    "bigint",
    "boolean",
    "bytea",
    "character",
    "character varying",
    "date",
    "double precision",
    "integer",
    "jsonb",
    "numeric",
    "real",
    "smallint",
    "text",
    "timestamp without time zone",
    "uuid",
];

/// Whether a type, as format_type spells it, is one of [`PORTABLE`] or an array of one.
fn is_portable(declared: &str) -> bool {
    let element = declared.strip_suffix("[]").unwrap_or(declared);
    // `interval day to second(3)`, `timestamp(3) with time zone`.
    let mut name = String::with_capacity(element.len());
    let mut depth = 0;
    for letter in element.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            letter if depth == 0 => name.push(letter),
            _ => {}
        }
    }
    name.starts_with("interval ") || name == "timestamp with time zone" || PORTABLE.contains(&name.as_str())
}

/// A statement for both sides where money passes as text: its text depends on the server's locale.
pub(super) fn text_setup(columns: &[Column]) -> Option<&'static str> {
    let money = columns.iter().any(|column| column.declared.starts_with("money"));
    money.then_some("SET lc_monetary = 'C'")
}

/// A list of columns in quotes.
pub(super) fn column_list(dialect: &dyn Dialect, columns: &[Column]) -> String {
    let names: Vec<String> = columns.iter().map(|column| dialect.quote(&column.name)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_users_and_settings_do_not_pass_in_binary() {
        for declared in [
            "inet",
            "bit(8)",
            "integer[]",
            "character varying(5)[]",
            "interval day to second(3)",
            "timestamp(3) with time zone[]",
            "time(0) with time zone",
        ] {
            assert!(is_portable(declared), "{declared}");
        }
        for declared in [
            "mood",
            "hstore",
            "xml",
            "regclass",
            "pair[]",
            "public.inet",
            "tsvector",
            "geometry(Point,4326)",
            "oid[]x",
        ] {
            assert!(!is_portable(declared), "{declared}");
        }
    }

    #[test]
    fn only_tables_without_rules_and_row_security_are_loaded() {
        let table = Facts {
            kind: Some('r'),
            ..Facts::default()
        };
        let with_rules = Facts {
            has_insert_rules: true,
            ..table
        };
        let secured = Facts {
            row_security: true,
            ..table
        };
        let view = Facts {
            kind: Some('v'),
            has_insert_rules: true,
            ..table
        };
        let parent = Facts {
            has_children: true,
            ..table
        };
        let reasons =
            [Facts::default(), table, parent, with_rules, secured, view].map(|facts| facts.why_not_loaded().is_some());
        assert_eq!(reasons, [false, false, false, true, true, true]);
        let plain = [Facts::default(), table, parent, secured, view].map(Facts::is_plain_table);
        assert_eq!(plain, [false, true, false, false, false]);
    }
}
