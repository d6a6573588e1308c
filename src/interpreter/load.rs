//! Gets Python into the worker's process: the only place that opens a libpython.
//!
//! The executable links no libpython. It is opened with all its symbols global, because extension modules do not link
//! it either and find Python's symbols in the process (CPython bpo-21536). The native module is not opened here: Python
//! imports it where it is first needed, and keeps it local, as it must be: it carries a driver manager whose symbols must
//! not answer for another one's. (The worker used to open it first, and to enter Python through it; that cost every
//! start 1.1 ms of 16, and most small scripts never need it.)
//!
//! Foreign interfaces used: `dlopen` of libc, `Py_GetVersion` (may be called before initialization, "Python
//! Initialization" in the C API reference), and `Py_BytesMain` ("The Very High Level Layer", same place).
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use nix::sys::signal::{SigHandler, Signal};

use super::{Interpreter, InterpreterError};

/// The main function of the `python` command, in every libpython from 3.8 on.
const MAIN: &CStr = c"Py_BytesMain";

/// Lazy, as the dynamic loader itself would bind it: most of its functions are never called in a run (0.08 of 0.73 ms).
const FLAGS: c_int = libc::RTLD_LAZY | libc::RTLD_GLOBAL;

type GetVersion = unsafe extern "C" fn() -> *const c_char;
type BytesMain = unsafe extern "C" fn(argc: c_int, argv: *mut *mut c_char) -> c_int;

/// Runs the main function of the interpreter's `library` in this process, with `arguments` behind the interpreter's own
/// path as its command line, so that its virtual environment, `sys.executable` and `site` behave as under it.
///
/// Returns what `python` would exit with. The interpreter has been finalized then, and the process has no other use
/// than to end. Python ends the process itself in some cases (an unhandled KeyboardInterrupt: by SIGINT, as `python`
/// does).
///
/// Where the library cannot be opened or is of another build after all, this process becomes the interpreter instead
/// ([`command_of`]), with a warning, unless the library is `required` ([`super::Loading::Library`]).
///
/// Must be called from the main thread, and before any other thread is started: Python takes the calling thread for its
/// main thread.
pub fn run_python(
    interpreter: &Interpreter,
    library: &Path,
    required: bool,
    arguments: Vec<CString>,
) -> Result<i32, InterpreterError> {
    let (executable, argv) = command_of(interpreter, arguments);
    match load(interpreter, library) {
        Ok(main) => Ok(enter(main, argv)),
        Err(error) if required => Err(error),
        Err(error) => {
            tracing::warn!(event = "interpreter.hosted", reason = %error);
            let errno = match nix::unistd::execv(&executable, &argv) {
                Ok(never) => match never {},
                Err(errno) => errno,
            };
            Err(not_started(interpreter, errno.into()))
        }
    }
}

/// The program that the interpreter is, and its command line: `arguments` behind its own path.
pub fn command_of(interpreter: &Interpreter, mut arguments: Vec<CString>) -> (CString, Vec<CString>) {
    let executable = c_path(&interpreter.executable);
    arguments.insert(0, executable.clone());
    (executable, arguments)
}

/// The error where that program was not to be had.
pub fn not_started(interpreter: &Interpreter, source: io::Error) -> InterpreterError {
    InterpreterError::Start {
        executable: interpreter.executable.clone(),
        source,
    }
}

/// Opens a libpython that [`run_python`] will most likely be told to use, which is then half done. A failure is told
/// there.
pub fn preload(library: &Path) {
    let _ = open(library, FLAGS);
}

/// Opens libpython, and gives its main function.
fn load(interpreter: &Interpreter, library: &Path) -> Result<BytesMain, InterpreterError> {
    let failed = |cause: String| InterpreterError::Load {
        path: library.to_owned(),
        cause,
    };
    let python = open(library, FLAGS).map_err(failed)?;
    let get_version = symbol(python, c"Py_GetVersion").map_err(failed)?;
    // SAFETY: the symbol is `const char *Py_GetVersion(void)` in every version of the C API.
    let get_version = unsafe { std::mem::transmute::<*mut c_void, GetVersion>(get_version) };
    // SAFETY: it may be called before initialization, and returns a static string.
    let found = unsafe { CStr::from_ptr(get_version()) }.to_string_lossy();
    if found != interpreter.version_text {
        return Err(InterpreterError::OtherBuild {
            library: library.to_owned(),
            found: one_line(&found),
            executable: interpreter.executable.clone(),
            needed: one_line(&interpreter.version_text),
        });
    }
    let main = symbol(python, MAIN).map_err(failed)?;
    // SAFETY: the symbol is `int Py_BytesMain(int argc, char **argv)` in every version of the C API from 3.8 on.
    Ok(unsafe { std::mem::transmute::<*mut c_void, BytesMain>(main) })
}

fn enter(main: BytesMain, argv: Vec<CString>) -> i32 {
    // Rust's runtime has handlers for them, by which it tells of an overflow of its own stacks. In an interpreter's process
    // there are none, and `signal.getsignal` would be None.
    for signal in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: the default action is no code of this process.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    }
    let argc = c_int::try_from(argv.len()).unwrap_or(c_int::MAX); // the kernel limits it far below
    // The strings stay for the life of the process, as those of a real command line do.
    let mut pointers: Vec<*mut c_char> = argv.into_iter().map(CString::into_raw).collect();
    pointers.push(ptr::null_mut());
    let pointers = pointers.leak();
    // SAFETY: `argc` strings that end with NUL, and a null pointer after them, all valid until the process ends; libpython
    // is loaded and was not initialized before.
    unsafe { main(argc, pointers.as_mut_ptr()) }
}

fn open(path: &Path, flags: c_int) -> Result<*mut c_void, String> {
    let path = c_path(path);
    // SAFETY: `path` is a string that ends with NUL. The constructors that run are those of a libpython.
    let handle = unsafe { libc::dlopen(path.as_ptr(), flags) };
    if handle.is_null() {
        Err(last_error())
    } else {
        Ok(handle)
    }
}

fn symbol(library: *mut c_void, name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: `library` came from dlopen and is never closed; `name` ends with NUL.
    let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
    if symbol.is_null() {
        Err(last_error())
    } else {
        Ok(symbol)
    }
}

fn last_error() -> String {
    // SAFETY: dlerror returns null or a string that is valid until the thread's next call of the dynamic loader.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return "the dynamic loader gives no reason".to_owned();
    }
    // SAFETY: as above, not null.
    unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
}

/// A path that came from the system has no NUL in it.
fn c_path(path: &Path) -> CString {
    let bytes: Vec<u8> = path
        .as_os_str()
        .as_bytes()
        .iter()
        .copied()
        .filter(|byte| *byte != 0)
        .collect();
    CString::new(bytes).unwrap_or_default()
}

fn one_line(version: &str) -> String {
    version.split_whitespace().collect::<Vec<_>>().join(" ")
}
