//! What a table has beside columns, types, NOT NULL and primary key, in words that all products share.
//!
//! Read from a source's catalog, it is what a table that is made for a copy takes over. Expressions stay in the words of
//! the product that they come from: the same product takes them as they are, for another one `expression` reads them.

use super::{Relation, tokens::Spelling};

/// What one table has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// How the product that was asked spells its expressions.
    pub(super) spelling: Option<Spelling>,
    /// Columns that number their rows.
    pub identities: Vec<Identity>,
    /// Defaults of other columns.
    pub defaults: Vec<Default>,
    /// Columns that the database computes.
    pub generated: Vec<Generated>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Checks.
    pub checks: Vec<Check>,
    /// Indexes, those of unique constraints among them; not the primary key's.
    pub indexes: Vec<Index>,
    /// The comment on the table.
    pub comment: Option<String>,
    /// Comments on columns: the column and the text.
    pub column_comments: Vec<(String, String)>,
    /// What no copy takes over (triggers, rules, partitions …), each in a few words.
    pub other: Vec<String>,
    /// Columns of text that take different texts for equal, such as `a` and `A`.
    pub folding: Vec<String>,
}

/// A column that numbers its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The column.
    pub column: String,
    /// The next number, as far as its counter knows; the rows may be ahead of it.
    pub next: Option<i64>,
    /// The step from one number to the next.
    pub increment: i64,
    /// Whether the product lets nobody else give the numbers (GENERATED ALWAYS).
    pub always: bool,
    /// Whether it comes with the column's type, so that nobody has asked for it (SQLite's INTEGER PRIMARY KEY).
    pub implied: bool,
}

/// A default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Default {
    /// The column.
    pub column: String,
    /// The expression; what stands behind DEFAULT.
    pub sql: String,
    /// What follows the expression in the product's own words (ON UPDATE CURRENT_TIMESTAMP).
    pub rest: String,
    /// Why it is nothing for another database, if it is not: it calls for a function or type of this one.
    pub bound: Option<String>,
}

/// A column that the database computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The column.
    pub column: String,
    /// What stands behind the column's type.
    pub sql: String,
    /// See [`Default::bound`].
    pub bound: Option<String>,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The condition.
    pub sql: String,
    /// What follows the condition in the product's own words.
    pub rest: String,
    /// See [`Default::bound`].
    pub bound: Option<String>,
}

/// An index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Whether nobody has given it that name.
    pub unnamed: bool,
    /// Whether no two rows may have the same values.
    pub unique: bool,
    /// Whether it is told as a constraint.
    pub constraint: bool,
    /// What it is of, in order.
    pub parts: Vec<Part>,
    /// The condition of a partial one.
    pub condition: Option<String>,
    /// What follows `ON table` (or, for a constraint, its name) in the product's own words.
    pub own: String,
    /// Why another product has none like it, if that is so.
    pub special: Option<String>,
    /// What one in another product does without, in a few words each.
    pub extras: Vec<String>,
    /// See [`Default::bound`].
    pub bound: Option<String>,
}

/// One part of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The column; `None` for an expression.
    pub column: Option<String>,
    /// Whether it descends.
    pub descending: bool,
    /// So many characters or bytes of it, if not all.
    pub prefix: Option<u32>,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The referring columns.
    pub columns: Vec<String>,
    /// The referred table, with its schema where the product has schemas.
    pub referred: Relation,
    /// The referred columns; none: its primary key.
    pub referred_columns: Vec<String>,
    /// `NO ACTION`, `RESTRICT`, `CASCADE`, `SET NULL` or `SET DEFAULT`.
    pub on_update: String,
    /// The same for removed rows.
    pub on_delete: String,
    /// Whether it is looked at when the transaction ends, if that was asked for; `Some(false)`: it can be put off.
    pub deferred: Option<bool>,
    /// Why another product has none like it, if that is so.
    pub special: Option<String>,
}

/// The cells of a row of a catalog's answer, NULLs as `None`.
pub(super) struct Row<'a>(pub &'a [Option<String>]);

impl Row<'_> {
    /// The text of a cell; `None` for NULL.
    pub fn cell(&self, place: usize) -> Option<&str> {
        self.0.get(place).and_then(Option::as_deref)
    }

    /// The text of a cell, empty for NULL.
    pub fn text(&self, place: usize) -> &str {
        self.cell(place).unwrap_or_default()
    }

    /// Whether a cell says so.
    pub fn is(&self, place: usize) -> bool {
        self.text(place) == "1"
    }

    /// The whole number in a cell.
    pub fn number(&self, place: usize) -> Option<i64> {
        self.cell(place)?.parse().ok()
    }
}

impl Features {
    /// What a table lacks that has nothing of this, each thing in a few words such as ``index `t_a` ``.
    pub fn things(&self) -> Vec<String> {
        let mut things: Vec<String> = Vec::new();
        let asked_for = self.identities.iter().filter(|identity| !identity.implied);
        things.extend(asked_for.map(Identity::thing));
        things.extend(self.defaults.iter().map(Default::thing));
        things.extend(self.generated.iter().map(Generated::thing));
        things.extend(self.foreign_keys.iter().map(ForeignKey::thing));
        things.extend(self.checks.iter().map(Check::thing));
        things.extend(self.indexes.iter().map(Index::thing));
        things.extend(self.comment.iter().map(|_| "comment on the table".to_owned()));
        things.extend((self.column_comments.iter()).map(|(column, _)| thing_of_column(column)));
        things.extend(self.other.iter().cloned());
        things
    }
}

/// What a column's comment is called.
pub(super) fn thing_of_column(column: &str) -> String {
    format!("comment on column `{column}`")
}

fn named(what: &str, name: Option<&str>) -> String {
    match name {
        Some(name) if !name.is_empty() => format!("{what} `{name}`"),
        _ => what.to_owned(),
    }
}

impl Identity {
    pub(super) fn thing(&self) -> String {
        format!("identity of column `{}`", self.column)
    }
}

impl Default {
    pub(super) fn thing(&self) -> String {
        format!("default of column `{}`", self.column)
    }
}

impl Generated {
    pub(super) fn thing(&self) -> String {
        format!("expression of generated column `{}`", self.column)
    }
}

impl Check {
    pub(super) fn thing(&self) -> String {
        named("check", self.name.as_deref())
    }
}

impl Index {
    pub(super) fn thing(&self) -> String {
        let what = match (self.constraint, self.unique) {
            (true, true) => "unique constraint",
            (true, false) => "exclusion constraint",
            (false, true) => "unique index",
            (false, false) => "index",
        };
        named(what, Some(&self.name))
    }
}

impl ForeignKey {
    /// What it is called in a report.
    pub fn thing(&self) -> String {
        match &self.name {
            Some(name) => format!("foreign key `{name}`"),
            None => format!("foreign key to `{}`", self.referred.name),
        }
    }
}
