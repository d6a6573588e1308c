//! A connection that somebody wrote as one text: a connection string of ODBC or ADO.NET, or a URL.
//!
//! `${NAME}` in a text of pyproject.toml stands for an environment variable. It is put in after the text was taken apart, so
//! that a password needs no escaping in the variable.

use percent_encoding::percent_decode_str;

use super::error::{ConnectionError, Origin};
use super::keys::{Meaning, ServiceType};
use super::linked_service::{Target, is_off};
use super::settings::{DEFAULT_IDENTITY, Field, Product, Settings, SignIn, TokenOf, normalized, truth};
use crate::connection_string::{ConnectionString, Fault, Quoting, attributes};

/// Gives the value of an environment variable; `None` if it is not set.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Whether a text is meant as a connection, and not as the name of one: it has a `=` or a `://`.
pub fn is_connection_text(text: &str) -> bool {
    text.contains('=') || text.contains("://")
}

/// Whether a text is a URL: a scheme before anything else.
fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
    })
}

/// Reads the text. `variables` is given where `${NAME}` stands for one.
///
/// # Errors
/// A text that is neither, a malformed one, an unknown scheme, a parameter that cannot be followed, a variable that is
/// not set.
pub(super) fn read(text: &str, origin: &Origin, variables: Option<Variables<'_>>) -> Result<Target, ConnectionError> {
    let reader = Reader { origin, variables };
    let text = text.trim();
    // A variable may hold the whole of it; nothing is put into that in turn.
    if let (Some(_), Some(name)) = (variables, whole_variable(text)) {
        return read(&reader.variable(name)?, origin, None);
    }
    if is_url(text) {
        return reader.url(text).map(Target::Settings);
    }
    if !text.contains('=') {
        return Err(
            reader.malformed("is neither a connection string (`Driver=...;Server=...`) nor a URL (`postgresql://...`)")
        );
    }
    if is_ado_net(text) {
        return reader.ado_net(text).map(Target::Settings);
    }
    let mut string = ConnectionString::parse(text)
        .map_err(|malformed| reader.malformed(&format!("malformed connection string: {malformed}")))?;
    if variables.is_some() {
        string.change_values(|_, value| {
            let changed = reader.expand(value, |plain| Ok(plain.to_owned()))?;
            Ok::<_, ConnectionError>((changed != value).then_some(changed))
        })?;
    }
    Ok(Target::String(string))
}

/// Whether a connection string is one of ADO.NET's for SQL Server: it names a server, and neither a driver nor a data
/// source, without which ODBC has nothing to begin with.
fn is_ado_net(text: &str) -> bool {
    let keywords = attributes(text, Quoting::Either);
    let has = |names: &[&str]| {
        let is_one = |keyword: &str| names.contains(&normalized(keyword).as_str());
        keywords.iter().any(|attribute| is_one(attribute.keyword))
    };
    has(&["server", "datasource", "address", "addr", "networkaddress"]) && !has(&["driver", "dsn", "filedsn"])
}

/// The name, if the whole text is `${NAME}`.
fn whole_variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    (!name.contains(['$', '{', '}'])).then_some(name)
}

struct Reader<'a> {
    origin: &'a Origin,
    variables: Option<Variables<'a>>,
}

/// What becomes of a URL's parameter.
pub(super) enum Parameter {
    Sets(Field),
    Libpq(&'static str),
    Microsoft(&'static str),
    Refused(&'static str),
}

const LOGIN: &str = "dray gives each login 30 seconds";
const UTF8: &str = "dray always speaks UTF-8";

/// libpq's keywords that have neither an attribute of psqlodbc nor a field of their own (PostgreSQL documentation,
/// "Parameter Key Words").
pub(super) const LIBPQ: [&str; 16] = [
    "options",
    "target_session_attrs",
    "channel_binding",
    "gssencmode",
    "krbsrvname",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "tcp_user_timeout",
    "hostaddr",
    "passfile",
    "require_auth",
    "requirepeer",
    "sslcertmode",
];

/// Keywords of Microsoft's driver without a field of their own.
pub(super) const MICROSOFT: [&str; 10] = [
    "ColumnEncryption",
    "ServerCertificate",
    "ServerSPN",
    "IpAddressPreference",
    "KeepAlive",
    "KeepAliveInterval",
    "Language",
    "LongAsMax",
    "MARS_Connection",
    "WSID",
];

/// Schemes and what they connect to.
pub(super) const SCHEMES: [(&str, Product); 7] = [
    ("postgresql", Product::Postgresql),
    ("postgres", Product::Postgresql),
    ("mysql", Product::MySql),
    ("mariadb", Product::MySql),
    ("sqlite", Product::Sqlite),
    ("mssql", Product::SqlServer),
    ("sqlserver", Product::SqlServer),
];

/// What a parameter of a URL means; `None` if it is not known.
pub(super) fn parameter(product: Product, name: &str) -> Option<Parameter> {
    use Parameter::{Libpq, Microsoft, Refused, Sets};
    let plain = normalized(name);
    let found = match (product, plain.as_str()) {
        (Product::Postgresql, "host") => Sets(Field::Server),
        (Product::Postgresql, "port") => Sets(Field::Port),
        (Product::Postgresql, "dbname") => Sets(Field::Database),
        (Product::Postgresql, "user") => Sets(Field::User),
        (Product::Postgresql, "password") => Sets(Field::Password),
        (Product::Postgresql | Product::MySql, "sslmode") => Sets(Field::SslMode),
        (Product::Postgresql, "sslrootcert") => Sets(Field::RootCertificate),
        (Product::Postgresql, "sslpassword") => Sets(Field::ClientKeyPassword),
        (Product::Postgresql, "applicationname") => Sets(Field::ApplicationName),
        (Product::Postgresql, "connecttimeout") => Refused(LOGIN),
        (Product::Postgresql, "clientencoding") => Refused(UTF8),
        (Product::MySql, "sslca") => Sets(Field::RootCertificate),
        (Product::Postgresql | Product::MySql, "sslcert") => Sets(Field::ClientCertificate),
        (Product::Postgresql | Product::MySql, "sslkey") => Sets(Field::ClientKey),
        (Product::MySql, "connecttimeout") => Sets(Field::ConnectTimeout),
        (Product::MySql, "unixsocket" | "socket") => Sets(Field::Socket),
        (Product::MySql, "charset") => Refused(UTF8),
        (Product::Sqlite, "timeout") => Sets(Field::BusyTimeout),
        (Product::Sqlite, "foreignkeys") => Sets(Field::ForeignKeys),
        (Product::SqlServer, "encrypt") => Sets(Field::Encrypt),
        (Product::SqlServer, "trustservercertificate") => Sets(Field::TrustServerCertificate),
        (Product::SqlServer, "hostnameincertificate") => Sets(Field::HostNameInCertificate),
        (Product::SqlServer, "applicationintent") => Sets(Field::ApplicationIntent),
        (Product::SqlServer, "app" | "applicationname") => Sets(Field::ApplicationName),
        (Product::SqlServer, "connectretrycount") => Sets(Field::ConnectRetryCount),
        (Product::SqlServer, "connectretryinterval") => Sets(Field::ConnectRetryInterval),
        (Product::SqlServer, "multisubnetfailover") => Sets(Field::MultiSubnetFailover),
        (Product::SqlServer, "trustedconnection") => Sets(Field::IntegratedSecurity),
        (Product::SqlServer | Product::Postgresql, "authentication") => Sets(Field::Authentication),
        (Product::SqlServer, "connecttimeout" | "connectiontimeout" | "timeout" | "logintimeout") => Refused(LOGIN),
        (Product::Postgresql, plain) => Libpq(LIBPQ.iter().find(|each| normalized(each) == plain)?),
        (Product::SqlServer, plain) => Microsoft(MICROSOFT.iter().find(|each| normalized(each) == plain)?),
        _ => return None,
    };
    Some(found)
}

impl Reader<'_> {
    fn url(&self, text: &str) -> Result<Settings, ConnectionError> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        // `postgresql+psycopg2`, as in SQLAlchemy: which Python package it names does not matter here.
        let base = scheme.split('+').next().unwrap_or_default().to_ascii_lowercase();
        let product = SCHEMES
            .iter()
            .find(|(name, _)| *name == base)
            .map(|(_, product)| *product);
        let product = product.ok_or_else(|| {
            let known: Vec<String> = SCHEMES.iter().map(|(name, _)| format!("`{name}://`")).collect();
            self.malformed(&format!(
                "a URL of scheme `{scheme}` is not known; there are {}",
                known.join(", ")
            ))
        })?;
        if rest.contains('#') {
            return Err(self.malformed("a `#` in a URL has to be written `%23`"));
        }
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let mut settings = Settings::new(product);
        let (authority, path) = match place.find('/') {
            Some(at) => place.split_at(at),
            None => (place, ""),
        };
        if product == Product::Sqlite {
            if !authority.is_empty() {
                return Err(self.malformed(
                    "a SQLite URL is `sqlite:///name.db` for a file in the working directory, `sqlite:////path/name.db` for any other",
                ));
            }
            let path = self.decoded(path.strip_prefix('/').unwrap_or_default(), false)?;
            settings.set(
                Field::Database,
                if path.is_empty() { ":memory:".to_owned() } else { path },
            );
        } else {
            self.authority(authority, &mut settings)?;
            settings.set(
                Field::Database,
                self.decoded(path.strip_prefix('/').unwrap_or_default(), false)?,
            );
        }
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (self.decoded(name, true)?, self.decoded(value, true)?);
            self.set_parameter(&name, value, &mut settings)?;
        }
        self.check(&mut settings)?;
        Ok(settings)
    }

    /// A connection string of ADO.NET, whose values stand in quotes where they need any. A keyword that is not known may
    /// be a slip of the pen: unlike in what ADF hands over, it is refused.
    fn ado_net(&self, text: &str) -> Result<Settings, ConnectionError> {
        let mut settings = Settings::new(Product::SqlServer);
        let known = ServiceType::named("SqlServer");
        for attribute in attributes(text, Quoting::Quotes) {
            let keyword = attribute.keyword;
            match attribute.fault {
                None => {}
                // A part without `=` may be one of a password, so it is not repeated.
                Some(Fault::NoEquals) => return Err(self.malformed("a part of the connection string has no `=`")),
                Some(Fault::NoName) => return Err(self.malformed("a value in the connection string has no name")),
                Some(Fault::Open) => return Err(self.malformed(&format!("the value of `{keyword}` has an open quote"))),
                Some(Fault::GoesOn) => {
                    return Err(self.malformed(&format!("the value of `{keyword}` goes on after its closing quote")));
                }
            }
            let refused = |reason: &str| ConnectionError::RefusedParameter {
                origin: self.origin.clone(),
                parameter: keyword.to_owned(),
                reason: reason.to_owned(),
            };
            let Some(key) = known.and_then(|known| known.keyword(keyword)) else {
                if let Some(Parameter::Microsoft(name)) = parameter(Product::SqlServer, keyword) {
                    let value = self.expand(&attribute.value, |plain| Ok(plain.to_owned()))?;
                    settings.microsoft.push((name, value));
                    continue;
                }
                return Err(refused(
                    "a connection string without `Driver` is taken for ADO.NET's, which has no such keyword",
                ));
            };
            match key.meaning {
                Meaning::Sets(field) => {
                    let value = self.expand(&attribute.value, |plain| Ok(plain.to_owned()))?;
                    settings.set(field, value);
                }
                Meaning::Ignored(_) => {}
                Meaning::Refused(_) if is_off(&attribute.value) => {}
                Meaning::Refused(reason) => return Err(refused(reason)),
            }
        }
        self.check(&mut settings)?;
        Ok(settings)
    }

    /// `user:password@host:port`.
    fn authority(&self, authority: &str, settings: &mut Settings) -> Result<(), ConnectionError> {
        // The last @: a password that was not encoded may hold one.
        let address = match authority.rsplit_once('@') {
            None => authority,
            Some((user_information, address)) => {
                let (user, password) = match user_information.split_once(':') {
                    Some((user, password)) => (user, Some(password)),
                    None => (user_information, None),
                };
                settings.set(Field::User, self.decoded(user, false)?);
                if let Some(password) = password {
                    settings.set(Field::Password, self.decoded(password, false)?);
                }
                address
            }
        };
        if address.contains(',') {
            return Err(self.malformed("a URL with several hosts cannot be followed"));
        }
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, port)) if port.starts_with(':') => (host, Some(&port[1..])),
                _ => return Err(self.malformed("the URL's `[` is not closed before its port")),
            },
            None => match address.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        settings.set(Field::Server, self.decoded(host, false)?);
        if let Some(port) = port {
            settings.set(Field::Port, self.decoded(port, false)?);
        }
        Ok(())
    }

    fn set_parameter(&self, name: &str, value: String, settings: &mut Settings) -> Result<(), ConnectionError> {
        let refused = |reason: String| ConnectionError::RefusedParameter {
            origin: self.origin.clone(),
            parameter: name.to_owned(),
            reason,
        };
        if normalized(name) == "driver" {
            settings.driver = Some(value);
            return Ok(());
        }
        match parameter(settings.product, name) {
            Some(Parameter::Sets(field)) => settings.set(field, value),
            Some(Parameter::Libpq(keyword)) => settings.libpq.push((keyword.to_owned(), value)),
            Some(Parameter::Microsoft(keyword)) => settings.microsoft.push((keyword, value)),
            // What it asks for is so anyway.
            Some(Parameter::Refused(UTF8)) if ["utf8", "utf8mb4"].contains(&normalized(&value).as_str()) => {}
            Some(Parameter::Refused(reason)) => return Err(refused(reason.to_owned())),
            None => return Err(refused("no driver for it knows it".to_owned())),
        }
        Ok(())
    }

    /// What belongs together, once all parts are there.
    fn check(&self, settings: &mut Settings) -> Result<(), ConnectionError> {
        if settings.product == Product::SqlServer {
            // As Microsoft's driver 18 has it where nothing is said.
            if settings.get(Field::Encrypt).is_none() {
                settings.set(Field::Encrypt, "mandatory");
            }
            settings.sign_in = match settings.get(Field::Authentication).map(normalized).as_deref() {
                Some("sqlpassword") => SignIn::Password,
                Some("activedirectorymsi" | "activedirectorymanagedidentity") => SignIn::ManagedIdentity,
                Some("activedirectoryserviceprincipal") => SignIn::ServicePrincipal,
                Some("activedirectorypassword") => SignIn::EntraPassword,
                Some("activedirectoryintegrated") => SignIn::Kerberos,
                Some(DEFAULT_IDENTITY) => {
                    settings.sign_in_by_token(TokenOf::Environment);
                    settings.sign_in
                }
                None if settings.get(Field::AccessToken).is_some() => SignIn::AccessToken,
                Some(_) => {
                    return Err(ConnectionError::Value {
                        origin: self.origin.clone(),
                        setting: "Authentication",
                        problem: "must be `SqlPassword`, `ActiveDirectoryMsi`, `ActiveDirectoryServicePrincipal`, \
                                  `ActiveDirectoryPassword`, `ActiveDirectoryIntegrated` or `ActiveDirectoryDefault`"
                            .to_owned(),
                    });
                }
                None if settings.get(Field::IntegratedSecurity).and_then(truth) == Some(true) => SignIn::Kerberos,
                None => SignIn::Password,
            };
        }
        if settings.product == Product::Postgresql
            && let Some(found) = settings.get(Field::Authentication).map(normalized)
        {
            if found != DEFAULT_IDENTITY {
                return Err(ConnectionError::Value {
                    origin: self.origin.clone(),
                    setting: "Authentication",
                    problem: "must be `ActiveDirectoryDefault`; without it the password counts".to_owned(),
                });
            }
            settings.sign_in_by_token(TokenOf::Environment);
        }
        if settings.product != Product::Sqlite
            && settings.get(Field::Server).is_none()
            && settings.get(Field::Socket).is_none()
        {
            return Err(self.malformed("it names no host"));
        }
        Ok(())
    }

    /// A part of a URL as it is meant; in a query a `+` is a space.
    fn decoded(&self, raw: &str, in_query: bool) -> Result<String, ConnectionError> {
        self.expand(raw, |plain| {
            let spaced = if in_query {
                plain.replace('+', " ")
            } else {
                plain.to_owned()
            };
            let decoded = percent_decode_str(&spaced).decode_utf8();
            let decoded = decoded.map_err(|_| self.malformed("the URL is not UTF-8 once it is decoded"))?;
            match decoded.contains('\0') {
                true => Err(self.malformed("the URL holds a NUL character")),
                false => Ok(decoded.into_owned()),
            }
        })
    }

    /// Puts in the variables, and what `plain` makes of the text between them. `$${` stands for `${`.
    fn expand(
        &self,
        text: &str,
        plain: impl Fn(&str) -> Result<String, ConnectionError>,
    ) -> Result<String, ConnectionError> {
        if self.variables.is_none() {
            return plain(text);
        }
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                expanded.push_str(&plain(before)?);
                expanded.push_str("${");
                rest = after;
                continue;
            }
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| self.malformed("a `${` is not closed"))?;
            expanded.push_str(&plain(before)?);
            expanded.push_str(&self.variable(name)?);
            rest = after;
        }
        expanded.push_str(&plain(rest)?);
        Ok(expanded)
    }

    fn variable(&self, name: &str) -> Result<String, ConnectionError> {
        let value = self.variables.and_then(|variables| variables(name));
        value.ok_or_else(|| ConnectionError::UnsetVariable {
            origin: self.origin.clone(),
            variable: name.to_owned(),
        })
    }

    fn malformed(&self, problem: &str) -> ConnectionError {
        ConnectionError::Malformed {
            origin: self.origin.clone(),
            problem: problem.to_owned(),
        }
    }
}
