//! Finds a Python, probes it, loads it, and lays out the payload.
