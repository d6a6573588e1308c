//! The module `dray._start`, whose one function compiles the entrypoint's file.
//!
//! Python's own `compile` makes all classes of the syntax tree when it is called for the first time, only to see that it
//! was not given such a tree; that takes 1.2 ms, a tenth of Python's whole start, and `python main.py` does not go that
//! way either. The C function behind both is `Py_CompileString`, which no other module of Python hands on. The native
//! module would, but takes as long to load; hence a library of its own, which knows nothing else of dray.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::ptr;

use pyo3_ffi::{
    METH_VARARGS, Py_CompileString, Py_file_input, PyBytes_AsString, PyMethodDef, PyMethodDefPointer, PyModule_Create,
    PyModuleDef, PyModuleDef_HEAD_INIT, PyObject, PyTuple_GetItem,
};

/// What Python keeps, and writes to while it holds its lock.
struct Kept<T>(UnsafeCell<T>);

// SAFETY: nothing but Python touches the content, on the thread that holds its lock.
unsafe impl<T> Sync for Kept<T> {}

static METHODS: Kept<[PyMethodDef; 2]> = Kept(UnsafeCell::new([
    PyMethodDef {
        ml_name: c"compile_file".as_ptr(),
        ml_meth: PyMethodDefPointer {
            PyCFunction: compile_file,
        },
        ml_flags: METH_VARARGS,
        ml_doc: c"compile_file(source: bytes, path: bytes) -> code, as `python PATH` compiles it".as_ptr(),
    },
    PyMethodDef::zeroed(),
]));

static DEFINITION: Kept<PyModuleDef> = Kept(UnsafeCell::new(PyModuleDef {
    m_base: PyModuleDef_HEAD_INIT,
    m_name: c"dray._start".as_ptr(),
    m_doc: ptr::null(),
    m_size: -1, // no subinterpreter may import it
    m_methods: METHODS.0.get().cast(),
    m_slots: ptr::null_mut(),
    m_traverse: None,
    m_clear: None,
    m_free: None,
}));

/// Makes the module, when Python imports it.
///
/// # Safety
/// To be called by Python alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit__start() -> *mut PyObject {
    // SAFETY: the definition lives as long as the process, and is Python's from here on.
    unsafe { PyModule_Create(DEFINITION.0.get()) }
}

/// `compile_file(source, path)`; `source` has no NUL in it, at which the C function would stop reading.
unsafe extern "C" fn compile_file(_module: *mut PyObject, arguments: *mut PyObject) -> *mut PyObject {
    // SAFETY: `arguments` is a tuple. Each call gives null with an exception set if something is not as it should be, and
    // the texts live as long as the tuple.
    unsafe {
        let text = |index| match PyTuple_GetItem(arguments, index) {
            item if item.is_null() => ptr::null_mut(),
            item => PyBytes_AsString(item),
        };
        let (source, path) = (text(0), text(1));
        if source.is_null() || path.is_null() {
            return ptr::null_mut();
        }
        Py_CompileString(source, path, Py_file_input as c_int)
    }
}
