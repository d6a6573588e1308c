//! The copy engine; knows no database by name.
