//! Starts the worker, watches it, explains its end.
