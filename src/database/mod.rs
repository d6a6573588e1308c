//! One folder a product: its dialect and its lanes.
