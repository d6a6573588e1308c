//! The attributes of an ODBC connection string in the terms of `mysql_options` and `mysql_real_connect`.
//!
//! Source of the attributes: MariaDB Connector/ODBC 3.1, `ma_dsn.c`, and its "Connection Parameters" page. Knows
//! nothing of connections.

use std::ffi::{CString, c_int, c_uint, c_ulong};

use super::libmariadb::{PROTOCOL_TCP, mariadb_option, option};
use crate::odbc::ConnectionString;

/// An option's value.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum OptionValue {
    /// A text.
    Text(CString),
    /// An `unsigned int`.
    Number(c_uint),
    /// An `unsigned long`.
    Long(c_ulong),
    /// A `my_bool`.
    Flag(bool),
    /// No value.
    Nothing,
}

/// How a connection is made. Holds the password, and so has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub host: Option<CString>,
    pub user: Option<CString>,
    pub password: Option<CString>,
    pub database: Option<CString>,
    pub port: c_uint,
    pub socket: Option<CString>,
    /// `enum mysql_option` and its value, in the order in which they are set.
    pub options: Vec<(c_int, OptionValue)>,
}

/// Attributes that say nothing about how the server is reached, or that dray sets itself (`CHARSET`).
const IGNORED: [&str; 16] = [
    "driver",
    "driver64",
    "dsn",
    "description",
    "charset",
    "auto_reconnect",
    "no_prompt",
    "trace",
    "interactive",
    "forwardonly",
    "schemanoerror",
    "no_cache",
    "streamrs",
    "threaded",
    "setup",
    "fileusage",
];

/// Bits of `OPTION` that change how the server is reached (`MADB_OPT_FLAG_...` in the driver's ma_dsn.h).
const OPTION_COMPRESS: u64 = 2_048;
const OPTION_NAMED_PIPE: u64 = 8_192;
const OPTION_USE_MYCNF: u64 = 65_536;

/// The TLS versions of the bits of `TLSVERSION`.
const TLS_VERSIONS: [(u32, &str); 3] = [(1, "TLSv1.1"), (2, "TLSv1.2"), (4, "TLSv1.3")];

impl Settings {
    /// The settings for these attributes; `mariadb` says whose client library will get them.
    ///
    /// # Errors
    /// The name of the attribute that cannot be handed on, in a sentence.
    pub(super) fn of(attributes: &ConnectionString, mariadb: bool) -> Result<Settings, String> {
        let mut settings = Settings {
            host: None,
            user: None,
            password: None,
            database: None,
            port: 0,
            socket: None,
            options: vec![(option::SET_CHARSET_NAME, OptionValue::Text(c"utf8mb4".to_owned()))],
        };
        let mut seen: Vec<String> = Vec::new();
        let mut has_timeout = false;
        for (name, value) in attributes.attributes() {
            let key = canonical(&name.to_ascii_lowercase());
            // The first of equal keys wins.
            if seen.contains(&key) || value.is_empty() {
                continue;
            }
            let text = || CString::new(value).map_err(|_| format!("attribute `{name}` holds U+0000"));
            let number = || {
                let number = value.trim().parse::<c_uint>();
                number.map_err(|_| format!("attribute `{name}` is no whole number"))
            };
            let flag = || match value.trim() {
                "0" => Ok(OptionValue::Flag(false)),
                "1" => Ok(OptionValue::Flag(true)),
                _ => Err(format!("attribute `{name}` is neither 0 nor 1")),
            };
            let mut only_mariadb = |number: c_int, value: OptionValue| match mariadb {
                true => {
                    settings.options.push((number, value));
                    Ok(())
                }
                false => Err(format!("attribute `{name}` cannot be handed to MySQL's client library")),
            };
            match key.as_str() {
                "server" => settings.host = Some(text()?),
                "uid" => settings.user = Some(text()?),
                "pwd" => settings.password = Some(text()?),
                "database" => settings.database = Some(text()?),
                "port" => settings.port = number()?,
                "socket" => settings.socket = Some(text()?),
                "initstmt" => settings
                    .options
                    .push((option::INIT_COMMAND, OptionValue::Text(text()?))),
                "conn_timeout" => {
                    has_timeout = true;
                    settings
                        .options
                        .push((option::CONNECT_TIMEOUT, OptionValue::Number(number()?)));
                }
                "read_timeout" => settings
                    .options
                    .push((option::READ_TIMEOUT, OptionValue::Number(number()?))),
                "write_timeout" => settings
                    .options
                    .push((option::WRITE_TIMEOUT, OptionValue::Number(number()?))),
                "tcpip" => {
                    if flag()? == OptionValue::Flag(true) {
                        settings
                            .options
                            .push((option::PROTOCOL, OptionValue::Number(PROTOCOL_TCP)));
                    }
                }
                "option" => {
                    let bits: u64 = value
                        .trim()
                        .parse()
                        .map_err(|_| format!("attribute `{name}` is no whole number"))?;
                    if bits & (OPTION_USE_MYCNF | OPTION_NAMED_PIPE) != 0 {
                        return Err(format!(
                            "attribute `{name}` asks for an option file or a named pipe, which this lane does not use"
                        ));
                    }
                    if bits & OPTION_COMPRESS != 0 {
                        settings.options.push((option::COMPRESS, OptionValue::Nothing));
                    }
                }
                "plugin_dir" => only_mariadb(mariadb_option::PLUGIN_DIR, OptionValue::Text(text()?))?,
                "sslkey" => only_mariadb(mariadb_option::SSL_KEY, OptionValue::Text(text()?))?,
                "sslcert" => only_mariadb(mariadb_option::SSL_CERT, OptionValue::Text(text()?))?,
                "sslca" => only_mariadb(mariadb_option::SSL_CA, OptionValue::Text(text()?))?,
                "sslcapath" => only_mariadb(mariadb_option::SSL_CAPATH, OptionValue::Text(text()?))?,
                "sslcipher" => only_mariadb(mariadb_option::SSL_CIPHER, OptionValue::Text(text()?))?,
                "sslcrl" => only_mariadb(mariadb_option::SSL_CRL, OptionValue::Text(text()?))?,
                "sslcrlpath" => only_mariadb(mariadb_option::SSL_CRLPATH, OptionValue::Text(text()?))?,
                "sslverify" => only_mariadb(mariadb_option::SSL_VERIFY_SERVER_CERT, flag()?)?,
                "forcetls" => only_mariadb(mariadb_option::SSL_ENFORCE, flag()?)?,
                "tlskeypwd" => only_mariadb(mariadb_option::TLS_PASSPHRASE, OptionValue::Text(text()?))?,
                "tlspeerfp" => only_mariadb(mariadb_option::TLS_PEER_FP, OptionValue::Text(text()?))?,
                "tlspeerfplist" => only_mariadb(mariadb_option::TLS_PEER_FP_LIST, OptionValue::Text(text()?))?,
                "serverkey" => only_mariadb(mariadb_option::SERVER_PUBLIC_KEY, OptionValue::Text(text()?))?,
                "tlsversion" => {
                    let versions = tls_versions(value).ok_or_else(|| format!("attribute `{name}` is unknown"))?;
                    only_mariadb(mariadb_option::TLS_VERSION, OptionValue::Text(versions))?;
                }
                ignored if IGNORED.contains(&ignored) => {}
                _ => return Err(format!("attribute `{name}` is not known outside the ODBC driver")),
            }
            seen.push(key);
        }
        if !has_timeout {
            // What `ConnectOptions` gives the ODBC driver.
            let seconds = crate::odbc::ConnectOptions::default().login_timeout_s;
            settings
                .options
                .push((option::CONNECT_TIMEOUT, OptionValue::Number(seconds)));
        }
        Ok(settings)
    }
}

/// The first of several names of one attribute.
fn canonical(key: &str) -> String {
    let name = match key {
        "servername" => "server",
        "user" => "uid",
        "password" => "pwd",
        "db" => "database",
        "options" => "option",
        "stmt" => "initstmt",
        "sslfp" => "tlspeerfp",
        "sslfplist" => "tlspeerfplist",
        other => other,
    };
    name.to_owned()
}

/// `TLSv1.2,TLSv1.3`, as it is or from a number of bits.
fn tls_versions(value: &str) -> Option<CString> {
    let names = match value.trim().parse::<u32>() {
        Ok(bits) => TLS_VERSIONS
            .iter()
            .filter(|(bit, _)| bits & bit != 0)
            .map(|(_, name)| *name)
            .collect::<Vec<_>>()
            .join(","),
        Err(_) => value.trim().to_owned(),
    };
    let known = names
        .split(',')
        .all(|name| TLS_VERSIONS.iter().any(|(_, version)| *version == name.trim()));
    known.then(|| CString::new(names).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        Settings::of(&ConnectionString::parse(text).unwrap(), true)
    }

    #[test]
    fn the_first_of_an_attributes_names_wins_and_odd_passwords_stay_whole() {
        let settings = settings("Driver=/x.so;Server=h;UID=me;PWD={p;ä}}=};Password=other;DB=d;Port=3307").unwrap();
        assert_eq!(settings.host.as_deref(), Some(c"h"));
        assert_eq!(settings.password.as_deref(), Some(c"p;ä}="));
        assert_eq!(settings.database.as_deref(), Some(c"d"));
        assert_eq!(settings.port, 3307);
    }

    #[test]
    fn an_attribute_that_cannot_be_handed_on_is_named() {
        for text in [
            "SaveFile=x",
            "USE_MYCNF=1",
            "OPTION=65536",
            "SSLVERIFY=maybe",
            "Port=x",
            "TLSVERSION=9.9",
        ] {
            let Err(reason) = settings(text) else {
                panic!("{text} was taken")
            };
            let name = text.split('=').next().unwrap();
            assert!(reason.contains(name), "{reason}");
        }
    }

    #[test]
    fn tls_settings_go_to_mariadbs_library_and_not_to_mysqls() {
        let string = ConnectionString::parse("SSLCA=/ca.pem;TLSVERSION=6;FORCETLS=1").unwrap();
        let options = Settings::of(&string, true).ok().unwrap().options;
        let has = |number: c_int, value: OptionValue| options.contains(&(number, value));
        assert!(has(mariadb_option::SSL_CA, OptionValue::Text(c"/ca.pem".to_owned())));
        assert!(has(
            mariadb_option::TLS_VERSION,
            OptionValue::Text(c"TLSv1.2,TLSv1.3".to_owned())
        ));
        assert!(has(mariadb_option::SSL_ENFORCE, OptionValue::Flag(true)));
        assert!(Settings::of(&string, false).err().unwrap().contains("SSLCA"));
    }
}
