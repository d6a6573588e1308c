//! Exports six functions of the linked unixODBC from the native module.
//!
//! Microsoft's ODBC driver looks the driver manager up among the loaded shared objects, in the order of their loading: the
//! first one that has `SQLAllocEnv`, `SQLGetEnvAttr` and `SQLFreeEnv` is it, for good, and its bulk copy calls
//! `SQLSetConnectAttr`, `SQLGetInfo` and `SQLGetDiagRec` of it. If it finds none, `bcp_init` fails without a word. Other
//! drivers have functions of these names too, and would be taken for the driver manager if this module had not all six.
//!
//! rustc hides everything but `PyInit__native` with a version script of its own. lld,
//! with which rustc links from 1.90 on, joins a second, anonymous one to it; zig's linker takes the last one alone, which
//! is why `exports.map` is whole. GNU ld 2.40 refuses two.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rerun-if-changed=exports.map");
    println!("cargo:rustc-link-arg-cdylib=-Wl,--version-script={folder}/exports.map");
}
