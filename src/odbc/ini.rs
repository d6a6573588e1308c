//! odbcinst.ini and odbc.ini, read as unixODBC reads them: sections, `key = value`, `;` and `#` comments.

/// One `[name]` with its keys in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub name: String,
    pub keys: Vec<(String, String)>,
}

impl Section {
    /// The value of `key`, whatever its case.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.keys
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.as_str())
    }
}

/// Reads the sections of an ini file; lines that make no sense are skipped, as the driver manager does.
pub(super) fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            sections.push(Section {
                name: name.0.trim().to_owned(),
                keys: Vec::new(),
            });
        } else if let (Some((key, value)), Some(section)) = (line.split_once('='), sections.last_mut()) {
            section.keys.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keep_their_keys_whatever_the_case_and_comments_are_skipped() {
        let sections = parse("; note\n[PostgreSQL Unicode]\nDescription=x=y\nDRIVER = psqlodbcw.so\n\n# no\n[Empty]\n");
        assert_eq!(sections.len(), 2);
        assert_eq!(sections[0].get("Driver"), Some("psqlodbcw.so"));
        assert_eq!(sections[0].get("description"), Some("x=y"));
        assert_eq!(sections[1].keys, vec![]);
    }
}
