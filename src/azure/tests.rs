//! What needs no server; the rest is tested through the executable.

use super::*;
use crate::failure::Failing;

#[test]
fn a_vault_tells_by_its_host_whose_token_it_wants() {
    for (url, audience) in [
        ("https://v.vault.azure.net/", "https://vault.azure.net"),
        ("https://v.vault.azure.cn", "https://vault.azure.cn"),
        ("https://V.VAULT.usgovcloudapi.net/", "https://vault.usgovcloudapi.net"),
        ("http://127.0.0.1:8080", "https://vault.azure.net"),
        ("https://evilvault.azure.cn.example.com", "https://vault.azure.net"),
    ] {
        assert_eq!(Vault::new(url).unwrap().audience(), audience, "{url}");
    }
}

#[test]
fn a_vault_without_https_is_refused_unless_it_is_this_machine() {
    for url in [
        "http://v.vault.azure.net",
        "ftp://v.vault.azure.net",
        "v.vault.azure.net",
        "",
        "https://",
    ] {
        let error = Vault::new(url).unwrap_err();
        assert_eq!(error.code(), "azure.bad_address", "{url}");
    }
    assert!(Vault::new("http://localhost:1").is_ok() && Vault::new("http://[::1]:1").is_ok());
}

#[test]
fn a_name_cannot_leave_its_place_in_the_address() {
    let vault = Vault::new("https://v.vault.azure.net/").unwrap();
    assert_eq!(
        vault.id_of("../keys/k?x", Some("v/1")),
        "https://v.vault.azure.net/secrets/%2E%2E%2Fkeys%2Fk%3Fx/v%2F1"
    );
}

#[test]
fn three_variables_make_a_service_principal_and_fewer_a_managed_identity() {
    let with = |names: &'static [&str]| {
        Identity::from_environment(move |name| names.contains(&name).then(|| format!("<{name}>")))
    };
    let all = with(&["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"]);
    assert_eq!(all.describe(), "service principal `<AZURE_CLIENT_ID>`");
    assert_eq!(
        with(&["AZURE_CLIENT_ID"]).describe(),
        "managed identity `<AZURE_CLIENT_ID>`"
    );
    assert_eq!(with(&[]).describe(), "the managed identity of this node");
}
