//! Log lines: subscriber, formats, redaction.
