//! Each way of naming a database against the string that a driver gets. The drivers here are names with a file.

use serde_json::{Value, json};

use super::*;
use crate::failure::Failing;

const MICROSOFT: &str = "ODBC Driver 18 for SQL Server";
const MICROSOFT_17: &str = "ODBC Driver 17 for SQL Server";
const ALL: [&str; 5] = [MICROSOFT, "FreeTDS", "PostgreSQL Unicode", "MariaDB Unicode", "SQLite3"];

/// A node with these drivers.
fn node(drivers: &[&str]) -> DriverSearch {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    DriverSearch {
        named: drivers.iter().map(|&name| (name.to_owned(), file.into())).collect(),
        ..DriverSearch::default()
    }
}

fn connections(files: &[(&str, Value)]) -> Connections {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs_err::write(folder.path().join(name), content.to_string()).unwrap();
    }
    Connections {
        handover: Handover::load(folder.path()).unwrap(),
        node: Node {
            trust_store: Some("/trust.pem".to_owned()),
            ..Node::default()
        },
        ..Connections::default()
    }
}

/// With one linked service `Db`.
fn service(properties: Value) -> Connections {
    connections(&[("linkedServices.json", json!([{"name": "Db", "properties": properties}]))])
}

fn of_type(type_name: &str, type_properties: Value) -> Connections {
    service(json!({"type": type_name, "typeProperties": type_properties}))
}

fn string_with(drivers: &[&str], connections: &Connections, name: &str) -> Result<String, ConnectionError> {
    Ok(connections.resolve(name, &node(drivers))?.string.reveal())
}

fn string(connections: &Connections, name: &str) -> String {
    string_with(&ALL, connections, name).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(connections: &Connections) -> ConnectionError {
    match string_with(&ALL, connections, "Db") {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error,
    }
}

fn secret(text: &str) -> Value {
    json!({"type": "SecureString", "value": text})
}

fn in_vault() -> Value {
    json!({"type": "AzureKeyVaultSecret", "store": {"referenceName": "Kv"}, "secretName": "n"})
}

#[test]
fn every_type_of_sql_server_becomes_a_string_from_its_newer_keys() {
    let keys = json!({"server": "tcp:s.database.windows.net,1433", "database": "d;e", "encrypt": "mandatory",
        "trustServerCertificate": false, "authenticationType": "SQL", "userName": "u", "password": secret("p;w}%"),
        "applicationIntent": "ReadOnly", "connectRetryCount": "3", "connectRetryInterval": 10,
        "multiSubnetFailover": "True", "hostNameInCertificate": "*.x", "connectTimeout": 30, "pooling": true});
    let attributes = "Server=tcp:s.database.windows.net,1433;Database={d;e};Encrypt=yes;TrustServerCertificate=no;\
        MultiSubnetFailover=yes;HostNameInCertificate=*.x;ApplicationIntent=ReadOnly;ConnectRetryCount=3;\
        ConnectRetryInterval=10;UID=u;PWD={p;w}}%};";
    for type_name in ["AzureSqlDatabase", "AzureSqlMI", "AzureSqlDW", "SqlServer", "sqlserver"] {
        assert_eq!(
            string(&of_type(type_name, keys.clone()), "Db"),
            format!("Driver={MICROSOFT};{attributes}"),
            "{type_name}"
        );
    }
}

#[test]
fn a_connection_string_of_ado_net_is_translated_whatever_its_synonyms() {
    for text in [
        "Server=s;Database=d;User ID=u;Password='p;''x';Encrypt=True;TrustServerCertificate=True;Application Name=a",
        "data source=s; Initial Catalog=d ;uid=u;PWD=\"p;'x\";Encrypt=yes;Trust Server Certificate=true;App=a",
        "Server=s;Database=d;UID=u;Password='p;''x';Encrypt=mandatory;TrustServerCertificate=1;app=a;Pooling=False;\
         Connection Timeout=30;MultipleActiveResultSets=False;Persist Security Info=False;Column Encryption Setting=Disabled",
    ] {
        assert_eq!(
            string(
                &of_type("AzureSqlDatabase", json!({"connectionString": secret(text)})),
                "Db"
            ),
            format!(
                "Driver={MICROSOFT};Server=s;Database=d;Encrypt=yes;TrustServerCertificate=yes;APP=a;UID=u;PWD={{p;'x}};"
            ),
            "{text}"
        );
    }
}

#[test]
fn braces_in_a_password_of_ado_net_are_a_part_of_it() {
    let service = of_type(
        "SqlServer",
        json!({"connectionString": "Server=s;Database=d;User ID=u;Password={p}"}),
    );
    assert_eq!(
        string(&service, "Db"),
        format!("Driver={MICROSOFT};Server=s;Database=d;Encrypt=no;UID=u;PWD={{{{p}}}}}};")
    );
}

#[test]
fn a_password_beside_the_connection_string_wins() {
    let service = of_type(
        "AzureSqlDW",
        json!({"connectionString": "Server=s;Database=d;User ID=u;Password=old", "password": "new", "userName": ""}),
    );
    assert!(string(&service, "Db").ends_with("Encrypt=yes;UID=u;PWD=new;"));
}

#[test]
fn a_service_principal_signs_in_by_its_id_and_secret() {
    for keys in [
        json!({"servicePrincipalId": "app", "servicePrincipalKey": secret("k")}),
        json!({"authenticationType": "ServicePrincipal", "servicePrincipalId": "app",
            "servicePrincipalCredentialType": "ServicePrincipalKey", "servicePrincipalCredential": secret("k"),
            "tenant": "t", "azureCloudType": "AzurePublic", "password": in_vault()}),
    ] {
        let mut keys = keys;
        keys["server"] = json!("s");
        keys["database"] = json!("d");
        assert_eq!(
            string(&of_type("AzureSqlDatabase", keys), "Db"),
            format!(
                "Driver={MICROSOFT};Server=s;Database=d;Encrypt=yes;Authentication=ActiveDirectoryServicePrincipal;UID=app;PWD=k;"
            )
        );
    }
}

#[test]
fn a_managed_identity_is_named_by_its_client_id_where_there_is_one() {
    let expected = format!("Driver={MICROSOFT};Server=s;Database=d;Encrypt=yes;Authentication=ActiveDirectoryMsi;");
    for keys in [
        json!({"connectionString": "Server=s;Database=d"}),
        json!({"server": "s", "database": "d", "authenticationType": "SystemAssignedManagedIdentity"}),
        json!({"server": "s", "database": "d", "authenticationType": "UserAssignedManagedIdentity",
            "credential": {"type": "CredentialReference", "referenceName": "c"}, "password": in_vault()}),
    ] {
        let mut service = of_type("AzureSqlDatabase", keys);
        assert_eq!(string(&service, "Db"), expected);
        service.node.client_id = Some("id".to_owned());
        assert_eq!(string(&service, "Db"), format!("{expected}UID=id;"));
    }
    let own =
        json!({"connectionString": "Server=s;Database=d;Authentication=Active Directory Managed Identity;User ID=own"});
    let mut service = of_type("AzureSqlMI", own);
    service.node.client_id = Some("id".to_owned());
    assert_eq!(string(&service, "Db"), format!("{expected}UID=own;"));
}

#[test]
fn a_windows_account_needs_freetds_and_a_ticket_needs_no_password() {
    let with_password = of_type(
        "SqlServer",
        json!({"server": "h\\inst", "database": "d", "encrypt": "optional", "authenticationType": "Windows",
            "userName": "DOM\\u", "password": secret("p")}),
    );
    assert_eq!(
        string(&with_password, "Db"),
        "Driver=FreeTDS;Server=h\\inst;Database=d;Encryption=request;UID=DOM\\u;PWD=p;"
    );
    let error = string_with(&[MICROSOFT], &with_password, "Db").unwrap_err();
    assert_eq!(error.code(), "connection.driver_unfit");
    assert!(
        error.to_string().contains("Kerberos") && error.to_string().contains("`FreeTDS`"),
        "{error}"
    );
    let ticket = of_type(
        "SqlServer",
        json!({"connectionString": "Server=h;Database=d;Integrated Security=SSPI"}),
    );
    assert_eq!(
        string(&ticket, "Db"),
        format!("Driver={MICROSOFT};Server=h;Database=d;Encrypt=no;Trusted_Connection=yes;")
    );
}

#[test]
fn the_best_driver_that_can_do_it_is_chosen() {
    let trusting = of_type(
        "SqlServer",
        json!({"server": "tcp:h,1444", "database": "d", "trustServerCertificate": true, "userName": "u", "password": "p"}),
    );
    for (drivers, expected) in [
        (
            &[MICROSOFT_17, MICROSOFT, "FreeTDS"][..],
            format!("Driver={MICROSOFT};Server=tcp:h,1444;"),
        ),
        (
            &["FreeTDS", MICROSOFT_17],
            format!("Driver={MICROSOFT_17};Server=tcp:h,1444;"),
        ),
        (
            &["libmsodbcsql-18.6.so.2.1"],
            "Driver=libmsodbcsql-18.6.so.2.1;Server=tcp:h,1444;".to_owned(),
        ),
        (&["FreeTDS"], "Driver=FreeTDS;Server=h;Port=1444;".to_owned()),
    ] {
        let found = string_with(drivers, &trusting, "Db").unwrap();
        assert!(found.starts_with(&expected), "{found}");
    }
}

#[test]
fn freetds_does_not_stand_in_where_the_certificate_must_be_checked() {
    let service = of_type(
        "AzureSqlDatabase",
        json!({"server": "s", "userName": "u", "password": "p"}),
    );
    let error = string_with(&["FreeTDS"], &service, "Db").unwrap_err();
    assert_eq!(
        (error.code(), error.exit_code().number()),
        ("connection.driver_unfit", 114)
    );
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(error.hint().unwrap().contains("mssql-python-odbc"));
}

#[test]
fn a_missing_driver_lists_what_was_looked_for_and_what_is_there() {
    let service = of_type("MySql", json!({"server": "s", "username": "u", "password": "p"}));
    let error = string_with(&["SQLite3"], &service, "Db").unwrap_err();
    assert_eq!(error.code(), "odbc.driver_not_found");
    let message = error.to_string();
    assert!(
        message.contains("`MariaDB Unicode`") && message.contains("`SQLite3`"),
        "{message}"
    );
}

#[test]
fn every_type_of_postgresql_becomes_a_string_from_its_newer_keys() {
    let keys = json!({"server": "s", "port": "5433", "database": "d", "username": "u@s", "sslmode": 3,
        "password": secret("a+b%"), "schema": "it's, b", "sslCertificate": "/c.pem", "sslKey": "/k'.pem",
        "sslPassword": secret("kp"), "connectionTimeout": 15, "authenticationType": "Basic"});
    for type_name in ["AzurePostgreSql", "PostgreSqlV2", "PostgreSql"] {
        let service = of_type(type_name, keys.clone());
        assert_eq!(
            string(&service, "Db"),
            "Driver=PostgreSQL Unicode;Servername=s;Port=5433;Database=d;SSLmode=require;UID=u@s;PWD={a+b%};\
             pqopt={sslcert='/c.pem' sslkey='/k\\'.pem' sslpassword='kp'};\
             ConnSettings={SELECT set_config('search_path', 'it''s, b', false)};",
            "{type_name}"
        );
        let secrets = service.resolve("Db", &node(&ALL)).unwrap().secrets;
        assert_eq!(secrets, ["a+b%", "kp"]);
    }
}

#[test]
fn postgresql_checks_certificates_against_what_the_node_trusts() {
    let mut service = of_type("PostgreSqlV2", json!({"server": "s", "sslMode": "5"}));
    let plain = "Driver=PostgreSQL Unicode;Servername=s;SSLmode=verify-full;";
    assert_eq!(
        string(&service, "Db"),
        format!("{plain}pqopt={{sslrootcert='/trust.pem'}};")
    );
    service.node.libpq_has_root = true;
    assert_eq!(string(&service, "Db"), plain);
}

#[test]
fn a_connection_string_of_postgresql_is_translated_in_both_dialects() {
    for (text, mode) in [
        (
            "host=s;database=d;port=5432;uid=u;EncryptionMethod=1;ValidateServerCertificate=0",
            "require",
        ),
        (
            "Host=s;Database=d;Port=5432;Username=u;SSL Mode=Require;Trust Server Certificate=true",
            "require",
        ),
        ("host=s;database=d;port=5432;uid=u;EncryptionMethod=0", "disable"),
        ("host=s;database=d;port=5432;uid=u;EncryptionMethod=6", "prefer"),
        ("server=s;db=d;port=5432;user id=u;keepalive=1;timeout=15", "prefer"),
    ] {
        let service = of_type(
            "AzurePostgreSql",
            json!({"connectionString": text, "password": secret("p")}),
        );
        assert_eq!(
            string(&service, "Db"),
            format!("Driver=PostgreSQL Unicode;Servername=s;Port=5432;Database=d;SSLmode={mode};UID=u;PWD=p;"),
            "{text}"
        );
    }
}

#[test]
fn the_types_of_mysql_become_strings_for_the_driver_that_is_there() {
    let keys = json!({"driverVersion": "V2", "server": "s", "port": 3307, "database": "d", "username": "u",
        "sslMode": 2, "useSystemTrustStore": 0, "password": secret("p;")});
    for type_name in ["MySql", "MariaDB", "AzureMySql"] {
        let service = of_type(type_name, keys.clone());
        let parts = "Server=s;Port=3307;Database=d;";
        assert_eq!(
            string(&service, "Db"),
            format!("Driver=MariaDB Unicode;{parts}FORCETLS=1;SSLVERIFY=0;UID=u;PWD={{p;}};")
        );
        let driver = "MySQL ODBC 9.5 Unicode Driver";
        assert_eq!(
            string_with(&[driver], &service, "Db").unwrap(),
            format!("Driver={driver};{parts}SSLMODE=REQUIRED;UID=u;PWD={{p;}};")
        );
    }
}

#[test]
fn each_ssl_mode_of_mysql_has_its_attributes() {
    for (mode, mariadb, mysql) in [
        (0, "", "SSLMODE=DISABLED;"),
        (1, "SSLCIPHER=HIGH;", "SSLMODE=PREFERRED;"),
        (2, "FORCETLS=1;SSLVERIFY=0;", "SSLMODE=REQUIRED;"),
        (
            3,
            "FORCETLS=1;SSLVERIFY=1;SSLCA=/trust.pem;",
            "SSLMODE=VERIFY_CA;SSLCA=/trust.pem;",
        ),
        (
            4,
            "FORCETLS=1;SSLVERIFY=1;SSLCA=/trust.pem;",
            "SSLMODE=VERIFY_IDENTITY;SSLCA=/trust.pem;",
        ),
    ] {
        let text = format!("Server=s;Database=d;UID=u;SSLMode={mode}");
        let service = of_type("AzureMySql", json!({"connectionString": text, "password": "p"}));
        for (driver, expected) in [("MariaDB Unicode", mariadb), ("MySQL ODBC 8.4 Unicode Driver", mysql)] {
            assert_eq!(
                string_with(&[driver], &service, "Db").unwrap(),
                format!("Driver={driver};Server=s;Database=d;{expected}UID=u;PWD=p;"),
                "{mode}"
            );
        }
    }
}

#[test]
fn the_older_mariadb_has_its_password_under_pwd() {
    let service = of_type(
        "MariaDB",
        json!({"connectionString": "Driver={MariaDB};Server=s;Port=3306;Database=d;UID=u", "pwd": secret("p")}),
    );
    assert!(string(&service, "Db").ends_with("UID=u;PWD=p;"));
}

#[test]
fn an_odbc_service_becomes_its_string_with_its_credentials() {
    let service = of_type(
        "Odbc",
        json!({"connectionString": "Driver={PostgreSQL Unicode};Server=h;", "authenticationType": "Basic",
            "userName": "u", "password": secret("p;w}"), "credential": "RefreshToken=r"}),
    );
    assert_eq!(
        string(&service, "Db"),
        "Driver={PostgreSQL Unicode};Server=h;UID=u;PWD={p;w}}};RefreshToken=r;"
    );
    let service = of_type(
        "Odbc",
        json!({"connectionString": "DSN=x;pwd={a;b};UID=old;Port=1", "userName": "u", "password": "p"}),
    );
    assert_eq!(string(&service, "Db"), "DSN=x;Port=1;UID=u;PWD=p;");
    let anonymous = json!({"connectionString": secret("DSN=x"), "authenticationType": "Anonymous", "userName": "u",
        "password": in_vault()});
    assert_eq!(string(&of_type("Odbc", anonymous), "Db"), "DSN=x;");
}

#[test]
fn a_password_kept_back_by_an_integration_runtime_says_what_to_do() {
    let shir = json!({"referenceName": "shir", "type": "IntegrationRuntimeReference"});
    for (properties, reason) in [
        (
            json!({"type": "Odbc", "typeProperties": {"connectionString": "DSN=x", "encryptedCredential": "abc"}}),
            "encrypt",
        ),
        (
            json!({"type": "Odbc", "typeProperties": {"encryptedCredential": "abc"}}),
            "encrypt",
        ),
        (
            json!({"type": "Odbc", "connectVia": shir, "typeProperties": {"connectionString": "DSN=x", "userName": "u"}}),
            "self-hosted",
        ),
        (
            json!({"type": "SqlServer", "connectVia": shir, "typeProperties": {"server": "h\\i", "database": "d",
            "authenticationType": "Windows", "userName": "DOM\\u", "encryptedCredential": "abc"}}),
            "encrypt",
        ),
        (
            json!({"type": "SqlServer", "connectVia": shir, "typeProperties": {"connectionString": "Server=h;User ID=u"}}),
            "self-hosted",
        ),
        (
            json!({"type": "PostgreSqlV2", "typeProperties": {"server": "h", "encryptedCredential": "abc"}}),
            "encrypt",
        ),
        (
            json!({"type": "MySql", "connectVia": shir, "typeProperties": {"encryptedCredential": "abc"}}),
            "encrypt",
        ),
    ] {
        let error = refused(&service(properties.clone()));
        assert_eq!(error.code(), "activity.password_kept_back", "{properties}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(
            error
                .hint()
                .unwrap()
                .contains("SecureString in the activity's `extendedProperties`")
        );
    }
    let file = json!({"type": "Odbc", "connectVia": shir, "typeProperties": {"connectionString": "Driver=SQLite3;Database=a"}});
    assert_eq!(string(&service(file), "Db"), "Driver=SQLite3;Database=a;");
}

#[test]
fn a_connection_that_cannot_be_made_says_why() {
    let expression = json!({"type": "Expression", "value": "@pipeline().X"});
    for (type_name, type_properties, code) in [
        ("Oracle", json!({}), "activity.unsupported_type"),
        ("Odbc", json!({}), "activity.missing_key"),
        (
            "Odbc",
            json!({"connectionString": in_vault()}),
            "activity.vault_not_referenced",
        ),
        (
            "Odbc",
            json!({"connectionString": "DSN=x", "password": in_vault()}),
            "activity.vault_not_referenced",
        ),
        (
            "Odbc",
            json!({"connectionString": expression}),
            "activity.unevaluated_expression",
        ),
        ("Odbc", json!({"connectionString": ["DSN=x"]}), "activity.wrong_kind"),
        ("Odbc", json!({"connectionString": "DSN=x\u{0}"}), "activity.nul"),
        (
            "Odbc",
            json!({"connectionString": "DSN=x", "authenticationType": "Kerberos"}),
            "activity.unknown_authentication",
        ),
        (
            "Odbc",
            json!({"connectionString": "Driver={SQLite3", "password": "p"}),
            "activity.malformed_connection_string",
        ),
        (
            "SqlServer",
            json!({"database": "d", "userName": "u", "password": "p"}),
            "activity.missing_key",
        ),
        (
            "SqlServer",
            json!({"server": "s", "userName": "u"}),
            "activity.missing_key",
        ),
        (
            "SqlServer",
            json!({"server": "s", "userName": "u", "password": in_vault()}),
            "activity.vault_not_referenced",
        ),
        (
            "SqlServer",
            json!({"server": "s", "authenticationType": "Magic"}),
            "activity.unknown_authentication",
        ),
        (
            "SqlServer",
            json!({"server": "@{concat('a')}", "userName": "u", "password": "p"}),
            "activity.unevaluated_expression",
        ),
        (
            "SqlServer",
            json!({"server": "s", "userName": "u", "password": "p", "encrypt": "maybe"}),
            "connection.value",
        ),
        (
            "SqlServer",
            json!({"connectionString": "Server=s;User ID=u;Password='p"}),
            "activity.malformed_connection_string",
        ),
        (
            "SqlServer",
            json!({"connectionString": "Database=d;User ID=u;Password=p"}),
            "activity.malformed_connection_string",
        ),
        (
            "AzureSqlDatabase",
            json!({"server": "s", "userName": "u", "password": "p", "alwaysEncryptedSettings": {"a": 1}}),
            "activity.refused_key",
        ),
        (
            "AzureSqlDatabase",
            json!({"connectionString": "Server=s;Column Encryption Setting=Enabled"}),
            "activity.refused_key",
        ),
        (
            "AzureSqlDatabase",
            json!({"server": "s", "servicePrincipalId": "i",
            "servicePrincipalCredentialType": "ServicePrincipalCert"}),
            "activity.refused_key",
        ),
        (
            "AzureSqlDatabase",
            json!({"server": "s", "servicePrincipalId": "i"}),
            "activity.missing_key",
        ),
        (
            "AzurePostgreSql",
            json!({"server": "s", "username": "u", "servicePrincipalId": "i", "servicePrincipalKey": "k"}),
            "activity.missing_key",
        ),
        (
            "AzurePostgreSql",
            json!({"server": "s", "credential": {"referenceName": "c"}}),
            "activity.missing_key",
        ),
        (
            "AzurePostgreSql",
            json!({"server": "s", "username": "u", "authenticationType": "Kerberos"}),
            "activity.unknown_authentication",
        ),
        (
            "PostgreSqlV2",
            json!({"server": "s", "username": "u", "authenticationType": "SystemAssignedManagedIdentity"}),
            "activity.unknown_authentication",
        ),
        ("PostgreSqlV2", json!({"server": "s", "sslMode": 9}), "connection.value"),
        (
            "PostgreSqlV2",
            json!({"server": "s", "port": "many"}),
            "connection.value",
        ),
        (
            "PostgreSqlV2",
            json!({"server": "s", "username": "a;b"}),
            "connection.value",
        ),
        (
            "PostgreSql",
            json!({"connectionString": "host=s;TrustStore=/x"}),
            "activity.refused_key",
        ),
        (
            "MySql",
            json!({"connectionString": "Server=s;SslMode=7"}),
            "connection.value",
        ),
    ] {
        let error = refused(&of_type(type_name, type_properties.clone()));
        assert_eq!(error.code(), code, "{type_name} {type_properties}: {error}");
        assert_eq!(error.exit_code().number(), 112, "{error}");
    }
}

#[test]
fn a_type_without_a_driver_lists_those_with_one() {
    let error = refused(&of_type("AzureBlobStorage", json!({})));
    let message = error.to_string();
    assert!(
        message.contains("`AzureBlobStorage`") && message.contains("`PostgreSqlV2`"),
        "{message}"
    );
}

#[test]
fn no_error_repeats_a_secret() {
    for type_properties in [
        json!({"connectionString": "Server=s;User ID=u;Password='geheim"}),
        json!({"connectionString": "Server=s;geheim"}),
        json!({"connectionString": "Server=s;User ID=u;Password='x'geheim"}),
        json!({"server": "s", "userName": "u", "password": "geheim", "trustServerCertificate": "geheim"}),
    ] {
        let error = refused(&of_type("SqlServer", type_properties));
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
    }
    let search = node(&ALL);
    for text in [
        "postgresql://u:geheim@h:x/d",
        "mysql://u:geheim@h/d?nope=1",
        "foo://u:geheim@h",
        "Driver=x;geheim",
    ] {
        let error = Connections::default().resolve(text, &search).err().unwrap();
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
    }
}

#[test]
fn parameters_come_from_the_activity_else_from_their_defaults() {
    let services = json!([{"name": "Db", "properties": {"type": "PostgreSqlV2",
        "parameters": {"Host": {"type": "String"}, "Name": {"type": "String", "defaultValue": "d0"}},
        "typeProperties": {"server": "@{linkedService().Host}.x", "sslMode": 0,
            "database": {"type": "Expression", "value": "@linkedService().Name"}}}}]);
    let activity = json!({"typeProperties": {"referenceObjects": {"linkedServices": [
        {"referenceName": "db", "parameters": {"Host": "h1"}}]}}});
    let connections = connections(&[("linkedServices.json", services), ("activity.json", activity)]);
    assert_eq!(
        string(&connections, "Db"),
        "Driver=PostgreSQL Unicode;Servername=h1.x;Database=d0;SSLmode=disable;"
    );
}

#[test]
fn a_dataset_is_a_table_and_the_connection_of_its_linked_service() {
    let services = json!([{"name": "Db", "properties": {"type": "PostgreSqlV2", "parameters": {"Name": {}},
        "typeProperties": {"server": "s", "sslMode": 0, "database": "@{linkedService().Name}"}}}]);
    let datasets = json!([
        {"name": "Sales", "properties": {"type": "PostgreSqlV2Table", "parameters": {"Year": {"defaultValue": 2020}},
            "linkedServiceName": {"referenceName": "Db", "parameters": {"Name": "y@{dataset().Year}"}},
            "typeProperties": {"schema": "public", "table": {"type": "Expression", "value": "@dataset().Table"}}}},
        {"name": "Legacy", "properties": {"typeProperties": {"tableName": "[dbo].[a.b]"}}},
        {"name": "Both", "properties": {"typeProperties": {"schema": "s", "table": "t", "tableName": "old.t"}}},
        {"name": "Bare", "properties": {"typeProperties": {"tableName": "t"}}},
        {"name": "Odd", "properties": {"typeProperties": {"schema": "a.b", "table": "c\"d"}}},
        {"name": "Empty", "properties": {"typeProperties": {}}}]);
    let activity = json!({"typeProperties": {"referenceObjects": {"datasets": [
        {"referenceName": "Sales", "parameters": {"Year": 2021, "Table": "orders"}}]}}});
    let connections = connections(&[
        ("linkedServices.json", services),
        ("datasets.json", datasets),
        ("activity.json", activity),
    ]);
    let table = |name: &str| connections.table_of_dataset(name);
    assert_eq!(table("sales").unwrap(), "public.orders");
    assert_eq!(table("Legacy").unwrap(), "dbo.\"a.b\"");
    assert_eq!(table("Both").unwrap(), "s.t");
    assert_eq!(table("Bare").unwrap(), "t");
    assert_eq!(table("Odd").unwrap(), "\"a.b\".\"c\"\"d\"");
    assert_eq!(table("Empty").unwrap_err().code(), "activity.dataset_incomplete");
    assert_eq!(table("None").unwrap_err().code(), "activity.unknown_dataset");
    assert_eq!(
        string(&connections, "Sales"),
        "Driver=PostgreSQL Unicode;Servername=s;Database=y2021;SSLmode=disable;"
    );
    assert!(matches!(
        connections.resolve("Legacy", &node(&ALL)),
        Err(ConnectionError::DatasetIncomplete { .. })
    ));
}

#[test]
fn the_environment_wins_over_adf_and_adf_over_the_project() {
    let mut connections = of_type("Odbc", json!({"connectionString": "DSN=adf"}));
    connections.project = vec![
        ("Db".to_owned(), "DSN=project".to_owned()),
        ("Own-1".to_owned(), "DSN=own".to_owned()),
    ];
    assert_eq!(string(&connections, "Db"), "DSN=adf;");
    assert_eq!(string(&connections, "db"), "DSN=adf;");
    assert_eq!(string(&connections, "own-1"), "DSN=own;");
    connections.environment = vec![
        ("DRAY_CONNECTION_DB".into(), "DSN=variable".into()),
        ("DRAY_CONNECTION_OWN_1".into(), "sqlite:////a.db".into()),
    ];
    assert_eq!(string(&connections, "db"), "DSN=variable;");
    assert_eq!(string(&connections, "Own-1"), "Driver=SQLite3;Database=/a.db;");
    let own = connections.linked_service("Db", &node(&ALL)).unwrap();
    assert_eq!(own.string.reveal(), "DSN=adf;");
    connections.environment = vec![("DRAY_CONNECTION_DB".into(), "".into())];
    assert_eq!(string(&connections, "Db"), "DSN=adf;");
}

#[test]
fn an_unknown_name_says_where_it_was_looked_for_the_nearest_first() {
    let mut connections = connections(&[("linkedServices.json", json!([{"name": "Sink"}, {"name": "SqlDb1"}]))]);
    connections.project = vec![("Local".to_owned(), "DSN=x".to_owned())];
    let error = connections.resolve("Sql-DB", &node(&ALL)).err().unwrap();
    assert_eq!(
        error.to_string(),
        "no connection is named `Sql-DB`: linked services handed over: `SqlDb1`, `Sink`; `[tool.dray.connections]`: \
         `Local`; data sources of odbc.ini: none; environment variable `DRAY_CONNECTION_SQL_DB`: not set"
    );
    assert_eq!(
        (error.code(), error.exit_code().number()),
        ("connection.unknown_name", 112)
    );
    assert!(error.hint().unwrap().contains("referenceObjects.linkedServices"));
}

#[test]
fn urls_become_the_attributes_of_their_driver() {
    for (url, expected) in [
        (
            "postgresql://u:p%40s%2Fs@h:5433/d%20b",
            "Driver=PostgreSQL Unicode;Servername=h;Port=5433;Database=d b;SSLmode=prefer;UID=u;PWD={p@s/s};",
        ),
        (
            "postgres://h/d?sslmode=require&application_name=a+b&target_session_attrs=read-write",
            "Driver=PostgreSQL Unicode;Servername=h;Database=d;SSLmode=require;\
             pqopt={application_name='a b' target_session_attrs='read-write'};",
        ),
        (
            "postgresql+psycopg2://u@[::1]:5432/d",
            "Driver=PostgreSQL Unicode;Servername=::1;Port=5432;Database=d;SSLmode=prefer;UID=u;",
        ),
        (
            "postgresql:///d?host=%2Frun%2Fpg",
            "Driver=PostgreSQL Unicode;Servername=/run/pg;Database=d;SSLmode=prefer;",
        ),
        (
            "mysql://u:a:b@h:3307/d?ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem&connect_timeout=5&charset=utf8mb4",
            "Driver=MariaDB Unicode;Server=h;Port=3307;Database=d;CONN_TIMEOUT=5;FORCETLS=1;SSLVERIFY=1;SSLCA=/ca.pem;UID=u;PWD=a:b;",
        ),
        (
            "mariadb://h/d?sslmode=disabled&unix_socket=/s",
            "Driver=MariaDB Unicode;Server=h;Database=d;SOCKET=/s;",
        ),
        (
            "sqlite:///rel/a%20b.db?timeout=500",
            "Driver=SQLite3;Database=rel/a b.db;Timeout=500;",
        ),
        ("sqlite:////abs/a.db", "Driver=SQLite3;Database=/abs/a.db;"),
        ("sqlite://", "Driver=SQLite3;Database=:memory:;"),
        (
            "mssql://u:p@h:1444/d?Encrypt=no&ApplicationIntent=ReadOnly&Language=German",
            "Driver=ODBC Driver 18 for SQL Server;Server=h,1444;Database=d;Encrypt=no;ApplicationIntent=ReadOnly;UID=u;PWD=p;Language=German;",
        ),
        (
            "mssql+pyodbc://u:p@h/d?driver=ODBC+Driver+17+for+SQL+Server&TrustServerCertificate=yes",
            "Driver=ODBC Driver 17 for SQL Server;Server=h;Database=d;Encrypt=yes;TrustServerCertificate=yes;UID=u;PWD=p;",
        ),
        (
            "sqlserver://id@h/d?Authentication=ActiveDirectoryMsi",
            "Driver=ODBC Driver 18 for SQL Server;Server=h;Database=d;Encrypt=yes;Authentication=ActiveDirectoryMsi;UID=id;",
        ),
    ] {
        assert_eq!(string(&Connections::default(), url), expected, "{url}");
    }
}

#[test]
fn a_string_without_a_driver_that_names_a_server_is_one_of_ado_net() {
    for (text, expected) in [
        (
            "Data Source=tcp:s.database.windows.net,1433;Initial Catalog=d;User ID=u;Password=\"p;'x\";Connect Timeout=15;\
             MultipleActiveResultSets=True;Application Name=a",
            "Server=tcp:s.database.windows.net,1433;Database=d;Encrypt=yes;APP=a;UID=u;PWD={p;'x};",
        ),
        (
            "server=s;uid=u;pwd={p};database=d;Encrypt=False;Persist Security Info=False",
            "Server=s;Database=d;Encrypt=no;UID=u;PWD={{p}}};",
        ),
        (
            "Address=s;Database=d;Integrated Security=SSPI;TrustServerCertificate=true",
            "Server=s;Database=d;Encrypt=yes;TrustServerCertificate=yes;Trusted_Connection=yes;",
        ),
        (
            "Server=s;Authentication=Active Directory Managed Identity;User Id=id",
            "Server=s;Encrypt=yes;Authentication=ActiveDirectoryMsi;UID=id;",
        ),
    ] {
        let found = string(&Connections::default(), text);
        assert_eq!(found, format!("Driver={MICROSOFT};{expected}"), "{text}");
    }
    let kept = "Server=h;DRIVER={FreeTDS};UID=u;";
    assert_eq!(string(&Connections::default(), kept), kept);
    for (text, said) in [
        ("Server=s;Passwort=geheim", "`Passwort`"),
        ("Server=s;Password='geheim", "`Password`"),
        (
            "Server=s;Authentication=Active Directory Interactive",
            "`Authentication`",
        ),
        ("Server=s;Column Encryption Setting=Enabled", "Always Encrypted"),
    ] {
        let error = string_with(&ALL, &Connections::default(), text)
            .unwrap_err()
            .to_string();
        assert!(error.contains(said) && !error.contains("geheim"), "{error}");
    }
}

#[test]
fn what_a_url_cannot_say_is_refused_by_name() {
    for (url, code, said) in [
        (
            "postgresql://h/d?connect_timeout=3",
            "connection.refused_parameter",
            "`connect_timeout`",
        ),
        (
            "postgresql://h/d?nonsense=3",
            "connection.refused_parameter",
            "`nonsense`",
        ),
        (
            "mysql://h/d?charset=latin1",
            "connection.refused_parameter",
            "`charset`",
        ),
        ("sqlite:///a?mode=ro", "connection.refused_parameter", "`mode`"),
        ("mssql://h/d?driver=Oracle", "connection.refused_parameter", "`driver`"),
        (
            "mssql://h/d?Authentication=Magic",
            "connection.value",
            "`Authentication`",
        ),
        ("oracle://h/d", "connection.malformed", "`oracle`"),
        ("sqlite://a.db", "connection.malformed", "sqlite:///"),
        ("postgresql://h1,h2/d", "connection.malformed", "several hosts"),
        ("postgresql://u:p#x@h/d", "connection.malformed", "%23"),
        ("postgresql:///d", "connection.malformed", "no host"),
        ("postgresql://h:0/d", "connection.value", "`port`"),
        ("postgresql://u:%ff@h/d", "connection.malformed", "UTF-8"),
    ] {
        let error = Connections::default().resolve(url, &node(&ALL)).err().unwrap();
        assert_eq!(
            (error.code(), error.exit_code().number()),
            (code, 114),
            "{url}: {error}"
        );
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn the_secrets_of_a_url_are_known_as_written_and_as_meant() {
    let resolved = Connections::default()
        .resolve("postgresql://u:p%40ss@h/d", &node(&ALL))
        .unwrap();
    assert!(resolved.secrets.contains(&"p@ss".to_owned()) && resolved.secrets.contains(&"p%40ss".to_owned()));
    assert!(!resolved.string.to_string().contains("p@ss"), "{}", resolved.string);
}

#[test]
fn variables_in_the_project_need_no_escaping() {
    let mut connections = Connections {
        project: [
            (
                "Url",
                "postgresql://${USER_NAME}:${PASSWORD}@${HOST}:5432/d?sslmode=disable",
            ),
            ("Odbc", "Driver=x;UID=u;PWD=${PASSWORD};Literal=a$${b}"),
            ("Whole", "${WHOLE}"),
            ("Unset", "DSN=${NOT_THERE}"),
            ("Open", "DSN=${NOT_THERE"),
            ("Junk", "somewhere"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .to_vec(),
        ..Connections::default()
    };
    connections.environment = [
        ("USER_NAME", "u"),
        ("PASSWORD", "p@;%41}/${x}"),
        ("HOST", "h"),
        ("WHOLE", "DSN=w$"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec();
    assert_eq!(
        string(&connections, "Url"),
        "Driver=PostgreSQL Unicode;Servername=h;Port=5432;Database=d;SSLmode=disable;UID=u;PWD={p@;%41}}/${x}}};"
    );
    assert_eq!(
        string(&connections, "Odbc"),
        "Driver=x;UID=u;PWD={p@;%41}}/${x}}};Literal=a${b};"
    );
    assert_eq!(string(&connections, "Whole"), "DSN=w$;");
    for (name, code) in [
        ("Unset", "connection.unset_variable"),
        ("Open", "connection.malformed"),
        ("Junk", "connection.malformed"),
    ] {
        assert_eq!(
            connections.resolve(name, &node(&ALL)).err().unwrap().code(),
            code,
            "{name}"
        );
    }
    let secrets = Connections::secrets(&connections.environment, &connections.project);
    assert!(secrets.contains(&"p@;%41}/${x}".to_owned()), "{secrets:?}");
}

#[test]
fn the_secrets_of_variables_are_known_before_they_are_used() {
    let environment = [
        ("DRAY_CONNECTION_A".into(), "Driver=x;PWD=s1".into()),
        ("OTHER".into(), "PWD=s2".into()),
    ];
    assert_eq!(Connections::secrets(&environment, &[]), ["s1", "s1"]);
}

#[test]
fn a_data_source_is_found_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let ini = folder.path().join("odbc.ini");
    fs_err::write(&ini, "[Warehouse]\nDriver=x\n[Broken]\nServer=y\n").unwrap();
    let search = DriverSearch {
        source_inis: vec![ini],
        ..DriverSearch::default()
    };
    let resolved = Connections::default().resolve("warehouse", &search).unwrap();
    assert_eq!(resolved.string.reveal(), "DSN=Warehouse;");
    assert!(Connections::default().resolve("Broken", &search).is_err());
}
