//! Suites over real zips.
