//! Tests of what needs no authority.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;

use super::*;

fn settings(folder: &Path) -> Settings {
    Settings {
        data_dir: folder.to_owned(),
        acme_domains: vec!["Class.Example.org".into(), "a.example.org".into()],
        ..Settings::default()
    }
}

fn acme(settings: &Settings) -> Acme {
    Acme::new(settings, Arc::new(default_provider())).unwrap()
}

/// As an authority would give it, for so long from now.
fn given(acme: &Acme, life: Duration) -> Kept {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(acme.names.clone()).unwrap();
    let now = SystemTime::now();
    params.not_before = now.into();
    params.not_after = (now + life).into();
    Kept {
        directory: acme.directory.clone(),
        names: acme.names.clone(),
        chain: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

#[test]
fn a_kept_certificate_is_shown_at_once_and_only_for_the_same_names_and_authority() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = settings(folder.path());
    let first = acme(&wanted);
    assert_eq!(first.names, ["a.example.org", "class.example.org"], "one order, however they are written");
    assert!(first.shown().certificate().is_none());
    assert_eq!(first.due_secs, None);
    first.folder.keep_certificate(&given(&first, Duration::from_secs(900))).unwrap();
    let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("acme-certificate.json") & 0o777, 0o600);

    let again = acme(&wanted);
    assert!(again.shown().certificate().is_some());
    let left = again.due_secs.unwrap() - clock::wall().as_secs();
    assert!((598..=600).contains(&left), "renewed when a third is left: in {left} s");

    let mut more = wanted.clone();
    more.acme_domains.push("b.example.org".into());
    let other = Settings { acme_directory: "https://authority.example/dir".into(), ..wanted.clone() };
    for changed in [more, other] {
        assert!(acme(&changed).shown().certificate().is_none());
    }
    // Damage costs a new certificate, not the start.
    std::fs::write(folder.path().join("acme-certificate.json"), "{").unwrap();
    assert!(acme(&wanted).shown().certificate().is_none());
    let strange =
        Kept { key: given(&first, Duration::from_secs(9)).key, ..given(&first, Duration::from_secs(9)) };
    first.folder.keep_certificate(&strange).unwrap();
    assert!(acme(&wanted).shown().certificate().is_none(), "not with another's key");
}

#[test]
fn the_answer_is_for_one_name_and_as_long_as_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let acme = acme(&settings(folder.path()));
    let shown = acme.shown();
    {
        let _asked = Asked(&shown);
        shown.prepare("a.example.org", answer("a.example.org", &[7; 32], &acme.provider).unwrap());
        let told = shown.answer("A.example.org").unwrap();
        let (_, parsed) = parse_x509_certificate(&told.cert[0]).unwrap();
        // id-pe-acmeIdentifier, critical (RFC 8737, section 3).
        let identifier =
            parsed.extensions().iter().find(|part| part.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
        let identifier = identifier.unwrap();
        assert!(identifier.critical);
        assert_eq!(identifier.value, [&[4, 32][..], &[7; 32]].concat());
        assert!(shown.answer("class.example.org").is_none());
        assert!(shown.certificate().is_none(), "nobody else sees it");
    }
    assert!(shown.answer("a.example.org").is_none());
}

#[test]
fn what_went_wrong_is_kept_until_it_goes_right() {
    let folder = tempfile::tempdir().unwrap();
    let acme = acme(&settings(folder.path()));
    assert_eq!(trouble(folder.path()), None);
    let error = AcmeError::Name { name: "a.example.org".into(), reason: "refused".into() };
    let advice = error.advice(true);
    assert!(advice.contains("443") && advice.contains("DNS"), "{advice}");
    let noted = Trouble { reason: error.to_string(), advice, at_secs: 7 };
    acme.folder.note_trouble(&noted);
    assert_eq!(trouble(folder.path()), Some(noted));
    acme.folder.forget_trouble();
    assert_eq!(trouble(folder.path()), None);
}
