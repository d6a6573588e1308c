//! The builtin module `_dray_start`, which a libpython in the worker gets before it starts, with two functions: one compiles
//! the entrypoint's file, the other waits until there is something to run.
//!
//! Python's own `compile` makes all classes of the syntax tree when it is called for the first time, only to see that it
//! was not given such a tree; that takes 0.7 ms, a tenth of Python's whole start, and `python main.py` does not go that
//! way either. The C function behind both is `Py_CompileString`. A hosted interpreter (see `load.rs`) has no such module,
//! and `dray._worker` then calls `compile`.
//!
//! `wait` is for a Python that is started while others still lay out what it is to run ([`Gate`]).
//!
//! Of the C API only what is in its stable ABI since 3.2 is used: `PyImport_AppendInittab`, `PyModule_Create2`,
//! `Py_CompileString`, `PyTuple_GetItem`, `PyBytes_AsString`, `PyUnicode_DecodeFSDefault`, and the layout of `PyModuleDef`
//! and `PyMethodDef` ("C API Stability" in the reference).
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

const NAME: &CStr = c"_dray_start";

/// What `_dray_start.wait()` does, once: it comes back when there is something to run, with the folder that has appeared on
/// `sys.path` meanwhile and that Python may have taken note of as missing; or it ends the process.
pub type Gate = Box<dyn FnOnce() -> CString + Send>;

/// `PYTHON_ABI_VERSION` of the stable ABI.
const ABI_VERSION: c_int = 3;

/// `Py_file_input`: a sequence of statements.
const FILE_INPUT: c_int = 257;

/// `METH_VARARGS`: the function gets its arguments as a tuple.
const ARGUMENTS_AS_TUPLE: c_int = 1;

/// A Python object; only ever passed on.
type Object = *mut c_void;
type Function = unsafe extern "C" fn(Object, Object) -> Object;

type AppendInittab = unsafe extern "C" fn(*const c_char, unsafe extern "C" fn() -> Object) -> c_int;
type CreateModule = unsafe extern "C" fn(*mut ModuleDefinition, c_int) -> Object;
type CompileString = unsafe extern "C" fn(*const c_char, *const c_char, c_int) -> Object;
type GetItem = unsafe extern "C" fn(Object, isize) -> Object;
type AsString = unsafe extern "C" fn(Object) -> *const c_char;
type DecodePath = unsafe extern "C" fn(*const c_char) -> Object;

/// The functions of the libpython that was loaded.
struct Python {
    create_module: CreateModule,
    compile_string: CompileString,
    get_item: GetItem,
    as_string: AsString,
    decode_path: DecodePath,
}

static PYTHON: OnceLock<Python> = OnceLock::new();

static GATE: Mutex<Option<Gate>> = Mutex::new(None);

/// `PyMethodDef`.
#[repr(C)]
struct MethodDefinition {
    name: *const c_char,
    function: Option<Function>,
    flags: c_int,
    doc: *const c_char,
}

/// `PyModuleDef`, with the object's head before it.
#[repr(C)]
struct ModuleDefinition {
    reference_count: isize,
    class: *mut c_void,
    init: *mut c_void,
    index: isize,
    copy: *mut c_void,
    name: *const c_char,
    doc: *const c_char,
    size: isize,
    methods: *const MethodDefinition,
    slots: *mut c_void,
    traverse: *mut c_void,
    clear: *mut c_void,
    free: *mut c_void,
}

/// Python writes to the definition while it holds its lock.
struct Shared<T>(UnsafeCell<T>);

// SAFETY: nothing but Python touches the content, and it does so on the thread that holds its lock.
unsafe impl<T> Sync for Shared<T> {}

static METHODS: Shared<[MethodDefinition; 3]> = Shared(UnsafeCell::new([
    MethodDefinition {
        name: c"compile_file".as_ptr(),
        function: Some(compile_file),
        flags: ARGUMENTS_AS_TUPLE,
        doc: c"compile_file(source: bytes, path: bytes) -> code, as `python PATH` compiles it".as_ptr(),
    },
    MethodDefinition {
        name: c"wait".as_ptr(),
        function: Some(wait),
        flags: ARGUMENTS_AS_TUPLE,
        doc: c"wait() -> str, the folder that has appeared on sys.path meanwhile".as_ptr(),
    },
    MethodDefinition {
        name: ptr::null(),
        function: None,
        flags: 0,
        doc: ptr::null(),
    },
]));

static DEFINITION: Shared<ModuleDefinition> = Shared(UnsafeCell::new(ModuleDefinition {
    reference_count: 1, // PyModuleDef_HEAD_INIT
    class: ptr::null_mut(),
    init: ptr::null_mut(),
    index: 0,
    copy: ptr::null_mut(),
    name: NAME.as_ptr(),
    doc: ptr::null(),
    size: -1, // no subinterpreter may import it
    methods: METHODS.0.get().cast(),
    slots: ptr::null_mut(),
    traverse: ptr::null_mut(),
    clear: ptr::null_mut(),
    free: ptr::null_mut(),
}));

/// Says what the module's `wait` does.
pub(super) fn set_gate(gate: Gate) {
    *GATE.lock().unwrap_or_else(PoisonError::into_inner) = Some(gate);
}

/// Adds the module to the libpython whose symbols `find` looks up, before that is initialized. Where one is lacking the
/// module is left out.
pub(super) fn add_to(find: impl Fn(&CStr) -> Option<*mut c_void>) -> Option<()> {
    // SAFETY: each symbol has the signature that the C API reference gives it.
    let (append, python) = unsafe {
        use std::mem::transmute;
        (
            transmute::<*mut c_void, AppendInittab>(find(c"PyImport_AppendInittab")?),
            Python {
                create_module: transmute::<*mut c_void, CreateModule>(find(c"PyModule_Create2")?),
                compile_string: transmute::<*mut c_void, CompileString>(find(c"Py_CompileString")?),
                get_item: transmute::<*mut c_void, GetItem>(find(c"PyTuple_GetItem")?),
                as_string: transmute::<*mut c_void, AsString>(find(c"PyBytes_AsString")?),
                decode_path: transmute::<*mut c_void, DecodePath>(find(c"PyUnicode_DecodeFSDefault")?),
            },
        )
    };
    PYTHON.set(python).ok()?;
    // SAFETY: Python is not initialized yet; name and function live as long as the process.
    (unsafe { append(NAME.as_ptr(), initialize) } == 0).then_some(())
}

/// `PyInit__dray_start`.
unsafe extern "C" fn initialize() -> Object {
    match PYTHON.get() {
        // SAFETY: called by Python, which owns the definition from here on.
        Some(python) => unsafe { (python.create_module)(DEFINITION.0.get(), ABI_VERSION) },
        None => ptr::null_mut(),
    }
}

/// `compile_file(source, path)`; `source` without a NUL in it.
unsafe extern "C" fn compile_file(_module: Object, arguments: Object) -> Object {
    let Some(python) = PYTHON.get() else {
        return ptr::null_mut();
    };
    // SAFETY: `arguments` is a tuple. Each call gives null with an exception set if something is not as it should be.
    unsafe {
        let text = |index| {
            let item = (python.get_item)(arguments, index);
            if item.is_null() {
                ptr::null()
            } else {
                (python.as_string)(item)
            }
        };
        let (source, path) = (text(0), text(1));
        if source.is_null() || path.is_null() {
            return ptr::null_mut();
        }
        (python.compile_string)(source, path, FILE_INPUT)
    }
}

/// `wait()`; to be called once.
unsafe extern "C" fn wait(_module: Object, _arguments: Object) -> Object {
    let gate = GATE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let appeared = gate.map(|gate| gate()).unwrap_or_default();
    match PYTHON.get() {
        // SAFETY: the text ends with NUL. Null, with an exception set, if it has no form in Python.
        Some(python) => unsafe { (python.decode_path)(appeared.as_ptr()) },
        None => ptr::null_mut(),
    }
}
