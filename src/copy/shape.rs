//! What a table that a copy makes takes over of its source beside the columns, and what the tables of a call have to do
//! with each other for that: names that only one of them can have, tables that refer to each other.
//!
//! Asks both databases; what a product makes of the answers is its own (`database/shaping.rs`).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{
    call::schemas_of,
    job::{Job, target_name},
    request::Schema,
};
use crate::{
    database::{
        Carried, Column, Connection, Dialect, Error, Features, KeyThere, LoadSteps, Made, Mode, NewKey, Relation,
        Source,
    },
    odbc::ConnectionString,
};

/// Names by schema and in lower case, and the table of the call that has each, if one has.
type Names = HashMap<(Option<String>, String), Option<usize>>;

/// The tables of a call as neighbours.
pub(super) struct Neighbours<'a> {
    jobs: &'a [Job<'a>],
    /// The tables of the request that other shards copy, at their own time.
    elsewhere: &'a [Job<'a>],
    /// Each table's target, with its schema.
    targets: Vec<Relation>,
    schema: Schema,
    /// The foreign keys that the target had when the call began.
    pub keys: Vec<KeyThere>,
    /// The names that are taken; nothing until somebody needs one.
    names: Mutex<Option<Names>>,
    /// Whether tables of the target are there that are none of the call's.
    others: Mutex<HashMap<Relation, bool>>,
}

/// A table that is to be made.
#[derive(Clone, Debug, Default)]
pub(super) struct Making {
    /// Its columns, with those in the source; those among them that it computes itself are `generated`.
    pub pairs: Vec<(Column, Column)>,
    /// What it gets beside them.
    pub carried: Carried,
}

impl Making {
    /// The columns alone: of rows that come from no table, or go into none.
    pub fn columns_alone(pairs: Vec<(Column, Column)>) -> Making {
        Making {
            pairs,
            carried: Carried::default(),
        }
    }

    /// The statement that makes it under this name.
    pub fn create(&self, target: &dyn Dialect, name: &Relation) -> String {
        let columns: Vec<Column> = self.pairs.iter().map(|(_, column)| column.clone()).collect();
        target.create_table(name, &columns, &self.carried.shape)
    }

    /// The statements after the rows, for the table of this name.
    pub fn after_rows(&self, target: &dyn Dialect, name: &Relation) -> Vec<String> {
        let shaping = target.shaping();
        shaping
            .map(|shaping| shaping.after_rows(&self.carried, name))
            .unwrap_or_default()
    }

    /// The type that a column has, where that is not the one that it was to have.
    pub fn declared(&self, column: &str) -> Option<&Column> {
        let found = self.pairs.iter().find(|(_, target)| target.name == column);
        found.map(|(_, target)| target)
    }
}

/// The table that one of the source's is in the target.
enum Referred {
    /// One of the call's.
    InCall(Relation),
    /// Another one, which is there.
    There(Relation),
    /// One that another shard copies.
    Elsewhere(Relation),
    Nowhere,
}

/// What a table takes over, by those who know both databases.
pub(super) type Make<'a> = dyn Fn(Vec<(Column, Column)>) -> Making + 'a;

impl<'a> Neighbours<'a> {
    /// Of the tables of a call and those of other shards; the call's targets with their schemas.
    pub fn new(
        [jobs, elsewhere]: [&'a [Job<'a>]; 2],
        targets: Vec<Relation>,
        schema: Schema,
        keys: Vec<KeyThere>,
    ) -> Self {
        Neighbours {
            jobs,
            elsewhere,
            targets,
            schema,
            keys,
            names: Mutex::default(),
            others: Mutex::default(),
        }
    }

    /// Whether a table that is made takes over anything.
    pub fn is_full(&self) -> bool {
        self.schema == Schema::Full
    }

    /// What a table that the source has takes over, and why not the rest.
    pub fn make(
        &self,
        index: usize,
        features: Option<&Features>,
        (source, target): (&Connection, &Connection),
        mut pairs: Vec<(Column, Column)>,
    ) -> Result<Making, Error> {
        let Some(features) = features.filter(|_| self.is_full()) else {
            let not_carried = features.map(Features::things).unwrap_or_default();
            let carried = Carried {
                not_carried,
                ..Carried::default()
            };
            return Ok(Making { pairs, carried });
        };
        if !features.indexes.is_empty() {
            self.read_names(target)?;
        }
        let mut referred = HashMap::new();
        let mut features = features.clone();
        let (mut keys, mut apart) = (Vec::new(), Vec::new());
        for mut key in std::mem::take(&mut features.foreign_keys) {
            if !referred.contains_key(&key.referred) {
                let found = self.referred(index, &key.referred, (source, target))?;
                referred.insert(key.referred.clone(), found);
            }
            let table = match referred.get(&key.referred) {
                Some(Referred::InCall(table) | Referred::There(table)) => Some(table),
                // With the key neither of two shards could replace or empty the referred table at its own time.
                Some(Referred::Elsewhere(table)) => {
                    apart.push(format!(
                        "{}: `{}` is copied by another shard; add it with `after_run` of a call that comes after all shards, \
                         if it need not make way for the next run",
                        key.thing(),
                        table.name
                    ));
                    continue;
                }
                Some(Referred::Nowhere) | None => None,
            };
            let job = table.and_then(|table| self.targets.iter().position(|target| target == table));
            let renames = job.map(|place| self.jobs[place].options.columns.rename.as_slice());
            for column in &mut key.referred_columns {
                let mut renames = renames.unwrap_or_default().iter();
                if let Some((_, to)) = renames.find(|(from, _)| from.eq_ignore_ascii_case(column)) {
                    column.clone_from(to);
                }
            }
            keys.push(key);
        }
        features.foreign_keys = keys;
        // What stands in the product's own words is about all columns, by their names in the source.
        let selection = &self.jobs[index].options.columns;
        let is_whole = selection.only.is_empty() && selection.exclude.is_empty() && selection.rename.is_empty();
        let made = Made {
            relation: &self.targets[index],
            columns: &pairs,
            same_product: source.dialect.name() == target.dialect.name() && is_whole,
            take_name: &|name| self.take_name(index, name),
            referred: &|relation| match referred.get(relation)? {
                Referred::InCall(table) | Referred::There(table) => Some(table.clone()),
                Referred::Elsewhere(_) | Referred::Nowhere => None,
            },
        };
        let mut carried = target.dialect.carry(&features, &made);
        carried.not_carried.extend(apart);
        for (_, column) in &mut pairs {
            if let Some((_, declared)) = carried.declared.iter().find(|(name, _)| *name == column.name) {
                column.declared.clone_from(declared);
            }
            column.generated = carried.computed.contains(&column.name);
        }
        Ok(Making { pairs, carried })
    }

    /// The foreign keys that a table should have that an earlier run has made, given its columns on both sides.
    pub fn keys_of(
        &self,
        index: usize,
        features: &Features,
        connections: (&Connection, &Connection),
        pairs: Vec<(Column, Column)>,
    ) -> Result<Vec<NewKey>, Error> {
        let mut keys_alone = Features::default();
        keys_alone.foreign_keys.clone_from(&features.foreign_keys);
        let making = self.make(index, Some(&keys_alone), connections, pairs)?;
        Ok(making.carried.keys)
    }

    /// Keeps the names of indexes for the tables in the order of the call, whichever of them is copied first.
    pub fn reserve(&self, target: &Connection, index: usize, features: &Features) {
        // What fails here is asked again for its table, whose error it then is.
        if self.is_full() && !features.indexes.is_empty() && self.read_names(target).is_ok() {
            for index_of_source in features.indexes.iter().filter(|index| !index.unnamed) {
                self.take_name(index, &index_of_source.name);
            }
        }
    }

    fn read_names(&self, target: &Connection) -> Result<(), Error> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.is_some() {
            return Ok(());
        }
        let mut taken = HashMap::new();
        let schemas = schemas_of(&self.targets);
        for (name, table) in target.dialect.taken_names(&target.session, &schemas)? {
            // What goes with a table that is replaced is free for it.
            let is_of = |target: &Relation| {
                let lower = |text: &str| text.to_lowercase();
                target.schema == name.schema && table.as_deref().map(lower) == Some(lower(&target.name))
            };
            let owner = self
                .targets
                .iter()
                .position(is_of)
                .filter(|place| self.replaces(*place));
            taken.insert((name.schema, name.name.to_lowercase()), owner);
        }
        for table in &self.targets {
            taken.insert((table.schema.clone(), table.name.to_lowercase()), None);
        }
        *names = Some(taken);
        Ok(())
    }

    /// Takes a name for an index of a table, if no other has it.
    fn take_name(&self, index: usize, name: &str) -> bool {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(names) = names.as_mut().filter(|names| !names.is_empty()) else {
            return true;
        };
        let key = (self.targets[index].schema.clone(), name.to_lowercase());
        *names.entry(key).or_insert(Some(index)) == Some(index)
    }

    /// Which table of the target one of the source is there, or will be.
    fn referred(
        &self,
        index: usize,
        relation: &Relation,
        (source, target): (&Connection, &Connection),
    ) -> Result<Referred, Error> {
        let own = source.dialect.default_schema(&source.session)?;
        let job = &self.jobs[index];
        let is_meant = |other: &Job<'_>| match &other.what {
            Source::Table { relation: read, .. } => {
                other.source.string == job.source.string && read.whole(own.as_ref()) == relation.whole(own.as_ref())
            }
            Source::Query(_) => false,
        };
        if let Some(place) = self.jobs.iter().position(is_meant) {
            return Ok(Referred::InCall(self.targets[place].clone()));
        }
        if let Some(other) = self.elsewhere.iter().find(|other| is_meant(other)) {
            return Ok(Referred::Elsewhere(other.target.clone()));
        }
        let Ok(mut named) = target_name(relation, job.options.into.as_deref(), own.as_deref()) else {
            return Ok(Referred::Nowhere);
        };
        if named.is_elsewhere() {
            let reached = target.dialect.reach(&target.session, &[named])?;
            match reached.into_iter().next() {
                Some(Ok(reached)) => named = reached,
                _ => return Ok(Referred::Nowhere),
            }
        }
        let schema = target.dialect.default_schema(&target.session)?;
        let named = named.whole(schema.as_ref());
        let is_named = |other: &&Job<'_>| other.target.whole(schema.as_ref()) == named;
        if self.elsewhere.iter().any(|other| is_named(&other)) {
            return Ok(Referred::Elsewhere(named));
        }
        let known = self
            .others
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&named)
            .copied();
        let is_there = match known {
            Some(is_there) => is_there,
            None => {
                let is_there = target.dialect.table(&target.session, &named)?.is_some();
                let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
                others.insert(named.clone(), is_there);
                is_there
            }
        };
        Ok(match is_there {
            true => Referred::There(named),
            false => Referred::Nowhere,
        })
    }

    /// The foreign keys of other tables of the call that refer to the target of this one.
    fn keys_to(&self, index: usize) -> Vec<KeyThere> {
        let target = &self.targets[index];
        let is_to = |key: &&KeyThere| {
            key.referred == *target && key.referring != *target && self.targets.contains(&key.referring)
        };
        self.keys.iter().filter(is_to).cloned().collect()
    }

    /// Puts around a load of this table, which is there, what the foreign keys of other tables of the call ask for: they are
    /// loaded after it. `removes` says whether rows of it go, without the table; a table beside the old one takes its place by
    /// the statements from `swap` on in those after the rows.
    pub fn make_way(&self, index: usize, target: &dyn Dialect, (removes, swap): (bool, usize), steps: &mut LoadSteps) {
        let keys = self.keys_to(index);
        let Some([before, after]) = target.around_removal(&keys).filter(|_| !keys.is_empty()) else {
            return;
        };
        if self.replaces(index) {
            let drops = keys
                .iter()
                .map(|key| target.drop_foreign_key(&key.referring, &key.name));
            match steps.renamed() {
                Some(_) => steps.after_commit.splice(0..0, drops),
                None if steps.staging.is_some() => steps.after.splice(swap..swap, drops),
                None => steps.before.splice(0..0, drops),
            };
        } else if removes {
            steps.before.splice(0..0, before);
            steps.after.extend(after);
        }
    }

    /// Tells the log of the foreign keys that go while this table is replaced, before they do: from there they can be put back
    /// by hand, whatever becomes of the run.
    pub fn tell_of_keys(&self, index: usize, target: &dyn Dialect) {
        if !self.replaces(index) {
            return;
        }
        for key in &self.keys_to(index) {
            let statements = target.put_foreign_key_back(key).unwrap_or_default();
            tracing::info!(
                event = "copy.key_makes_way",
                target = %self.targets[index],
                table = %key.referring,
                key = key.name,
                statement = statements.join("; "),
                "a foreign key makes way until all tables of the call have ended"
            );
        }
    }

    /// Whether rows of this table go without a look at any key, because others of the call refer to it.
    pub fn goes_unseen(&self, index: usize, target: &dyn Dialect) -> bool {
        let of_all = target.around_removal(&[]).is_some_and(|[before, _]| !before.is_empty());
        of_all && !self.keys_to(index).is_empty()
    }

    /// For each table its place in the order in which they are begun; one that reads what another writes means that of the
    /// request.
    pub fn order(&self, target: &ConnectionString) -> Vec<usize> {
        match self.jobs.iter().any(|job| job.source.string == *target) {
            true => (0..self.jobs.len()).collect(),
            false => self.ranks(),
        }
    }

    /// For each table its place in an order in which those that are referred to come before those that refer to them, as far
    /// as that is possible; else that of the call.
    fn ranks(&self) -> Vec<usize> {
        let place = |relation: &Relation| self.targets.iter().position(|target| target == relation);
        let mut refers: Vec<Vec<usize>> = vec![Vec::new(); self.targets.len()];
        for key in &self.keys {
            if let (Some(from), Some(to)) = (place(&key.referring), place(&key.referred)) {
                refers[from].push(to);
            }
        }
        let mut ranks: Vec<Option<usize>> = vec![None; self.targets.len()];
        let mut visited = vec![false; self.targets.len()];
        let mut next = 0;
        for table in 0..self.targets.len() {
            // Depth first, without recursion: chains may be long.
            let mut path = vec![(table, 0)];
            while let Some((table, edge)) = path.pop() {
                if edge == 0 && std::mem::replace(&mut visited[table], true) {
                    continue;
                }
                match refers[table].get(edge) {
                    Some(referred) => {
                        path.push((table, edge + 1));
                        if !visited[*referred] {
                            path.push((*referred, 0));
                        }
                    }
                    None => {
                        ranks[table] = Some(next);
                        next += 1;
                    }
                }
            }
        }
        ranks.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// Whether a table is made anew though it is there.
    pub fn replaces(&self, index: usize) -> bool {
        self.jobs[index].options.meeting.mode == Mode::Replace
    }

    /// The tables of the call.
    pub fn jobs(&self) -> &[Job<'a>] {
        self.jobs
    }

    /// Each table's target, with its schema.
    pub fn targets(&self) -> &[Relation] {
        &self.targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Holds;

    #[test]
    fn tables_that_are_referred_to_come_first_and_cycles_do_no_harm() {
        let relation = |name: &str| Relation::new(Some("s".to_owned()), name);
        let key = |from: &str, to: &str| KeyThere {
            name: "k".to_owned(),
            referring: relation(from),
            referred: relation(to),
            definition: None,
            holds: Holds::All,
            unseen: false,
        };
        let ranks = |keys: Vec<KeyThere>| {
            let targets = ["a", "b", "c", "d"].map(relation).to_vec();
            Neighbours::new([&[], &[]], targets, Schema::Full, keys).ranks()
        };
        assert_eq!(ranks(vec![]), [0, 1, 2, 3]);
        assert_eq!(
            ranks(vec![key("a", "c"), key("c", "d"), key("a", "a"), key("x", "a")]),
            [2, 3, 1, 0]
        );
        let mut cycle = ranks(vec![key("a", "b"), key("b", "a")]);
        cycle.sort_unstable();
        assert_eq!(cycle, [0, 1, 2, 3]);
    }
}
