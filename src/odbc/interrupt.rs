//! Stopping what runs in a driver, from another thread.

#![allow(unsafe_code)]

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicBool, Ordering},
};

use odbc_sys::{HStmt, SQLCancel};

use super::Error;

/// Shared by the sessions of one piece of work; raised once, by any thread.
///
/// A call that is about to start after it was raised is not made; one that runs is cancelled at the server through
/// `SQLCancel`. Rolling back is not stopped by it.
#[derive(Clone, Default)]
pub struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    raised: AtomicBool,
    running: Mutex<Vec<Running>>,
    actions: Mutex<Vec<Weak<Action>>>,
    parent: Option<Interrupt>,
}

struct Running(HStmt);

/// What stops a piece of work that no ODBC statement stands for; see [`Interrupt::on_raise`].
type Action = dyn Fn() + Send + Sync;

/// While it lives, its action is run whenever the interrupt is raised.
#[must_use]
pub struct OnRaise(
    #[expect(dead_code, reason = "it is kept alive, and only seen through weak references")] Arc<Action>,
);

// SAFETY: the handle is used from other threads for SQLCancel alone, which ODBC allows at any time, and only while the
// list holds it, that is while its owner is inside a call and so cannot free it.
unsafe impl Send for Running {}

impl Interrupt {
    /// Not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Not raised itself, and raised whenever this one is: for a part of the work that can be stopped alone.
    pub fn child(&self) -> Self {
        Interrupt {
            shared: Arc::new(Shared {
                parent: Some(self.clone()),
                ..Shared::default()
            }),
        }
    }

    /// Whether the work is to stop.
    pub fn is_raised(&self) -> bool {
        self.shared.raised.load(Ordering::Acquire) || self.shared.parent.as_ref().is_some_and(Interrupt::is_raised)
    }

    /// Tells the work to stop, and cancels what runs.
    ///
    /// To be called again, about every 100 ms, until the work has ended: a driver drops a cancel that arrives just
    /// before its statement does.
    pub fn raise(&self) {
        self.shared.raised.store(true, Ordering::Release);
        let running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        for statement in running.iter() {
            // SAFETY: see `Running`; the lock keeps the owner from leaving its call's registration meanwhile.
            let _ = unsafe { SQLCancel(statement.0) };
        }
        drop(running);
        let actions: Vec<_> = {
            let mut actions = self.shared.actions.lock().unwrap_or_else(PoisonError::into_inner);
            actions.retain(|action| action.strong_count() > 0);
            actions.iter().filter_map(Weak::upgrade).collect()
        };
        actions.iter().for_each(|action| action());
    }

    /// Has `action` run each time this interrupt or its parent is raised, until what is returned is dropped; at once if
    /// it is raised already. The action must not block, may run several times, on any thread, and once more while it is
    /// being dropped.
    pub fn on_raise(&self, action: impl Fn() + Send + Sync + 'static) -> OnRaise {
        let action: Arc<Action> = Arc::new(action);
        let mut interrupt = Some(self);
        while let Some(at) = interrupt {
            let mut actions = at.shared.actions.lock().unwrap_or_else(PoisonError::into_inner);
            actions.retain(|action| action.strong_count() > 0);
            actions.push(Arc::downgrade(&action));
            interrupt = at.shared.parent.as_ref();
        }
        if self.is_raised() {
            action();
        }
        OnRaise(action)
    }

    /// Makes a driver's call that may take long; other threads can cancel it.
    pub(super) fn watch<T>(&self, statement: HStmt, call: impl FnOnce() -> T) -> Result<T, Error> {
        self.enter(statement);
        // Looked at after it can be cancelled: one or the other always happens.
        let result = if self.is_raised() {
            Err(Error::Cancelled)
        } else {
            Ok(call())
        };
        self.leave(statement);
        result
    }

    fn enter(&self, statement: HStmt) {
        self.shared
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Running(statement));
        self.shared.parent.iter().for_each(|parent| parent.enter(statement));
    }

    fn leave(&self, statement: HStmt) {
        self.shared
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| other.0 != statement);
        self.shared.parent.iter().for_each(|parent| parent.leave(statement));
    }
}
