//! CONNECTIONS.md out of the tables that the code itself reads, and the test that holds the file to them.
//!
//! `DRAY_WRITE_CONNECTIONS_MD=1 cargo test --lib connections_md` writes the file anew.

use std::fmt::Write;

use super::driver::{Family, attribute, candidates};
use super::keys::{Key, Meaning, SERVICE_TYPES, ServiceType};
use super::linked_service::{AZURE_POSTGRESQL_AUTHENTICATION, SQL_SERVER_AUTHENTICATION};
use super::settings::{Field, Product};
use super::text::{LIBPQ, MICROSOFT, Parameter, SCHEMES, parameter};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/connections/CONNECTIONS.md");

const INTRODUCTION: &str = "\
# Connections

What may stand wherever dray takes a connection (`dray.connect`, `dray.copy_table`, `dray.copy_tables`), and what becomes
of each key of a linked service. The tables below are written from the code by a test; change the code, not this file.

## A name, a URL, or a connection string

A text with `://` after a scheme is a URL, one with `=` in it a connection string. One that names a `Driver` or a `DSN` is
ODBC's, and goes to the driver as it is; one that names a server and neither of them is ADO.NET's for SQL Server (`Data
Source=...;Initial Catalog=...;User ID=...`): its keywords are those in the table of `SqlServer` below, one that is not there
is refused, values stand in quotes where they need any, and it is encrypted unless it says `Encrypt=false`. Anything else is a name, which is, in this order:

1. the environment variable `DRAY_CONNECTION_` and the name in upper case, with `_` for all but letters and digits of ASCII:
   `Sales-Db` is `DRAY_CONNECTION_SALES_DB`. An empty one counts as unset;
2. a linked service that ADF handed over, whatever the case of its name. `dray.linked_services[\"X\"].connection_string` is this
   one alone;
3. a dataset: the connection of its linked service, with the parameters that it passes on. `dray.datasets[\"X\"].table` is its
   table, so that `dray.Copy(\"X\", dray.datasets[\"X\"].table)` copies what the dataset stands for;
4. an entry of `[tool.dray.connections]` in the project's pyproject.toml, whatever its case;
5. a data source (DSN) of odbc.ini.

The variable comes first since it is set for one run and says what is wanted there; what ADF hands over is the pipeline's
word; the project's own entries are what a laptop falls back on, and are not reached on a node where ADF has the name.
Outside `dray run`, the pyproject.toml is the nearest one from the working directory upwards.

The variable and the entries hold a connection string or a URL. In an entry, `${NAME}` stands for an environment variable,
and `$${` for `${`. It is put in after the text was taken apart, so the variable's value needs no escaping:

```toml
[tool.dray.connections]
Warehouse = \"postgresql://etl:${WAREHOUSE_PASSWORD}@localhost/dw\"
HrDb = \"Driver={SQLite3};Database=hr.db\"
```
";

fn name_of(product: Product) -> &'static str {
    match product {
        Product::SqlServer => "SQL Server and Azure SQL",
        Product::Postgresql => "PostgreSQL",
        Product::MySql => "MySQL and MariaDB",
        Product::Sqlite => "SQLite",
    }
}

fn name_of_family(family: Family) -> &'static str {
    match family {
        Family::Microsoft18 => "Microsoft's 18",
        Family::Microsoft17 => "Microsoft's 17",
        Family::FreeTds => "FreeTDS",
        Family::Psqlodbc => "psqlodbc",
        Family::MariaDb => "MariaDB's",
        Family::MySql => "MySQL's",
        Family::Sqlite => "sqliteodbc",
    }
}

const PRODUCTS: [Product; 4] = [Product::SqlServer, Product::Postgresql, Product::MySql, Product::Sqlite];

/// What a field becomes where that is more than an attribute of the same value.
fn particular(product: Product, field: Field) -> Option<&'static str> {
    Some(match (product, field) {
        (Product::SqlServer, Field::Server) => {
            "`Server`; for FreeTDS without `tcp:`, and with its port apart, 1433 if there is none"
        }
        (Product::SqlServer, Field::Encrypt) => {
            "`Encrypt`: true or `mandatory` is `yes`, false or `optional` is `no`, `strict`; FreeTDS: `Encryption` `require` or \
             `request`. Absent: `yes`, but `no` for a connection string of `SqlServer`, as ADF has it"
        }
        (Product::SqlServer, Field::TrustServerCertificate) => {
            "`TrustServerCertificate`, `yes` or `no`; FreeTDS checks no certificate, and is taken for an encrypted connection \
             only if this is true"
        }
        (Product::SqlServer, Field::AuthenticationType | Field::Authentication) => "how to sign in, see below",
        (Product::SqlServer, Field::User) => "`UID`",
        (Product::SqlServer, Field::Credential) => "a managed identity, see below; what it names is not handed over",
        (Product::SqlServer, Field::IntegratedSecurity) => "true: `Trusted_Connection=yes`, by a Kerberos ticket",
        (_, Field::ServicePrincipalId) if product == Product::SqlServer => "`UID`, see below",
        (_, Field::ServicePrincipalKey | Field::ServicePrincipalCredential) if product == Product::SqlServer => {
            "`PWD`, see below"
        }
        (_, Field::ServicePrincipalCredentialType) if product == Product::SqlServer => {
            "`ServicePrincipalCert` is refused: drivers take no certificate of a service principal"
        }
        (
            Product::Postgresql,
            Field::ServicePrincipalId
            | Field::ServicePrincipalKey
            | Field::ServicePrincipalCredential
            | Field::ServicePrincipalCredentialType
            | Field::Credential
            | Field::Tenant,
        ) => "see below",
        (Product::Postgresql, Field::Authentication) => "`ActiveDirectoryDefault`: a token as the password, see below",
        (Product::Postgresql, Field::AuthenticationType) => "how to sign in, see below",
        (_, Field::AuthenticationType) => "`Basic`; anything else is refused",
        (Product::SqlServer, Field::AccessToken) => "`AccessToken`, see below",
        (Product::Postgresql, Field::SslMode) => {
            "`SSLmode`: 0 disable, 1 allow, 2 prefer, 3 require, 4 verify-ca, 5 verify-full, or the word; absent: prefer. For \
             the last two `sslrootcert` is what the node trusts, unless libpq finds one itself"
        }
        (Product::MySql, Field::SslMode) => {
            "0 disable, 1 prefer, 2 require, 3 verify-ca, 4 verify-full, or the word; absent: prefer. MySQL's: `SSLMODE`. \
             MariaDB's: nothing for 0, `SSLCIPHER=HIGH` for 1, `FORCETLS=1;SSLVERIFY=0` for 2, and for 3 and 4 \
             `FORCETLS=1;SSLVERIFY=1` and `SSLCA` with what the node trusts, since it checks name and authority together"
        }
        (Product::Postgresql, Field::EncryptionMethod) => "`SSLmode`: 0 disable, 1 require, 6 prefer",
        (Product::Postgresql, Field::ValidateServerCertificate) => "with `EncryptionMethod=1`: verify-ca",
        (Product::Postgresql, Field::SearchPath) => "`ConnSettings`, which sets `search_path`",
        (Product::Postgresql, Field::RootCertificate) => "`pqopt`: `sslrootcert`",
        (Product::Postgresql, Field::ClientCertificate) => "`pqopt`: `sslcert`",
        (Product::Postgresql, Field::ClientKey) => "`pqopt`: `sslkey`",
        (Product::Postgresql, Field::ClientKeyPassword) => "`pqopt`: `sslpassword`",
        (Product::Postgresql, Field::ApplicationName) => "`pqopt`: `application_name`",
        _ => return None,
    })
}

/// What a field becomes, for every family that serves the product.
fn becomes(product: Product, field: Field) -> String {
    if let Some(text) = particular(product, field) {
        return text.to_owned();
    }
    let mut families: Vec<Family> = Vec::new();
    for (family, _) in candidates(product) {
        if !families.contains(family) {
            families.push(*family);
        }
    }
    let names: Vec<Option<&str>> = families.iter().map(|family| attribute(*family, field)).collect();
    let mut distinct: Vec<&str> = names.iter().flatten().copied().collect();
    distinct.dedup();
    assert!(!distinct.is_empty(), "{product:?} {field:?} becomes nothing");
    if distinct.len() == 1 && names.iter().all(Option::is_some) {
        return format!("`{}`", distinct[0]);
    }
    let each = distinct.iter().map(|name| {
        let having = families.iter().zip(&names).filter(|(_, other)| **other == Some(*name));
        let having: Vec<&str> = having.map(|(family, _)| name_of_family(*family)).collect();
        format!("`{name}` ({})", having.join(", "))
    });
    each.collect::<Vec<_>>().join(", ")
}

fn rows(text: &mut String, product: Product, keys: impl Iterator<Item = &'static Key>) {
    for key in keys {
        let names: Vec<String> = key.names.iter().map(|name| format!("`{name}`")).collect();
        let meaning = match key.meaning {
            Meaning::Sets(field) => becomes(product, field),
            Meaning::Ignored(why) => format!("nothing: {why}"),
            Meaning::Refused(why) => format!("refused: {why}"),
        };
        writeln!(text, "| {} | {meaning} |", names.join(", ")).unwrap();
    }
}

fn services_of(product: Product) -> Vec<&'static ServiceType> {
    SERVICE_TYPES
        .iter()
        .filter(|each| each.product == Some(product))
        .collect()
}

fn drivers(text: &mut String) {
    text.push_str(
        "\n## Drivers\n\nA linked service, a URL or a string of ADO.NET takes the first of these that the node has and that can do \
         what is asked (`*` stands for any letters):\n\n| product | drivers, the best first |\n|---|---|\n",
    );
    for product in PRODUCTS {
        let names: Vec<String> = candidates(product)
            .iter()
            .map(|(_, name)| format!("`{name}`"))
            .collect();
        writeln!(text, "| {} | {} |", name_of(product), names.join(", ")).unwrap();
    }
}

fn urls(text: &mut String) {
    text.push_str(
        "\n## URLs\n\n`scheme://user:password@host:port/database?parameter=value&...`, each part percent-encoded; in the query a \
         `+` is a space. Whatever follows a `+` in the scheme (`postgresql+psycopg2`) is passed over. `sqlite:///a.db` is a file \
         in the working directory, `sqlite:////data/a.db` any other, `sqlite://` a database in memory. A parameter that is not \
         in this table is refused by its name. Case, `_` and `-` do not matter.\n\n| scheme | parameter | becomes |\n|---|---|---|\n",
    );
    for product in PRODUCTS {
        let schemes: Vec<String> = SCHEMES
            .iter()
            .filter(|(_, other)| *other == product)
            .map(|(scheme, _)| format!("`{scheme}`"))
            .collect();
        let mut row = |name: &str, becomes: &str| {
            writeln!(text, "| {} | `{name}` | {becomes} |", schemes.join(", ")).unwrap();
        };
        row("driver", "the driver, one of those above");
        for name in URL_PARAMETERS {
            match parameter(product, name) {
                Some(Parameter::Sets(field)) => row(name, &becomes(product, field)),
                Some(Parameter::Refused(why)) => row(name, &format!("refused: {why}")),
                Some(Parameter::Libpq(_) | Parameter::Microsoft(_)) | None => {}
            }
        }
        if product == Product::Postgresql {
            row(&LIBPQ.join("`, `"), "`pqopt`, under the same name");
        }
        if product == Product::SqlServer {
            row(&MICROSOFT.join("`, `"), "the same of Microsoft's drivers");
        }
    }
}

/// Every parameter of a URL that has a field of its own in some product.
const URL_PARAMETERS: [&str; 31] = [
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslca",
    "application_name",
    "connect_timeout",
    "client_encoding",
    "charset",
    "unix_socket",
    "socket",
    "timeout",
    "foreign_keys",
    "Encrypt",
    "TrustServerCertificate",
    "HostNameInCertificate",
    "ApplicationIntent",
    "APP",
    "ConnectRetryCount",
    "ConnectRetryInterval",
    "MultiSubnetFailover",
    "Trusted_Connection",
    "Authentication",
    "Connection_Timeout",
    "LoginTimeout",
];

fn document() -> String {
    let mut text = INTRODUCTION.to_owned();
    drivers(&mut text);
    urls(&mut text);
    text.push_str(
        "\n## Linked services\n\nBoth forms are read: a `connectionString` (with the password in it or beside it), and a key for \
         each part; a key wins over the string. Case does not matter; numbers and booleans may be text. A value may be a \
         string, a SecureString, a reference to a secret in a Key Vault, or `@{linkedService().Name}` of a parameter, which is \
         the value in the activity's `referenceObjects`, else the parameter's default. A secret is fetched if it is needed, \
         with the identity of the node; the Key Vault's own linked service has to stand in `referenceObjects` as well. \
         Any other expression, and a password that an integration runtime keeps (`connectVia`, `encryptedCredential`) are errors that say what to do, if the value is \
         needed. A keyword of a connection string that is not listed is passed over with a warning in the log.\n",
    );
    for product in PRODUCTS {
        let services = services_of(product);
        let mut done: Vec<&str> = Vec::new();
        for service in &services {
            if done.contains(&service.name) {
                continue;
            }
            let names = |each: &ServiceType| each.all_keys().flat_map(|key| key.names).copied().collect::<Vec<_>>();
            let alike: Vec<&str> = services
                .iter()
                .filter(|other| names(other) == names(service))
                .map(|other| other.name)
                .collect();
            writeln!(text, "\n### `{}`\n\n| key | becomes |\n|---|---|", alike.join("`, `")).unwrap();
            rows(&mut text, product, service.all_keys());
            done.extend(alike);
        }
        if let Some(service) = services.first() {
            let title = name_of(product);
            writeln!(text, "\n### Keywords of `connectionString`, {title}\n\nWithout case and blanks.\n\n| keyword | becomes |\n|---|---|").unwrap();
            rows(&mut text, product, service.keywords.iter());
        }
        match product {
            Product::SqlServer => text.push_str(&sign_in()),
            Product::Postgresql => text.push_str(&sign_in_to_postgresql()),
            Product::MySql | Product::Sqlite => {}
        }
    }
    text.push_str(
        "\n### `Odbc`\n\nThe `connectionString` as it is. With `authenticationType` `Anonymous` nothing is added; else \
         `userName` becomes `UID`, `password` becomes `PWD`, each in place of one in the string, and `credential` is appended \
         as it is written.\n",
    );
    text
}

fn sign_in() -> String {
    let authentication: Vec<String> = SQL_SERVER_AUTHENTICATION
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    format!(
        "\n### How to sign in to SQL Server\n\n`authenticationType` is one of {}; `Authentication` of a connection string is \
         read in ADO.NET's words. Where nothing is said: a service principal if there is a `servicePrincipalId`, a password \
         if there is a user, else (Azure's types) a managed identity.\n\n| way | attributes |\n|---|---|\n\
         | password | `UID`, `PWD` |\n\
         | managed identity | `Authentication=ActiveDirectoryMsi`, and `UID` with the client id that `AZURE_CLIENT_ID` or the \
         connection string gives. It is the pool's identity: the factory's own is not on the node, nor is the client id of a \
         `credential`. A pool with one identity needs no client id |\n\
         | service principal | `Authentication=ActiveDirectoryServicePrincipal`, `UID` its id, `PWD` its secret |\n\
         | `Authentication=ActiveDirectoryDefault`, also in a connection string with a `Driver` | `AccessToken`: a token that dray fetches, see below |\n\
         | `AccessToken=...`, also in a connection string with a `Driver` | `AccessToken`, which goes to the driver beside its connection string (`SQL_COPT_SS_ACCESS_TOKEN`) |\n\
         | Windows account | `UID` and `PWD`, by FreeTDS alone; without a user `Trusted_Connection=yes`, by a Kerberos ticket |\n\n\
         What goes by Microsoft Entra needs Microsoft's driver. The driver itself asks for the tokens of a managed identity and \
         of a service principal, each time that it connects.\n\n\
         `ActiveDirectoryDefault` is the service principal of AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET if \
         all are set, else the pool's managed identity (the one of AZURE_CLIENT_ID if that is). dray asks for the token, for the audience of the cloud that \
         the server's name is in, once for all processes of a run, and again where it is about to end. {TOKENS_END}\n",
        authentication.join(", ")
    )
}

/// What somebody has to know whose copy takes hours.
const TOKENS_END: &str = "A token holds for about an hour for a service principal, and for a day for a managed identity; \
     connections that are open by then stay, and a call of dray that begins later has a new one, but one that goes on \
     for longer than that and connects again is refused by the server.";

fn sign_in_to_postgresql() -> String {
    let authentication: Vec<String> = AZURE_POSTGRESQL_AUTHENTICATION
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    format!(
        "\n### How to sign in to PostgreSQL\n\n`authenticationType` is one of {}, for `PostgreSqlV2` and `PostgreSql` `Basic` alone. Where nothing is said: a \
         service principal if there is a `servicePrincipalId`, a managed identity if there is a `credential`, else the \
         password.\n\nA service principal (`servicePrincipalId`, `servicePrincipalKey` or `servicePrincipalCredential`, `tenant`) and a managed identity (the pool's; the one of \
         AZURE_CLIENT_ID if it has several) sign in by a token, which dray fetches and hands to the server as `PWD`; `username` is \
         the name that the database knows the identity by. Without an `sslMode` that is `require`. A URL does the same with \
         `authentication=ActiveDirectoryDefault`, for the service principal of the environment or else the pool's identity. {TOKENS_END}\n",
        authentication.join(", ")
    )
}

#[test]
fn connections_md_says_what_the_code_does() {
    let expected = document();
    if std::env::var_os("DRAY_WRITE_CONNECTIONS_MD").is_some() {
        fs_err::write(FILE, &expected).unwrap();
    }
    let found = fs_err::read_to_string(FILE).unwrap_or_default();
    assert!(
        found == expected,
        "{FILE} is not what the tables come to: DRAY_WRITE_CONNECTIONS_MD=1 cargo test --lib connections_md"
    );
}
