//! Lines 1 to 4: DTLS.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;
use sfu::media::Source;

use crate::caller::{Caller, eventually, is_dtls};
use crate::scene::{Person, Scene};
use crate::signal::Signal;
use crate::wire::{PATIENCE, http};

/// A socket that the server has never heard of.
pub fn stranger() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// A participant whose address ICE has verified, and who has not said anything in DTLS yet: gives the ClientHello that it would
/// have sent.
fn before_hello(scene: &Scene, room: &str, number: u32) -> (Person, Vec<u8>) {
    let person =
        Person::join_with(&scene.server, room, number, "student", |caller| caller.hold(Some(is_dtls)));
    let hello = || person.caller.seen().held.iter().find(|held| held.first() == Some(&22)).cloned();
    eventually("ICE is done and DTLS begins", PATIENCE, || hello().is_some());
    let hello = hello().unwrap();
    (person, hello)
}

/// Does `attack` again and again on a thread while `work` runs; gives how often.
fn meanwhile(attack: impl Fn() + Sync, work: impl FnOnce()) -> u64 {
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    /// Also when `work` panics, or the scope would never end.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                attack();
                rounds.fetch_add(1, Relaxed);
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let _stop = Stop(&stop);
        work();
    });
    rounds.load(Relaxed)
}

/// Line 1 (CVE-2023-51443): ClientHellos from addresses that ICE never verified, real ones, while others connect.
#[test]
fn line_01_client_hello_of_strangers() {
    let scene = Scene::open("line-01");
    let (donor, hello) = before_hello(&scene, "hellos", 10);
    let strangers: Vec<UdpSocket> = (0..8).map(|_| stranger()).collect();
    let dropped = scene.server.metric("lectern_datagrams_dropped_total");
    let attack = || {
        for stranger in &strangers {
            stranger.send_to(&hello, donor.media).unwrap();
        }
    };
    let rounds = meanwhile(attack, || {
        for number in 11..14 {
            let began = Instant::now();
            drop(Person::join(&scene.server, "hellos", number, "student"));
            let limit = Duration::from_secs(2) + scene.stalled();
            assert!(began.elapsed() < limit, "joined after {:?}", began.elapsed());
        }
    });
    // The donor, whose own hello it is, connects too.
    donor.caller.hold(None);
    eventually("the donor connects", PATIENCE, || donor.caller.seen().connected);
    let hellos = (rounds * 8) as f64;
    eventually("all of them are counted as dropped", PATIENCE, || {
        scene.server.metric("lectern_datagrams_dropped_total") - dropped >= hellos * 0.9
    });
    for stranger in &strangers {
        assert!(stranger.recv(&mut [0; 2_048]).is_err(), "a stranger was answered");
    }
    drop(donor);
    scene.close();
}

/// A plaintext alert, as anybody can write one: level and description of RFC 5246, section 7.2.
fn alert(level: u8, description: u8, sequence: u64) -> Vec<u8> {
    let mut record = vec![21, 0xfe, 0xfd, 0, 0];
    record.extend(&sequence.to_be_bytes()[2..]);
    record.extend([0, 2, level, description]);
    record
}

/// Line 2: forged alerts from the participant's own address, before and in its handshake.
#[test]
fn line_02_forged_alerts() {
    let scene = Scene::open("line-02");
    let (person, _) = before_hello(&scene, "alerts", 10);
    let send = |alert: &[u8]| person.caller.socket.send_to(alert, person.media).unwrap();
    // close_notify, unexpected_message, handshake_failure, internal_error, and all others.
    for description in 0..=255 {
        send(&alert(2, description, description.into()));
        send(&alert(1, description, description.into()));
    }
    let sequence = AtomicU64::new(1_000);
    let attack = || {
        for description in [0, 10, 40, 80] {
            send(&alert(2, description, sequence.fetch_add(1, Relaxed)));
        }
    };
    let media = person.media;
    let rounds = meanwhile(attack, || {
        person.caller.hold(None);
        eventually("media connects all the same", PATIENCE, || person.caller.seen().connected);
    });
    assert!(rounds > 0);
    // Nor after it.
    for description in 0..=255 {
        person.caller.socket.send_to(&alert(2, description, 5_000), media).unwrap();
    }
    let mut person = person;
    let mut viewer = Person::join(&scene.server, "alerts", 11, "student");
    person.publish();
    viewer.view(&person);
    eventually("and flows", PATIENCE, || viewer.caller.frames_of(10, Source::Camera) > 25);
    assert_eq!(person.caller.seen().losses, 0);
    drop((person, viewer));
    scene.close();
}

/// A fragment of a handshake message (RFC 6347, section 4.2.2).
fn fragment(record: u64, kind: u8, length: u32, message: u16, offset: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![22, 0xfe, 0xfd, 0, 0];
    out.extend(&record.to_be_bytes()[2..]);
    out.extend(u16::try_from(body.len() + 12).unwrap().to_be_bytes());
    out.push(kind);
    out.extend(&length.to_be_bytes()[1..]);
    out.extend(message.to_be_bytes());
    out.extend(&offset.to_be_bytes()[1..]);
    out.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
    out.extend(body);
    out
}

/// Line 3 (CVE-2022-29189, CVE-2022-29190): fragments without length, overlapping, without end; from verified addresses, of
/// a handshake that has not begun and of one that is done.
#[test]
fn line_03_endless_fragments() {
    let scene = Scene::open("line-03");
    let (attacker, hello) = before_hello(&scene, "fragments", 10);
    let mut victim = Person::join(&scene.server, "fragments", 11, "student");
    let mut viewer = Person::join(&scene.server, "fragments", 12, "student");
    victim.publish();
    viewer.view(&victim);
    let mut fragments = Vec::new();
    let kilobyte = [0x5a; 1_000];
    for i in 0..2_000_u32 {
        let (record, message) = (u64::from(i), (i % 7) as u16);
        fragments.push(fragment(record, 1, 0, message, 0, &[]));
        fragments.push(fragment(record, 1, 0x00ff_ffff, message, 0, &[]));
        fragments.push(fragment(record, 1, 20_000, 0, i * 7 % 19_000, &kilobyte));
        fragments.push(fragment(record, 1, 0x00ff_ffff, 0, i * 1_000, &kilobyte));
        fragments.push(fragment(record, 11, 0x00ff_ffff, i as u16, i * 1_000, &kilobyte));
        // Past the end, and around it.
        fragments.push(fragment(record, 1, 100, 0, 90, &kilobyte));
        fragments.push(fragment(record, 1, 100, 0, 0x00ff_fff0, &kilobyte[..32]));
    }
    // The real message, cut off everywhere.
    fragments.extend((0..hello.len()).map(|length| hello[..length].to_vec()));
    let before = scene.server.resident();
    for (i, fragment) in fragments.iter().enumerate() {
        for person in [&attacker, &victim] {
            person.caller.socket.send_to(fragment, person.media).unwrap();
        }
        if i % 20 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let grown = scene.server.resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{} KiB for {} fragments", grown >> 10, fragments.len());
    let frames = viewer.caller.frames_of(11, Source::Camera);
    eventually("a finished session goes on", PATIENCE, || {
        viewer.caller.frames_of(11, Source::Camera) > frames + 25
    });
    assert_eq!(victim.caller.seen().losses, 0);
    drop((attacker, victim, viewer));
    scene.close();
}

/// Line 4: 10,000 handshakes that nobody goes on with, by people with valid tokens, as fast as the server answers them. What they
/// took is given back: memory is held against that of before.
#[test]
fn line_04_half_open_handshakes() {
    /// Rooms of a seminar take 100.
    const IN_ROOM: u64 = 90;
    const ATTEMPTS: u64 = 10_000;
    /// With other builds on the same two cores they took about a minute.
    const LONGEST: Duration = Duration::from_secs(120);
    let scene = Scene::open("line-04");
    let server = &scene.server;
    let room_of = |number: u64| format!("half-open-{}", number / IN_ROOM);
    let offer = Caller::new(99, sim::client::ClientConfig::whip).offer();
    let next = AtomicU64::new(0);
    let answered = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= ATTEMPTS {
                        break;
                    }
                    let room = room_of(number);
                    let token = server.token(&room, &format!("h{number}"), "student");
                    let bearer = format!("Bearer {token}");
                    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/sdp")];
                    let response = http(server.http, "POST", &format!("/whip/{room}"), &headers, &offer);
                    match response.status {
                        201 => _ = answered.fetch_add(1, Relaxed),
                        429 | 503 => {}
                        _ => panic!("{response:?}"),
                    }
                }
            });
        }
        // Ends the threads also when this one panics.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        let _stop = Stop(&stop);
        let deadline = Instant::now() + LONGEST;
        let mut number = 10;
        while next.load(Relaxed) < ATTEMPTS {
            assert!(Instant::now() < deadline, "{} attempts in {LONGEST:?}", next.load(Relaxed));
            let half_open = server.metric("lectern_peers_half_open");
            assert!(half_open <= 256.0, "{half_open} half-open handshakes");
            let began = Instant::now();
            let mut person = Person::join(server, "welcome", number, "student");
            let limit = Duration::from_secs(2) + scene.stalled();
            assert!(began.elapsed() < limit, "a valid join took {:?}", began.elapsed());
            person.signal.must("leave", &json!({}));
            number += 1;
        }
    });
    let answered = answered.into_inner();
    assert!(answered >= 1_000, "only {answered} were answered, which fills the 256 places few times");
    eprintln!("half-open: {ATTEMPTS} asked, {answered} answered, {} KiB resident", server.resident() >> 10);
    eventually("they are given up", Duration::from_secs(15), || {
        server.metric("lectern_peers_half_open") == 0.0
    });
    for room in (0..ATTEMPTS).step_by(usize::try_from(IN_ROOM).unwrap()).map(room_of) {
        let mut teacher = Signal::connect(server.http, &server.token(&room, "teacher", "teacher")).unwrap();
        teacher.must("join", &json!({ "version": 1 }));
        teacher.must("end", &json!({}));
    }
    scene.close();
}

/// Where the server takes media, for other modules.
pub fn media_of(scene: &Scene) -> SocketAddr {
    scene.alice.media
}
