//! The keys of each type of linked service, and those of its connection string, with what dray makes of each.
//!
//! One table for the code and for CONNECTIONS.md. Keys: azure-mgmt-datafactory 10.0.0 (`models/_models.py`) and
//! azure-docs, `articles/data-factory/connector-*.md`. Connection strings: Microsoft's .NET reference
//! (SqlConnection.ConnectionString), Npgsql's and MySqlConnector's "Connection string parameters", and the DataDirect
//! attributes in the samples of connector-postgresql.md.

use super::settings::{Field, Product, normalized};

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is one of the settings.
    Sets(Field),
    /// It changes nothing here, and why.
    Ignored(&'static str),
    /// It cannot be followed, and leaving it out would change what is read or who reads it.
    Refused(&'static str),
}

/// A key of `typeProperties`, or keywords of a connection string that mean the same.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key's spellings; of connection strings without case and blanks.
    pub names: &'static [&'static str],
    /// What becomes of it.
    pub meaning: Meaning,
}

/// A type of linked service.
#[derive(Clone, Copy, Debug)]
pub struct ServiceType {
    /// `properties.type`.
    pub name: &'static str,
    /// What it connects to; `None` for `Odbc`, whose string is used as it is.
    pub product: Option<Product>,
    /// Keys of `typeProperties` beside `connectionString`, `encryptedCredential`.
    pub keys: &'static [&'static [Key]],
    /// Keywords of `connectionString`.
    pub keywords: &'static [Key],
    /// Whether it is a service of Azure that knows managed identities.
    pub in_azure: bool,
}

impl ServiceType {
    /// The type of this name, whatever its case.
    pub fn named(name: &str) -> Option<&'static ServiceType> {
        SERVICE_TYPES.iter().find(|each| each.name.eq_ignore_ascii_case(name))
    }

    /// What becomes of a keyword of the connection string.
    pub fn keyword(&self, keyword: &str) -> Option<&'static Key> {
        let plain = normalized(keyword);
        self.keywords.iter().find(|key| key.names.contains(&plain.as_str()))
    }

    /// Every key of `typeProperties`.
    pub fn all_keys(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().flat_map(|keys| keys.iter())
    }
}

const POOL: &str = "dray opens a connection when it needs one, and keeps no pool";
const LOGIN: &str = "dray gives each login 30 seconds";
const COMMAND: &str = "a statement may take as long as it needs; `dray run --timeout` bounds the run";
const CLIENT: &str = "it steers a client library that is not used here";
const UTF8: &str = "dray always speaks UTF-8";
const ZONE: &str = "dray sets the session's time zone to UTC";
const TRUST: &str = "dray trusts the authorities that the node trusts";
const LIBPQ_TRUST: &str = "the certificate is checked for verify-ca and verify-full alone";
const TENANT: &str = "the server tells the driver its tenant";
const CLOUD: &str = "it follows from the server's name";
const VALUES: &str = "dray hands values over as they are";
const NETWORK: &str = "the drivers for Linux know TCP alone";
const ALWAYS_ENCRYPTED: &str = "dray does not hand keys of Always Encrypted to the driver, and would copy ciphertext";
const CERTIFICATE: &str = "drivers take no certificate of a service principal";
const DRIVER: &str = "dray chooses the driver";

const fn sets(names: &'static [&'static str], field: Field) -> Key {
    let meaning = Meaning::Sets(field);
    Key { names, meaning }
}

const fn ignored(names: &'static [&'static str], why: &'static str) -> Key {
    let meaning = Meaning::Ignored(why);
    Key { names, meaning }
}

const fn refused(names: &'static [&'static str], why: &'static str) -> Key {
    let meaning = Meaning::Refused(why);
    Key { names, meaning }
}

const SQL_SERVER_KEYS: &[Key] = &[
    sets(&["server"], Field::Server),
    sets(&["database"], Field::Database),
    sets(&["encrypt"], Field::Encrypt),
    sets(&["trustServerCertificate"], Field::TrustServerCertificate),
    sets(&["hostNameInCertificate"], Field::HostNameInCertificate),
    sets(&["applicationIntent"], Field::ApplicationIntent),
    sets(&["connectRetryCount"], Field::ConnectRetryCount),
    sets(&["connectRetryInterval"], Field::ConnectRetryInterval),
    sets(&["multiSubnetFailover"], Field::MultiSubnetFailover),
    sets(&["integratedSecurity"], Field::IntegratedSecurity),
    sets(&["authenticationType"], Field::AuthenticationType),
    sets(&["userName"], Field::User),
    sets(&["password"], Field::Password),
    sets(&["credential"], Field::Credential),
    ignored(&["connectTimeout"], LOGIN),
    ignored(&["commandTimeout"], COMMAND),
    ignored(&["pooling"], POOL),
    ignored(&["minPoolSize"], POOL),
    ignored(&["maxPoolSize"], POOL),
    ignored(&["loadBalanceTimeout"], POOL),
    ignored(
        &["multipleActiveResultSets"],
        "dray reads one result of a connection at a time",
    ),
    ignored(&["packetSize"], "the driver and the server agree on it"),
    ignored(&["failoverPartner"], "drivers know it on Windows alone"),
    refused(&["alwaysEncryptedSettings"], ALWAYS_ENCRYPTED),
];

const SERVICE_PRINCIPAL_KEYS: &[Key] = &[
    sets(&["servicePrincipalId"], Field::ServicePrincipalId),
    sets(&["servicePrincipalKey"], Field::ServicePrincipalKey),
    sets(
        &["servicePrincipalCredentialType"],
        Field::ServicePrincipalCredentialType,
    ),
    sets(&["servicePrincipalCredential"], Field::ServicePrincipalCredential),
    ignored(&["azureCloudType"], CLOUD),
];

const SQL_SERVER_TENANT_KEYS: &[Key] = &[ignored(&["tenant"], TENANT)];

const SQL_SERVER_KEYWORDS: &[Key] = &[
    sets(
        &["server", "datasource", "address", "addr", "networkaddress"],
        Field::Server,
    ),
    sets(&["database", "initialcatalog"], Field::Database),
    sets(&["userid", "uid", "user", "username"], Field::User),
    sets(&["password", "pwd"], Field::Password),
    sets(&["encrypt"], Field::Encrypt),
    sets(&["trustservercertificate"], Field::TrustServerCertificate),
    sets(&["hostnameincertificate"], Field::HostNameInCertificate),
    sets(&["integratedsecurity", "trustedconnection"], Field::IntegratedSecurity),
    sets(&["authentication"], Field::Authentication),
    sets(&["accesstoken"], Field::AccessToken),
    sets(&["applicationintent"], Field::ApplicationIntent),
    sets(&["applicationname", "app"], Field::ApplicationName),
    sets(&["connectretrycount"], Field::ConnectRetryCount),
    sets(&["connectretryinterval"], Field::ConnectRetryInterval),
    sets(&["multisubnetfailover"], Field::MultiSubnetFailover),
    ignored(&["connectiontimeout", "connecttimeout", "timeout"], LOGIN),
    ignored(&["commandtimeout"], COMMAND),
    ignored(
        &[
            "pooling",
            "minpoolsize",
            "maxpoolsize",
            "loadbalancetimeout",
            "connectionlifetime",
            "connectionreset",
            "enlist",
            "poolblockingperiod",
        ],
        POOL,
    ),
    ignored(
        &["multipleactiveresultsets"],
        "dray reads one result of a connection at a time",
    ),
    ignored(&["packetsize"], "the driver and the server agree on it"),
    ignored(&["failoverpartner"], "drivers know it on Windows alone"),
    ignored(&["networklibrary", "network", "net"], NETWORK),
    ignored(
        &[
            "persistsecurityinfo",
            "workstationid",
            "wsid",
            "currentlanguage",
            "language",
            "typesystemversion",
            "asynchronousprocessing",
            "contextconnection",
            "replication",
            "transactionbinding",
            "transparentnetworkipresolution",
            "ipaddresspreference",
            "userinstance",
        ],
        CLIENT,
    ),
    ignored(&["driver", "provider"], DRIVER),
    refused(&["columnencryptionsetting"], ALWAYS_ENCRYPTED),
    refused(&["attachdbfilename", "initialfilename"], "a server is needed"),
];

const POSTGRESQL_KEYS: &[Key] = &[
    sets(&["server"], Field::Server),
    sets(&["port"], Field::Port),
    sets(&["database"], Field::Database),
    sets(&["username"], Field::User),
    sets(&["password"], Field::Password),
    sets(&["sslMode"], Field::SslMode),
    sets(&["schema"], Field::SearchPath),
    sets(&["sslCertificate"], Field::ClientCertificate),
    sets(&["sslKey"], Field::ClientKey),
    sets(&["sslPassword"], Field::ClientKeyPassword),
    sets(&["authenticationType"], Field::AuthenticationType),
    ignored(&["trustServerCertificate"], LIBPQ_TRUST),
    ignored(&["timeout"], LOGIN),
    ignored(&["connectionTimeout"], LOGIN),
    ignored(&["commandTimeout"], COMMAND),
    ignored(&["pooling"], POOL),
    ignored(&["readBufferSize"], CLIENT),
    ignored(&["logParameters"], CLIENT),
    ignored(&["timezone"], ZONE),
    ignored(&["encoding"], UTF8),
];

const POSTGRESQL_ENTRA_KEYS: &[Key] = &[
    sets(&["credential"], Field::Credential),
    sets(&["tenant"], Field::Tenant),
    refused(&["servicePrincipalEmbeddedCert"], CERTIFICATE),
    refused(&["servicePrincipalEmbeddedCertPassword"], CERTIFICATE),
];

const POSTGRESQL_KEYWORDS: &[Key] = &[
    sets(&["host", "server", "hostname", "servername"], Field::Server),
    sets(&["port", "portnumber"], Field::Port),
    sets(&["database", "db"], Field::Database),
    sets(&["uid", "userid", "username", "user", "logonid"], Field::User),
    sets(&["password", "pwd"], Field::Password),
    sets(&["sslmode"], Field::SslMode),
    sets(&["encryptionmethod", "em"], Field::EncryptionMethod),
    sets(&["validateservercertificate", "vsc"], Field::ValidateServerCertificate),
    sets(&["searchpath"], Field::SearchPath),
    sets(&["sslcertificate"], Field::ClientCertificate),
    sets(&["sslkey"], Field::ClientKey),
    sets(&["sslpassword"], Field::ClientKeyPassword),
    sets(&["rootcertificate"], Field::RootCertificate),
    sets(&["applicationname"], Field::ApplicationName),
    ignored(&["trustservercertificate"], LIBPQ_TRUST),
    ignored(&["hostnameincertificate"], "libpq compares with the server's own name"),
    ignored(&["timeout", "connectiontimeout", "logintimeout", "logontimeout"], LOGIN),
    ignored(&["commandtimeout", "querytimeout", "internalcommandtimeout"], COMMAND),
    ignored(
        &[
            "pooling",
            "minpoolsize",
            "maxpoolsize",
            "minimumpoolsize",
            "maximumpoolsize",
            "connectionidlelifetime",
            "connectionlifetime",
            "enlist",
        ],
        POOL,
    ),
    ignored(&["encoding", "clientencoding"], UTF8),
    ignored(&["timezone"], ZONE),
    ignored(
        &[
            "keepalive",
            "tcpkeepalive",
            "readbuffersize",
            "writebuffersize",
            "noresetonclose",
            "persistsecurityinfo",
            "logparameters",
            "includeerrordetail",
            "maxautoprepare",
            "cryptoprotocolversion",
        ],
        CLIENT,
    ),
    ignored(&["driver"], DRIVER),
    refused(
        &[
            "truststore",
            "truststorepassword",
            "keystore",
            "keystorepassword",
            "keypassword",
        ],
        "libpq reads no key stores; use `SSL Certificate` and `SSL Key`",
    ),
    refused(
        &[
            "kerberosservicename",
            "krbsrvname",
            "integratedsecurity",
            "authenticationmethod",
        ],
        "dray signs in to PostgreSQL by password",
    ),
];

const MYSQL_KEYS: &[Key] = &[
    sets(&["server"], Field::Server),
    sets(&["port"], Field::Port),
    sets(&["database"], Field::Database),
    sets(&["username"], Field::User),
    sets(&["password"], Field::Password),
    sets(&["sslMode"], Field::SslMode),
    ignored(&["useSystemTrustStore"], TRUST),
    ignored(&["driverVersion"], DRIVER),
];

const MYSQL_CLIENT_KEYS: &[Key] = &[
    sets(&["sslCert"], Field::ClientCertificate),
    sets(&["sslKey"], Field::ClientKey),
    sets(&["connectionTimeout"], Field::ConnectTimeout),
    ignored(&["allowZeroDateTime"], VALUES),
    ignored(&["convertZeroDateTime"], VALUES),
    ignored(&["guidFormat"], VALUES),
    ignored(&["treatTinyAsBoolean"], VALUES),
];

const MARIADB_KEYS: &[Key] = &[sets(&["pwd"], Field::Password)];

const MYSQL_KEYWORDS: &[Key] = &[
    sets(
        &["server", "host", "servername", "datasource", "address", "addr"],
        Field::Server,
    ),
    sets(&["port"], Field::Port),
    sets(&["database", "initialcatalog", "db"], Field::Database),
    sets(&["uid", "user", "userid", "username"], Field::User),
    sets(&["pwd", "password"], Field::Password),
    sets(&["sslmode"], Field::SslMode),
    sets(&["sslca", "cacertificatefile"], Field::RootCertificate),
    sets(&["sslcert"], Field::ClientCertificate),
    sets(&["sslkey"], Field::ClientKey),
    sets(
        &["connectiontimeout", "connecttimeout", "timeout"],
        Field::ConnectTimeout,
    ),
    sets(&["socket"], Field::Socket),
    ignored(&["usesystemtruststore"], TRUST),
    ignored(&["defaultcommandtimeout", "commandtimeout"], COMMAND),
    ignored(&["charset", "characterset"], UTF8),
    ignored(
        &[
            "pooling",
            "minpoolsize",
            "maxpoolsize",
            "minimumpoolsize",
            "maximumpoolsize",
            "connectionlifetime",
            "connectionreset",
        ],
        POOL,
    ),
    ignored(
        &[
            "allowzerodatetime",
            "convertzerodatetime",
            "guidformat",
            "treattinyasboolean",
            "oldguids",
        ],
        VALUES,
    ),
    ignored(
        &[
            "option",
            "persistsecurityinfo",
            "allowuservariables",
            "keepalive",
            "usecompression",
        ],
        CLIENT,
    ),
    ignored(&["driver", "driverversion"], DRIVER),
    refused(
        &["certificatefile", "certificatepassword", "integratedsecurity"],
        "dray signs in to MySQL by password",
    ),
];

const ODBC_KEYS: &[Key] = &[
    sets(&["authenticationType"], Field::AuthenticationType),
    sets(&["userName"], Field::User),
    sets(&["password"], Field::Password),
    sets(&["credential"], Field::Credential),
];

const fn sql_server(name: &'static str, keys: &'static [&'static [Key]], in_azure: bool) -> ServiceType {
    ServiceType {
        name,
        product: Some(Product::SqlServer),
        keys,
        keywords: SQL_SERVER_KEYWORDS,
        in_azure,
    }
}

const fn postgresql(name: &'static str, keys: &'static [&'static [Key]], in_azure: bool) -> ServiceType {
    ServiceType {
        name,
        product: Some(Product::Postgresql),
        keys,
        keywords: POSTGRESQL_KEYWORDS,
        in_azure,
    }
}

const fn mysql(name: &'static str, keys: &'static [&'static [Key]], in_azure: bool) -> ServiceType {
    ServiceType {
        name,
        product: Some(Product::MySql),
        keys,
        keywords: MYSQL_KEYWORDS,
        in_azure,
    }
}

/// Every type that becomes a connection.
pub static SERVICE_TYPES: [ServiceType; 11] = [
    sql_server(
        "AzureSqlDatabase",
        &[SQL_SERVER_KEYS, SERVICE_PRINCIPAL_KEYS, SQL_SERVER_TENANT_KEYS],
        true,
    ),
    sql_server(
        "AzureSqlMI",
        &[SQL_SERVER_KEYS, SERVICE_PRINCIPAL_KEYS, SQL_SERVER_TENANT_KEYS],
        true,
    ),
    sql_server(
        "AzureSqlDW",
        &[SQL_SERVER_KEYS, SERVICE_PRINCIPAL_KEYS, SQL_SERVER_TENANT_KEYS],
        true,
    ),
    sql_server("SqlServer", &[SQL_SERVER_KEYS], false),
    postgresql(
        "AzurePostgreSql",
        &[POSTGRESQL_KEYS, SERVICE_PRINCIPAL_KEYS, POSTGRESQL_ENTRA_KEYS],
        true,
    ),
    postgresql("PostgreSqlV2", &[POSTGRESQL_KEYS], false),
    postgresql("PostgreSql", &[POSTGRESQL_KEYS], false),
    mysql("AzureMySql", &[MYSQL_KEYS, MYSQL_CLIENT_KEYS], true),
    mysql("MySql", &[MYSQL_KEYS, MYSQL_CLIENT_KEYS], false),
    mysql("MariaDB", &[MYSQL_KEYS, MARIADB_KEYS, MYSQL_CLIENT_KEYS], false),
    ServiceType {
        name: "Odbc",
        product: None,
        keys: &[ODBC_KEYS],
        keywords: &[],
        in_azure: false,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_and_no_keyword_has_two_meanings() {
        for each in &SERVICE_TYPES {
            let mut seen = Vec::new();
            for name in each.all_keys().flat_map(|key| key.names) {
                let name = name.to_lowercase();
                assert!(!seen.contains(&name), "{}: {name}", each.name);
                seen.push(name);
            }
            seen.clear();
            for name in each.keywords.iter().flat_map(|key| key.names) {
                assert_eq!(normalized(name), *name, "{}", each.name);
                assert!(!seen.contains(&(*name).to_owned()), "{}: {name}", each.name);
                seen.push((*name).to_owned());
            }
        }
    }
}
