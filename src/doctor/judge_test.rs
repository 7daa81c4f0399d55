//! Tests of the decisions.

use super::*;
use crate::config::Secret;
use crate::doctor::Verdict::{self, Fail, Ok as Good, Warn};

fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings { workers: Some(2), ..Settings::default() };
    change(&mut settings);
    settings
}

fn ips(list: &str) -> Vec<IpAddr> {
    list.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
}

/// Every bad line says what helps.
fn verdict(finding: &Finding) -> Verdict {
    assert!(finding.verdict == Good || finding.advice.is_some(), "{finding}");
    finding.verdict
}

#[test]
fn a_taken_port_is_bad_unless_it_is_our_own_or_can_be_done_without() {
    let port = |is_optional, problem: Option<io::ErrorKind>| Port {
        name: "UDP 7882".into(),
        purpose: "media",
        flag: "--udp-port",
        is_optional,
        problem: problem.map(io::Error::from),
    };
    let taken = Some(io::ErrorKind::AddrInUse);
    assert_eq!(verdict(&super::port(&port(false, None), false)), Good);
    assert_eq!(verdict(&super::port(&port(false, taken), false)), Fail);
    assert_eq!(verdict(&super::port(&port(true, taken), false)), Warn);
    assert_eq!(verdict(&super::port(&port(false, taken), true)), Good);
    let denied = super::port(&port(true, Some(io::ErrorKind::PermissionDenied)), true);
    assert_eq!(verdict(&denied), Fail);
    assert!(denied.advice.unwrap().contains("CAP_NET_BIND_SERVICE"));
}

#[test]
fn recordings_are_sealed_or_not_and_what_is_sealed_can_be_opened() {
    let found = |first: Option<&str>, opened, locked| {
        sealing(Ok(Sealing { first: first.map(str::to_owned), opened, locked }))
    };
    assert_eq!(verdict(&found(None, 0, 0)), Good);
    assert!(found(None, 0, 0).found.contains("not sealed"));
    let all = found(Some("ab12"), 7, 0);
    assert_eq!(verdict(&all), Good);
    assert!(all.found.contains("ab12") && all.found.contains("all 7"), "{all}");
    assert_eq!(verdict(&found(Some("ab12"), 7, 1)), Warn);
    assert_eq!(verdict(&sealing(Err("recording_key_file: …".into()))), Fail);
}

#[test]
fn the_folder_of_recordings_must_be_written_and_have_room() {
    let of = |problem: Option<io::ErrorKind>, free_bytes, reserve_bytes| {
        let found = RecordingsFolder { problem: problem.map(io::Error::from), free_bytes, reserve_bytes };
        recordings(Path::new("data/recordings"), &found)
    };
    let good = of(None, Some(9_000 * MEGABYTE), Some(5_000 * MEGABYTE));
    assert_eq!(verdict(&good), Good);
    assert!(good.found.contains("9000 MB free in data/recordings, of which 5000"), "{good}");
    let full = of(None, Some(4_000 * MEGABYTE), Some(5_000 * MEGABYTE));
    assert_eq!(verdict(&full), Warn);
    assert!(full.found.contains("none begins"), "{full}");
    assert_eq!(verdict(&of(None, None, None)), Warn);
    let read_only = of(Some(io::ErrorKind::ReadOnlyFilesystem), Some(1), Some(1));
    assert_eq!(verdict(&read_only), Fail);
    assert!(read_only.advice.unwrap().contains("read-only"));
}

#[test]
fn a_bucket_says_what_it_does_not_do_and_what_helps() {
    let config = BucketConfig {
        bucket: "school".into(),
        endpoint: Some("https://s3.example.org".into()),
        region: "eu-1".into(),
        access_key: "NAME".into(),
        secret_key: Secret::new("never-shown"),
        prefix: "class/rooms".into(),
        path_style: true,
        local_days: 0,
    };
    let good = bucket(&config, Ok(Duration::from_millis(120)));
    assert_eq!(verdict(&good), Good);
    let place = "school at https://s3.example.org, below class/rooms";
    assert!(good.found.contains(place) && good.found.contains("120 ms"), "{good}");
    let (open, write, list) = (Doing::Open, Doing::Write, Doing::List);
    for (doing, cause, said, helps) in [
        (open, Cause::Settings("no URL".into()), "cannot be used: no URL", "recording_s3_…"),
        (write, Cause::Unreachable("refused".into()), "no connection: refused", "recording_s3_endpoint"),
        (write, Cause::Slow(Duration::from_millis(14_500)), "no answer within 15 s", "firewall"),
        (write, Cause::Clock, "this machine's clock", "NTP"),
        (write, Cause::AccessKey, "does not know the key NAME", "recording_s3_access_key"),
        (write, Cause::Secret, "signed with the key NAME", "recording_s3_secret_key"),
        (write, Cause::NoBucket, "no such bucket", "recording_s3_path_style"),
        (write, Cause::Region, "not in the region eu-1", "recording_s3_region"),
        (write, Cause::Denied, "cannot be written to", "s3:PutObject"),
        (Doing::Read, Cause::Denied, "cannot be read from", "s3:GetObject"),
        (list, Cause::Denied, "cannot be listed", "s3:ListBucket"),
        (Doing::Remove, Cause::Denied, "cannot have files removed", "s3:DeleteObject"),
        (write, Cause::Denied, "may not do that", "read-only"),
        (list, Cause::Differs, "not there as it was", "cache"),
        (write, Cause::Other("SlowDown: later".into()), "SlowDown: later", "log"),
    ] {
        let finding = bucket(&config, Err(BucketTrouble { doing, cause, left: None }));
        assert_eq!(verdict(&finding), Fail);
        let advice = finding.advice.as_deref().unwrap();
        assert!(finding.found.contains(place) && finding.found.contains(said), "{finding}");
        assert!(advice.contains(helps) && advice.contains("stay on the disk"), "{finding}");
        assert!(!finding.to_string().contains("never-shown"));
    }
    let cause = Cause::Denied;
    let left = Some("class/rooms/lectern-doctor-1".into());
    let finding = bucket(&config, Err(BucketTrouble { doing: Doing::Remove, cause, left }));
    assert!(finding.found.contains("class/rooms/lectern-doctor-1 is left in it"), "{finding}");
    assert_eq!(verdict(&no_bucket(&io::Error::other("recording_s3_bucket: …"))), Fail);
}

#[test]
fn limits_of_the_machine_are_held_against_the_settings() {
    assert_eq!(verdict(&disk(Some(10_000 * MEGABYTE))), Good);
    assert_eq!(verdict(&disk(Some(500 * MEGABYTE))), Warn);
    assert_eq!(verdict(&disk(Some(MEGABYTE))), Fail);
    assert_eq!(verdict(&disk(None)), Warn);
    let usual = settings(|_| {});
    assert_eq!(verdict(&descriptors(Some(65_536), &usual)), Good);
    assert_eq!(verdict(&descriptors(None, &usual)), Good);
    let few = descriptors(Some(1024), &usual);
    assert_eq!(verdict(&few), Warn);
    assert!(few.found.contains("about 192 participants"), "{few}");
    assert_eq!(verdict(&descriptors(Some(100), &usual)), Fail);
    assert_eq!(verdict(&socket_buffer(Ok(8 << 20))), Good);
    assert_eq!(verdict(&socket_buffer(Ok(425_984))), Warn);
    assert_eq!(verdict(&socket_buffer(Err(io::ErrorKind::PermissionDenied.into()))), Fail);
    assert_eq!(verdict(&backlog(Some(4096)).unwrap()), Good);
    let few = backlog(Some(128)).unwrap();
    assert_eq!(verdict(&few), Warn);
    assert!(few.found.contains("128 wait") && few.advice.unwrap().contains("somaxconn=4096"));
    assert!(backlog(None).is_none());
    assert_eq!(verdict(&clock(0)), Fail);
    assert_eq!(verdict(&clock(1_800_000_000)), Good);
}

#[test]
fn addresses_are_told_by_whom_they_belong_to_and_how_far_they_reach() {
    let own = ips("127.0.0.1 ::1 10.0.0.5 fe80::1");
    let of =
        |list: &str, own: &[IpAddr]| addresses(&settings(|settings| settings.public_ip = ips(list)), own);
    let nat = of("203.0.113.7", &own);
    assert!(nat.iter().all(|finding| verdict(finding) == Good), "{nat:?}");
    assert!(nat[0].found.contains("a NAT must have it"));
    assert!(
        nat[0].advice.as_ref().unwrap().contains("UDP and TCP 7882 to 7883, UDP and TCP 3478"),
        "{nat:?}"
    );
    assert!(of("10.0.0.5", &own)[0].found.contains("is this machine's"));
    assert_eq!(verdict(&of("127.0.0.9", &own)[0]), Fail);

    let reach = |list: &str, own: &str| {
        let findings = of(list, &ips(own));
        findings.iter().find(|finding| finding.subject == "reach").map(verdict).unwrap()
    };
    assert_eq!(reach("", "127.0.0.1 ::1 fe80::1"), Warn);
    assert_eq!(reach("", "127.0.0.1 10.0.0.5"), Warn);
    assert_eq!(reach("", "127.0.0.1 100.64.3.4 fd00::1"), Warn);
    assert_eq!(reach("192.168.1.9", "127.0.0.1 198.51.100.4"), Warn);
    assert_eq!(reach("", "127.0.0.1 198.51.100.4"), Good);
    assert_eq!(reach("203.0.113.7", "127.0.0.1 10.0.0.5"), Good);
}

#[test]
fn what_a_nat_forwards_follows_the_settings() {
    let of = |change: fn(&mut Settings)| forwarded(&settings(change));
    assert_eq!(of(|_| {}), "TCP 8080 for pages, UDP and TCP 7882 to 7883, UDP and TCP 3478");
    let behind_a_proxy = |settings: &mut Settings| {
        settings.workers = Some(1);
        settings.public_url = Some("https://class.example.org".into());
    };
    assert_eq!(of(behind_a_proxy), "UDP and TCP 7882, UDP and TCP 3478");
    assert_eq!(
        of(|settings| {
            settings.ice_tcp = false;
            settings.http_listen = "127.0.0.1:8080".parse().unwrap();
            settings.turn_port = Some(0);
        }),
        "UDP 7882 to 7883"
    );
    assert_eq!(of(|settings| settings.one_port = true), "UDP and TCP 8080");
    assert!(of(|settings| settings.udp_port = 0).contains("set udp_port"));
}

#[test]
fn cameras_need_https() {
    let of = |change: fn(&mut Settings)| verdict(&https(&settings(change)));
    assert_eq!(of(|_| {}), Warn);
    assert_eq!(of(|settings| settings.http_listen = "127.0.0.1:8080".parse().unwrap()), Good);
    assert_eq!(of(|settings| settings.public_url = Some("https://class.example.org".into())), Good);
    assert_eq!(of(|settings| settings.tls_self_signed = true), Good);
    assert_eq!(
        of(|settings| {
            settings.tls_self_signed = true;
            settings.public_url = Some("http://class.example.org".into());
        }),
        Warn
    );
    assert_eq!(of(|settings| settings.tls_cert = Some("cert.pem".into())), Fail);
}

#[test]
fn relays_are_where_participants_are_sent() {
    let of = |change: fn(&mut Settings)| verdict(&relay(&settings(change)));
    assert_eq!(of(|_| {}), Good);
    assert_eq!(of(|settings| settings.turn_port = Some(0)), Warn);
    assert_eq!(of(|settings| settings.udp_port = 0), Warn);
    assert_eq!(of(|settings| settings.one_port = true), Good);
    assert_eq!(of(|settings| settings.turn_host = Some("127.0.0.1".into())), Warn);
    assert_eq!(of(|settings| settings.turn_urls = vec!["turn:t.example.org".into()]), Fail);
    let shared = |settings: &mut Settings| {
        settings.turn_urls = vec!["turn:t.example.org".into()];
        settings.turn_secret = Some(Secret::new("0123456789abcdef"));
    };
    assert_eq!(of(shared), Good);
}

#[test]
fn certificates_are_for_the_name_and_the_day() {
    let now = 1_800_000_000;
    let read = |names: &[&str], begins: u64, ends: u64| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(Certificate { names, life: (begins, ends) })
    };
    let at = |url: &str| settings(|settings| settings.public_url = Some(url.into()));
    let of = |certificate, url: &str| -> Vec<Verdict> {
        super::certificate(certificate, &at(url), now).iter().map(verdict).collect()
    };
    let later = now + 90 * DAY_SECS;
    let class = "https://class.example.org/";
    assert_eq!(of(read(&["class.example.org"], 0, later), class), [Good, Good]);
    assert_eq!(of(read(&["*.example.org"], 0, later), "https://CLASS.example.org:8443"), [Good, Good]);
    assert_eq!(of(read(&["example.org", "*.class.example.org"], 0, later), class), [Good, Fail]);
    assert_eq!(of(read(&["*.example.org"], 0, later), "https://a.b.example.org"), [Good, Fail]);
    assert_eq!(of(read(&["10.0.0.1"], 0, later), "https://10.0.0.1:8080"), [Good, Good]);
    assert_eq!(of(read(&["2001:db8::1"], 0, later), "https://[2001:db8::1]"), [Good, Good]);
    assert_eq!(of(read(&["class.example.org"], 0, now + 3 * DAY_SECS), class), [Warn, Good]);
    assert_eq!(of(read(&["class.example.org"], 0, now), class), [Fail, Good]);
    assert_eq!(of(read(&["class.example.org"], now + 1, later), class), [Fail, Good]);
    assert_eq!(of(Err("tls_key: not of one pair".into()), class), [Fail]);
}

#[test]
fn a_server_that_is_asked_is_well_or_says_what_is_wrong() {
    let answer = |status, body: &str| super::super::ask::Answer { status, body: body.into() };
    let of = |health, ready| -> Vec<Verdict> {
        let both = Asked { health: answer(health, ""), ready: answer(ready, r#"{"failed":["store"]}"#) };
        asked("https://class.example.org", Ok(both)).iter().map(verdict).collect()
    };
    assert_eq!(of(200, 200), [Good, Good]);
    assert_eq!(of(200, 503), [Good, Fail]);
    assert_eq!(of(404, 404), [Fail, Fail]);
    assert_eq!(asked("x", Err(AskError::Url("x".into()))).iter().map(verdict).collect::<Vec<_>>(), [Fail]);
}

#[test]
fn a_certificate_from_an_authority_is_judged_with_what_went_wrong() {
    let now = 2_000_000_000;
    let days = |days: u64| Ok(Some(Certificate { names: vec![], life: (now - 1, now + days * DAY_SECS) }));
    let trouble = || Some(Trouble { reason: "no way".into(), advice: "do".into(), at_secs: now - 60 });
    let on = |port| {
        settings(|settings| {
            settings.acme_domains = vec!["class.example.org".into()];
            settings.http_listen.set_port(port);
        })
    };
    let of = |read, trouble, settings: &Settings| {
        authority(read, trouble, settings, now).iter().map(verdict).collect::<Vec<_>>()
    };
    assert_eq!(of(days(60), None, &on(443)), [Good]);
    assert_eq!(of(Ok(None), None, &on(443)), [Good]);
    assert_eq!(of(Ok(None), None, &on(8443)), [Good, Warn]);
    assert_eq!(of(Ok(None), trouble(), &on(443)), [Fail]);
    assert_eq!(of(days(20), trouble(), &on(443)), [Warn]);
    assert_eq!(of(days(0), trouble(), &on(443)), [Fail]);
    assert_eq!(of(days(0), None, &on(443)), [Warn]);
    assert_eq!(of(Err("acme_domains: tls_cert is set too".into()), None, &on(443)), [Fail]);
    let elsewhere = settings(|settings| {
        settings.public_url = Some("https://other.example.org".into());
        settings.acme_domains = vec!["class.example.org".into()];
        settings.http_listen.set_port(443);
    });
    assert_eq!(of(days(60), None, &elsewhere), [Good, Fail]);
    let said = authority(Ok(None), trouble(), &on(443), now).remove(0);
    assert!(said.found.contains("no way") && said.advice.as_deref() == Some("do"), "{said}");

    let leads = |list: &str| verdict(&name("class.example.org", Ok(ips(list)), &on(443), &ips("192.0.2.1")));
    assert_eq!(leads("192.0.2.1"), Good);
    assert_eq!(leads("192.0.2.1 2001:db8::1"), Warn);
    let nowhere = name("class.example.org", Err(io::ErrorKind::NotFound.into()), &on(443), &[]);
    assert_eq!(verdict(&nowhere), Fail);
}
