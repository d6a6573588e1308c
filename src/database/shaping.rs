//! How a new table gets what its source has beside columns and primary key: what of it the product of the target can
//! have, in its own words, and why not the rest. Pure.
//!
//! Knows descriptions (`features`) and expressions, and of a product what its [`Shaping`] says. When the statements run is
//! the plan's business.

use std::collections::HashMap;

use super::{
    Column, Dialect, LogicalType, Relation,
    expression::{Expression, Operator, parse},
    features::{Check, Default, Features, ForeignKey, Identity, Index, thing_of_column},
    temporal::{Date, Time, Timestamp},
};

/// What a CREATE TABLE says beside its columns and primary key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// What follows a column's type and NOT NULL, by its name.
    pub clauses: HashMap<String, String>,
    /// The column whose clause makes it the primary key.
    pub key_in_clause: Option<String>,
    /// Further lines.
    pub constraints: Vec<String>,
    /// What follows the closing parenthesis, behind the product's own options.
    pub options: String,
}

/// An index of a new table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIndex {
    /// Its name.
    pub name: String,
    /// Whether no two rows may have the same values.
    pub unique: bool,
    /// Whether it is told as a constraint, if the product makes a difference.
    pub constraint: bool,
    /// What follows `ON table`, or a constraint's name.
    pub rest: String,
    /// The columns that it is of, by their names in the table.
    pub columns: Vec<String>,
    /// Whether `rest` is in the words of the source, which is of the same product.
    pub own: bool,
}

/// A column that numbers its rows, in a new table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIdentity {
    /// The column.
    pub column: String,
    /// The next number at least.
    pub next: i64,
    /// The step from one to the next.
    pub increment: i64,
}

/// A foreign key that is added when all tables of the call are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What a report calls it.
    pub thing: String,
    /// Its name in the source.
    pub name: Option<String>,
    /// The referred table of the target.
    pub referred: Relation,
    /// What stands behind its name.
    pub rest: String,
    /// The referring columns.
    pub columns: Vec<String>,
}

impl NewKey {
    /// Its name, if another one has not taken it: that of the source, else one of the table and its columns.
    pub fn name(&self, table: &Relation, is_free: impl Fn(&str) -> bool) -> String {
        self.name
            .clone()
            .filter(|name| is_free(name))
            .unwrap_or_else(|| self.derived_name(table))
    }

    /// Its name where it has none of its own, or none that it can have.
    pub fn derived_name(&self, table: &Relation) -> String {
        let columns: String = self.columns.iter().map(|name| format!("_{name}")).collect();
        format!("{}_fkey", cut(format!("{}{columns}", table.name)))
    }

    /// The statement that adds it.
    pub fn statement(&self, dialect: &dyn Dialect, table: &Relation, name: &str) -> String {
        dialect.alter_table(table, &format!("ADD CONSTRAINT {} {}", dialect.quote(name), self.rest))
    }
}

/// The column of a table that is made, by its name there.
pub(super) fn target_named<'a>(columns: &'a [(Column, Column)], name: &str) -> Option<&'a Column> {
    let mut targets = columns.iter().map(|(_, target)| target);
    targets.find(|target| target.name == name)
}

/// A name that leaves room for an ending in every product.
fn cut(mut name: String) -> String {
    while name.len() > 50 {
        name.pop();
    }
    name
}

/// What a new table gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// In its CREATE TABLE.
    pub shape: Shape,
    /// Types that columns have instead of those that were declared, by the columns' names.
    pub declared: Vec<(String, String)>,
    /// Columns that the target computes.
    pub computed: Vec<String>,
    /// After the rows.
    pub indexes: Vec<NewIndex>,
    /// After the rows.
    pub identities: Vec<NewIdentity>,
    /// Comments on the table and its columns, where they are statements.
    pub comments: Vec<(Option<String>, String)>,
    /// After all tables.
    pub keys: Vec<NewKey>,
    /// What it will lack, with the reasons.
    pub not_carried: Vec<String>,
}

/// The table that is made.
pub struct Made<'a> {
    /// Its name in the end.
    pub relation: &'a Relation,
    /// Its columns: in the source, and as they are made.
    pub columns: &'a [(Column, Column)],
    /// Whether source and target are one product, which takes its own words, and all columns are copied under their names.
    pub same_product: bool,
    /// Takes a name for an index, in lower case where the product does not tell letters apart; false if another has it.
    pub take_name: &'a dyn Fn(&str) -> bool,
    /// What a table of the source is called in the target; `None` if it will not be there.
    pub referred: &'a dyn Fn(&Relation) -> Option<Relation>,
}

/// How a product gives a table what its source has.
pub trait Shaping: Sync {
    /// Whether names of indexes are the schema's, and not the table's.
    fn shares_index_names(&self) -> bool;

    /// Whether a name fits.
    fn name_fits(&self, name: &str) -> bool;

    /// True and false as values of this column.
    fn boolean(&self, value: bool, column: &Column) -> &'static str;

    /// The current time as a default of this column: of the session's clock, or as UTC; `None` if the column has no such
    /// thing.
    fn now(&self, column: &Column, utc: bool) -> Option<String>;

    /// The current day.
    fn today(&self) -> &'static str;

    /// What makes an expression the default of a column.
    fn default(&self, _column: &Column, expression: &str) -> String {
        format!("DEFAULT {expression}")
    }

    /// Whether the column compares as numbers do, if its values are numbers.
    fn compares_numbers(&self, _column: &Column) -> bool {
        true
    }

    /// Whether an index can have a condition.
    fn has_partial_indexes(&self) -> bool;

    /// Whether an index can have this condition, if it can have any.
    fn filters_by(&self, _condition: &Expression) -> bool {
        true
    }

    /// Why an index of these columns cannot be; of some only so many characters or bytes. `own`: the source is of the same
    /// product and has it.
    fn index_refused(&self, _columns: &[(&Column, Option<u32>)], _own: bool) -> Option<String> {
        None
    }

    /// Makes the column one that numbers its rows; `columns` are all of the table, `indexes` what it will have.
    ///
    /// # Errors
    /// Why it cannot be.
    fn identity(&self, identity: &Identity, columns: &[(Column, Column)], carried: &mut Carried) -> Result<(), String>;

    /// What a computed column says behind its type, given the words of the same product.
    fn computed(&self, column: &Column, own: &str) -> String;

    /// Puts a comment where it belongs.
    ///
    /// # Errors
    /// Why there is none.
    fn comment(&self, column: Option<&str>, text: &str, carried: &mut Carried) -> Result<(), String>;

    /// A check of a CREATE TABLE.
    fn check(&self, quoted_name: Option<String>, condition: &str) -> String {
        match quoted_name {
            Some(name) => format!("CONSTRAINT {name} CHECK ({condition})"),
            None => format!("CHECK ({condition})"),
        }
    }

    /// Whether foreign keys stand in the CREATE TABLE, and cannot be added later.
    fn keys_in_table(&self) -> bool {
        false
    }

    /// Why such a foreign key cannot be.
    fn key_refused(&self, _key: &ForeignKey) -> Option<String> {
        None
    }

    /// What the product calls it that rows are treated so when the one goes or changes that they refer to.
    fn action<'a>(&self, of_source: &'a str) -> &'a str {
        of_source
    }

    /// Sets right what hangs together, when all the rest is decided.
    fn settle(&self, _columns: &[(Column, Column)], _carried: &mut Carried) {}

    /// The statements after the rows, for the table of this name.
    fn after_rows(&self, carried: &Carried, table: &Relation) -> Vec<String>;
}

/// What of the features a new table gets.
pub(super) fn carry<D: Dialect + ?Sized>(features: &Features, made: &Made<'_>, dialect: &D) -> Carried {
    let Some(shaping) = dialect.shaping() else {
        return Carried {
            not_carried: features.things(),
            ..Carried::default()
        };
    };
    let carrying = Carrying {
        features,
        made,
        dialect,
        shaping,
    };
    let mut carried = Carried::default();
    let lacks = |thing: String, reason: String| format!("{thing}: {reason}");
    let mut missing: Vec<String> = Vec::new();
    for generated in &features.generated {
        let target = carrying.target(&generated.column);
        match (target, &generated.bound) {
            (Some(target), None) if made.same_product && target.key_position.is_none() => {
                let clause = shaping.computed(target, &generated.sql);
                carried.shape.clauses.insert(target.name.clone(), clause);
                carried.computed.push(target.name.clone());
            }
            (_, bound) => {
                let reason = match bound {
                    Some(reason) if made.same_product => reason.clone(),
                    _ if made.same_product => "it is in the primary key; its column has the values".to_owned(),
                    _ => "the target does not compute it; its column has the values".to_owned(),
                };
                missing.push(lacks(generated.thing(), reason));
            }
        }
    }
    for identity in &features.identities {
        let result = match carrying.target(&identity.column) {
            Some(target) => {
                let column = target.name.clone();
                let of_target = Identity {
                    column,
                    ..identity.clone()
                };
                shaping.identity(&of_target, made.columns, &mut carried)
            }
            None => Err(NOT_COPIED.to_owned()),
        };
        match result {
            Err(reason) if !identity.implied => missing.push(lacks(identity.thing(), reason)),
            _ => {}
        }
    }
    for default in &features.defaults {
        match carrying.default(default) {
            Ok((_, clause)) if clause.is_empty() => {}
            Ok((column, clause)) => drop(carried.shape.clauses.insert(column, clause)),
            Err(reason) => missing.push(lacks(default.thing(), reason)),
        }
    }
    let mut check_names: Vec<String> = Vec::new();
    for check in &features.checks {
        match carrying.check(check) {
            Ok(condition) => {
                let name = check.name.as_ref().filter(|name| shaping.name_fits(name));
                let name = name.filter(|name| !check_names.contains(&name.to_lowercase()));
                check_names.extend(name.map(|name| name.to_lowercase()));
                let name = name.map(|name| dialect.quote(name));
                carried.shape.constraints.push(shaping.check(name, &condition));
            }
            Err(reason) => missing.push(lacks(check.thing(), reason)),
        }
    }
    for index in &features.indexes {
        match carrying.index(index, &carried.indexes) {
            Ok(new) => {
                if new.rest != index.own {
                    missing.extend(index.extras.iter().map(|extra| lacks(index.thing(), extra.clone())));
                }
                carried.indexes.push(new);
            }
            Err(reason) => missing.push(lacks(index.thing(), reason)),
        }
    }
    for key in &features.foreign_keys {
        match carrying.key(key) {
            Ok(new) if shaping.keys_in_table() => {
                let name = new.name.as_ref().filter(|name| shaping.name_fits(name));
                let name = name.map(|name| format!("CONSTRAINT {} ", dialect.quote(name)));
                carried.shape.constraints.push(name.unwrap_or_default() + &new.rest);
            }
            Ok(new) => carried.keys.push(new),
            Err(reason) => missing.push(lacks(key.thing(), reason)),
        }
    }
    let comments = (features.comment.iter().map(|text| (None, text))).chain(
        features
            .column_comments
            .iter()
            .map(|(column, text)| (Some(column.as_str()), text)),
    );
    for (column, text) in comments {
        let of_target = column.map(|column| carrying.target(column).map(|target| target.name.as_str()));
        let result = match of_target {
            Some(None) => Err(NOT_COPIED.to_owned()),
            Some(Some(name)) => shaping.comment(Some(name), text, &mut carried),
            None => shaping.comment(None, text, &mut carried),
        };
        if let Err(reason) = result {
            let thing = column.map_or("comment on the table".to_owned(), thing_of_column);
            missing.push(lacks(thing, reason));
        }
    }
    missing.extend(features.other.iter().cloned());
    shaping.settle(made.columns, &mut carried);
    carried.not_carried = missing;
    carried
}

/// Of a foreign key, where the product looks at each statement.
pub(super) const NOT_DEFERRED: &str =
    "it is looked at when the transaction ends, which the target's product does not do";

const NOT_COPIED: &str = "its column is not copied";

/// Of an expression that `expression` does not read, or that may mean something else.
const NOT_TRANSLATED: &str = "its expression is not one that is the same in both products";

struct Carrying<'a, D: ?Sized> {
    features: &'a Features,
    made: &'a Made<'a>,
    dialect: &'a D,
    shaping: &'a dyn Shaping,
}

impl<D: Dialect + ?Sized> Carrying<'_, D> {
    fn pair(&self, name: &str) -> Option<&(Column, Column)> {
        self.made.columns.iter().find(|(source, _)| source.name == name)
    }

    fn target(&self, name: &str) -> Option<&Column> {
        self.pair(name).map(|(_, target)| target)
    }

    fn takes_own(&self, bound: Option<&String>) -> Result<bool, String> {
        match bound {
            _ if !self.made.same_product => Ok(false),
            Some(reason) => Err(reason.clone()),
            None => Ok(true),
        }
    }

    /// The column of the target, and its clause.
    fn default(&self, default: &Default) -> Result<(String, String), String> {
        let (_, target) = self.pair(&default.column).ok_or(NOT_COPIED)?;
        if self.takes_own(default.bound.as_ref())? {
            let clause = match default.sql.is_empty() {
                true => String::new(),
                false => format!("DEFAULT {}", default.sql),
            };
            return Ok((
                target.name.clone(),
                format!("{clause} {}", default.rest).trim().to_owned(),
            ));
        }
        if !default.rest.is_empty() {
            return Err(format!("another product has no `{}`", default.rest));
        }
        let spelling = self.features.spelling.ok_or(NOT_TRANSLATED)?;
        let expression = parse(&default.sql, spelling).ok_or(NOT_TRANSLATED)?;
        if expression == Expression::Null {
            return Ok((target.name.clone(), String::new()));
        }
        let sql = self.default_value(&expression, &default.column).ok_or(NOT_TRANSLATED)?;
        Ok((target.name.clone(), self.shaping.default(target, &sql)))
    }

    /// A value as a default of a column; `None` where the column would not have the same.
    fn default_value(&self, expression: &Expression, column: &str) -> Option<String> {
        let (source, target) = self.pair(column)?;
        match expression {
            Expression::Now { utc } => {
                // Of a point in time that is kept as UTC the clock of the session says something else.
                let is_point = matches!(source.logical, LogicalType::Instant { .. });
                self.shaping.now(target, *utc || is_point)
            }
            Expression::Today if matches!((source.logical, target.logical), (LogicalType::Date, LogicalType::Date)) => {
                Some(self.shaping.today().to_owned())
            }
            Expression::Boolean(_) | Expression::Number(_) => self.literal(expression, target),
            Expression::Text(text) => match target.logical {
                LogicalType::Text { .. } => {
                    let is_text = matches!(
                        source.logical,
                        LogicalType::Text { .. } | LogicalType::Opaque | LogicalType::Json { .. }
                    );
                    is_text
                        .then(|| self.dialect.literal(text))
                        .filter(|_| !text.contains('\0'))
                }
                // Without a zone it was one of the session that has made the table.
                _ if matches!(source.logical, LogicalType::Instant { .. }) => None,
                _ => self.literal(expression, target),
            },
            _ => None,
        }
    }

    /// A literal as a value of a column of the target, if it is one without doubt.
    fn literal(&self, expression: &Expression, target: &Column) -> Option<String> {
        let text = match expression {
            Expression::Boolean(value) => match target.logical {
                LogicalType::Boolean => return Some(self.shaping.boolean(*value, target).to_owned()),
                LogicalType::Integer { .. } => return Some(if *value { "1" } else { "0" }.to_owned()),
                _ => return None,
            },
            Expression::Number(digits) => {
                return match target.logical {
                    LogicalType::Boolean => match digits.as_str() {
                        "0" => Some(self.shaping.boolean(false, target).to_owned()),
                        "1" => Some(self.shaping.boolean(true, target).to_owned()),
                        _ => None,
                    },
                    LogicalType::Integer { .. } if !digits.contains('.') => Some(digits.clone()),
                    LogicalType::Decimal { .. } | LogicalType::Float { .. } => Some(digits.clone()),
                    _ => None,
                };
            }
            Expression::Text(text) => text,
            _ => return None,
        };
        let is_same = match target.logical {
            LogicalType::Text { .. } | LogicalType::Json { .. } | LogicalType::Uuid => true,
            LogicalType::Date => !text.ends_with("BC") && Date::parse(text).is_some_and(Date::is_day),
            LogicalType::Time { .. } => Time::parse(text).is_some_and(Time::is_of_day),
            LogicalType::Timestamp { .. } => {
                let is_whole = text.bytes().filter(|byte| *byte == b':').count() == 2 && !text.ends_with("BC");
                is_whole && Timestamp::parse(text).is_some_and(|moment| moment.date.is_day())
            }
            // Products that keep literals as texts (MySQL) have numbers so.
            LogicalType::Integer { .. } | LogicalType::Decimal { .. } | LogicalType::Float { .. } => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                return is_number
                    .then(|| self.literal(&Expression::Number(text.clone()), target))
                    .flatten();
            }
            _ => false,
        };
        (is_same && !text.contains('\0')).then(|| self.dialect.literal(text))
    }

    fn check(&self, check: &Check) -> Result<String, String> {
        if self.takes_own(check.bound.as_ref())? {
            return Ok(format!("{}{}", check.sql, check.rest));
        }
        let spelling = self.features.spelling.ok_or(NOT_TRANSLATED)?;
        let expression = parse(&check.sql, spelling).ok_or(NOT_TRANSLATED)?;
        Ok(self.condition(&expression).ok_or(NOT_TRANSLATED)?)
    }

    /// A condition, if it says the same of every row that was copied.
    fn condition(&self, expression: &Expression) -> Option<String> {
        match expression {
            Expression::And(parts) => self.joined(parts, " AND "),
            Expression::Or(parts) => self.joined(parts, " OR "),
            Expression::Not(inner) => Some(format!("NOT ({})", self.condition(inner)?)),
            Expression::IsNull { value, negated } => {
                let (_, target) = self.column(value)?;
                let not = if *negated { " NOT" } else { "" };
                Some(format!("{} IS{not} NULL", self.dialect.quote(&target.name)))
            }
            Expression::Column { .. } => {
                let (source, target) = self.column(expression)?;
                let is_truth = source.logical == LogicalType::Boolean;
                let name = self.dialect.quote(&target.name);
                is_truth.then(|| format!("{name} = {}", self.shaping.boolean(true, target)))
            }
            Expression::Compare(left, operator, right) => match (self.column(left), self.column(right)) {
                (Some((_, one)), Some((_, other))) => {
                    (self.orders(left) && self.orders(right) && self.are_alike(left, right)).then(|| {
                        let (one, other) = (self.dialect.quote(&one.name), self.dialect.quote(&other.name));
                        format!("{one} {} {other}", operator.sql())
                    })
                }
                (Some((_, target)), None) => {
                    let literal = self.compared(left, *operator, right)?;
                    Some(format!(
                        "{} {} {literal}",
                        self.dialect.quote(&target.name),
                        operator.sql()
                    ))
                }
                (None, Some((_, target))) => {
                    let literal = self.compared(right, *operator, left)?;
                    Some(format!(
                        "{literal} {} {}",
                        operator.sql(),
                        self.dialect.quote(&target.name)
                    ))
                }
                (None, None) => None,
            },
            Expression::In { value, list, negated } => {
                let (_, target) = self.column(value)?;
                let literals: Option<Vec<String>> = list
                    .iter()
                    .map(|item| self.compared(value, Operator::Equal, item))
                    .collect();
                let not = if *negated { " NOT" } else { "" };
                Some(format!(
                    "{}{not} IN ({})",
                    self.dialect.quote(&target.name),
                    literals?.join(", ")
                ))
            }
            _ => None,
        }
    }

    fn joined(&self, parts: &[Expression], by: &str) -> Option<String> {
        let parts: Option<Vec<String>> = parts
            .iter()
            .map(|part| Some(format!("({})", self.condition(part)?)))
            .collect();
        Some(parts?.join(by))
    }

    /// The column that an expression is.
    fn column(&self, expression: &Expression) -> Option<&(Column, Column)> {
        let Expression::Column { name, quoted } = expression else {
            return None;
        };
        self.pair(name).or_else(|| {
            let lower = name.to_lowercase();
            let mut alike = (self.made.columns.iter()).filter(|(source, _)| source.name.to_lowercase() == lower);
            alike.next().filter(|_| !quoted && alike.next().is_none())
        })
    }

    /// Whether a column's values have one order in both products.
    fn orders(&self, column: &Expression) -> bool {
        let Some((source, target)) = self.column(column) else {
            return false;
        };
        let are_numbers = |logical: LogicalType| {
            matches!(
                logical,
                LogicalType::Integer { .. } | LogicalType::Decimal { .. } | LogicalType::Float { .. }
            )
        };
        match (source.logical, target.logical) {
            (LogicalType::Date, LogicalType::Date) => true,
            (LogicalType::Timestamp { .. }, LogicalType::Timestamp { .. }) => true,
            (from, to) => are_numbers(from) && are_numbers(to) && self.shaping.compares_numbers(target),
        }
    }

    /// Whether two columns are numbers, or days, or times.
    fn are_alike(&self, left: &Expression, right: &Expression) -> bool {
        let kind = |expression: &Expression| {
            self.column(expression).map(|(_, target)| match target.logical {
                LogicalType::Date => 1,
                LogicalType::Timestamp { .. } => 2,
                _ => 3,
            })
        };
        kind(left) == kind(right)
    }

    /// The literal that a column is compared with, if the comparison says the same in both products.
    fn compared(&self, column: &Expression, operator: Operator, literal: &Expression) -> Option<String> {
        let (source, target) = self.column(column)?;
        match (source.logical, literal) {
            (LogicalType::Boolean, Expression::Boolean(_)) if !operator.is_order() => self.literal(literal, target),
            (LogicalType::Boolean, Expression::Number(_)) if !operator.is_order() => self.literal(literal, target),
            (LogicalType::Text { padding, .. }, Expression::Text(text)) => {
                // Texts have an order of their own in each database; and their equality is not that of their bytes
                // everywhere.
                let is_exact = padding == super::Padding::None && !self.features.folding.contains(&source.name);
                let is_text = matches!(target.logical, LogicalType::Text { .. });
                (is_exact && is_text && !operator.is_order() && !text.contains('\0'))
                    .then(|| self.dialect.literal(text))
            }
            (LogicalType::Date, Expression::Text(_)) if target.logical == LogicalType::Date => {
                self.literal(literal, target)
            }
            (_, Expression::Number(digits)) if self.orders(column) => {
                let is_number = !matches!(target.logical, LogicalType::Date | LogicalType::Timestamp { .. });
                is_number.then(|| digits.clone())
            }
            _ => None,
        }
    }

    fn index(&self, index: &Index, others: &[NewIndex]) -> Result<NewIndex, String> {
        let own = self.takes_own(index.bound.as_ref())? && !index.own.is_empty();
        let names: Vec<&str> = index.parts.iter().filter_map(|part| part.column.as_deref()).collect();
        let rest = match own {
            true => index.own.clone(),
            false => self.index_parts(index)?,
        };
        let mut columns = Vec::new();
        for part in &index.parts {
            let Some(name) = &part.column else { continue };
            let column = self
                .target(name)
                .ok_or_else(|| format!("column `{name}` is not copied"))?;
            columns.push((column, part.prefix));
        }
        if let Some(reason) = self
            .shaping
            .index_refused(&columns, own)
            .filter(|_| !own || index.special.is_none())
        {
            return Err(reason);
        }
        let is_free = |name: &str| {
            let is_other = others
                .iter()
                .any(|other| other.name.to_lowercase() == name.to_lowercase());
            !is_other && self.shaping.name_fits(name) && (self.made.take_name)(name)
        };
        let table = &self.made.relation.name;
        let derived = |number: usize| {
            let columns: String = names.iter().map(|name| format!("_{name}")).collect();
            let name = cut(format!("{table}{columns}"));
            match number {
                0 => format!("{name}_idx"),
                number => format!("{name}_idx{number}"),
            }
        };
        let given = Some(index.name.clone()).filter(|_| !index.unnamed);
        let mut names = given.into_iter().chain((0..1_000).map(derived));
        let name = names.find(|name| is_free(name)).ok_or("there is no name for it")?;
        Ok(NewIndex {
            name,
            unique: index.unique,
            constraint: index.constraint && (own || index.unique),
            rest,
            columns: columns.iter().map(|(column, _)| column.name.clone()).collect(),
            own,
        })
    }

    /// The columns of an index in parentheses, and its condition.
    fn index_parts(&self, index: &Index) -> Result<String, String> {
        if let Some(reason) = &index.special {
            return Err(reason.clone());
        }
        let mut parts = Vec::new();
        for part in &index.parts {
            let name = part
                .column
                .as_ref()
                .ok_or("it is of an expression, which is not translated")?;
            let column = self
                .target(name)
                .ok_or_else(|| format!("column `{name}` is not copied"))?;
            if part.prefix.is_some() && !self.made.same_product {
                return Err(format!(
                    "it is of the beginning of `{name}`, which another product has no index of"
                ));
            }
            let descends = if part.descending { " DESC" } else { "" };
            parts.push(format!("{}{descends}", self.dialect.quote(&column.name)));
        }
        let list = format!("({})", parts.join(", "));
        let Some(condition) = &index.condition else {
            return Ok(list);
        };
        if !self.shaping.has_partial_indexes() {
            return Err("the target's product has no indexes with a condition".to_owned());
        }
        let expression = self.features.spelling.and_then(|spelling| parse(condition, spelling));
        let condition = expression.filter(|expression| self.shaping.filters_by(expression));
        let condition = condition.and_then(|expression| self.condition(&expression));
        let condition = condition.ok_or("its condition is not one that is the same in both products")?;
        Ok(format!("{list} WHERE {condition}"))
    }

    fn key(&self, key: &ForeignKey) -> Result<NewKey, String> {
        if let Some(reason) = key.special.as_ref().filter(|_| !self.made.same_product) {
            return Err(reason.clone());
        }
        if let Some(reason) = self.shaping.key_refused(key) {
            return Err(reason);
        }
        let referred = (self.made.referred)(&key.referred)
            .ok_or_else(|| format!("the target will have no table for `{}`", key.referred))?;
        if referred.catalog != self.made.relation.catalog {
            return Err(format!("`{referred}` is in another database"));
        }
        let columns: Vec<&str> = key
            .columns
            .iter()
            .filter_map(|name| Some(self.target(name)?.name.as_str()))
            .collect();
        if columns.len() < key.columns.len() {
            return Err("a column of it is not copied".to_owned());
        }
        let quoted = |names: &mut dyn Iterator<Item = &str>| {
            let names: Vec<String> = names.map(|name| self.dialect.quote(name)).collect();
            names.join(", ")
        };
        let mut name = referred.within_database();
        if self.shaping.keys_in_table() {
            // A table of the same database, which is all that can be said there.
            name.schema = None;
        }
        let mut rest = format!(
            "FOREIGN KEY ({}) REFERENCES {} ",
            quoted(&mut columns.iter().copied()),
            self.dialect.quote_relation(&name)
        );
        if !key.referred_columns.is_empty() {
            rest += &format!("({}) ", quoted(&mut key.referred_columns.iter().map(String::as_str)));
        }
        let [on_update, on_delete] = [&key.on_update, &key.on_delete].map(|action| self.shaping.action(action));
        rest += &format!("ON UPDATE {on_update} ON DELETE {on_delete}");
        match key.deferred {
            Some(true) => rest += " DEFERRABLE INITIALLY DEFERRED",
            Some(false) => rest += " DEFERRABLE",
            None => {}
        }
        Ok(NewKey {
            thing: key.thing(),
            name: key.name.clone(),
            referred,
            rest,
            columns: columns.into_iter().map(str::to_owned).collect(),
        })
    }
}
