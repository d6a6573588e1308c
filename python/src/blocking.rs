//! Work that may block runs on a thread of its own; the calling thread stays open to signals.
//!
//! Python runs a signal's handler on the main thread, between two bytecodes. A native function that blocks is none, so
//! it has to ask: here at least every 50 ms. What the handler raises stops the work, and goes on to the caller once the
//! work has ended and rolled back.

use std::{
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use dray::odbc::Interrupt;
use pyo3::{exceptions::PyRuntimeError, prelude::*};

/// How long a signal may wait.
const POLL: Duration = Duration::from_millis(50);

/// A message from the work to the calling thread.
enum Message<M, T> {
    Note(M),
    Done(T),
}

/// Runs `work` without the GIL on another thread and returns what it returns, or at once the exception of a signal's
/// handler: for what waits for the network and leaves nothing half done. The thread then goes on to its end, unheard.
///
/// # Errors
/// That exception; or a `RuntimeError` if the work has panicked.
pub fn abandonable<T: Send + 'static>(py: Python<'_>, work: impl FnOnce() -> T + Send + 'static) -> PyResult<T> {
    let (sender, mut receiver) = channel();
    thread::Builder::new()
        .name("dray-work".to_owned())
        .spawn(move || drop(sender.send(work())))
        .map_err(|error| PyRuntimeError::new_err(format!("no thread to work with: {error}")))?;
    loop {
        let receiver = &mut receiver;
        match py.detach(move || receiver.recv_timeout(POLL)) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("dray's worker thread has panicked"));
            }
        }
    }
}

/// Runs `work` without the GIL on another thread and returns what it returns.
///
/// `work` may send notes, which `note` takes on the calling thread with the GIL. An exception of a signal's handler, or
/// of `note`, raises the interrupt; it is returned after the work has ended.
///
/// # Errors
/// That exception; or a `RuntimeError` if the work has panicked.
pub fn run<M: Send, T: Send>(
    py: Python<'_>,
    interrupt: &Interrupt,
    work: impl FnOnce(&dyn Fn(M)) -> T + Send,
    mut note: impl FnMut(M) -> PyResult<()>,
) -> PyResult<T> {
    let (sender, mut receiver) = channel::<Message<M, T>>();
    thread::scope(|scope| {
        let spawned = thread::Builder::new()
            .name("dray-work".to_owned())
            .spawn_scoped(scope, move || {
                let notes = sender.clone();
                // The receiver lives until the thread has ended.
                let done = work(&move |message| drop(notes.send(Message::Note(message))));
                drop(sender.send(Message::Done(done)));
            });
        if let Err(error) = spawned {
            return Err(PyRuntimeError::new_err(format!("no thread to work with: {error}")));
        }
        let mut raised: Option<PyErr> = None;
        loop {
            let receiver = &mut receiver;
            let stop = raised.is_some().then_some(interrupt);
            let received = py.detach(move || {
                // Cancelling speaks to the server on some drivers, so it is done without the GIL as well.
                stop.into_iter().for_each(Interrupt::raise);
                receiver.recv_timeout(POLL)
            });
            let result = match received {
                Ok(Message::Done(done)) => return raised.map_or(Ok(done), Err),
                Ok(Message::Note(message)) => note(message),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(raised.unwrap_or_else(|| PyRuntimeError::new_err("dray's worker thread has panicked")));
                }
            };
            if raised.is_none() {
                raised = result.and_then(|()| py.check_signals()).err();
            }
        }
    })
}
