//! What a driver lacks on this node: the libraries that it is linked with and the dynamic linker does not find, and the
//! packages that have them.
//!
//! The dynamic linker names only the first one. A pool whose start task is mended once for each library would take an
//! afternoon.

use std::path::Path;

use elf::ElfBytes;
use elf::abi::{DT_NEEDED, DT_RPATH, DT_RUNPATH};
use elf::endian::AnyEndian;

/// A library that a driver needs and the node lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Its file name, such as `libkrb5.so.3`.
    pub library: String,
    /// The package of Debian and Ubuntu that has it.
    pub debian: Option<&'static str>,
    /// The package of Red Hat, its kin and Azure Linux.
    pub red_hat: Option<&'static str>,
}

/// The beginning of a library's file name, and its packages. Debian's are those of Debian 12, of which the later ones with
/// a `t64` in their names say that they provide them; Red Hat's are those of Enterprise Linux 8 and 9.
const PACKAGES: [(&str, &str, &str); 24] = [
    ("libodbcinst.so.", "odbcinst", "unixODBC"),
    ("libodbc.so.", "unixodbc", "unixODBC"),
    ("libltdl.so.7", "libltdl7", "libtool-ltdl"),
    ("libkrb5.so.3", "libkrb5-3", "krb5-libs"),
    ("libgssapi_krb5.so.2", "libgssapi-krb5-2", "krb5-libs"),
    ("libcom_err.so.2", "libcom-err2", "libcom_err"),
    ("libstdc++.so.6", "libstdc++6", "libstdc++"),
    ("libgcc_s.so.1", "libgcc-s1", "libgcc"),
    ("libpq.so.5", "libpq5", "libpq"),
    ("libmariadb.so.3", "libmariadb3", "mariadb-connector-c"),
    ("libmysqlclient.so.21", "libmysqlclient21", "mysql-libs"),
    ("libsqlite3.so.0", "libsqlite3-0", "sqlite-libs"),
    ("libgnutls.so.30", "libgnutls30", "gnutls"),
    ("libnettle.so.", "libnettle8", "nettle"),
    ("libhogweed.so.", "libhogweed6", "nettle"),
    ("libgmp.so.10", "libgmp10", "gmp"),
    ("libssl.so.3", "libssl3", "openssl-libs"),
    ("libcrypto.so.3", "libssl3", "openssl-libs"),
    ("libssl.so.1.1", "libssl1.1", "compat-openssl11"),
    ("libcrypto.so.1.1", "libssl1.1", "compat-openssl11"),
    ("libuuid.so.1", "libuuid1", "libuuid"),
    ("libz.so.1", "zlib1g", "zlib"),
    ("libcurl.so.4", "libcurl4", "libcurl"),
    ("libxml2.so.2", "libxml2", "libxml2"),
];

/// What `missing` names for the libraries that `driver` is linked with: that library itself, or one that it needs in turn.
/// Empty if the file cannot be read as a library, or lacks nothing.
///
/// A library beside the driver is asked for by its path where the driver says that it is looked for there.
pub(super) fn lacking(driver: &Path, missing: impl Fn(&str) -> Option<String>) -> Vec<Lacking> {
    let Ok(bytes) = fs_err::read(driver) else {
        return Vec::new();
    };
    let own_folder = driver.parent().unwrap_or(Path::new(""));
    let Some(needs) = needs_of(&bytes) else {
        return Vec::new();
    };
    let libraries = needs.libraries.iter().filter_map(|library| {
        let beside = own_folder.join(library);
        match needs.looks_beside && beside.is_file() {
            true => missing(&beside.to_string_lossy()),
            false => missing(library),
        }
    });
    let mut names: Vec<String> = libraries.collect();
    names.sort();
    names.dedup();
    let lacking = names.into_iter().map(|library| {
        let known = PACKAGES.iter().find(|(name, _, _)| library.starts_with(name));
        Lacking {
            debian: known.map(|(_, debian, _)| *debian),
            red_hat: known.map(|(_, _, red_hat)| *red_hat),
            library,
        }
    });
    lacking.collect()
}

struct Needs {
    libraries: Vec<String>,
    /// Whether its own folder is searched (`$ORIGIN`).
    looks_beside: bool,
}

fn needs_of(bytes: &[u8]) -> Option<Needs> {
    let file = ElfBytes::<AnyEndian>::minimal_parse(bytes).ok()?;
    let common = file.find_common_data().ok()?;
    let (dynamic, texts) = (common.dynamic?, common.dynsyms_strs?);
    let text = |entry: &elf::dynamic::Dyn| texts.get(usize::try_from(entry.d_val()).ok()?).ok();
    let of = |tag: i64| dynamic.iter().filter(move |entry| entry.d_tag == tag);
    let paths = of(DT_RUNPATH).chain(of(DT_RPATH));
    Some(Needs {
        libraries: of(DT_NEEDED)
            .filter_map(|entry| Some(text(&entry)?.to_owned()))
            .collect(),
        looks_beside: paths
            .filter_map(|entry| text(&entry).map(|path| path.contains("$ORIGIN")))
            .any(|origin| origin),
    })
}

/// The libraries with their packages, for the message of a driver that cannot be loaded.
pub(super) fn listed(lacking: &[Lacking]) -> String {
    let each = lacking.iter().map(|each| match (each.debian, each.red_hat) {
        (Some(debian), Some(red_hat)) => format!(
            "`{}` (package {debian} of Debian and Ubuntu, {red_hat} of Red Hat)",
            each.library
        ),
        _ => format!("`{}`", each.library),
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_that_is_not_found_is_named_with_its_packages() {
        // This test's own file is linked with libc and libgcc_s.
        let own = std::env::current_exe().unwrap();
        let found = lacking(&own, |library| {
            library.starts_with("libgcc_s").then(|| library.to_owned())
        });
        assert_eq!(
            listed(&found),
            "`libgcc_s.so.1` (package libgcc-s1 of Debian and Ubuntu, libgcc of Red Hat)"
        );
        assert!(lacking(&own, |_| None).is_empty());
        assert!(lacking(&own, |library| Some(library.to_owned())).len() >= 2);
    }

    #[test]
    fn a_file_that_is_no_library_lacks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for content in [&b""[..], b"\x7fELF", b"text"] {
            fs_err::write(folder.path().join("x.so"), content).unwrap();
            assert!(lacking(&folder.path().join("x.so"), |library| Some(library.to_owned())).is_empty());
        }
    }
}
