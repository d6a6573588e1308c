//! Table names with wildcards.

use crate::database::Relation;

/// A name or pattern: `*` for any letters, `?` for one, in the schema as in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    relation: Relation,
}

impl Pattern {
    /// Reads `table` or `schema.table`.
    ///
    /// # Errors
    /// Those of [`Relation::parse`].
    pub fn parse(text: &str) -> Result<Pattern, String> {
        Ok(Pattern {
            relation: Relation::parse(text)?,
        })
    }

    /// The relation, if there is no wildcard in it.
    pub fn exact(&self) -> Option<&Relation> {
        let wild = |text: &str| text.contains(['*', '?']);
        let any = wild(&self.relation.name) || self.relation.schema.as_deref().is_some_and(wild);
        (!any).then_some(&self.relation)
    }

    /// Whether the relation is meant; a pattern without a schema means the ones in `default_schema`.
    pub fn matches(&self, relation: &Relation, default_schema: Option<&str>) -> bool {
        let schema = relation.schema.as_deref();
        let schema_matches = match self.relation.schema.as_deref() {
            Some(pattern) => schema.is_some_and(|schema| wildcard(pattern, schema)),
            None => default_schema.is_none() || schema.is_none() || schema == default_schema,
        };
        schema_matches && wildcard(&self.relation.name, &relation.name)
    }

    /// Whether the relation is left out; a pattern without a schema leaves it out in every schema.
    pub fn excludes(&self, relation: &Relation) -> bool {
        self.matches(relation, None)
    }
}

/// Whether `text` is what the pattern says.
pub(super) fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` is, and how far it reaches in the text.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    p = at + 1;
                    t = reach + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(schema: &str, name: &str) -> Relation {
        Relation {
            schema: Some(schema.to_owned()),
            name: name.to_owned(),
        }
    }

    #[test]
    fn wildcards_match_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("Sales*", "SalesLT", true),
            ("*LT", "SalesLT", true),
            ("S*s?T", "SalesLT", true),
            ("Größ?", "Größe", true),
            ("Sales", "SalesLT", false),
            ("a*b*c", "a-b-b", false),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_without_a_schema_means_the_default_one_but_excludes_everywhere() {
        let pattern = Pattern::parse("Build*").unwrap();
        assert!(pattern.matches(&relation("dbo", "BuildVersion"), Some("dbo")));
        assert!(!pattern.matches(&relation("hr", "BuildVersion"), Some("dbo")));
        assert!(pattern.excludes(&relation("hr", "BuildVersion")));
        assert_eq!(pattern.exact(), None);
        assert_eq!(Pattern::parse("dbo.t").unwrap().exact(), Some(&relation("dbo", "t")));
    }
}
