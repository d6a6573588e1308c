//! Finds a driver's file: `Driver=` and `DSN=` of a connection string become an absolute path.
//!
//! Distributions register drivers by a bare file name (`psqlodbcw.so`) that only their own patched driver manager finds,
//! and a driver may come inside the project (the wheel `mssql-python-odbc`). So dray resolves the name itself and hands
//! the driver manager `Driver=/absolute/path`; the linked unixODBC then reads no ini file of its own for it.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{ConnectionString, Error, ini};

/// A driver that this node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The name that `Driver=` is matched with.
    pub name: String,
    /// The file as registered: a path, or a bare file name.
    pub file: String,
    /// The odbcinst.ini, folder or variable that names it.
    pub registered_in: String,
}

/// Where to look; a plain value, so that a test can point it elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverSearch {
    /// Names and files from `DRAY_ODBC_DRIVERS`; they come first.
    pub named: Vec<(String, PathBuf)>,
    /// Folders with drivers from `DRAY_ODBC_DRIVERS`.
    pub driver_folders: Vec<PathBuf>,
    /// Folders whose packages may bring a driver: the project and what else is on `sys.path`.
    pub package_folders: Vec<PathBuf>,
    /// odbcinst.ini files, the user's first.
    pub driver_inis: Vec<PathBuf>,
    /// odbc.ini files, the user's first.
    pub source_inis: Vec<PathBuf>,
    /// Folders in which a bare file name is looked for.
    pub library_folders: Vec<PathBuf>,
    /// The node's family of systems, as a package with a build for each calls it.
    pub system: &'static str,
}

/// Folders with odbcinst.ini: Debian and Red Hat, SUSE, a unixODBC from source.
const SYSTEM_FOLDERS: [&str; 3] = ["/etc", "/etc/unixODBC", "/usr/local/etc"];

/// Folders with drivers: Debian's own first, then Red Hat, SUSE, Alpine and what was built by hand.
const LIBRARY_FOLDERS: [&str; 8] = [
    "/usr/lib/x86_64-linux-gnu/odbc",
    "/usr/lib64",
    "/usr/lib64/unixODBC",
    "/usr/lib/odbc",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/local/lib64",
];

impl DriverSearch {
    /// What unixODBC's variables (ODBCINSTINI, ODBCSYSINI, ODBCINI, HOME) and `DRAY_ODBC_DRIVERS` say.
    ///
    /// `DRAY_ODBC_DRIVERS` holds folders and `name=/path/to/driver.so` pairs between colons. `package_folders` are the
    /// project and the folders of its packages; one with an odbcinst.ini registers drivers by it, before the node's own.
    pub fn from_environment(package_folders: Vec<PathBuf>) -> Self {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut search = DriverSearch {
            driver_inis: package_folders
                .iter()
                .map(|folder| folder.join("odbcinst.ini"))
                .collect(),
            package_folders,
            system: system_of(
                &OS_RELEASE
                    .map(fs_err::read_to_string)
                    .map(Result::unwrap_or_default)
                    .join("\n"),
            ),
            ..Self::default()
        };
        for item in env::var("DRAY_ODBC_DRIVERS")
            .unwrap_or_default()
            .split(':')
            .filter(|item| !item.is_empty())
        {
            match item.split_once('=') {
                Some((name, path)) => search.named.push((name.trim().to_owned(), PathBuf::from(path.trim()))),
                None => search.driver_folders.push(PathBuf::from(item)),
            }
        }
        let home = variable("HOME");
        let system = variable("ODBCSYSINI");
        let folders = || system.iter().cloned().chain(SYSTEM_FOLDERS.iter().map(PathBuf::from));
        search
            .driver_inis
            .extend(home.iter().map(|home| home.join(".odbcinst.ini")));
        match variable("ODBCINSTINI") {
            Some(file) if file.is_absolute() => search.driver_inis.push(file),
            Some(file) => search.driver_inis.extend(folders().map(|folder| folder.join(&file))),
            None => {}
        }
        search
            .driver_inis
            .extend(folders().map(|folder| folder.join("odbcinst.ini")));
        search.source_inis.extend(variable("ODBCINI"));
        search
            .source_inis
            .extend(home.iter().map(|home| home.join(".odbc.ini")));
        search
            .source_inis
            .extend(folders().map(|folder| folder.join("odbc.ini")));
        search.library_folders.extend(LIBRARY_FOLDERS.iter().map(PathBuf::from));
        search
    }

    /// Puts `Driver=/absolute/path` into the string, and the settings of its data source in place of `DSN=`.
    ///
    /// Returns the driver's file.
    ///
    /// # Errors
    /// [`Error::DriverNotFound`], [`Error::DataSourceNotFound`], both with what is there; [`Error::DriverFileMissing`];
    /// [`Error::ConnectionString`] if the string names neither.
    pub fn resolve(&self, string: &mut ConnectionString) -> Result<PathBuf, Error> {
        if string.get("driver").is_none() {
            let Some(source) = string.get("dsn").map(str::to_owned) else {
                return Err(Error::ConnectionString("it names no `Driver` and no `DSN`".to_owned()));
            };
            self.expand_source(string, &source)?;
        }
        let asked = string.get("driver").unwrap_or_default().to_owned();
        let path = self.find(&asked)?;
        let text = path.to_str().ok_or_else(|| {
            Error::ConnectionString(format!(
                "the path of driver `{asked}` is not UTF-8: `{}`",
                path.display()
            ))
        })?;
        string.set("Driver", text);
        string.remove("dsn");
        Ok(path)
    }

    /// The drivers that this node has, in the order in which they are found.
    pub fn drivers(&self) -> Vec<Driver> {
        let mut drivers: Vec<Driver> = Vec::new();
        for (name, path) in &self.named {
            drivers.push(Driver {
                name: name.clone(),
                file: path.display().to_string(),
                registered_in: "DRAY_ODBC_DRIVERS".to_owned(),
            });
        }
        for folder in &self.driver_folders {
            for path in libraries_in(folder) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let (file, registered_in) = (path.display().to_string(), folder.display().to_string());
                drivers.push(Driver {
                    name,
                    file,
                    registered_in,
                });
            }
        }
        for ini in &self.driver_inis {
            for section in sections(ini) {
                // [ODBC] holds settings of the driver manager, [ODBC Drivers] is a list that some tools write.
                if let Some(file) = section.get("driver64").or_else(|| section.get("driver")) {
                    // A project is unpacked anywhere, so its paths are from where its odbcinst.ini is.
                    let folder = ini.parent().filter(|_| file.contains('/')).unwrap_or(Path::new(""));
                    let file = folder.join(file).display().to_string();
                    let registered_in = ini.display().to_string();
                    drivers.push(Driver {
                        name: section.name.clone(),
                        file,
                        registered_in,
                    });
                }
            }
        }
        drivers.extend(
            self.package_folders
                .iter()
                .flat_map(|folder| packaged_drivers(folder, self.system)),
        );
        let mut seen: Vec<String> = Vec::new();
        drivers.retain(|driver| {
            let name = driver.name.to_lowercase();
            let new = !seen.contains(&name);
            seen.push(name);
            new
        });
        drivers
    }

    /// The absolute path of the driver with this name, file name or path.
    fn find(&self, asked: &str) -> Result<PathBuf, Error> {
        if asked.contains('/') {
            let path = PathBuf::from(asked);
            return match path.is_file() {
                true => std::path::absolute(&path).map_err(|error| Error::Internal(error.to_string())),
                false => Err(Error::DriverFileMissing {
                    name: asked.to_owned(),
                    file: asked.to_owned(),
                    registered_in: "the connection string".to_owned(),
                }),
            };
        }
        let drivers = self.drivers();
        if let Some(driver) = drivers.iter().find(|driver| driver.name.eq_ignore_ascii_case(asked)) {
            return self.locate(&driver.file).ok_or_else(|| Error::DriverFileMissing {
                name: driver.name.clone(),
                file: driver.file.clone(),
                registered_in: driver.registered_in.clone(),
            });
        }
        if asked.contains(".so")
            && let Some(path) = self.locate(asked)
        {
            return Ok(path);
        }
        let names = drivers.into_iter().map(|driver| driver.name).collect();
        Err(Error::DriverNotFound {
            asked: asked.to_owned(),
            found: nearest_first(asked, names),
        })
    }

    /// The absolute path of a file as odbcinst.ini registers it; `None` if it is not on this node.
    pub fn locate(&self, file: &str) -> Option<PathBuf> {
        if file.contains('/') {
            return Path::new(file).is_file().then(|| PathBuf::from(file));
        }
        let folders = self
            .driver_folders
            .iter()
            .chain(&self.package_folders)
            .chain(&self.library_folders);
        folders.map(|folder| folder.join(file)).find(|path| path.is_file())
    }

    /// The data sources of odbc.ini that name a driver.
    pub fn sources(&self) -> Vec<String> {
        let sections = self.source_inis.iter().flat_map(|ini| sections(ini));
        let named = sections.filter(|section| section.get("driver").is_some());
        named.map(|section| section.name).collect()
    }

    /// Writes the keys of a data source into the string where it does not have them itself.
    fn expand_source(&self, string: &mut ConnectionString, source: &str) -> Result<(), Error> {
        let sections: Vec<ini::Section> = self.source_inis.iter().flat_map(|ini| sections(ini)).collect();
        let found = sections
            .iter()
            .find(|section| section.name.eq_ignore_ascii_case(source));
        let Some(section) = found.filter(|section| section.get("driver").is_some()) else {
            let names = sections.into_iter().filter(|section| section.get("driver").is_some());
            let found = nearest_first(source, names.map(|section| section.name).collect());
            return Err(Error::DataSourceNotFound {
                asked: source.to_owned(),
                found,
            });
        };
        for (key, value) in section
            .keys
            .iter()
            .filter(|(key, _)| !key.eq_ignore_ascii_case("description"))
        {
            string.set_default(key, value);
        }
        Ok(())
    }
}

fn sections(path: &Path) -> Vec<ini::Section> {
    fs_err::read(path)
        .map(|bytes| ini::parse(&String::from_utf8_lossy(&bytes)))
        .unwrap_or_default()
}

/// Shared libraries in a folder, by name.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_file() && (name.ends_with(".so") || name.contains(".so."))
    });
    paths.sort();
    paths
}

/// Where a system says which one it is (os-release(5)).
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// The family of a system, by the text of its os-release: a folder of the wheel `mssql-python-odbc`.
fn system_of(os_release: &str) -> &'static str {
    let names = os_release.lines().filter_map(|line| {
        let names = line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE="))?;
        Some(names.trim_matches(['"', '\'']))
    });
    let names: Vec<&str> = names.flat_map(str::split_whitespace).collect();
    let is_any = |wanted: &[&str]| names.iter().any(|name| wanted.contains(name));
    if is_any(&["rhel", "fedora", "centos", "azurelinux", "mariner"]) {
        "rhel"
    } else if names
        .iter()
        .any(|name| *name == "suse" || name.starts_with("sles") || name.starts_with("opensuse"))
    {
        "suse"
    } else {
        "debian_ubuntu"
    }
}

/// Microsoft's driver as the wheel `mssql-python-odbc` carries it: `mssql_python_odbc/libs/linux/<system>/x86_64/lib/`,
/// one build a family of systems; the others follow, should that one be left out.
fn packaged_drivers(folder: &Path, system: &str) -> Vec<Driver> {
    let systems = folder.join("mssql_python_odbc/libs/linux");
    let Ok(entries) = fs_err::read_dir(&systems) else {
        return Vec::new();
    };
    let mut systems: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    // Alpine's build needs musl; of the others the node's own family goes first.
    systems.retain(|path| !path.ends_with("alpine"));
    systems.sort_by_key(|path| (!path.ends_with(system), path.clone()));
    let files = systems.iter().flat_map(|path| libraries_in(&path.join("x86_64/lib")));
    files
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let version = name.strip_prefix("libmsodbcsql-")?.split('.').next()?;
            Some(Driver {
                name: format!("ODBC Driver {version} for SQL Server"),
                file: path.to_str()?.to_owned(),
                registered_in: folder.display().to_string(),
            })
        })
        .collect()
}

/// The names, the one that looks most like `asked` first.
fn nearest_first(asked: &str, mut names: Vec<String>) -> Vec<String> {
    let asked = asked.to_lowercase();
    names.sort_by_cached_key(|name| (distance(&asked, &name.to_lowercase()), name.clone()));
    names.dedup();
    names
}

/// Levenshtein's distance in characters; a name that contains the other is near however long it is.
fn distance(a: &str, b: &str) -> usize {
    if b.contains(a) || a.contains(b) {
        return 0;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> (tempfile::TempDir, DriverSearch) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let wheel = root.join("packages/mssql_python_odbc/libs/linux/debian_ubuntu/x86_64/lib");
        for path in [&root.join("lib"), &root.join("own"), &wheel] {
            fs_err::create_dir_all(path).unwrap();
        }
        for file in ["lib/psqlodbcw.so", "own/libextra.so"] {
            fs_err::write(root.join(file), "").unwrap();
        }
        fs_err::write(wheel.join("libmsodbcsql-18.6.so.2.1"), "").unwrap();
        let drivers = "[PostgreSQL Unicode]\nDriver=psqlodbcw.so\n[Gone]\nDriver=gone.so\n[ODBC]\nTrace=0\n";
        fs_err::write(root.join("odbcinst.ini"), drivers).unwrap();
        let sources = "[Warehouse]\nDriver=postgresql unicode\nServername=db1\nPort=5433\nDescription=x\n";
        fs_err::write(root.join("odbc.ini"), sources).unwrap();
        let search = DriverSearch {
            driver_folders: vec![root.join("own")],
            package_folders: vec![root.join("packages")],
            driver_inis: vec![root.join("absent.ini"), root.join("odbcinst.ini")],
            source_inis: vec![root.join("odbc.ini")],
            library_folders: vec![root.join("lib")],
            ..DriverSearch::default()
        };
        (folder, search)
    }

    fn resolve(search: &DriverSearch, text: &str) -> Result<ConnectionString, Error> {
        let mut string = ConnectionString::parse(text)?;
        search.resolve(&mut string)?;
        Ok(string)
    }

    #[test]
    fn a_driver_registered_by_a_bare_file_name_becomes_an_absolute_path() {
        let (folder, search) = node();
        let string = resolve(&search, "Driver={PostgreSQL UNICODE};Server=h").unwrap();
        assert_eq!(string.get("driver"), folder.path().join("lib/psqlodbcw.so").to_str());
    }

    #[test]
    fn a_data_source_brings_its_driver_and_the_settings_that_the_string_lacks() {
        let (folder, search) = node();
        let string = resolve(&search, "DSN=warehouse;Port=1").unwrap();
        assert_eq!(string.get("driver"), folder.path().join("lib/psqlodbcw.so").to_str());
        assert_eq!(
            (string.get("servername"), string.get("port"), string.get("dsn")),
            (Some("db1"), Some("1"), None)
        );
    }

    #[test]
    fn a_driver_in_a_package_of_the_project_is_found_by_its_usual_name() {
        let (_folder, search) = node();
        let string = resolve(&search, "Driver={ODBC Driver 18 for SQL Server};Server=h").unwrap();
        assert!(string.get("driver").unwrap().ends_with("lib/libmsodbcsql-18.6.so.2.1"));
    }

    #[test]
    fn a_package_with_a_build_for_each_family_of_systems_gives_the_nodes_own() {
        let (folder, mut search) = node();
        let red_hat = folder
            .path()
            .join("packages/mssql_python_odbc/libs/linux/rhel/x86_64/lib");
        fs_err::create_dir_all(&red_hat).unwrap();
        fs_err::write(red_hat.join("libmsodbcsql-18.6.so.2.1"), "").unwrap();
        for (os_release, expected) in [
            ("NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n", "debian_ubuntu"),
            ("ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n", "rhel"),
            ("ID=azurelinux\nVERSION_ID=\"3.0\"\n", "rhel"),
            ("", "debian_ubuntu"),
        ] {
            search.system = system_of(os_release);
            let string = resolve(&search, "Driver={ODBC Driver 18 for SQL Server};Server=h").unwrap();
            assert!(string.get("driver").unwrap().contains(expected), "{os_release}");
        }
        assert_eq!(system_of("ID=\"sles\"\nID_LIKE=\"suse\"\n"), "suse");
    }

    #[test]
    fn a_missing_driver_lists_those_found_with_the_nearest_name_first() {
        let (_folder, search) = node();
        match resolve(&search, "Driver=Postgres Unicode").unwrap_err() {
            Error::DriverNotFound { found, .. } => {
                assert_eq!(found[0], "PostgreSQL Unicode");
                assert!(found.contains(&"libextra.so".to_owned()) && !found.contains(&"ODBC".to_owned()));
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_registered_driver_without_its_file_says_where_it_is_registered() {
        let (_folder, search) = node();
        let message = resolve(&search, "Driver=Gone").unwrap_err().to_string();
        assert!(
            message.contains("odbcinst.ini") && message.contains("`gone.so`"),
            "{message}"
        );
    }

    #[test]
    fn a_missing_data_source_lists_those_found() {
        let (_folder, search) = node();
        let message = resolve(&search, "DSN=Warehose").unwrap_err().to_string();
        assert_eq!(message, "no data source `Warehose` in odbc.ini; there are `Warehouse`");
    }
}
