//! psqlodbc's attributes as parameters of libpq, so that a bulk lane connects just as the driver did.
//!
//! What the driver does with its attributes: `copyConnAttributes` and `decode` in its dlg_specific.c, `LIBPQ_connect` in its
//! connection.c (13.02 and later). Seen with 13.02 as well: braces around any value but the passwords' and the SQL's are
//! taken as a part of it, and of two equal keys the later one counts.

use std::ffi::CString;

use super::libpq::Libpq;
use crate::odbc::ConnectionString;

/// How to connect, and what to run then.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// libpq's keywords and their values, each keyword once.
    pub(super) parameters: Vec<(CString, CString)>,
    /// The statements of `ConnSettings`; the driver goes on when one fails.
    pub(super) statements: Vec<String>,
}

/// Attributes that change what the driver sends or shows and cannot be followed here.
const NOT_TRANSLATED: [&str; 2] = ["CX", "TranslationDLL"];

/// What the attributes say, before it is put in libpq's words.
#[derive(Default)]
struct Attributes<'a> {
    host: Option<&'a str>,
    port: Option<&'a str>,
    database: Option<&'a str>,
    user: Option<&'a str>,
    password: Option<String>,
    ssl_mode: Option<&'static str>,
    keepalive_idle: Option<&'a str>,
    keepalive_interval: Option<&'a str>,
    options: Option<String>,
    statements: Option<String>,
    read_only: bool,
}

impl Settings {
    /// Translates the attributes of a connection string and its data source.
    ///
    /// # Errors
    /// Which attribute cannot be translated, in words without its value.
    pub(super) fn translate(string: &ConnectionString, libpq: &Libpq) -> Result<Settings, String> {
        let attributes = Attributes::collect(string)?;
        let c_string = |key: &str, value: &str| {
            CString::new(value)
                .map_err(|_| format!("the value of `{key}` holds a zero byte, which libpq does not take"))
        };
        let mut settings = Settings::default();
        let keywords = [
            ("host", attributes.host),
            ("port", attributes.port),
            ("dbname", attributes.database),
            ("user", attributes.user),
            ("password", attributes.password.as_deref()),
            // The driver's own default, where libpq's would be `prefer`.
            ("sslmode", Some(attributes.ssl_mode.unwrap_or("disable"))),
            ("keepalives_idle", attributes.keepalive_idle.filter(is_positive)),
            ("keepalives_interval", attributes.keepalive_interval.filter(is_positive)),
            ("client_encoding", Some("UTF8")),
            ("fallback_application_name", Some("dray")),
        ];
        for (keyword, value) in keywords {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                settings
                    .parameters
                    .push((c_string(keyword, keyword)?, c_string(keyword, value)?));
            }
        }
        if let Some(options) = &attributes.options {
            let options = c_string("pqopt", options)?;
            let parsed = libpq
                .parse_parameters(&options)
                .map_err(|reason| format!("`pqopt`: {reason}"))?;
            for (keyword, value) in parsed {
                // The driver has refused an option that contradicts another attribute; the encoding is ours to say.
                if !settings.parameters.iter().any(|(known, _)| *known == keyword) {
                    settings.parameters.push((keyword, value));
                }
            }
        }
        // At each semicolon, as the driver does it, also within quotes.
        let statements = attributes.statements.unwrap_or_default();
        let statements = statements.split(';').map(str::trim).filter(|sql| !sql.is_empty());
        settings.statements = statements.map(str::to_owned).collect();
        Ok(settings)
    }
}

impl Settings {
    /// Whether the driver refuses to write; the server does not know about it.
    pub(super) fn is_read_only(string: &ConnectionString) -> bool {
        Attributes::collect(string).is_ok_and(|attributes| attributes.read_only)
    }
}

impl<'a> Attributes<'a> {
    fn collect(string: &'a ConnectionString) -> Result<Attributes<'a>, String> {
        let mut found = Attributes::default();
        for (key, written) in string.written() {
            match key.to_ascii_lowercase().as_str() {
                "server" | "servername" => found.host = Some(written),
                "port" => found.port = Some(written),
                "database" | "dx" => found.database = Some(written),
                "username" | "uid" => found.user = Some(written),
                "password" | "pwd" => found.password = Some(decoded(written)?),
                "sslmode" | "ca" => found.ssl_mode = Some(ssl_mode(written)?),
                "keepalivetime" | "d1" => found.keepalive_idle = Some(written),
                "keepaliveinterval" | "d2" => found.keepalive_interval = Some(written),
                "pqopt" | "d5" => found.options = Some(decoded(written)?),
                "connsettings" | "a6" => found.statements = Some(decoded(written)?),
                "readonly" | "a0" => found.read_only = written != "0" && !written.is_empty(),
                _ => {
                    if let Some(name) = NOT_TRANSLATED.iter().find(|name| name.eq_ignore_ascii_case(key)) {
                        return Err(format!(
                            "the driver's attribute `{name}` cannot be translated for libpq"
                        ));
                    }
                }
            }
        }
        Ok(found)
    }
}

/// Zero, as anything that is no number, leaves it to the system.
fn is_positive(number: &&str) -> bool {
    number.parse::<u32>().is_ok_and(|number| number > 0)
}

/// The driver's reading of a mode: its first letter, in lower case, decides.
fn ssl_mode(written: &str) -> Result<&'static str, String> {
    Ok(match written.as_bytes() {
        [b'a', ..] => "allow",
        [b'p', ..] => "prefer",
        [b'r', ..] => "require",
        [b'v', b'f', ..] | b"verify-full" => "verify-full",
        [b'v', b'c', ..] | b"verify-ca" => "verify-ca",
        [b'v', ..] => return Err("the driver's attribute `SSLmode` has a value that libpq does not know".to_owned()),
        _ => "disable",
    })
}

/// A password or SQL as the driver reads it: as it stands within braces, `}}` for `}`; else `+` is a space and `%41` is `A`.
fn decoded(written: &str) -> Result<String, String> {
    if let Some(inner) = written.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return Ok(inner.replace("}}", "}"));
    }
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default() as u8;
                bytes.push(digit(high) << 4 | digit(low));
                rest = after;
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| "a password or `ConnSettings` is not UTF-8 once it is decoded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The library of the machine; without one there is nothing to translate for.
    fn translate(text: &str) -> Result<Settings, String> {
        let libpq = Libpq::find(std::path::Path::new("/nowhere")).unwrap();
        Settings::translate(&ConnectionString::parse(text).unwrap(), &libpq)
    }

    fn parameter(settings: &Settings, keyword: &str) -> Option<String> {
        let found = settings
            .parameters
            .iter()
            .find(|(known, _)| known.to_str() == Ok(keyword));
        found.map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn each_attribute_becomes_its_parameter_and_the_later_of_two_counts() {
        let settings = translate(
            "Driver=/d.so;Server=a;Port=1;ServerName=db1;port=5433;Database=dw;UID=me;PWD={p+%41}}};SSLmode=require;\
             KeepaliveTime=30;KeepaliveInterval=0;Fetch=100",
        )
        .unwrap();
        let get = |keyword: &str| parameter(&settings, keyword);
        assert_eq!(
            (get("host").as_deref(), get("port").as_deref()),
            (Some("db1"), Some("5433"))
        );
        assert_eq!(
            (get("dbname").as_deref(), get("user").as_deref()),
            (Some("dw"), Some("me"))
        );
        assert_eq!(get("password").as_deref(), Some("p+%41}"));
        assert_eq!(get("sslmode").as_deref(), Some("require"));
        assert_eq!(
            (get("keepalives_idle").as_deref(), get("keepalives_interval")),
            (Some("30"), None)
        );
        assert_eq!(get("client_encoding").as_deref(), Some("UTF8"));
        assert!(settings.statements.is_empty());
    }

    #[test]
    fn a_password_without_braces_is_decoded_as_the_driver_does_it() {
        assert_eq!(decoded("a+b%41c%zz%4").unwrap(), "a bAc%zz%4");
        assert_eq!(decoded("{a+b%41}").unwrap(), "a+b%41");
        assert!(decoded("%ff").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn a_mode_that_the_driver_does_not_know_turns_encryption_off_as_it_does() {
        for (written, mode) in [
            ("Require", "disable"),
            ("prefer", "prefer"),
            ("vf", "verify-full"),
            ("verify-ca", "verify-ca"),
        ] {
            assert_eq!(ssl_mode(written), Ok(mode));
        }
        assert_eq!(
            parameter(&translate("Driver=x").unwrap(), "sslmode").as_deref(),
            Some("disable")
        );
    }

    #[test]
    fn options_for_libpq_itself_are_added_and_never_change_the_encoding() {
        let settings = translate(
            "Driver=x;UID=me;pqopt={application_name=nightly client_encoding=LATIN1};ConnSettings={SET a=1; SET b=2}",
        )
        .unwrap();
        assert_eq!(parameter(&settings, "application_name").as_deref(), Some("nightly"));
        assert_eq!(parameter(&settings, "client_encoding").as_deref(), Some("UTF8"));
        assert_eq!(settings.statements, ["SET a=1", "SET b=2"]);
        let reason = translate("Driver=x;pqopt={geheim}").err().unwrap();
        assert!(reason.contains("`pqopt`") && !reason.contains("geheim"), "{reason}");
    }

    #[test]
    fn a_connection_is_read_only_where_the_driver_makes_it_so() {
        let read_only = |text: &str| Settings::is_read_only(&ConnectionString::parse(text).unwrap());
        assert!(read_only("Driver=x;ReadOnly=1") && read_only("Driver=x;A0=1"));
        assert!(!read_only("Driver=x;ReadOnly=0") && !read_only("Driver=x"));
    }

    #[test]
    fn an_attribute_that_cannot_be_followed_is_named() {
        assert!(translate("Driver=x;CX=1").err().unwrap().contains("`CX`"));
    }
}
