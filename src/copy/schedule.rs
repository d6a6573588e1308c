//! Which table is next, when several are copied at once: the largest, so that the last worker does not sit with it.
//!
//! Knows numbers of tables, their sizes and which wait for which, and nothing of what is done with them.

use std::{
    cmp::{Ordering, Reverse},
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// What a table of unknown size counts for: more than any that is known, for it may be the largest.
const UNKNOWN_BYTES: u128 = 1 << 64;

/// The tables of a call, in the order of the request; each is handed out once, after all that it waits for have ended.
pub(super) struct Schedule {
    /// For each table, earlier ones.
    waits_for: Vec<Vec<usize>>,
    /// All tables, in the order in which they are handed out if none has to wait.
    order: Vec<usize>,
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
    /// The table's place in the request, from 0.
    pub index: usize,
}

impl Schedule {
    /// In the order of their `ranks`. Of two tables in `conflicts` the later one waits for the earlier.
    pub fn new(ranks: &[usize], conflicts: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut waits_for = vec![Vec::new(); ranks.len()];
        for (one, other) in conflicts {
            let (Some(rank), Some(other_rank)) = (ranks.get(one), ranks.get(other)) else {
                continue;
            };
            match rank.cmp(other_rank) {
                Ordering::Less => waits_for[other].push(one),
                Ordering::Greater => waits_for[one].push(other),
                Ordering::Equal => {}
            }
        }
        let mut order: Vec<usize> = (0..ranks.len()).collect();
        order.sort_by_key(|table| ranks[*table]);
        Schedule {
            waits_for,
            order,
            progress: Mutex::new(vec![Progress::Waiting; ranks.len()]),
            changed: Condvar::new(),
        }
    }

    /// Orders the tables by their bytes, the largest first, and those of which they are not known before all others. One that
    /// others wait for counts as much as the longest line behind it. Among equals the order of the request stays.
    pub fn largest_first(mut self, bytes: &[Option<u64>]) -> Self {
        let mut line = vec![0; self.waits_for.len()];
        for index in self.order.iter().copied().rev() {
            line[index] += bytes.get(index).copied().flatten().map_or(UNKNOWN_BYTES, u128::from);
            for earlier in &self.waits_for[index] {
                line[*earlier] = line[*earlier].max(line[index]);
            }
        }
        self.order.sort_by_key(|index| Reverse(line[*index]));
        self
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
            if let Some(index) = self.order.iter().copied().find(free) {
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

    /// The order in which one worker gets them.
    fn order(schedule: &Schedule) -> Vec<usize> {
        std::iter::from_fn(|| schedule.next(|| false).map(|turn| turn.index)).collect()
    }

    #[test]
    fn tables_come_in_order_and_after_those_they_wait_for() {
        let schedule = Schedule::new(&[0, 1, 2, 3], [(1, 0)]);
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
    fn the_largest_comes_first_and_of_those_that_are_equal_the_one_named_first() {
        let schedule = Schedule::new(&[0, 1, 2, 3], []).largest_first(&[Some(1), Some(5), Some(9), Some(5)]);
        assert_eq!(order(&schedule), [2, 1, 3, 0]);
    }

    #[test]
    fn what_may_be_the_largest_comes_before_all_others() {
        let schedule = Schedule::new(&[0, 1, 2], []).largest_first(&[Some(u64::MAX), None, None]);
        assert_eq!(order(&schedule), [1, 2, 0]);
    }

    #[test]
    fn a_small_table_that_large_ones_wait_for_comes_before_one_of_middle_size() {
        let schedule =
            Schedule::new(&[0, 1, 2, 3], [(1, 2), (2, 3)]).largest_first(&[Some(50), Some(1), Some(2), Some(60)]);
        assert_eq!(order(&schedule), [1, 2, 3, 0]);
    }

    #[test]
    fn a_large_table_does_not_pass_the_one_it_waits_for() {
        let schedule = Schedule::new(&[0, 1, 2], [(2, 0)]).largest_first(&[Some(1), Some(5), Some(9)]);
        let first = schedule.next(|| false).unwrap();
        let second = schedule.next(|| false).unwrap();
        assert_eq!((first.index, second.index), (0, 1));
        drop(first);
        assert_eq!(order(&schedule), [2]);
    }

    #[test]
    fn the_order_is_that_of_the_ranks_and_who_comes_later_waits() {
        let schedule = Schedule::new(&[2, 0, 1], [(0, 1), (1, 2), (0, 2)]);
        assert_eq!(order(&schedule), [1, 2, 0]);
        let schedule = Schedule::new(&[1, 0], [(0, 1)]).largest_first(&[Some(9), Some(1)]);
        assert_eq!(order(&schedule), [1, 0]);
    }

    #[test]
    fn who_waits_for_the_last_table_goes_on_when_it_has_ended() {
        let schedule = Schedule::new(&[0, 1], [(0, 1)]);
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
        assert!(Schedule::new(&[0], []).next(|| true).is_none());
    }
}
