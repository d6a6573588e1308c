//! What ADF handed over: activity.json, linkedServices.json, datasets.json, and the secrets in them.
