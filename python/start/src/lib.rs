//! The module `dray._start`, whose one function compiles the entrypoint's file.
//!
//! Python's own `compile` makes all classes of the syntax tree when it is called for the first time, only to see that it
//! was not given such a tree; that takes 1.2 ms, a tenth of Python's whole start, and `python main.py` does not go that
//! way either. The C function behind both is `Py_CompileString`, which no other module of Python hands on. The native
//! module would, but takes as long to load; hence a library of its own, which knows nothing else of dray.
//!
//! What it takes of Python's stable ABI (PEP 384) is declared here: a crate that declares all of it needs the standard
//! library, whose ways to tell of a panic would be 300 of 305 KB, and two libraries more to load. `make dist` builds it
//! without, for which panics have to abort; there is none in here.
#![cfg_attr(panic = "abort", no_std)]
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int, c_void};
use core::ptr;

/// An object of Python's, of which nothing is known here.
#[repr(C)]
pub struct PyObject {
    _opaque: [u8; 0],
}

type PyCFunction = unsafe extern "C" fn(module: *mut PyObject, arguments: *mut PyObject) -> *mut PyObject;

/// A function of a module, see "Common Object Structures" of Python's C API.
#[repr(C)]
struct PyMethodDef {
    ml_name: *const c_char,
    ml_meth: Option<PyCFunction>,
    ml_flags: c_int,
    ml_doc: *const c_char,
}

/// What a module is made from, see "Module Objects"; `PyModuleDef_Base` and the head of an object in it are written out.
#[repr(C)]
struct PyModuleDef {
    ob_refcnt: isize,
    ob_type: *mut PyObject,
    m_init: *mut c_void,
    m_index: isize,
    m_copy: *mut PyObject,
    m_name: *const c_char,
    m_doc: *const c_char,
    m_size: isize,
    m_methods: *mut PyMethodDef,
    m_slots: *mut c_void,
    m_traverse: *mut c_void,
    m_clear: *mut c_void,
    m_free: *mut c_void,
}

/// The arguments come as a tuple.
const METH_VARARGS: c_int = 0x0001;
/// `Py_file_input`: a file is compiled, and not an expression or a line.
const PY_FILE_INPUT: c_int = 257;
/// `PYTHON_ABI_VERSION`.
const PYTHON_ABI_VERSION: c_int = 3;

unsafe extern "C" {
    fn PyBytes_AsString(bytes: *mut PyObject) -> *mut c_char;
    fn PyModule_Create2(definition: *mut PyModuleDef, api_version: c_int) -> *mut PyObject;
    fn PyTuple_GetItem(tuple: *mut PyObject, position: isize) -> *mut PyObject;
    fn Py_CompileString(source: *const c_char, path: *const c_char, start: c_int) -> *mut PyObject;
}

/// What Python keeps, and writes to while it holds its lock.
struct Kept<T>(UnsafeCell<T>);

// SAFETY: nothing but Python touches the content, on the thread that holds its lock.
unsafe impl<T> Sync for Kept<T> {}

static METHODS: Kept<[PyMethodDef; 2]> = Kept(UnsafeCell::new([
    PyMethodDef {
        ml_name: c"compile_file".as_ptr(),
        ml_meth: Some(compile_file),
        ml_flags: METH_VARARGS,
        ml_doc: c"compile_file(source: bytes, path: bytes) -> code, as `python PATH` compiles it".as_ptr(),
    },
    // The end of the list.
    PyMethodDef {
        ml_name: ptr::null(),
        ml_meth: None,
        ml_flags: 0,
        ml_doc: ptr::null(),
    },
]));

static DEFINITION: Kept<PyModuleDef> = Kept(UnsafeCell::new(PyModuleDef {
    ob_refcnt: 1,
    ob_type: ptr::null_mut(),
    m_init: ptr::null_mut(),
    m_index: 0,
    m_copy: ptr::null_mut(),
    m_name: c"dray._start".as_ptr(),
    m_doc: ptr::null(),
    m_size: -1, // no subinterpreter may import it
    m_methods: METHODS.0.get().cast(),
    m_slots: ptr::null_mut(),
    m_traverse: ptr::null_mut(),
    m_clear: ptr::null_mut(),
    m_free: ptr::null_mut(),
}));

/// Makes the module, when Python imports it.
///
/// # Safety
/// To be called by Python alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit__start() -> *mut PyObject {
    // SAFETY: the definition lives as long as the process, and is Python's from here on.
    unsafe { PyModule_Create2(DEFINITION.0.get(), PYTHON_ABI_VERSION) }
}

/// `compile_file(source, path)`; `source` has no NUL in it, at which the C function would stop reading.
unsafe extern "C" fn compile_file(_module: *mut PyObject, arguments: *mut PyObject) -> *mut PyObject {
    // SAFETY: `arguments` is a tuple. Each call gives null with an exception set if something is not as it should be, and
    // the texts live as long as the tuple.
    unsafe {
        let text = |position| match PyTuple_GetItem(arguments, position) {
            item if item.is_null() => ptr::null_mut(),
            item => PyBytes_AsString(item),
        };
        let (source, path) = (text(0), text(1));
        if source.is_null() || path.is_null() {
            return ptr::null_mut();
        }
        Py_CompileString(source, path, PY_FILE_INPUT)
    }
}

/// Never called, but asked for where there is no standard library.
#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        safe fn abort() -> !;
    }
    abort()
}
