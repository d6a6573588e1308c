//! [`Settings`] as the attributes of a connection string, in the words and the escaping of the chosen driver.

use std::env;

use super::driver::{Family, attribute, boolean, choose, encrypt, value};
use super::error::{ConnectionError, Origin};
use super::settings::{Encrypt, Field, Product, Settings, SignIn, SslMode};
use crate::connection_string::ConnectionString;
use crate::odbc::DriverSearch;

/// What of the node matters beside its drivers; a plain value, so that tests can set it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// File with the certificates of the authorities that the node trusts.
    pub trust_store: Option<String>,
    /// Whether libpq finds a root certificate by itself.
    pub libpq_has_root: bool,
    /// Client id of the managed identity to use, `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
}

/// Where distributions keep them: Debian and Alpine, Red Hat, SUSE, others.
const TRUST_STORES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Node {
    /// This one.
    pub fn here() -> Node {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let is_file = |path: &String| fs_err::metadata(path).is_ok_and(|found| found.is_file());
        let own = variable("HOME").map(|home| format!("{home}/.postgresql/root.crt"));
        Node {
            trust_store: variable("SSL_CERT_FILE")
                .or_else(|| TRUST_STORES.iter().map(|&path| path.to_owned()).find(is_file)),
            libpq_has_root: variable("PGSSLROOTCERT").is_some() || own.as_ref().is_some_and(is_file),
            client_id: variable("AZURE_CLIENT_ID"),
        }
    }
}

/// The connection string for the best driver here.
///
/// # Errors
/// No driver for the product; drivers that all lack what is asked for; a value that makes no sense or that the driver
/// cannot be handed.
pub(super) fn connection_string(
    settings: &Settings,
    search: &DriverSearch,
    node: &Node,
    origin: &Origin,
) -> Result<ConnectionString, ConnectionError> {
    let (family, driver) = choose(settings, search, origin)?;
    let mut writer = Writer {
        settings,
        family,
        origin,
        string: ConnectionString::default(),
    };
    writer.string.push("Driver", &driver);
    match family {
        Family::Microsoft18 | Family::Microsoft17 | Family::FreeTds => writer.sql_server()?,
        Family::Psqlodbc => writer.postgresql(node)?,
        Family::MariaDb | Family::MySql => writer.mysql(node)?,
        Family::Sqlite => writer.plain(&[Field::Database, Field::BusyTimeout, Field::ForeignKeys])?,
    }
    Ok(writer.string)
}

/// A connection string in the making.
struct Writer<'a> {
    settings: &'a Settings,
    family: Family,
    origin: &'a Origin,
    string: ConnectionString,
}

impl Writer<'_> {
    fn sql_server(&mut self) -> Result<(), ConnectionError> {
        self.sql_server_address()?;
        self.plain(&[Field::Database])?;
        let yes_no = |on: bool| if on { "yes" } else { "no" };
        let encrypt = encrypt(self.settings, self.origin)?;
        if let Some(encrypt) = encrypt {
            let value = match (self.family.is_microsoft(), encrypt) {
                (true, Encrypt::Optional) => "no",
                (true, Encrypt::Mandatory) => "yes",
                (false, Encrypt::Optional) => "request",
                (false, Encrypt::Mandatory) => "require",
                (_, Encrypt::Strict) => "strict",
            };
            self.put(Field::Encrypt, value)?;
        }
        // A strict connection always checks the certificate.
        if encrypt != Some(Encrypt::Strict)
            && self.family.is_microsoft()
            && let Some(on) = boolean(self.settings, Field::TrustServerCertificate, self.origin)?
        {
            self.put(Field::TrustServerCertificate, yes_no(on))?;
        }
        if let Some(on) = boolean(self.settings, Field::MultiSubnetFailover, self.origin)? {
            self.put(Field::MultiSubnetFailover, yes_no(on))?;
        }
        self.plain(&[
            Field::HostNameInCertificate,
            Field::ApplicationIntent,
            Field::ApplicationName,
            Field::ConnectRetryCount,
            Field::ConnectRetryInterval,
        ])?;
        match self.settings.sign_in {
            SignIn::Password | SignIn::WindowsPassword | SignIn::AccessToken => {}
            SignIn::Kerberos => self.put(Field::IntegratedSecurity, "yes")?,
            SignIn::ManagedIdentity => self.put(Field::Authentication, "ActiveDirectoryMsi")?,
            SignIn::ServicePrincipal => self.put(Field::Authentication, "ActiveDirectoryServicePrincipal")?,
            SignIn::EntraPassword => self.put(Field::Authentication, "ActiveDirectoryPassword")?,
        }
        match self.settings.get(Field::AccessToken) {
            // With it there may be neither user nor password. The driver takes it beside the connection string;
            // `Dialect::connection_structure` takes it out.
            Some(token) if self.settings.sign_in == SignIn::AccessToken => {
                self.string.push_password("AccessToken", token);
            }
            _ => self.credentials()?,
        }
        for (keyword, value) in &self.settings.microsoft {
            self.string.push(keyword, value);
        }
        Ok(())
    }

    /// `tcp:host\instance,1433` is one value for Microsoft's driver; FreeTDS knows no `tcp:`, and wants the port apart.
    fn sql_server_address(&mut self) -> Result<(), ConnectionError> {
        let Some(server) = self.settings.get(Field::Server) else {
            return Ok(());
        };
        let port = self.port()?;
        if self.family.is_microsoft() {
            let text = match port {
                Some(port) => format!("{server},{port}"),
                None => server.to_owned(),
            };
            return self.put(Field::Server, &text);
        }
        let bare = match server.get(..4) {
            Some(start) if start.eq_ignore_ascii_case("tcp:") => &server[4..],
            _ => server,
        };
        let (host, own_port) = match bare.rsplit_once(',') {
            Some((host, port)) => (host.trim(), Some(port.trim().to_owned())),
            None => (bare, None),
        };
        // `(local)` and `.` are ADO.NET's for this machine.
        let host = if matches!(host, "." | "(local)") {
            "localhost"
        } else {
            host
        };
        self.put(Field::Server, host)?;
        match own_port.or(port) {
            Some(port) => self.put(Field::Port, &port),
            // Without one FreeTDS takes Sybase's 4000 in some versions; an instance is asked for its port.
            None if !host.contains('\\') => self.put(Field::Port, "1433"),
            None => Ok(()),
        }
    }

    fn postgresql(&mut self, node: &Node) -> Result<(), ConnectionError> {
        self.plain(&[Field::Server])?;
        if let Some(port) = self.port()? {
            self.put(Field::Port, &port)?;
        }
        self.plain(&[Field::Database])?;
        let mode = match self.ssl_mode()? {
            Some(mode) => mode,
            None => self.datadirect_mode()?,
        };
        self.put(Field::SslMode, mode.libpq())?;
        self.credentials()?;
        let mut parameters: Vec<(&str, &str)> = Vec::new();
        for (keyword, field) in [
            ("sslrootcert", Field::RootCertificate),
            ("sslcert", Field::ClientCertificate),
            ("sslkey", Field::ClientKey),
            ("sslpassword", Field::ClientKeyPassword),
            ("application_name", Field::ApplicationName),
        ] {
            parameters.extend(self.settings.get(field).map(|value| (keyword, value)));
        }
        for (keyword, value) in &self.settings.libpq {
            parameters.push((keyword, value));
        }
        // libpq wants a file to check certificates against, and does not look where the node keeps its own.
        let has_root = parameters.iter().any(|(keyword, _)| *keyword == "sslrootcert");
        if let (true, false, false, Some(store)) = (mode.verifies(), has_root, node.libpq_has_root, &node.trust_store) {
            parameters.push(("sslrootcert", store));
        }
        if !parameters.is_empty() {
            let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
            let written: Vec<String> = parameters
                .iter()
                .map(|(keyword, value)| format!("{keyword}={}", quote(value)))
                .collect();
            self.braced("pqopt", &written.join(" "));
        }
        if let Some(path) = self.settings.get(Field::SearchPath) {
            if path.contains(';') {
                return Err(self.value(
                    Field::SearchPath,
                    "holds a `;`, at which psqlodbc would cut it".to_owned(),
                ));
            }
            let sql = format!(
                "SELECT set_config('search_path', '{}', false)",
                path.replace('\'', "''")
            );
            self.braced("ConnSettings", &sql);
        }
        Ok(())
    }

    /// DataDirect's two attributes; without them libpq's own default.
    fn datadirect_mode(&self) -> Result<SslMode, ConnectionError> {
        let verifies = boolean(self.settings, Field::ValidateServerCertificate, self.origin)? == Some(true);
        match self.settings.get(Field::EncryptionMethod).map(str::trim) {
            None => Ok(SslMode::Prefer),
            Some("0") => Ok(SslMode::Disable),
            Some("1") if verifies => Ok(SslMode::VerifyCa),
            Some("1") => Ok(SslMode::Require),
            Some("6") => Ok(SslMode::Prefer),
            Some(_) => Err(self.value(Field::EncryptionMethod, "must be 0, 1 or 6".to_owned())),
        }
    }

    fn mysql(&mut self, node: &Node) -> Result<(), ConnectionError> {
        self.plain(&[Field::Server])?;
        if let Some(port) = self.port()? {
            self.put(Field::Port, &port)?;
        }
        self.plain(&[Field::Database, Field::Socket, Field::ConnectTimeout])?;
        self.plain(&[Field::ClientCertificate, Field::ClientKey])?;
        let mode = self.ssl_mode()?.unwrap_or(SslMode::Prefer);
        let root = self.settings.get(Field::RootCertificate).map(str::to_owned);
        let root = root.or_else(|| node.trust_store.clone());
        if self.family == Family::MySql {
            let value = match mode {
                SslMode::Disable => "DISABLED",
                SslMode::Allow | SslMode::Prefer => "PREFERRED",
                SslMode::Require => "REQUIRED",
                SslMode::VerifyCa => "VERIFY_CA",
                SslMode::VerifyFull => "VERIFY_IDENTITY",
            };
            self.put(Field::SslMode, value)?;
            if let (true, Some(root)) = (mode.verifies(), root) {
                self.put(Field::RootCertificate, &root)?;
            }
            return self.credentials();
        }
        // MariaDB's driver encrypts only if some attribute of TLS is there. It checks the server's name together with the
        // authority, so verify-ca is the stricter verify-full.
        match mode {
            SslMode::Disable | SslMode::Allow => {}
            // Seen with 3.1.15: a list of ciphers makes it use TLS where the server has it, and look at no certificate;
            // with SSLCA it checks the authority even so, and FORCETLS asks for more.
            SslMode::Prefer => self.string.push("SSLCIPHER", "HIGH"),
            SslMode::Require => {
                self.string.push("FORCETLS", "1");
                self.string.push("SSLVERIFY", "0");
            }
            SslMode::VerifyCa | SslMode::VerifyFull => {
                self.string.push("FORCETLS", "1");
                self.string.push("SSLVERIFY", "1");
                if let Some(root) = root {
                    self.put(Field::RootCertificate, &root)?;
                }
            }
        }
        self.credentials()
    }

    fn credentials(&mut self) -> Result<(), ConnectionError> {
        self.plain(&[Field::User])?;
        if let Some(password) = self.settings.get(Field::Password) {
            self.string.push_password("PWD", password);
        }
        Ok(())
    }

    /// Fields whose values go to the driver as they are.
    fn plain(&mut self, fields: &[Field]) -> Result<(), ConnectionError> {
        for field in fields {
            if let Some(value) = self.settings.get(*field) {
                self.put(*field, value)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, field: Field, value: &str) -> Result<(), ConnectionError> {
        let Some(keyword) = attribute(self.family, field) else {
            return Ok(());
        };
        // psqlodbc 13.02 takes braces around anything but passwords and SQL as a part of it, sqliteodbc knows none.
        let knows_braces = !matches!(self.family, Family::Psqlodbc | Family::Sqlite);
        if !knows_braces && (value.contains(';') || value.trim() != value || value.starts_with('{')) {
            let problem =
                "holds a `;`, begins with `{`, or has blanks at an end, which the driver has no way to be told";
            return Err(self.value(field, problem.to_owned()));
        }
        match knows_braces {
            true => self.string.push(keyword, value),
            false => self.string.push_written(keyword, value, value),
        }
        Ok(())
    }

    /// psqlodbc's attributes that hold SQL or options: always in braces, or it would decode them like a URL.
    fn braced(&mut self, keyword: &str, value: &str) {
        let written = format!("{{{}}}", value.replace('}', "}}"));
        self.string.push_written(keyword, value, &written);
    }

    fn port(&self) -> Result<Option<String>, ConnectionError> {
        let Some(port) = self.settings.get(Field::Port) else {
            return Ok(None);
        };
        match port.trim().parse::<u16>() {
            Ok(1..) => Ok(Some(port.trim().to_owned())),
            _ => Err(self.value(Field::Port, "must be a number from 1 to 65535".to_owned())),
        }
    }

    fn ssl_mode(&self) -> Result<Option<SslMode>, ConnectionError> {
        let Some(text) = self.settings.get(Field::SslMode) else {
            return Ok(None);
        };
        let mode = SslMode::parse(text, self.settings.product).ok_or_else(|| {
            let last = if self.settings.product == Product::MySql { 4 } else { 5 };
            let problem = format!(
                "is `{text}`; 0 to {last}, `disable`, `prefer`, `require`, `verify-ca` and `verify-full` are allowed"
            );
            self.value(Field::SslMode, problem)
        })?;
        Ok(Some(mode))
    }

    fn value(&self, field: Field, problem: String) -> ConnectionError {
        value(self.origin, field, problem)
    }
}
