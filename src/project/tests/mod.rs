//! Suites over real zips: most are laid out byte by byte by [`fixtures::ZipBytes`], so that each field can be wrong.

mod entrypoints;
mod fixtures;
mod reading;
mod refusals;
mod unpacking;
