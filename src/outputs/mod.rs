//! outputs.json.
