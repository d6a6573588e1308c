//! What follows on a failure: the same again after a while, the next table, or the end of the call. Decided here alone.
//!
//! Knows kinds of trouble and how often they came. Which kind an error is says its product (`Dialect::classify`); `run` and
//! `pool` do what is said here. Nothing is done again whose effect is not known to be undone, unless the journal can tell.

use std::time::{Duration, Instant};

use super::{
    error::{Phase, TableError},
    report::Retry,
};
use crate::{
    database::{Class, Error},
    odbc::Interrupt,
};

/// How often the same table is begun before its failure stands.
const ATTEMPTS_MAX: u32 = 5;

/// The first wait; each that follows is twice as long, up to the last.
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What follows on a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The same, after this time.
    Again(Duration),
    /// It stands; the other tables are copied.
    Next,
    /// It stands, and every other table of this connection would meet it too.
    Stop,
}

/// What is known of the circumstances of a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Circumstances {
    /// Whether the other end has been reached before in this call: then it is there, and has gone away.
    pub reached_before: bool,
    /// Whether a journal tells what became of a transaction.
    pub has_journal: bool,
}

/// The failures of one thing that is tried.
pub(super) struct Attempts {
    patience: Duration,
    failed: u32,
    first_failure: Option<Instant>,
}

impl Attempts {
    /// None yet.
    pub fn new(patience: Duration) -> Attempts {
        Attempts {
            patience,
            failed: 0,
            first_failure: None,
        }
    }

    /// Whether it has failed before.
    pub fn are_several(&self) -> bool {
        self.failed > 0
    }

    /// What follows on one more failure.
    pub fn decide(&mut self, error: &TableError, circumstances: Circumstances) -> Decision {
        self.failed += 1;
        let first_failure = *self.first_failure.get_or_insert_with(Instant::now);
        let is_patient = first_failure.elapsed() < self.patience;
        let is_few = self.failed < ATTEMPTS_MAX && !self.patience.is_zero();
        let connecting = error.phase == Phase::Connect;
        let again = match error.class {
            _ if error.end_unknown => is_few && circumstances.has_journal,
            // The server has not begun anything.
            Some(Class::NotReady) => is_patient,
            Some(Class::ConnectionLost) if connecting => is_patient && circumstances.reached_before,
            // The server takes back what a lost session has begun.
            Some(Class::ConnectionLost | Class::Conflict) => is_few,
            // One wrong password for each of three hundred tables locks the account.
            Some(Class::AccessDenied) if connecting => return Decision::Stop,
            _ => false,
        };
        match again {
            true => Decision::Again(wait(self.failed, spread())),
            false => Decision::Next,
        }
    }
}

impl Retry {
    /// What the report says of an error after which the same is tried again.
    pub(super) fn after(error: &TableError, wait: Duration) -> Retry {
        Retry {
            phase: error.phase,
            side: error.side,
            code: error.code.clone(),
            sqlstate: error.sqlstate.clone(),
            native: error.native,
            message: error.message.clone(),
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// The wait after so many failures, from 1: between half of its full length and all of it, by `spread` from 0 to 1, so that
/// many who were turned away together do not come back together.
fn wait(failed: u32, spread: f64) -> Duration {
    let full = WAIT_FIRST
        .saturating_mul(1 << failed.saturating_sub(1).min(10))
        .min(WAIT_MAX);
    full.mul_f64(0.5 + spread / 2.0)
}

/// A number from 0 to 1 that nobody else has.
fn spread() -> f64 {
    let (_, low) = uuid::Uuid::new_v4().as_u64_pair();
    (low >> 32 & 0xffff) as f64 / f64::from(0xffff)
}

/// Sleeps, unless the work is told to stop.
///
/// # Errors
/// It was.
pub(super) fn sleep(wait: Duration, interrupt: &Interrupt) -> Result<(), Error> {
    const SLICE: Duration = Duration::from_millis(50);
    let until = Instant::now() + wait;
    loop {
        if interrupt.is_raised() {
            return Err(Error::cancelled());
        }
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return Ok(()),
            left => std::thread::sleep(left.min(SLICE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::error::{Place, Side};

    const PATIENT: Duration = Duration::from_secs(60);

    fn error(phase: Phase, class: Class) -> TableError {
        let side = Side::Target;
        let mut error = *TableError::refused(Place { phase, side }, "x", String::new());
        error.class = Some(class);
        error
    }

    fn is_again(attempts: &mut Attempts, error: &TableError, circumstances: Circumstances) -> bool {
        matches!(attempts.decide(error, circumstances), Decision::Again(_))
    }

    #[test]
    fn a_table_whose_connection_was_lost_is_begun_five_times_in_all() {
        let lost = error(Phase::Write, Class::ConnectionLost);
        let mut attempts = Attempts::new(PATIENT);
        let again: Vec<bool> = (0..6)
            .map(|_| is_again(&mut attempts, &lost, Circumstances::default()))
            .collect();
        assert_eq!(again, [true, true, true, true, false, false]);
        assert!(!is_again(
            &mut Attempts::new(Duration::ZERO),
            &lost,
            Circumstances::default()
        ));
    }

    #[test]
    fn a_commit_without_an_answer_is_only_tried_again_where_the_journal_can_tell() {
        let mut lost = error(Phase::Commit, Class::ConnectionLost);
        lost.end_unknown = true;
        for has_journal in [false, true] {
            let circumstances = Circumstances {
                has_journal,
                ..Circumstances::default()
            };
            assert_eq!(is_again(&mut Attempts::new(PATIENT), &lost, circumstances), has_journal);
        }
    }

    #[test]
    fn who_was_never_reached_is_called_again_only_if_it_says_that_it_is_not_ready() {
        let never = Circumstances::default();
        let refused = error(Phase::Connect, Class::ConnectionLost);
        assert_eq!(Attempts::new(PATIENT).decide(&refused, never), Decision::Next);
        let reached = Circumstances {
            reached_before: true,
            ..never
        };
        assert!(is_again(&mut Attempts::new(PATIENT), &refused, reached));
        let mut waking = Attempts::new(PATIENT);
        let not_ready = error(Phase::Connect, Class::NotReady);
        assert!((0..20).all(|_| is_again(&mut waking, &not_ready, never)));
    }

    #[test]
    fn a_table_that_is_at_fault_itself_is_not_tried_again() {
        for class in [
            Class::Data,
            Class::Constraint,
            Class::Resources,
            Class::LockTimeout,
            Class::Cancelled,
        ] {
            let failed = error(Phase::Write, class);
            assert_eq!(
                Attempts::new(PATIENT).decide(&failed, Circumstances::default()),
                Decision::Next
            );
        }
        let denied = error(Phase::Connect, Class::AccessDenied);
        assert_eq!(
            Attempts::new(PATIENT).decide(&denied, Circumstances::default()),
            Decision::Stop
        );
    }

    #[test]
    fn waits_grow_up_to_a_bound_and_differ() {
        let waits: Vec<u128> = (1..8).map(|failed| wait(failed, 1.0).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(wait(1, 0.0).as_millis(), 100);
        assert!((0..99).all(|_| (0.0..=1.0).contains(&spread())));
    }
}
