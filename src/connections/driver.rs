//! Which driver of the node serves a connection.
//!
//! Owns the drivers of each product, the best first, what each of them lacks, and what it calls a setting. Sources: Microsoft, "DSN and
//! Connection String Keywords and Attributes" (the keywords also read out of msodbcsql 18.6); psqlodbc 13.02, `dlg_specific.c`;
//! MariaDB Connector/ODBC 3.1, `ma_dsn.c`; MySQL, "Connector/ODBC Connection Parameters"; FreeTDS 1.3, user guide, "ODBC
//! Connection Attributes"; sqliteodbc's README.

use super::error::{ConnectionError, Origin};
use super::settings::{Encrypt, Field, Product, Settings, SignIn, truth};
use crate::odbc::{self, Driver, DriverSearch};

/// Whose driver it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Microsoft's ODBC Driver 18 for SQL Server.
    Microsoft18,
    /// Version 17 of it.
    Microsoft17,
    /// FreeTDS.
    FreeTds,
    /// psqlodbc.
    Psqlodbc,
    /// MariaDB Connector/ODBC.
    MariaDb,
    /// MySQL Connector/ODBC 8 or 9.
    MySql,
    /// sqliteodbc.
    Sqlite,
}

impl Family {
    /// Whether it is Microsoft's.
    pub(super) fn is_microsoft(self) -> bool {
        matches!(self, Family::Microsoft18 | Family::Microsoft17)
    }
}

/// Names, with `*` for any letters, of one family's drivers, as packages register them or as files are called.
type Candidate = (Family, &'static str);

/// The drivers of a product, the best first.
pub(super) fn candidates(product: Product) -> &'static [Candidate] {
    match product {
        Product::SqlServer => &[
            (Family::Microsoft18, "ODBC Driver 18 for SQL Server"),
            (Family::Microsoft18, "libmsodbcsql-18*"),
            (Family::Microsoft17, "ODBC Driver 17 for SQL Server"),
            (Family::Microsoft17, "libmsodbcsql-17*"),
            (Family::FreeTds, "FreeTDS"),
            (Family::FreeTds, "libtdsodbc.so*"),
        ],
        Product::Postgresql => &[
            (Family::Psqlodbc, "PostgreSQL Unicode*"),
            (Family::Psqlodbc, "psqlodbcw.so"),
            (Family::Psqlodbc, "PostgreSQL"),
        ],
        Product::MySql => &[
            (Family::MariaDb, "MariaDB Unicode"),
            (Family::MariaDb, "MariaDB"),
            (Family::MariaDb, "MariaDB ODBC * Driver"),
            (Family::MariaDb, "libmaodbc.so"),
            (Family::MySql, "MySQL ODBC 9.* Unicode Driver"),
            (Family::MySql, "MySQL ODBC 8.* Unicode Driver"),
            (Family::MySql, "libmyodbc9w.so"),
            (Family::MySql, "libmyodbc8w.so"),
            (Family::MySql, "MySQL"),
        ],
        Product::Sqlite => &[
            (Family::Sqlite, "SQLite3"),
            (Family::Sqlite, "SQLite3*"),
            (Family::Sqlite, "libsqlite3odbc*"),
        ],
    }
}

/// The first driver that is on the node and can do what is asked: its family and its name.
///
/// # Errors
/// No driver for the product; drivers that all lack what is asked for.
pub(super) fn choose(
    settings: &Settings,
    search: &DriverSearch,
    origin: &Origin,
) -> Result<(Family, String), ConnectionError> {
    let all = candidates(settings.product);
    if let Some(wanted) = &settings.driver {
        let found = all.iter().find(|(_, pattern)| matches(pattern, wanted));
        let (family, _) = found.ok_or_else(|| ConnectionError::RefusedParameter {
            origin: origin.clone(),
            parameter: "driver".to_owned(),
            reason: format!(
                "`{wanted}` is none of {}; write a connection string for another driver",
                all.iter()
                    .map(|(_, name)| format!("`{name}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        })?;
        return Ok((*family, wanted.clone()));
    }
    let drivers = search.drivers();
    let mut unfit: Option<(String, &'static str)> = None;
    let mut broken: Option<&Driver> = None;
    let mut wanted: Vec<String> = Vec::new();
    for (family, pattern) in all {
        let lack = lack(*family, settings, origin)?;
        if lack.is_none() {
            wanted.push((*pattern).to_owned());
        }
        let mut found = drivers.iter().filter(|driver| matches(pattern, &driver.name));
        let name = match found.find(|driver| search.locate(&driver.file).is_some()) {
            Some(driver) => Some(driver.name.clone()),
            // A file in the distribution's folder that nobody has registered.
            None if pattern.ends_with(".so") && search.locate(pattern).is_some() => Some((*pattern).to_owned()),
            None => {
                broken = broken.or(drivers.iter().find(|driver| matches(pattern, &driver.name)));
                None
            }
        };
        match (name, lack) {
            (Some(name), None) => return Ok((*family, name)),
            (Some(name), Some(lack)) => unfit = unfit.or(Some((name, lack))),
            (None, _) => {}
        }
    }
    if let Some((driver, reason)) = unfit {
        return Err(ConnectionError::DriverUnfit {
            origin: origin.clone(),
            driver,
            reason,
            wanted,
        });
    }
    Err(match broken {
        Some(driver) => odbc::Error::DriverFileMissing {
            name: driver.name.clone(),
            file: driver.file.clone(),
            registered_in: driver.registered_in.clone(),
        },
        None => odbc::Error::DriverNotFound {
            asked: wanted.join("`, `"),
            found: drivers.into_iter().map(|driver| driver.name).collect(),
        },
    }
    .into())
}

/// What a driver of this family lacks for these settings.
fn lack(family: Family, settings: &Settings, origin: &Origin) -> Result<Option<&'static str>, ConnectionError> {
    if settings.product != Product::SqlServer {
        return Ok(None);
    }
    let encrypt = encrypt(settings, origin)?;
    let trusts_any = boolean(settings, Field::TrustServerCertificate, origin)? == Some(true);
    Ok(match family {
        Family::Microsoft17 if encrypt == Some(Encrypt::Strict) => Some("does not know strict encryption"),
        Family::Microsoft17 if settings.get(Field::HostNameInCertificate).is_some() => {
            Some("cannot be told the name in the server's certificate")
        }
        Family::Microsoft18 | Family::Microsoft17 if settings.sign_in == SignIn::WindowsPassword => {
            Some("signs in a Windows account by Kerberos alone, not by its password")
        }
        Family::FreeTds if settings.sign_in.is_entra() || !settings.microsoft.is_empty() => {
            Some("does not know the ways of Microsoft's driver to sign in and connect")
        }
        Family::FreeTds if encrypt == Some(Encrypt::Strict) => Some("does not know strict encryption"),
        Family::FreeTds if encrypt == Some(Encrypt::Mandatory) && !trusts_any => {
            Some("does not check the server's certificate, which encryption without `trustServerCertificate` asks for")
        }
        _ => None,
    })
}

/// Whether `name` is what the pattern says, whatever its case.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
    }
}

/// What a family calls a setting; `None` where it has no attribute of its own.
pub(super) fn attribute(family: Family, field: Field) -> Option<&'static str> {
    Some(match (family, field) {
        (Family::Psqlodbc, Field::Server) => "Servername",
        (Family::Sqlite, Field::Server) => return None,
        (_, Field::Server) => "Server",
        (_, Field::Database) => "Database",
        (Family::Microsoft18 | Family::Microsoft17 | Family::Sqlite, Field::Port) => return None,
        (_, Field::Port) => "Port",
        (Family::Sqlite, Field::BusyTimeout) => "Timeout",
        (Family::Sqlite, Field::ForeignKeys) => "FKSupport",
        (Family::Sqlite, _) => return None,
        (_, Field::User) => "UID",
        (_, Field::Password) => "PWD",
        (Family::Microsoft18 | Family::Microsoft17, Field::AccessToken) => "AccessToken",
        (Family::Psqlodbc, Field::SslMode) => "SSLmode",
        (Family::MySql, Field::SslMode) => "SSLMODE",
        (Family::MariaDb | Family::MySql, Field::RootCertificate) => "SSLCA",
        (Family::MariaDb | Family::MySql, Field::ClientCertificate) => "SSLCERT",
        (Family::MariaDb | Family::MySql, Field::ClientKey) => "SSLKEY",
        (Family::MariaDb | Family::MySql, Field::Socket) => "SOCKET",
        (Family::MariaDb, Field::ConnectTimeout) => "CONN_TIMEOUT",
        (Family::Microsoft18 | Family::Microsoft17, Field::Encrypt) => "Encrypt",
        (Family::Microsoft18 | Family::Microsoft17, Field::TrustServerCertificate) => "TrustServerCertificate",
        (Family::Microsoft18, Field::HostNameInCertificate) => "HostNameInCertificate",
        (Family::Microsoft18 | Family::Microsoft17, Field::ConnectRetryCount) => "ConnectRetryCount",
        (Family::Microsoft18 | Family::Microsoft17, Field::ConnectRetryInterval) => "ConnectRetryInterval",
        (Family::Microsoft18 | Family::Microsoft17, Field::MultiSubnetFailover) => "MultiSubnetFailover",
        (Family::Microsoft18 | Family::Microsoft17 | Family::FreeTds, Field::ApplicationIntent) => "ApplicationIntent",
        (Family::Microsoft18 | Family::Microsoft17 | Family::FreeTds, Field::ApplicationName) => "APP",
        (Family::Microsoft18 | Family::Microsoft17, Field::Authentication) => "Authentication",
        (Family::Microsoft18 | Family::Microsoft17 | Family::FreeTds, Field::IntegratedSecurity) => {
            "Trusted_Connection"
        }
        (Family::FreeTds, Field::Encrypt) => "Encryption",
        _ => return None,
    })
}

/// Whether and how to encrypt.
pub(super) fn encrypt(settings: &Settings, origin: &Origin) -> Result<Option<Encrypt>, ConnectionError> {
    let Some(text) = settings.get(Field::Encrypt) else {
        return Ok(None);
    };
    let problem = || format!("is `{text}`; true, false, `mandatory`, `optional` and `strict` are allowed");
    Encrypt::parse(text).map_or_else(|| Err(value(origin, Field::Encrypt, problem())), |read| Ok(Some(read)))
}

/// The value of a field that is true or false.
pub(super) fn boolean(settings: &Settings, field: Field, origin: &Origin) -> Result<Option<bool>, ConnectionError> {
    let Some(text) = settings.get(field) else {
        return Ok(None);
    };
    let read = truth(text).ok_or_else(|| value(origin, field, "must be true or false".to_owned()))?;
    Ok(Some(read))
}

/// The error for a field's value.
pub(super) fn value(origin: &Origin, field: Field, problem: String) -> ConnectionError {
    ConnectionError::Value {
        origin: origin.clone(),
        setting: field.name(),
        problem,
    }
}
