//! Masks known secrets in text and JSON. Knows the secrets' values and the ways they may be spelled; not where they came
//! from, nor where the text goes.
//!
//! Patterns are searched together, overlaps included, and what they cover is masked as one: with two secrets that
//! overlap in a text, masking one after the other would leave an end of the second one readable.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind, packed};
use serde_json::{Map, Value};

use super::spellings::spellings;
use crate::activity::MASK;

/// Secrets with fewer characters are masked only where they stand as a whole word: masking each `ab` in a text would
/// leave nothing to read.
const SHORT_CHARACTERS: usize = 4;

/// As many as one packed searcher takes before it finds too often what only looks like one of them.
const PATTERNS_AT_ONCE: usize = 32;

/// The searchers for as many patterns still need less time than the automaton.
const QUICK_PATTERNS: usize = 512;

/// A growing set of secrets, to be masked in whatever passes through. Shared between threads.
#[derive(Debug, Default)]
pub struct Redactor {
    matcher: RwLock<Option<Arc<Matcher>>>,
}

#[derive(Debug)]
pub(super) struct Matcher {
    secrets: BTreeSet<String>,
    /// `None` if the automaton could not be built; then everything is masked rather than nothing.
    automaton: Option<AhoCorasick>,
    /// For each pattern, whether it counts only as a whole word.
    whole_word: Vec<bool>,
    /// Find quickly whether one of the patterns that count anywhere is there at all: some gigabytes a second, where
    /// finding all of them, overlaps included, does a few hundred megabytes. `None` for a processor without what it takes,
    /// and for patterns of so many searchers that it would be no quicker.
    quick: Option<Vec<packed::Searcher>>,
    /// The patterns that count anywhere, sorted.
    anywhere: Vec<String>,
    /// Whether one of those begins with the byte.
    begins: [bool; 256],
    /// The length of the longest of those.
    longest_bytes: usize,
}

impl Redactor {
    /// One without secrets.
    pub const fn new() -> Self {
        Redactor {
            matcher: RwLock::new(None),
        }
    }

    /// Masks `secret` from now on. An empty one is ignored. Returns whether it was not known before.
    pub fn add(&self, secret: &str) -> bool {
        self.add_all([secret])
    }

    /// [`Redactor::add`] for several at once, which costs about as much as for one.
    pub fn add_all<'s>(&self, secrets: impl IntoIterator<Item = &'s str>) -> bool {
        // A poisoned lock holds a whole value all the same: it is only ever replaced.
        let mut matcher = self.matcher.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = matcher
            .as_ref()
            .map(|matcher| matcher.secrets.clone())
            .unwrap_or_default();
        let before = all.len();
        all.extend(
            secrets
                .into_iter()
                .filter(|secret| !secret.is_empty())
                .map(str::to_owned),
        );
        let is_new = all.len() > before;
        if is_new {
            *matcher = Some(Arc::new(Matcher::new(all)));
        }
        is_new
    }

    /// Whether there is a secret that a [`MaskedStream`](super::MaskedStream) would mask.
    pub fn masks_streams(&self) -> bool {
        self.matcher().is_some_and(|matcher| matcher.longest_bytes > 0)
    }

    /// `text` with each known secret replaced by `***`; borrowed if there was none.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.matcher() {
            Some(matcher) => matcher.redact(text),
            None => Cow::Borrowed(text),
        }
    }

    /// Masks every string in `value`, keys included. Numbers stay: a count that happens to equal a secret must not turn
    /// into text. Returns how many strings and keys were changed.
    pub fn redact_json(&self, value: &mut Value) -> usize {
        self.matcher().map_or(0, |matcher| matcher.redact_json(value, true))
    }

    /// Like [`Redactor::redact_json`], but leaves keys alone: for documents whose keys are dray's own.
    pub fn redact_values(&self, value: &mut Value) -> usize {
        self.matcher().map_or(0, |matcher| matcher.redact_json(value, false))
    }

    pub(super) fn matcher(&self) -> Option<Arc<Matcher>> {
        self.matcher.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Matcher {
    fn new(secrets: BTreeSet<String>) -> Self {
        let mut patterns = BTreeSet::new();
        for secret in &secrets {
            let whole_word = secret.chars().count() < SHORT_CHARACTERS;
            patterns.extend(spellings(secret).into_iter().map(|spelling| (spelling, whole_word)));
        }
        let (patterns, whole_word): (Vec<String>, Vec<bool>) = patterns.into_iter().unzip();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&patterns)
            .ok();
        let counts_anywhere = patterns.iter().zip(&whole_word).filter(|(_, whole_word)| !**whole_word);
        let anywhere: Vec<String> = counts_anywhere.map(|(pattern, _)| pattern.clone()).collect();
        let mut begins = [false; 256];
        for first in anywhere.iter().filter_map(|pattern| pattern.bytes().next()) {
            begins[usize::from(first)] = true;
        }
        Matcher {
            secrets,
            automaton,
            whole_word,
            quick: quick_searchers(&anywhere),
            begins,
            longest_bytes: anywhere.iter().map(String::len).max().unwrap_or(0),
            anywhere,
        }
    }

    /// Adds the ranges in which a secret stands, of those that count anywhere: sorted, and joined where they overlap.
    /// None if that cannot be told.
    pub(super) fn ranges(&self, bytes: &[u8], found: &mut Vec<(usize, usize)>) -> Option<()> {
        if let Some(quick) = &self.quick
            && quick.iter().all(|searcher| searcher.find(bytes).is_none())
        {
            return Some(());
        }
        let matches = self.automaton.as_ref()?.find_overlapping_iter(bytes);
        found.extend(
            matches
                .filter(|each| !self.whole_word[each.pattern().as_usize()])
                .map(|each| (each.start(), each.end())),
        );
        found.sort_unstable();
        found.dedup_by(|later, earlier| {
            let overlaps = later.0 < earlier.1;
            if overlaps {
                earlier.1 = earlier.1.max(later.1);
            }
            overlaps
        });
        Some(())
    }

    /// Where the longest end of `bytes` starts that may be the beginning of a secret that is not there as a whole yet;
    /// the length of `bytes` if none may.
    pub(super) fn open_end(&self, bytes: &[u8]) -> usize {
        let from = bytes.len().saturating_sub(self.longest_bytes.saturating_sub(1));
        let begins_one = |start: &usize| {
            let end = &bytes[*start..];
            if !self.begins[usize::from(end[0])] {
                return false;
            }
            // Sorted, so the first that is greater than its own beginning is the first that begins with it, if any does.
            let next = self.anywhere.partition_point(|pattern| pattern.as_bytes() <= end);
            self.anywhere
                .get(next)
                .is_some_and(|pattern| pattern.as_bytes().starts_with(end))
        };
        (from..bytes.len()).find(begins_one).unwrap_or(bytes.len())
    }

    fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(automaton) = &self.automaton else {
            return Cow::Borrowed(MASK);
        };
        let mut covered: Vec<(usize, usize)> = automaton
            .find_overlapping_iter(text)
            .filter(|found| !self.whole_word[found.pattern().as_usize()] || is_word(text, found.start(), found.end()))
            .map(|found| (found.start(), found.end()))
            .collect();
        if covered.is_empty() {
            return Cow::Borrowed(text);
        }
        covered.sort_unstable();
        let mut masked = String::with_capacity(text.len());
        let mut done = 0;
        for (start, end) in covered {
            if start > done || done == 0 {
                masked.push_str(&text[done..start]);
                masked.push_str(MASK);
                done = end;
            } else {
                // It touches or overlaps the one before: the same mask covers both.
                done = done.max(end);
            }
        }
        masked.push_str(&text[done..]);
        Cow::Owned(masked)
    }

    fn redact_json(&self, value: &mut Value, keys: bool) -> usize {
        match value {
            Value::String(text) => match self.redact(text) {
                Cow::Owned(masked) => {
                    *text = masked;
                    1
                }
                Cow::Borrowed(same) if same.len() == text.len() => 0,
                Cow::Borrowed(mask) => {
                    *text = mask.to_owned();
                    1
                }
            },
            Value::Array(items) => items.iter_mut().map(|item| self.redact_json(item, keys)).sum(),
            Value::Object(object) => {
                let mut count = object.values_mut().map(|value| self.redact_json(value, keys)).sum();
                if keys && object.keys().any(|key| self.redact(key) != key.as_str()) {
                    let mut masked = Map::with_capacity(object.len());
                    for (key, value) in std::mem::take(object) {
                        let plain = self.redact(&key);
                        count += usize::from(plain != key.as_str());
                        masked.insert(free_key(&masked, plain.into_owned()), value);
                    }
                    *object = masked;
                }
                count
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
    }
}

/// `key`, or `key (2)` and so on if it is taken: two keys may become equal by masking, and neither value may get lost.
fn free_key(object: &Map<String, Value>, key: String) -> String {
    if !object.contains_key(&key) {
        return key;
    }
    let mut number = 2;
    loop {
        let other = format!("{key} ({number})");
        if !object.contains_key(&other) {
            return other;
        }
        number += 1;
    }
}

/// For the patterns that no other one is a part of: where one is, one of these is.
fn quick_searchers(patterns: &[String]) -> Option<Vec<packed::Searcher>> {
    if patterns.len() > QUICK_PATTERNS {
        return None;
    }
    let is_least = |pattern: &&String| {
        !patterns
            .iter()
            .any(|other| other != *pattern && pattern.contains(other.as_str()))
    };
    let least: Vec<&String> = patterns.iter().filter(is_least).collect();
    let searchers = least
        .chunks(PATTERNS_AT_ONCE)
        .map(|patterns| packed::Config::new().builder().extend(patterns).build());
    searchers.collect()
}

/// Whether neither neighbour of the range continues a word.
fn is_word(text: &str, start: usize, end: usize) -> bool {
    let continues = |character: char| character.is_alphanumeric() || character == '_';
    !text[..start].chars().next_back().is_some_and(continues) && !text[end..].chars().next().is_some_and(continues)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redactor(secrets: &[&str]) -> Redactor {
        let redactor = Redactor::new();
        redactor.add_all(secrets.iter().copied());
        redactor
    }

    #[test]
    fn a_secret_of_one_letter_masks_that_letter_alone_as_a_word() {
        let redactor = Redactor::new();
        redactor.add("x");
        assert_eq!(redactor.redact("t -> u: x, max (x)"), "t -> u: ***, max (***)");
    }

    #[test]
    fn without_secrets_nothing_changes() {
        assert!(matches!(
            redactor(&["", ""]).redact("any text"),
            Cow::Borrowed("any text")
        ));
    }

    #[test]
    fn a_secret_is_masked_wherever_it_stands() {
        let redactor = redactor(&["hush!"]);
        assert_eq!(
            redactor.redact("hush! xhush!x and PWD=hush!;"),
            "*** x***x and PWD=***;"
        );
    }

    #[test]
    fn a_secret_is_masked_in_every_spelling() {
        let secret = "p/a \"s'\\é}𝄞";
        let redactor = redactor(&[secret]);
        let spellings = [
            secret.to_owned(),
            Value::from(secret).to_string().trim_matches('"').to_owned(),
            r#"p/a \"s'\\\u00e9}\ud834\udd1e"#.to_owned(),
            "p/a%20%22s%27%5C%C3%A9%7D%F0%9D%84%9E".to_owned(),
            "p%2Fa+%22s%27%5C%C3%A9%7D%F0%9D%84%9E".to_owned(),
            "p%2fa%20%22s%27%5c%c3%a9%7d%f0%9d%84%9e".to_owned(),
            "{p/a \"s'\\é}}𝄞}".trim_matches(['{']).to_owned(),
        ];
        for spelling in spellings {
            let masked = redactor.redact(&spelling).into_owned();
            assert!(
                masked.starts_with("***") && masked.len() <= 4,
                "{spelling} became {masked}"
            );
        }
    }

    #[test]
    fn overlapping_secrets_leave_no_end_readable() {
        let redactor = redactor(&["abcdef", "defghi", "bcde"]);
        assert_eq!(redactor.redact("-abcdefghi-"), "-***-");
    }

    #[test]
    fn the_longer_of_two_secrets_with_one_start_is_masked_whole() {
        assert_eq!(redactor(&["pass", "password1"]).redact("password1 pass"), "*** ***");
    }

    #[test]
    fn a_secret_at_the_start_of_a_text_is_masked_once() {
        assert_eq!(redactor(&["aaaa"]).redact("aaaaaaaa b"), "*** b");
    }

    #[test]
    fn a_short_secret_is_masked_as_a_whole_word_only() {
        let redactor = redactor(&["abc", "cdefg"]);
        assert_eq!(
            redactor.redact("abc abcd _abc (abc) PWD=abc; abcdefg"),
            "*** abcd _abc (***) PWD=***; ab***"
        );
    }

    #[test]
    fn a_secret_added_later_counts_from_then_on() {
        let redactor = redactor(&["first"]);
        redactor.add("second");
        assert_eq!(redactor.redact("first second"), "*** ***");
    }

    #[test]
    fn json_is_masked_in_keys_and_values_and_no_value_gets_lost() {
        let mut value = json!({"n": 12345, "k-hush1": "a hush1", "k-hush2": ["hush2"], "b": {"c": "x"}});
        let count = redactor(&["hush1", "hush2", "12345"]).redact_json(&mut value);
        assert_eq!(
            value,
            json!({"n": 12345, "k-***": "a ***", "k-*** (2)": ["***"], "b": {"c": "x"}})
        );
        assert_eq!(count, 4);
    }

    #[test]
    fn keys_stay_where_they_are_drays_own() {
        let mut value = json!({"status": "the status"});
        redactor(&["status"]).redact_values(&mut value);
        assert_eq!(value, json!({"status": "the ***"}));
    }
}
