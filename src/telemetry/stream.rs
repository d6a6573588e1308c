//! Masks known secrets in a stream of bytes that comes in pieces. Knows nothing of where they come from or go to.
//!
//! What comes out does not depend on where the pieces were cut. Bytes are kept back only as long as they may be the
//! beginning of a secret, at most as many as the longest one has; everything else goes on at once. Secrets of fewer than
//! four characters pass: masking each `ab` would change more than it hides.

use std::ops::Range;

use super::redact::Redactor;
use crate::activity::MASK;

/// What can go on of a piece; it may be nothing.
pub enum Passed<'s> {
    /// These bytes of it.
    Unchanged(Range<usize>),
    /// It has secrets in it, and these bytes stand for it. They may be taken away.
    Masked(&'s mut Vec<u8>),
}

/// One stream on its way through the masks of a [`Redactor`], whose secrets may grow meanwhile.
pub struct MaskedStream<'r> {
    redactor: &'r Redactor,
    /// What may be the beginning of a secret.
    kept: Vec<u8>,
    /// How many bytes at the start of `kept` end a secret whose mask has gone out already.
    covered_bytes: usize,
    ranges: Vec<(usize, usize)>,
    masked: Vec<u8>,
}

impl<'r> MaskedStream<'r> {
    /// At the start of a stream.
    pub fn new(redactor: &'r Redactor) -> Self {
        MaskedStream {
            redactor,
            kept: Vec::new(),
            covered_bytes: 0,
            ranges: Vec::new(),
            masked: Vec::new(),
        }
    }

    /// What the next piece has to begin with.
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Takes the next piece, which begins with what was kept, and gives what can go on.
    pub fn pass(&mut self, piece: &[u8]) -> Passed<'_> {
        self.pass_to(piece, false)
    }

    /// Ends the stream, and gives what is left: what was kept back was no secret, or the end of one.
    pub fn finish(&mut self) -> Vec<u8> {
        let kept = std::mem::take(&mut self.kept);
        match self.pass_to(&kept, true) {
            Passed::Unchanged(range) => kept[range].to_vec(),
            Passed::Masked(masked) => std::mem::take(masked),
        }
    }

    fn pass_to(&mut self, bytes: &[u8], is_end: bool) -> Passed<'_> {
        self.kept.clear();
        let Some(matcher) = self.redactor.matcher() else {
            return Passed::Unchanged(0..bytes.len());
        };
        self.ranges.clear();
        self.masked.clear();
        if matcher.ranges(bytes, &mut self.ranges).is_none() {
            // Nothing can be told apart, so everything may be a secret.
            if !bytes.is_empty() {
                self.masked.extend_from_slice(MASK.as_bytes());
            }
            return Passed::Masked(&mut self.masked);
        }
        let open = if is_end { bytes.len() } else { matcher.open_end(bytes) };
        let ranges = self.ranges.iter().copied().filter(|(start, _)| *start < open);
        let mut done = self.covered_bytes;
        for (start, end) in ranges {
            // Else it goes on with one whose mask is out.
            if start >= done {
                self.masked.extend_from_slice(&bytes[done..start]);
                self.masked.extend_from_slice(MASK.as_bytes());
            }
            done = done.max(end);
        }
        let plain = done.min(open)..open;
        self.covered_bytes = done.saturating_sub(open);
        self.kept.extend_from_slice(&bytes[open..]);
        if self.masked.is_empty() {
            return Passed::Unchanged(plain);
        }
        self.masked.extend_from_slice(&bytes[plain]);
        Passed::Masked(&mut self.masked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let redactor = Redactor::new();
        redactor.add_all(secrets.iter().copied());
        redactor
    }

    fn push(stream: &mut MaskedStream<'_>, piece: &[u8]) -> Vec<u8> {
        let piece = [stream.kept(), piece].concat();
        match stream.pass(&piece) {
            Passed::Unchanged(range) => piece[range].to_vec(),
            Passed::Masked(masked) => masked.clone(),
        }
    }

    fn masked(redactor: &Redactor, pieces: &[&[u8]]) -> Vec<u8> {
        let mut stream = MaskedStream::new(redactor);
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| push(&mut stream, piece)).collect();
        out.extend(stream.finish());
        out
    }

    fn text(redactor: &Redactor, pieces: &[&str]) -> String {
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        String::from_utf8(masked(redactor, &pieces)).unwrap()
    }

    #[test]
    fn a_secret_cut_in_two_is_masked() {
        assert_eq!(text(&redactor(&["hunter2"]), &["a hun", "ter2 b"]), "a *** b");
        assert_eq!(
            text(&redactor(&["hunter2"]), &["h", "u", "n", "t", "e", "r", "2"]),
            "***"
        );
    }

    #[test]
    fn only_what_may_be_the_beginning_of_a_secret_is_kept_back() {
        let redactor = redactor(&["hunter2"]);
        let mut stream = MaskedStream::new(&redactor);
        assert_eq!(push(&mut stream, b"say hun"), b"say ");
        assert_eq!(push(&mut stream, b"gry\n"), b"hungry\n");
        assert_eq!(push(&mut stream, b"hunt"), b"");
        assert_eq!(stream.finish(), b"hunt");
    }

    #[test]
    fn a_long_chain_of_overlapping_secrets_is_one_mask_and_is_not_kept() {
        let redactor = redactor(&["aaaa"]);
        let mut stream = MaskedStream::new(&redactor);
        let mut out = Vec::new();
        for _ in 0..1000 {
            out.extend(push(&mut stream, &[b'a'; 10]));
            assert!(stream.kept().len() < 40);
        }
        out.extend(push(&mut stream, b"-"));
        assert_eq!(out, b"***-");
    }

    #[test]
    fn a_secret_that_is_learnt_on_the_way_counts_from_then_on() {
        let redactor = redactor(&["first"]);
        let mut stream = MaskedStream::new(&redactor);
        assert_eq!(push(&mut stream, b"second "), b"second ");
        redactor.add("second");
        assert_eq!(push(&mut stream, b"second first "), b"*** *** ");
    }

    #[test]
    fn bytes_that_are_no_text_pass_unchanged() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(masked(&redactor(&["hunter2"]), &[&bytes[..100], &bytes[100..]]), bytes);
    }

    #[test]
    fn a_secret_of_three_characters_passes() {
        assert_eq!(text(&redactor(&["abc", "wxyz"]), &["abc wxyz"]), "abc ***");
    }

    proptest! {
        /// Few letters, so that secrets overlap, touch and begin each other.
        #[test]
        fn where_the_pieces_are_cut_makes_no_difference(
            secrets in prop::collection::vec("[ab]{4,9}", 1..4),
            text in "[abc]{0,80}",
            cuts in prop::collection::vec(0_usize..80, 0..8),
        ) {
            let redactor = Redactor::new();
            redactor.add_all(secrets.iter().map(String::as_str));
            let whole = masked(&redactor, &[text.as_bytes()]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(masked(&redactor, &pieces), whole.clone());
            for secret in &secrets {
                prop_assert!(!whole.windows(secret.len()).any(|window| window == secret.as_bytes()));
            }
        }
    }
}
