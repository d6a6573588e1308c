"""dray: the activity, its connections, its outputs, and an exact table copy."""
