//! The command of an activity, taken apart as Batch does before it starts the program: without a shell.
//!
//! How Batch's agent on Linux does that is documented nowhere. Captured tasks show blanks between words and double quotes
//! around one; single quotes and backslashes are taken here as a shell takes them, and [`super::check`] remarks on them.

/// A quote that does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unended(pub char);

/// The words of a command.
///
/// # Errors
/// A quote that does not end.
pub fn words_of(command: &str) -> Result<Vec<String>, Unended> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => {
                let quoted = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(other) => quoted.push(other),
                        None => return Err(Unended('\'')),
                    }
                }
            }
            '"' => {
                let quoted = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') => match characters.next() {
                            Some(escaped @ ('"' | '\\')) => quoted.push(escaped),
                            Some(other) => quoted.extend(['\\', other]),
                            None => return Err(Unended('"')),
                        },
                        Some(other) => quoted.push(other),
                        None => return Err(Unended('"')),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(characters.next().unwrap_or('\\')),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_between_blanks_and_quotes_hold_one_together() {
        for (command, words) in [
            ("./dray run  p.zip main.py", vec!["./dray", "run", "p.zip", "main.py"]),
            (
                r#"./dray run --mode "full load" x"y z"w """#,
                vec!["./dray", "run", "--mode", "full load", "xy zw", ""],
            ),
            (
                r#"a "say \"hi\" \n" 'it $HOME'"#,
                vec!["a", r#"say "hi" \n"#, "it $HOME"],
            ),
            ("a #1 && $HOME", vec!["a", "#1", "&&", "$HOME"]),
            ("", vec![]),
        ] {
            assert_eq!(words_of(command).unwrap(), words, "{command}");
        }
    }

    #[test]
    fn a_quote_must_end() {
        assert_eq!(words_of("a \"b"), Err(Unended('"')));
        assert_eq!(words_of("a 'b"), Err(Unended('\'')));
    }
}
