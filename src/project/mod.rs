//! A zip becomes a tree on disk; which entrypoint is meant.
