//! What a load would do to others by taking its table away or emptying it, looked at before anything is touched.
//!
//! Knows what is asked of a table and which tables the call has; how a product is asked is its own
//! (`database/dependants.rs`). What would be lost or changed is refused by name; what a new table can be given is given to
//! it; the rest is told.

use super::{
    error::{Phase, Place, Side, TableError},
    request::{Around, MergeKind},
    shape::{Making, Neighbours},
};
use crate::database::{Carried, Connection, Dependants, Dialect, KeyTo, Kind, Mode, Relation, Table};

const PLACE: Place = Place {
    phase: Phase::Plan,
    side: Side::Target,
};

/// A load into a table that is there.
pub(super) struct Load<'a> {
    pub target: &'a Connection,
    pub relation: &'a Relation,
    pub mode: Mode,
    /// Whether rows go without their table.
    pub removes: bool,
    /// The statements of the user around it.
    pub around: [&'a Around; 2],
    /// The other tables of the call, and the place of this one; none if there are no others.
    pub neighbours: Option<(&'a Neighbours<'a>, usize)>,
}

/// What a new table gets of the one in whose place it comes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Statements after all else that makes it what it is to be.
    pub given: Vec<String>,
    /// What it does not get.
    pub lost: Vec<String>,
}

/// Whether the dependants of an existing table matter to a load in this mode, whatever else the call has.
pub(super) fn matter(mode: Mode) -> bool {
    matches!(mode, Mode::Replace | Mode::Truncate)
}

impl Load<'_> {
    /// Refuses what cannot take the place of a table.
    ///
    /// # Errors
    /// The target is a view, or something else that is no table.
    pub fn check_kind(&self, existing: &Table) -> Result<(), Box<TableError>> {
        let Some(Kind { what, emptied }) = existing.kind else {
            return Ok(());
        };
        let (code, done) = match (self.mode, emptied) {
            (Mode::Replace, _) => ("copy.not_replaceable", "replaced"),
            (Mode::Truncate, false) => ("copy.not_emptiable", "emptied"),
            _ => return Ok(()),
        };
        let message = format!("the target `{}` is {what}, and cannot be {done}", self.relation);
        let mut error = TableError::refused(PLACE, code, message);
        error.hint = Some("give the table another name with `into`, or drop what has this one".to_owned());
        Err(error)
    }

    /// What depends on the table, as far as the load matters to it; `known` is what was asked with others.
    ///
    /// # Errors
    /// Something stands in its way.
    pub fn look(&self, known: Option<Dependants>, making: &Making) -> Result<Kept, Box<TableError>> {
        let dialect = self.target.dialect;
        // Where keys are not looked at while rows go that others of the call refer to, none of them is.
        let goes_unseen =
            self.removes && (self.neighbours).is_some_and(|(neighbours, index)| neighbours.goes_unseen(index, dialect));
        if !matter(self.mode) && !goes_unseen {
            return Ok(Kept::default());
        }
        let mut dependants = match known {
            Some(dependants) => dependants,
            None => {
                let asked = dialect.dependants(&self.target.session, std::slice::from_ref(self.relation));
                let asked = asked.map_err(|error| TableError::database(PLACE, error, Some(dialect)))?;
                asked.into_iter().next().unwrap_or_default()
            }
        };
        self.check_keys(&dependants, goes_unseen)?;
        if self.mode == Mode::Replace {
            self.check_held(&dependants)?;
            // MariaDB's and MySQL's own index of a key stays until its table goes, also where the key has made way already.
            dependants.gone.retain(|thing| !self.has_key(&thing.name));
            return Ok(kept(dependants, making, dialect));
        }
        Ok(Kept::default())
    }

    /// Whether the table had a foreign key of this name when the call began.
    fn has_key(&self, name: &str) -> bool {
        self.neighbours.is_some_and(|(neighbours, index)| {
            let mut keys = neighbours.keys.iter();
            keys.any(|key| key.referring == neighbours.targets()[index] && key.name == name)
        })
    }

    /// Looks at the foreign keys of other tables.
    fn check_keys(&self, dependants: &Dependants, goes_unseen: bool) -> Result<(), Box<TableError>> {
        let replaces = self.mode == Mode::Replace;
        let unseen = goes_unseen.then(|| "the rows that it refers to would go without a look at it".to_owned());
        let reason = |key: &KeyTo| {
            let own = if replaces { &key.replacing } else { &key.emptying };
            let reason = unseen.clone().or_else(|| own.clone())?;
            Some((format!("{}, and {reason}", key.thing()), key.referring.to_string()))
        };
        let outside = dependants
            .keys
            .iter()
            .filter(|key| !self.is_taken_care_of(&key.referring));
        let found: Vec<(String, String)> = outside.filter_map(reason).collect();
        if found.is_empty() {
            return Ok(());
        }
        let (mut reasons, mut tables): (Vec<String>, Vec<String>) = found.into_iter().unzip();
        reasons.dedup();
        tables.dedup();
        let (code, what) = match replaces {
            true => ("copy.not_replaceable", "replaced"),
            false => ("copy.not_emptiable", "emptied"),
        };
        let message = format!("the target table cannot be {what}: {}", reasons.join("; "));
        let mut error = TableError::refused(PLACE, code, message);
        error.hint = Some(format!(
            "use mode `upsert`{}, or copy `{}` in the same call",
            if goes_unseen {
                ""
            } else {
                " or `mirror`, which change single rows"
            },
            tables.join("`, `")
        ));
        Err(error)
    }

    /// Whether a table that refers to this one is one of the call's, which sees to its key and its rows.
    fn is_taken_care_of(&self, referring: &Relation) -> bool {
        let Some((neighbours, index)) = self.neighbours else {
            return false;
        };
        let Some(place) = neighbours.targets().iter().position(|target| target == referring) else {
            return false;
        };
        let meeting = &neighbours.jobs()[place].options.meeting;
        let mirrors = meeting
            .merge
            .as_ref()
            .is_some_and(|merge| merge.kind == MergeKind::Mirror);
        // Its key makes way, or its rows are made anew afterwards.
        let comes_later = || {
            let order = neighbours.order(&self.target.string);
            order.get(place) > order.get(index)
        };
        self.target.dialect.around_removal(&[]).is_some() || ((matter(meeting.mode) || mirrors) && comes_later())
    }

    /// Looks at what hangs on a table that is replaced. What a statement before the load names is taken care of there.
    fn check_held(&self, dependants: &Dependants) -> Result<(), Box<TableError>> {
        let before = self.around.iter().flat_map(|around| &around.before);
        let before: Vec<String> = before.map(|sql| sql.to_lowercase()).collect();
        let is_named = |name: &str| {
            let last = name.rsplit('.').next().unwrap_or(name).to_lowercase();
            !last.is_empty() && before.iter().any(|sql| sql.contains(&last))
        };
        let held = dependants.held.iter().filter(|thing| !is_named(&thing.name));
        let held: Vec<String> = held.map(ToString::to_string).collect();
        if held.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the target table cannot be replaced: what depends on it would be lost or broken: {}",
            held.join(", ")
        );
        let mut error = TableError::refused(PLACE, "copy.not_replaceable", message);
        let hint = "use mode `truncate`, which empties the table and keeps all of it, or drop them before, and make them again \
                    after, with `before` and `after`";
        error.hint = Some(hint.to_owned());
        Err(error)
    }
}

/// What the new table gets and what not.
fn kept(dependants: Dependants, making: &Making, dialect: &dyn Dialect) -> Kept {
    let has = |name: &String| making.pairs.iter().any(|(_, column)| column.name == *name);
    let Carried { indexes, shape, .. } = &making.carried;
    let comes_again = |name: &str| {
        let quoted = dialect.quote(name);
        // MariaDB's index of a column that counts stands in the CREATE TABLE.
        indexes.iter().any(|index| index.name == name) || shape.constraints.iter().any(|line| line.contains(&quoted))
    };
    let gone = dependants.gone.into_iter().filter(|thing| !comes_again(&thing.name));
    let mut kept = Kept {
        given: Vec::new(),
        lost: gone
            .map(|thing| format!("{thing}: the table that is replaced has it, and its source has not"))
            .collect(),
    };
    for given in dependants.given {
        match &given.column {
            // Its grants go with a column.
            Some(column) if !has(column) => {}
            _ => kept.given.push(given.sql),
        }
    }
    kept
}
