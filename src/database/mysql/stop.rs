//! Stopping a connection's call from another thread: `KILL QUERY` on a second connection, and after a second the end of
//! the socket, so that a call never outlives an interrupt for long.

#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_ulong},
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    connect,
    libmariadb::{Library, Mysql, option},
    settings::{OptionValue, Settings},
};

/// How long the server has to answer a `KILL QUERY`, before the socket is ended.
const KILL_PATIENCE: Duration = Duration::from_millis(1_000);

/// How long the rest of a row that the library did not take has to arrive.
const REST_PATIENCE_MS: c_int = 1_000;

/// What other threads need to stop a call.
pub(super) struct Stop {
    library: Library,
    settings: Settings,
    state: Mutex<StopState>,
}

#[derive(Default)]
struct StopState {
    /// The connection's socket, by a descriptor of our own: the library's may be another file's by now.
    socket: Option<OwnedFd>,
    connection_id: u64,
    in_call: bool,
    told_at: Option<Instant>,
    killer: Option<thread::JoinHandle<()>>,
}

impl Stop {
    /// For an open connection that was made with these settings.
    pub(super) fn of(library: Library, settings: Settings, handle: Mysql) -> Arc<Stop> {
        // SAFETY: an open connection; its descriptor is open for as long as this takes.
        let socket = library
            .get_socket
            .and_then(|get_socket| unsafe { BorrowedFd::borrow_raw(get_socket(handle)).try_clone_to_owned().ok() });
        let state = StopState {
            socket,
            // SAFETY: an open connection.
            connection_id: unsafe { (library.thread_id)(handle) },
            ..StopState::default()
        };
        Arc::new(Stop {
            library,
            settings,
            state: Mutex::new(state),
        })
    }

    /// Whether there is a call that may be stopped.
    pub(super) fn set_in_call(&self, in_call: bool) {
        self.state().in_call = in_call;
    }

    /// Waits for a kill that is under way, which must not hit what comes next.
    pub(super) fn settle(&self) {
        let killer = {
            let mut state = self.state();
            state.told_at = None;
            state.killer.take()
        };
        if let Some(killer) = killer {
            let _ = killer.join();
        }
    }

    /// Ends the connection for both sides; where its socket is not known, its statement.
    pub(super) fn abandon(&self) {
        let state = self.state();
        match &state.socket {
            Some(socket) => end(socket),
            None => self.kill_query(state.connection_id),
        }
    }

    /// Ends the socket for this side too as soon as the server has ended it, for as long as what is returned is there.
    ///
    /// The library waits without a limit until there is room for what it sends, and not for the end of the connection: of a
    /// session that was killed under `LOAD DATA` it heard by the kernel alone, after 107 s (MariaDB 10.11, Connector/C 3.3).
    pub(super) fn watch_for_end(&self) -> Option<EndWatch> {
        let socket = self.state().socket.as_ref()?.try_clone().ok()?;
        let (waiting, working) = io::pipe().ok()?;
        let watch = thread::Builder::new().name("dray-line".to_owned());
        let thread = watch.spawn(move || end_with_server(&socket, &waiting)).ok()?;
        Some(EndWatch {
            working: Some(working),
            thread: Some(thread),
        })
    }

    /// Whether the server still sends, so that it was the library that ended the connection.
    pub(super) fn is_still_sending(&self) -> bool {
        self.state().socket.as_ref().is_some_and(has_bytes)
    }

    fn state(&self) -> MutexGuard<'_, StopState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the server end the statement that runs; called again and again, it ends the socket once the server was given
    /// its time. Does not block.
    pub(super) fn tell(self: &Arc<Self>) {
        let mut state = self.state();
        if !state.in_call {
            return;
        }
        match state.told_at {
            None => {
                state.told_at = Some(Instant::now());
                let stop = Arc::clone(self);
                let id = state.connection_id;
                let killer = thread::Builder::new().name("dray-kill".to_owned());
                state.killer = killer.spawn(move || stop.kill_query(id)).ok();
            }
            Some(at) if at.elapsed() >= KILL_PATIENCE => state.socket.iter().for_each(end),
            Some(_) => {}
        }
    }

    /// On a connection of its own: the running statement's is busy. What goes wrong here has the end of the socket after it.
    fn kill_query(&self, connection_id: u64) {
        let mut settings = self.settings.clone();
        let quick = [option::CONNECT_TIMEOUT, option::READ_TIMEOUT, option::WRITE_TIMEOUT];
        settings
            .options
            .retain(|(number, _)| !quick.contains(number) && *number != option::INIT_COMMAND);
        settings
            .options
            .extend(quick.map(|number| (number, OptionValue::Number(1))));
        let Ok(handle) = connect::open(self.library, &settings) else {
            return;
        };
        let sql = format!("KILL QUERY {connection_id}");
        // SAFETY: a connection that nobody else has; the text is as long as its length says.
        unsafe {
            (self.library.real_query)(handle.0, sql.as_ptr().cast(), sql.len() as c_ulong);
            (self.library.close)(handle.0);
        }
    }
}

/// Watches over a connection until it is dropped: [`Stop::watch_for_end`].
pub(super) struct EndWatch {
    /// Its end tells the thread that the call is over.
    working: Option<PipeWriter>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for EndWatch {
    fn drop(&mut self) {
        self.working = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for the server's end of the connection or for the call's, whichever comes first.
fn end_with_server(socket: &OwnedFd, call: &PipeReader) {
    let of = |fd, events| libc::pollfd { fd, events, revents: 0 };
    let mut waiting = [
        of(socket.as_raw_fd(), libc::POLLRDHUP),
        of(call.as_raw_fd(), libc::POLLIN),
    ];
    loop {
        // SAFETY: two elements, whose descriptors are open.
        let ready = unsafe { libc::poll(waiting.as_mut_ptr(), 2, -1) };
        if ready > 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
    if waiting[0].revents != 0 {
        // What the server has said before stays to be read.
        // SAFETY: an open descriptor.
        unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) };
    }
}

/// Whoever waits for the socket gets an error at once.
fn end(socket: &OwnedFd) {
    // SAFETY: an open descriptor.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

/// Whether bytes are there or come soon; they are left where they are.
fn has_bytes(socket: &OwnedFd) -> bool {
    let mut waiting = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut byte = 0_u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: an open descriptor, one element, and room for one byte.
    unsafe {
        libc::poll(&raw mut waiting, 1, REST_PATIENCE_MS) == 1
            && libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, flags) == 1
    }
}
