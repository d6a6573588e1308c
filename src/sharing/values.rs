//! Values by their keys, each fetched by one of those who ask for it, for whom the others wait.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, PoisonError};

use super::client::Fetched;

/// The values, shared between threads.
#[derive(Default)]
pub(super) struct Values {
    /// `None`: somebody is fetching it.
    known: Mutex<HashMap<String, Option<Fetched>>>,
    changed: Condvar,
}

impl Values {
    /// The value, after whoever fetches it now has done so. `None`: the one who asks is to fetch it, and to [`Values::put`]
    /// what came of it.
    pub(super) fn wait_for(&self, key: &str) -> Option<String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match known.get(key) {
                Some(Some(fetched)) if fetched.holds() => return Some(fetched.value.clone()),
                Some(None) => known = self.changed.wait(known).unwrap_or_else(PoisonError::into_inner),
                _ => {
                    known.insert(key.to_owned(), None);
                    return None;
                }
            }
        }
    }

    /// Ends the waiting: with a value, or, for none, so that the next one tries.
    pub(super) fn put(&self, key: &str, fetched: Option<Fetched>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match fetched {
            Some(fetched) => known.insert(key.to_owned(), Some(fetched)),
            None => known.remove(key),
        };
        self.changed.notify_all();
    }
}
