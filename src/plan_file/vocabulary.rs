//! The words of a plan: which keys there are, what each takes, and what it means. The parser, the flags of `dray copy` and
//! the JSON Schema are made from these two lists, which are those of `dray.copy_tables` and `dray.Copy` in Python.

/// A key of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As a plan has it; as a flag, with `-` for `_`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it means, in one line.
    pub about: &'static str,
    /// What it is if it is left out, for people; empty if there is nothing to say.
    pub default: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text.
    Text,
    /// A text, or a list of texts with one at least.
    Texts,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A whole number from 1 on.
    Count,
    /// A number of bytes, or a text such as `512MiB`.
    Bytes,
    /// A whole number, or a time as a text such as `15min`.
    Distance,
    /// A number of seconds, whole or not.
    Seconds,
    /// A whole number from 0 on.
    Number,
    /// Yes or no.
    Flag,
    /// One of so many parts, as a text such as `3/8`.
    Shard,
    /// Names, each with another in its place.
    Names,
    /// Names of tables, each with keys that it has instead, of those of a copy that [`Key::is_overridable`].
    Overrides,
}

impl Kind {
    /// What is allowed, as an error says it.
    pub fn allowed(self) -> String {
        match self {
            Kind::Text => "a text".to_owned(),
            Kind::Texts => "a text or a list of texts".to_owned(),
            Kind::OneOf(words) => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Kind::Count => "a whole number from 1 on".to_owned(),
            Kind::Bytes => "a number of bytes or a text such as `512MiB`".to_owned(),
            Kind::Distance => "a whole number or a text such as `15min` (s, min, h, d)".to_owned(),
            Kind::Seconds => "a number of seconds, 0 at least".to_owned(),
            Kind::Number => "a whole number from 0 on".to_owned(),
            Kind::Flag => "true or false".to_owned(),
            Kind::Shard => "a text such as `3/8`, the third of eight parts".to_owned(),
            Kind::Names => {
                "names with another one each, such as `{ old = \"new\" }`, or as a flag `old=new`".to_owned()
            }
            Kind::Overrides => "names of tables with a table of keys each".to_owned(),
        }
    }
}

impl Key {
    /// Whether a table of a copy may have another value than the others.
    pub fn is_overridable(&self) -> bool {
        !matches!(self.name, "source" | "tables" | "exclude" | "query" | "overrides")
    }
}

const MODES: &[&str] = &["append", "truncate", "replace", "upsert", "incremental", "mirror"];

/// The key of the list of copies.
pub const COPY: &str = "copy";

/// The key of the part of the tables that is copied.
pub const SHARD: &str = "shard";

/// What stands at the top of a plan, beside [`COPY`]: the arguments of `dray.copy_tables`.
pub const OPTIONS: &[Key] = &[
    Key {
        name: "target",
        kind: Kind::Text,
        about: "Where the rows go: a connection's name, a URL, or an ODBC connection string",
        default: "",
    },
    Key {
        name: "mode",
        kind: Kind::OneOf(MODES),
        about: "How rows meet a table that is there: added to it, after it was emptied, in a new one in its place, or by key",
        default: "append",
    },
    Key {
        name: "key",
        kind: Kind::Texts,
        about: "Columns that tell rows apart, for the modes `upsert`, `incremental` and `mirror`",
        default: "the target's primary key",
    },
    Key {
        name: "watermark",
        kind: Kind::Text,
        about: "For `incremental`, the column that grows with each change",
        default: "",
    },
    Key {
        name: "overlap",
        kind: Kind::Distance,
        about: "How far before the last watermark the rows begin: seconds for times, else a number",
        default: "0",
    },
    Key {
        name: "before",
        kind: Kind::Texts,
        about: "Statements of the target's SQL before the rows of each table, in its transaction",
        default: "",
    },
    Key {
        name: "after",
        kind: Kind::Texts,
        about: "The same after the rows",
        default: "",
    },
    Key {
        name: "before_run",
        kind: Kind::Texts,
        about: "Statements of the target's SQL that are run once, before the first table, in a transaction of their own",
        default: "",
    },
    Key {
        name: "after_run",
        kind: Kind::Texts,
        about: "The same after the last table, if every table was copied",
        default: "",
    },
    Key {
        name: "schema",
        kind: Kind::OneOf(&["full", "columns"]),
        about: "What a table that the copy makes takes over: all that the target can have, or columns and primary key alone",
        default: "full",
    },
    Key {
        name: "add_columns",
        kind: Kind::Flag,
        about: "Add the columns that a table in the target lacks, instead of refusing it",
        default: "false",
    },
    Key {
        name: "narrower",
        kind: Kind::OneOf(&["refuse", "check"]),
        about: "What becomes of a table in the target that has narrower columns than its source: it is refused, or each value is \
                looked at",
        default: "refuse",
    },
    Key {
        name: "constraints",
        kind: Kind::OneOf(&["check", "skip"]),
        about: "What becomes of CHECK and FOREIGN KEY constraints of a table in the target: new rows are looked at, or not",
        default: "check",
    },
    Key {
        name: "verify",
        kind: Kind::OneOf(&["count", "checksum", "none"]),
        about: "How it is seen that the rows in the target are those of the source",
        default: "count",
    },
    Key {
        name: "on_reject",
        kind: Kind::OneOf(&["fail", "file"]),
        about: "What becomes of a row that the target refuses: it fails its table, or is left out and written to a file",
        default: "fail",
    },
    Key {
        name: "rejects",
        kind: Kind::Text,
        about: "The folder of these files, with `on_reject` = `file`",
        default: "rejects, in the task's working directory",
    },
    Key {
        name: "max_rejects",
        kind: Kind::Number,
        about: "The most rejected rows of one table; one more fails it",
        default: "any number",
    },
    Key {
        name: SHARD,
        kind: Kind::Shard,
        about: "Copy one of so many parts of the tables, such as `3/8`; as many calls with the same plan copy all of them",
        default: "the property `shard`, else all tables",
    },
    Key {
        name: "ranges",
        kind: Kind::Count,
        about: "Most key ranges of one table that are read at once; also most sessions that load a new one of MariaDB or MySQL",
        default: "1",
    },
    Key {
        name: "lanes",
        kind: Kind::OneOf(&["auto", "odbc"]),
        about: "Each database's fastest way out and in, or the ODBC drivers alone",
        default: "auto",
    },
    Key {
        name: "parallel",
        kind: Kind::Count,
        about: "Most tables at once",
        default: "cores, 2 to 8",
    },
    Key {
        name: "memory_limit",
        kind: Kind::Bytes,
        about: "By how much the process may grow, client libraries included",
        default: "256MiB",
    },
    Key {
        name: "infinity",
        kind: Kind::OneOf(&["refuse", "null"]),
        about: "What becomes of infinite numbers, dates and timestamps that the target does not hold",
        default: "refuse",
    },
    Key {
        name: "nan",
        kind: Kind::OneOf(&["refuse", "null"]),
        about: "What becomes of NaN where the target does not hold it",
        default: "refuse",
    },
    Key {
        name: "zero_dates",
        kind: Kind::OneOf(&["refuse", "null"]),
        about: "What becomes of 0000-00-00 where the target does not hold it",
        default: "refuse",
    },
    Key {
        name: "fraction",
        kind: Kind::OneOf(&["refuse", "round"]),
        about: "What becomes of more digits of a second than the target's column keeps",
        default: "refuse",
    },
    Key {
        name: "run_id",
        kind: Kind::Text,
        about: "What a second run of the same plan is known by: it skips what the first has finished",
        default: "the property `run_id`, else the ids of the Batch job and task",
    },
    Key {
        name: "patience",
        kind: Kind::Seconds,
        about: "Seconds for which a database that is not ready, or has gone away, is asked again",
        default: "120",
    },
];

/// What stands in each `[[copy]]`: the fields of `dray.Copy`.
pub const COPY_KEYS: &[Key] = &[
    Key {
        name: "source",
        kind: Kind::Text,
        about: "Where the rows are: a connection's name, a URL, or an ODBC connection string",
        default: "",
    },
    Key {
        name: "tables",
        kind: Kind::Texts,
        about: "`schema.table` or `table`, with `*` and `?` as wildcards; in SQL Server also `database.schema.table`; instead of \
                `query`",
        default: "",
    },
    Key {
        name: "exclude",
        kind: Kind::Texts,
        about: "Names or patterns of tables that are left out",
        default: "",
    },
    Key {
        name: "into",
        kind: Kind::Text,
        about: "The name in the target, in which {schema} and {table} stand for the source's",
        default: "the source table's name",
    },
    Key {
        name: "where",
        kind: Kind::Text,
        about: "A condition in the source's SQL, without the word WHERE",
        default: "",
    },
    Key {
        name: "query",
        kind: Kind::Text,
        about: "A SELECT in the source's SQL, instead of `tables`; needs `into`",
        default: "",
    },
    Key {
        name: "columns",
        kind: Kind::Texts,
        about: "Names or patterns of the columns that are copied, in the order of the target",
        default: "all columns",
    },
    Key {
        name: "exclude_columns",
        kind: Kind::Texts,
        about: "Names or patterns of columns that are left out",
        default: "",
    },
    Key {
        name: "rename",
        kind: Kind::Names,
        about: "Names of columns in the source, each with that in the target",
        default: "",
    },
    Key {
        name: "mode",
        kind: Kind::OneOf(MODES),
        about: "How rows meet these tables, in place of the plan's `mode`",
        default: "",
    },
    Key {
        name: "key",
        kind: Kind::Texts,
        about: "Columns of the target that tell rows apart, in place of the plan's",
        default: "",
    },
    Key {
        name: "watermark",
        kind: Kind::Text,
        about: "The column that grows with each change, in place of the plan's",
        default: "",
    },
    Key {
        name: "overlap",
        kind: Kind::Distance,
        about: "How far before the last watermark the rows begin, in place of the plan's",
        default: "",
    },
    Key {
        name: "before",
        kind: Kind::Texts,
        about: "Statements of the target's SQL before the rows of each of these tables, after those for all",
        default: "",
    },
    Key {
        name: "after",
        kind: Kind::Texts,
        about: "The same after the rows, before those for all",
        default: "",
    },
    Key {
        name: "overrides",
        kind: Kind::Overrides,
        about: "Names or patterns of some of these tables, each with the keys that they have instead",
        default: "",
    },
];

/// The key of this name.
pub fn find(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.name == name)
}
