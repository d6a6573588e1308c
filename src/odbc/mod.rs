//! Environment, sessions, connection strings, driver lookup, diagnostics.
