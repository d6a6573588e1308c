//! Hands the target's name to the executable, for `dray --version`.

fn main() {
    println!(
        "cargo:rustc-env=DRAY_TARGET={}",
        std::env::var("TARGET").unwrap_or_default()
    );
    println!("cargo:rerun-if-changed=build.rs");
}
