//! Table names with wildcards.

use crate::database::Relation;

/// A name or pattern: `*` for any letters, `?` for one, in the schema as in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    relation: Relation,
    /// Whether it says in which database its tables are; perhaps in the connection's own.
    is_of_database: bool,
}

impl Pattern {
    /// Reads a table's name, whose last two parts may have wildcards.
    ///
    /// # Errors
    /// Those of [`Relation::parse`], and for wildcards elsewhere.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let relation = Relation::parse(text)?;
        let pattern = Pattern {
            is_of_database: relation.is_elsewhere(),
            relation,
        };
        let Relation { server, catalog, .. } = &pattern.relation;
        if server.iter().chain(catalog).any(|part| is_wild(part)) {
            return Err(format!(
                "`{text}` has a wildcard in the name of a database or server: only a schema and a table may have one"
            ));
        }
        if server.is_some() && pattern.exact().is_none() {
            return Err(format!(
                "`{text}` has a wildcard, and a linked server is not asked which tables it has: name each of them"
            ));
        }
        Ok(pattern)
    }

    /// The relation, if there is no wildcard in it.
    pub fn exact(&self) -> Option<&Relation> {
        let any = is_wild(&self.relation.name) || self.relation.schema.as_deref().is_some_and(is_wild);
        (!any).then_some(&self.relation)
    }

    /// The relation, whether or not there are wildcards in it.
    pub fn relation(&self) -> &Relation {
        &self.relation
    }

    /// The pattern by the name that its source has for what it means, see [`crate::database::Dialect::reach`].
    pub fn called(&self, relation: Relation) -> Pattern {
        Pattern {
            relation,
            ..self.clone()
        }
    }

    /// Whether the relation is meant; a pattern without a schema means the ones in `default_schema`, and one without a
    /// database those of the connection's own.
    pub fn matches(&self, relation: &Relation, default_schema: Option<&str>) -> bool {
        self.is_in_database_of(relation) && self.names(relation, default_schema)
    }

    /// Whether the relation is left out; a pattern without a schema leaves it out in every schema, and one without a database
    /// in every database.
    pub fn excludes(&self, relation: &Relation) -> bool {
        (!self.is_of_database || self.is_in_database_of(relation)) && self.names(relation, None)
    }

    fn is_in_database_of(&self, relation: &Relation) -> bool {
        self.relation.server == relation.server && self.relation.catalog == relation.catalog
    }

    fn names(&self, relation: &Relation, default_schema: Option<&str>) -> bool {
        let schema = relation.schema.as_deref();
        let schema_matches = match self.relation.schema.as_deref() {
            Some(pattern) => schema.is_some_and(|schema| wildcard(pattern, schema)),
            None => default_schema.is_none() || schema.is_none() || schema == default_schema,
        };
        schema_matches && wildcard(&self.relation.name, &relation.name)
    }
}

fn is_wild(text: &str) -> bool {
    text.contains(['*', '?'])
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
        Relation::new(Some(schema.to_owned()), name)
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

    #[test]
    fn a_pattern_without_a_database_means_the_connections_own_but_excludes_everywhere() {
        let of = |database: &str| Relation {
            catalog: Some(database.to_owned()),
            ..relation("dbo", "BuildVersion")
        };
        let pattern = Pattern::parse("other.dbo.Build*").unwrap();
        assert!(pattern.matches(&of("other"), Some("dbo")) && pattern.excludes(&of("other")));
        assert!(!pattern.matches(&of("third"), Some("dbo")) && !pattern.excludes(&of("third")));
        assert!(!pattern.matches(&relation("dbo", "BuildVersion"), Some("dbo")));
        let own = pattern.called(relation("dbo", "Build*"));
        assert!(own.matches(&relation("dbo", "BuildVersion"), None) && !own.excludes(&of("other")));
        let pattern = Pattern::parse("dbo.Build*").unwrap();
        assert!(!pattern.matches(&of("other"), None) && pattern.excludes(&of("other")));
    }

    #[test]
    fn a_wildcard_stands_for_schemas_and_tables_alone() {
        for text in ["other.dbo.*", "other..o*", "other.*.orders"] {
            assert_eq!(Pattern::parse(text).unwrap().exact(), None, "{text}");
        }
        for text in ["o*.dbo.orders", "l?nked.db.dbo.orders", "linked.db.dbo.*"] {
            assert!(Pattern::parse(text).unwrap_err().contains("wildcard"), "{text}");
        }
    }
}
