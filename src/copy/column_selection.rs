//! Which columns of a table or query are copied, in which order, and what they are called in the target.
//!
//! Knows names alone: what becomes of a column's type is the plan's.

use super::{
    error::{Phase, Place, Side, TableError},
    pattern::wildcard,
    request::ColumnSelection,
};
use crate::database::Column;

const PLACE: Place = Place {
    phase: Phase::Plan,
    side: Side::Source,
};

/// A column of the source, and its name in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedColumn {
    /// In the source.
    pub column: Column,
    /// In the target.
    pub name: String,
}

impl From<Column> for NamedColumn {
    fn from(column: Column) -> Self {
        let name = column.name.clone();
        NamedColumn { column, name }
    }
}

/// The columns that are copied. A primary key that is not copied whole is none: what is left of it may come twice.
///
/// # Errors
/// Names that no column has, or nothing left.
pub(super) fn named_columns(
    columns: Vec<Column>,
    selection: &ColumnSelection,
) -> Result<Vec<NamedColumn>, Box<TableError>> {
    let refused = |message: String| Err(TableError::refused(PLACE, "copy.columns", message));
    // What the options say that is not there.
    let mut missing: Vec<String> = Vec::new();
    let mut meant = |option: &str, text: &str| -> Vec<usize> {
        let places = places_of(&columns, text);
        if places.is_empty() && !is_pattern(text) {
            missing.push(format!("`{text}` of `{option}`"));
        }
        places
    };
    let excluded: Vec<usize> = (selection.exclude.iter())
        .flat_map(|text| meant("exclude_columns", text))
        .collect();
    let listed: Vec<usize> = match selection.only.is_empty() {
        true => (0..columns.len()).collect(),
        false => selection.only.iter().flat_map(|text| meant("columns", text)).collect(),
    };
    let renamed: Vec<(usize, &(String, String))> = (selection.rename.iter())
        .flat_map(|rename| meant("rename", &rename.0).into_iter().map(move |place| (place, rename)))
        .collect();
    if !missing.is_empty() {
        return refused(format!("there is no column {}", missing.join(", ")));
    }
    let mut chosen: Vec<usize> = Vec::new();
    for place in listed {
        if !excluded.contains(&place) && !chosen.contains(&place) {
            chosen.push(place);
        }
    }
    if chosen.is_empty() {
        return refused("`columns` and `exclude_columns` leave none of its columns".to_owned());
    }
    let is_key = |column: &Column| column.key_position.is_some();
    let is_whole = (0..columns.len()).all(|place| chosen.contains(&place) || !is_key(&columns[place]));
    let named = |place: &usize| {
        let mut named = NamedColumn::from(columns[*place].clone());
        if let Some((_, (_, to))) = renamed.iter().find(|(renamed, _)| renamed == place) {
            named.name.clone_from(to);
        }
        if !is_whole {
            named.column.key_position = None;
        }
        named
    };
    Ok(chosen.iter().map(named).collect())
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Where the columns are that a name or pattern means: the one of exactly this name, else whatever case it is written in,
/// if no other could be meant.
fn places_of(columns: &[Column], text: &str) -> Vec<usize> {
    if let Some(place) = columns.iter().position(|column| column.name == text) {
        return vec![place];
    }
    let lower = text.to_lowercase();
    let places: Vec<usize> = (0..columns.len())
        .filter(|place| wildcard(&lower, &columns[*place].name.to_lowercase()))
        .collect();
    match is_pattern(text) || places.len() == 1 {
        true => places,
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::LogicalType;

    fn columns(names: &[&str]) -> Vec<Column> {
        let column = |(place, name): (usize, &&str)| Column {
            name: (*name).to_owned(),
            logical: LogicalType::TEXT,
            declared: "text".to_owned(),
            nullable: false,
            key_position: (place < 2).then_some(place as u16 + 1),
            generated: false,
            from_catalog: true,
        };
        names.iter().enumerate().map(column).collect()
    }

    fn chosen(names: &[&str], selection: &ColumnSelection) -> Result<Vec<(String, String)>, String> {
        named_columns(columns(names), selection)
            .map(|named| {
                let pair = |named: NamedColumn| (named.column.name, named.name);
                named.into_iter().map(pair).collect()
            })
            .map_err(|error| error.message)
    }

    fn selection(only: &[&str], exclude: &[&str], rename: &[(&str, &str)]) -> ColumnSelection {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        ColumnSelection {
            only: owned(only),
            exclude: owned(exclude),
            rename: (rename.iter())
                .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
                .collect(),
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(pairs
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect())
    }

    const NAMES: [&str; 5] = ["id", "part", "note", "note_2", "Größe?"];

    #[test]
    fn columns_come_in_the_order_that_was_asked_for_and_once() {
        let found = chosen(
            &NAMES,
            &selection(&["note*", "ID", "*"], &["part"], &[("größe?", "size")]),
        );
        let expected = [("note", "note"), ("note_2", "note_2"), ("id", "id"), ("Größe?", "size")];
        assert_eq!(found, pairs(&expected));
    }

    #[test]
    fn names_that_are_not_there_are_all_named_and_patterns_may_mean_nothing() {
        let error = chosen(&NAMES, &selection(&["id", "nmae", "x*"], &["away"], &[("old", "new")])).unwrap_err();
        assert_eq!(
            error,
            "there is no column `away` of `exclude_columns`, `nmae` of `columns`, `old` of `rename`"
        );
        let error = chosen(&NAMES, &selection(&["id"], &["i*"], &[])).unwrap_err();
        assert!(error.contains("leave none"), "{error}");
        assert_eq!(
            chosen(&NAMES, &selection(&["id"], &[], &[("note", "n")])),
            pairs(&[("id", "id")])
        );
        assert_eq!(
            chosen(&["A", "a"], &selection(&["A"], &["x?"], &[])),
            pairs(&[("A", "A")])
        );
        assert!(chosen(&["aB", "Ab"], &selection(&["ab"], &[], &[])).is_err());
    }

    #[test]
    fn a_key_that_is_not_copied_whole_is_none() {
        let key = |selection: &ColumnSelection| -> Vec<Option<u16>> {
            let named = named_columns(columns(&NAMES), selection).unwrap();
            named.iter().map(|named| named.column.key_position).collect()
        };
        assert_eq!(key(&selection(&["part", "id"], &[], &[])), [Some(2), Some(1)]);
        assert_eq!(key(&selection(&["id", "note"], &[], &[])), [None, None]);
    }
}
