//! Exports three functions of the linked unixODBC from the native module.
//!
//! `bcp_init` of Microsoft's ODBC driver looks the driver manager up by symbol among the loaded shared objects, and fails
//! without a word if it finds none. rustc hides everything but `PyInit__native` with a version script of its own. lld,
//! with which rustc links from 1.90 on, joins a second, anonymous one to it; zig's linker takes the last one alone, which
//! is why `exports.map` is whole. GNU ld 2.40 refuses two.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rerun-if-changed=exports.map");
    println!("cargo:rustc-link-arg-cdylib=-Wl,--version-script={folder}/exports.map");
}
