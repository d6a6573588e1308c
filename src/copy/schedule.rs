//! Which table is next, when several are copied at once.
//!
//! Knows numbers of tables and which wait for which, and nothing of what is done with them.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// The tables of a call, in order; each is handed out once, after all that it waits for have ended.
pub(super) struct Schedule {
    /// For each table, earlier ones.
    waits_for: Vec<Vec<usize>>,
    progress: Mutex<Vec<Progress>>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    Begun,
    Ended,
}

/// A table that was handed out; it has ended when this is dropped.
pub(super) struct Turn<'a> {
    schedule: &'a Schedule,
    /// The table's place in the order, from 0.
    pub index: usize,
}

impl Schedule {
    /// A table waits for those earlier ones that `conflict` with it, given the earlier and the later.
    pub fn new(tables: usize, conflict: impl Fn(usize, usize) -> bool) -> Self {
        let earlier = |later: usize| (0..later).filter(|earlier| conflict(*earlier, later)).collect();
        Schedule {
            waits_for: (0..tables).map(earlier).collect(),
            progress: Mutex::new(vec![Progress::Waiting; tables]),
            changed: Condvar::new(),
        }
    }

    /// Whether a table waits for no other.
    pub fn is_free(&self, index: usize) -> bool {
        self.waits_for[index].is_empty()
    }

    /// The next table; `None` when all are handed out, or once `stop` says so. Waits if the tables that are left wait
    /// for others.
    pub fn next(&self, stop: impl Fn() -> bool) -> Option<Turn<'_>> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if stop() || !progress.contains(&Progress::Waiting) {
                return None;
            }
            let free = |index: &usize| {
                let ended = |earlier: &usize| progress[*earlier] == Progress::Ended;
                progress[*index] == Progress::Waiting && self.waits_for[*index].iter().all(ended)
            };
            if let Some(index) = (0..progress.len()).find(free) {
                progress[index] = Progress::Begun;
                return Some(Turn { schedule: self, index });
            }
            let waited = self.changed.wait_timeout(progress, Duration::from_millis(100));
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut progress = self.schedule.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress[self.index] = Progress::Ended;
        drop(progress);
        self.schedule.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_in_order_and_after_those_they_wait_for() {
        let schedule = Schedule::new(4, |earlier, later| (earlier, later) == (0, 1));
        let go_on = || false;
        let first = schedule.next(go_on).unwrap();
        let second = schedule.next(go_on).unwrap();
        assert_eq!((first.index, second.index), (0, 2));
        drop(first);
        let third = schedule.next(go_on).unwrap();
        let fourth = schedule.next(go_on).unwrap();
        assert_eq!((third.index, fourth.index), (1, 3));
        assert!(schedule.next(go_on).is_none());
    }

    #[test]
    fn who_waits_for_the_last_table_goes_on_when_it_has_ended() {
        let schedule = Schedule::new(2, |_, _| true);
        let first = schedule.next(|| false).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| schedule.next(|| false).map(|turn| turn.index));
            drop(first);
            assert_eq!(waiting.join().unwrap(), Some(1));
        });
        assert!(schedule.next(|| false).is_none());
    }

    #[test]
    fn nothing_is_handed_out_after_a_stop() {
        assert!(Schedule::new(1, |_, _| false).next(|| true).is_none());
    }
}
