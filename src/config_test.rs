//! Tests of the settings.

use super::*;

fn load(
    flags: &[(&str, &str)],
    variables: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Settings, ConfigError> {
    let path = file.map(|text| {
        let name = format!("lectern-config-{}-{:p}.toml", std::process::id(), &text);
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let find = |pairs: &[(&str, &str)], name: &str| {
        pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let settings = Settings::load(
        |setting| find(flags, &setting.flag()),
        |variable| find(variables, variable),
        path.as_deref(),
    );
    if let Some(path) = path {
        std::fs::remove_file(path).unwrap();
    }
    settings
}

#[test]
fn every_default_passes_its_own_check() {
    for setting in SETTINGS {
        (setting.set)(&mut Settings::default(), setting.default)
            .unwrap_or_else(|reason| panic!("{}: {reason}", setting.key));
    }
}

#[test]
fn flag_before_environment_before_file_before_default() {
    let file = Some("udp_port = 3\nworkers = 3\nhttp_connections = 3");
    let variables = [("LECTERN_UDP_PORT", "2"), ("LECTERN_WORKERS", "2"), ("LECTERN_ROOMS", "")];
    let settings = load(&[("udp-port", "1")], &variables, file).unwrap();
    assert_eq!((settings.udp_port, settings.workers, settings.http_connections), (1, Some(2), 3));
    assert_eq!(settings.rooms, 2000);
}

#[test]
fn a_wrong_value_names_its_key_and_where_it_came_from() {
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: [(Pairs, Pairs, Option<&str>, &[&str]); 19] = [
        (&[("workers", "many")], &[], None, &["workers: `many` is not a whole number", "flag --workers"]),
        (&[], &[("LECTERN_UDP_PORT", "70000")], None, &["udp_port: ", "LECTERN_UDP_PORT in the environment"]),
        (&[], &[("LECTERN_WORKERS", "0")], None, &["workers: 0 is not between 1 and 256"]),
        (&[], &[], Some("http_listen = \"here\""), &["http_listen: `here` is not an address", ".toml"]),
        (&[], &[], Some("http_listn = 1"), &["http_listn: no such setting", "did you mean http_listen?"]),
        (&[], &[], Some("workers = [1]"), &["workers: a value of type array does not belong here"]),
        (&[], &[], Some("workers 1"), &["is not TOML", "line 1"]),
        (&[("token-secret", "short")], &[], None, &["token_secret: too short: 5 bytes", "at least 32"]),
        (&[("api-key", "0123456789abcde")], &[], None, &["api_key: too short: 15 bytes", "at least 16"]),
        (&[("turn-urls", "stun:x")], &[], None, &["turn_urls: `stun:x` does not begin with turn:"]),
        (&[("turn-host", "a:1")], &[], None, &["turn_host: `a:1` is neither a name nor an address"]),
        (&[("acme-domains", "*.example.org")], &[], None, &["acme_domains: `*.example.org`: ", "name each"]),
        (
            &[("acme-domains", "a.example,192.0.2.1")],
            &[],
            None,
            &["acme_domains: `192.0.2.1` is not a public"],
        ),
        (&[("acme-domains", "localhost")], &[], None, &["acme_domains: `localhost` is not a public name"]),
        (&[("acme-email", "ada")], &[], None, &["acme_email: `ada` is not a mail address"]),
        (&[("acme-directory", "http://a")], &[], None, &["acme_directory: `http://a` does not begin with"]),
        (&[("turn-secret", "short")], &[], None, &["turn_secret: too short: 5 bytes"]),
        (&[("turn-deny-peers", "10/8")], &[], None, &["turn_deny_peers: `10/8` is not an IP address or a"]),
        (&[("public-ip", "10.0.0.1,0.0.0.0")], &[], None, &["public_ip: 0.0.0.0 is not an address that"]),
    ];
    for (flags, variables, file, parts) in cases {
        let error = load(flags, variables, file).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "`{error}` does not say `{part}`");
        }
    }
}

#[test]
fn lists_come_with_commas_or_as_arrays() {
    let wanted: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    assert_eq!(load(&[("public-ip", "10.0.0.1, ::1")], &[], None).unwrap().public_ip, wanted);
    assert_eq!(load(&[], &[], Some("public_ip = ['10.0.0.1', '::1']")).unwrap().public_ip, wanted);
}

#[test]
fn secrets_are_not_printed() {
    let settings = load(&[("api-key", "correct-horse-battery")], &[], None).unwrap();
    assert!(!format!("{settings:?}").contains("horse"));
}

#[test]
fn the_documentation_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let found = std::fs::read_to_string(path).unwrap();
    assert!(found == documentation(), "write it anew: cargo run -- config-doc > docs/configuration.md");
}
