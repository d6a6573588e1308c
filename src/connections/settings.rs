//! What a connection needs, in words of no driver: each way of naming a database (a linked service, a URL) fills in
//! [`Settings`], and `attributes.rs` turns them into the attributes of the driver that the node has.

use std::collections::BTreeMap;

use crate::azure::Identity;

/// Which kind of server, or file, is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// SQL Server, Azure SQL Database and Managed Instance, Synapse.
    SqlServer,
    /// PostgreSQL, also as a service of Azure.
    Postgresql,
    /// MySQL and MariaDB, also as services of Azure.
    MySql,
    /// A SQLite file.
    Sqlite,
}

/// One thing that a connection may need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Host name; for SQL Server also `tcp:host,port` and `host\instance`.
    Server,
    /// TCP port.
    Port,
    /// Database; for SQLite the file.
    Database,
    /// User name.
    User,
    /// Password.
    Password,
    /// Schemas that names without one are looked up in.
    SearchPath,
    /// `disable` to `verify-full`, or ADF's number for it, which differs between PostgreSQL and MySQL.
    SslMode,
    /// File with the certificates of the authorities that are trusted.
    RootCertificate,
    /// File with the client's certificate.
    ClientCertificate,
    /// File with the key of it.
    ClientKey,
    /// Password of that key.
    ClientKeyPassword,
    /// DataDirect's `EncryptionMethod`: 0 none, 1 TLS, 6 TLS if the server has it.
    EncryptionMethod,
    /// DataDirect's `ValidateServerCertificate`.
    ValidateServerCertificate,
    /// SQL Server: whether the connection is encrypted.
    Encrypt,
    /// SQL Server: whether any certificate will do.
    TrustServerCertificate,
    /// SQL Server: the name that the certificate must have, if not the server's.
    HostNameInCertificate,
    /// SQL Server: `ReadOnly` goes to a readable secondary.
    ApplicationIntent,
    /// Name that the server's lists of sessions show.
    ApplicationName,
    /// SQL Server: tries to bring back an idle connection that broke.
    ConnectRetryCount,
    /// SQL Server: seconds between them.
    ConnectRetryInterval,
    /// SQL Server: try all addresses of an availability group's listener at once.
    MultiSubnetFailover,
    /// SQL Server: the operating system's user.
    IntegratedSecurity,
    /// SQL Server: how to sign in, in the words of ADO.NET or of Microsoft's driver.
    Authentication,
    /// Linked services: `authenticationType`.
    AuthenticationType,
    /// Linked services: application id of a service principal.
    ServicePrincipalId,
    /// Linked services: its secret.
    ServicePrincipalKey,
    /// Linked services: whether it has a secret or a certificate.
    ServicePrincipalCredentialType,
    /// Linked services: its secret, in the newer spelling.
    ServicePrincipalCredential,
    /// Linked services: the directory of a service principal.
    Tenant,
    /// Linked services: reference to a credential of the factory.
    Credential,
    /// SQL Server: a token of Microsoft Entra, in place of user and password.
    AccessToken,
    /// MySQL: path of a Unix socket.
    Socket,
    /// MySQL: seconds to wait for the server.
    ConnectTimeout,
    /// SQLite: milliseconds to wait for a lock.
    BusyTimeout,
    /// SQLite: whether foreign keys are enforced.
    ForeignKeys,
}

impl Field {
    /// Its name in messages and in the documentation, in ADF's spelling where ADF has one.
    pub fn name(self) -> &'static str {
        match self {
            Field::Server => "server",
            Field::Port => "port",
            Field::Database => "database",
            Field::User => "user",
            Field::Password => "password",
            Field::SearchPath => "schema",
            Field::SslMode => "sslMode",
            Field::RootCertificate => "root certificate",
            Field::ClientCertificate => "client certificate",
            Field::ClientKey => "client key",
            Field::ClientKeyPassword => "password of the client key",
            Field::EncryptionMethod => "EncryptionMethod",
            Field::ValidateServerCertificate => "ValidateServerCertificate",
            Field::Encrypt => "encrypt",
            Field::TrustServerCertificate => "trustServerCertificate",
            Field::HostNameInCertificate => "hostNameInCertificate",
            Field::ApplicationIntent => "applicationIntent",
            Field::ApplicationName => "application name",
            Field::ConnectRetryCount => "connectRetryCount",
            Field::ConnectRetryInterval => "connectRetryInterval",
            Field::MultiSubnetFailover => "multiSubnetFailover",
            Field::IntegratedSecurity => "integratedSecurity",
            Field::Authentication => "Authentication",
            Field::AuthenticationType => "authenticationType",
            Field::ServicePrincipalId => "servicePrincipalId",
            Field::ServicePrincipalKey => "servicePrincipalKey",
            Field::ServicePrincipalCredentialType => "servicePrincipalCredentialType",
            Field::ServicePrincipalCredential => "servicePrincipalCredential",
            Field::Tenant => "tenant",
            Field::Credential => "credential",
            Field::AccessToken => "AccessToken",
            Field::Socket => "socket",
            Field::ConnectTimeout => "connection timeout",
            Field::BusyTimeout => "timeout",
            Field::ForeignKeys => "foreign keys",
        }
    }
}

/// How the user is known to SQL Server; to everything else by a password, which may be a token ([`Settings::token_of`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignIn {
    /// `UID` and `PWD` as they are, if they are there at all.
    #[default]
    Password,
    /// A Windows account by name and password.
    WindowsPassword,
    /// The Kerberos ticket of the operating system's user.
    Kerberos,
    /// A managed identity of the node; `UID` is its client id if there may be several.
    ManagedIdentity,
    /// A service principal: `UID` and `PWD` are its application id and secret.
    ServicePrincipal,
    /// A user of Microsoft Entra by name and password.
    EntraPassword,
    /// A token of Microsoft Entra that goes to the driver as it is.
    AccessToken,
}

impl SignIn {
    /// Whether only Microsoft's driver can do it.
    pub fn is_entra(self) -> bool {
        matches!(
            self,
            SignIn::ManagedIdentity | SignIn::ServicePrincipal | SignIn::EntraPassword | SignIn::AccessToken
        )
    }
}

/// Whose token of Microsoft Entra a connection takes.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenOf {
    /// Of whom the environment says: [`Identity::from_environment`].
    Environment,
    /// Of this one.
    Identity(Identity),
}

/// `Authentication` of a connection whose token dray fetches, in the word of ADO.NET; Microsoft's ODBC drivers, up to 18.6,
/// know no such way.
pub const DEFAULT_IDENTITY: &str = "activedirectorydefault";

/// TLS, in libpq's words, which ADF's numbers and MySQL's words are put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only if the server insists.
    Allow,
    /// If the server can; the certificate is not looked at.
    Prefer,
    /// Always; the certificate is not looked at.
    Require,
    /// Always, and an authority that is trusted has signed the certificate.
    VerifyCa,
    /// And it is the server's own.
    VerifyFull,
}

impl SslMode {
    /// Its name for libpq and psqlodbc.
    pub fn libpq(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }

    /// Whether the server's certificate is checked.
    pub fn verifies(self) -> bool {
        matches!(self, SslMode::VerifyCa | SslMode::VerifyFull)
    }

    /// Reads a word of libpq, Npgsql, MySQL or Connector/NET, or one of ADF's numbers.
    ///
    /// ADF counts from 0: disable, allow, prefer, require, verify-ca, verify-full for PostgreSQL; disable, prefer, require,
    /// verify-ca, verify-full for MySQL and MariaDB (azure-docs, connector-postgresql.md and connector-mysql.md).
    pub fn parse(text: &str, product: Product) -> Option<SslMode> {
        use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
        let plain = normalized(text);
        if let Ok(number) = plain.parse::<usize>() {
            let modes: &[SslMode] = match product {
                Product::MySql => &[Disable, Prefer, Require, VerifyCa, VerifyFull],
                _ => &[Disable, Allow, Prefer, Require, VerifyCa, VerifyFull],
            };
            return modes.get(number).copied();
        }
        Some(match plain.as_str() {
            "disable" | "disabled" | "none" => Disable,
            "allow" => Allow,
            "prefer" | "preferred" => Prefer,
            "require" | "required" => Require,
            "verifyca" => VerifyCa,
            "verifyfull" | "verifyidentity" => VerifyFull,
            _ => return None,
        })
    }
}

/// How SQL Server's connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encrypt {
    /// If the server insists.
    Optional,
    /// Always.
    Mandatory,
    /// Always, and TLS before anything else (TDS 8).
    Strict,
}

impl Encrypt {
    /// Reads ADF's and ADO.NET's words for it.
    pub fn parse(text: &str) -> Option<Encrypt> {
        match normalized(text).as_str() {
            "strict" => Some(Encrypt::Strict),
            "mandatory" => Some(Encrypt::Mandatory),
            "optional" => Some(Encrypt::Optional),
            other => truth(other).map(|on| if on { Encrypt::Mandatory } else { Encrypt::Optional }),
        }
    }
}

/// Reads what ADF, ADO.NET and ODBC write for true and false.
pub fn truth(text: &str) -> Option<bool> {
    match normalized(text).as_str() {
        "true" | "yes" | "1" | "sspi" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// A keyword or a word without its case, blanks, `_` and `-`: `User ID`, `user_id` and `UserId` are one.
pub fn normalized(text: &str) -> String {
    text.chars()
        .filter(|character| !matches!(character, ' ' | '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// All that is known of a connection to be made. Holds secrets, and so has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// What is connected to.
    pub product: Product,
    /// How the user is known.
    pub sign_in: SignIn,
    /// Whose token of Microsoft Entra is still to be fetched: for SQL Server the access token, else the password.
    pub token_of: Option<TokenOf>,
    /// The values by field, as written where they came from.
    values: BTreeMap<Field, String>,
    /// Parameters for libpq that have no attribute of psqlodbc.
    pub libpq: Vec<(String, String)>,
    /// Attributes for Microsoft's driver, under its own names.
    pub microsoft: Vec<(&'static str, String)>,
    /// Name of the driver, if the user insists on one.
    pub driver: Option<String>,
}

impl Settings {
    /// Empty ones.
    pub fn new(product: Product) -> Settings {
        Settings {
            product,
            sign_in: SignIn::Password,
            token_of: None,
            values: BTreeMap::new(),
            libpq: Vec::new(),
            microsoft: Vec::new(),
            driver: None,
        }
    }

    /// The value of a field; an empty one counts as absent.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.values
            .get(&field)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Sets a field, in place of what it was.
    pub fn set(&mut self, field: Field, value: impl Into<String>) {
        self.values.insert(field, value.into());
    }

    /// Takes a field out.
    pub fn remove(&mut self, field: Field) {
        self.values.remove(&field);
    }

    /// Has the connection take the token of this one, which other products than SQL Server take for a password. Whoever reads
    /// the token can use it, so that it goes by TLS where nothing is said.
    pub fn sign_in_by_token(&mut self, of: TokenOf) {
        self.token_of = Some(of);
        if self.product == Product::SqlServer {
            self.sign_in = SignIn::AccessToken;
        } else if self.get(Field::SslMode).is_none() && self.get(Field::EncryptionMethod).is_none() {
            self.set(Field::SslMode, SslMode::Require.libpq());
        }
    }

    /// What must never be written anywhere.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        [
            Field::Password,
            Field::ClientKeyPassword,
            Field::ServicePrincipalKey,
            Field::ServicePrincipalCredential,
            Field::AccessToken,
        ]
        .into_iter()
        .filter_map(|field| self.get(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_ssl_mode_differ_between_products() {
        for (number, postgresql, mysql) in [
            ("0", Some(SslMode::Disable), Some(SslMode::Disable)),
            ("1", Some(SslMode::Allow), Some(SslMode::Prefer)),
            ("2", Some(SslMode::Prefer), Some(SslMode::Require)),
            ("3", Some(SslMode::Require), Some(SslMode::VerifyCa)),
            ("4", Some(SslMode::VerifyCa), Some(SslMode::VerifyFull)),
            ("5", Some(SslMode::VerifyFull), None),
        ] {
            assert_eq!(SslMode::parse(number, Product::Postgresql), postgresql, "{number}");
            assert_eq!(SslMode::parse(number, Product::MySql), mysql, "{number}");
        }
    }

    #[test]
    fn the_words_of_ssl_mode_are_one_in_every_spelling() {
        for word in ["VERIFY_IDENTITY", "verify-full", "VerifyFull", "Verify Full"] {
            assert_eq!(
                SslMode::parse(word, Product::MySql),
                Some(SslMode::VerifyFull),
                "{word}"
            );
        }
        assert_eq!(SslMode::parse("sometimes", Product::Postgresql), None);
    }

    #[test]
    fn encrypt_is_read_from_words_and_from_booleans() {
        for (text, expected) in [
            ("True", Some(Encrypt::Mandatory)),
            ("yes", Some(Encrypt::Mandatory)),
            ("optional", Some(Encrypt::Optional)),
            ("false", Some(Encrypt::Optional)),
            ("Strict", Some(Encrypt::Strict)),
            ("maybe", None),
        ] {
            assert_eq!(Encrypt::parse(text), expected, "{text}");
        }
    }
}
