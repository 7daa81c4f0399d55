//! Lines 19 to 23: WebSocket and Socket.IO.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::caller::{Caller, eventually};
use crate::scene::{Scene, Server, join_request};
use crate::signal::Signal;
use crate::wire::{BINARY, Frame, PATIENCE, TEXT, Wire, http};

/// A connection of somebody with a valid token, who has not joined.
fn guest(scene: &Scene, identity: &str) -> Signal {
    Signal::connect(scene.server.http, &scene.server.token("sockets", identity, "student")).unwrap()
}

/// Line 19: a message or frame over the limit is closed with 1009, and not when it has come, but when it is announced.
#[test]
fn line_19_oversized_messages() {
    const LIMIT: usize = 256 * 1024;
    let scene = Scene::open("line-19");
    let soon = Duration::from_secs(2);
    for announced in [LIMIT as u64 + 1, 1 << 24, u64::from(u32::MAX), 1 << 62, u64::MAX] {
        for opcode in [TEXT, BINARY] {
            // Before CONNECT and after it.
            let mut strangers = Wire::open(scene.server.http);
            strangers.head(opcode, true, announced);
            strangers.raw(&[b' '; 1_000]);
            assert_eq!(strangers.closed(soon), Some(1009), "{announced} bytes announced");
            let mut guest = guest(&scene, "large");
            guest.wire.head(opcode, true, announced);
            assert_eq!(guest.wire.closed(soon), Some(1009), "{announced} bytes announced");
        }
    }
    // A message of many frames, each small.
    let mut parts = guest(&scene, "parts");
    parts.wire.frame(TEXT, false, b"42[\"chat\",\"");
    for _ in 0..LIMIT / 32_768 {
        parts.wire.frame(0, false, &[b'a'; 32_768]);
    }
    assert_eq!(parts.wire.closed(soon), Some(1009));
    // Many at once must not be held in memory.
    let before = scene.server.resident();
    let mut crowd: Vec<Wire> = (0..100).map(|_| Wire::open(scene.server.http)).collect();
    for wire in &mut crowd {
        wire.head(TEXT, true, 100 << 20);
        let _ = wire.stream.set_nonblocking(true);
        for _ in 0..32 {
            wire.raw(&[b' '; 32_768]);
        }
        let _ = wire.stream.set_nonblocking(false);
    }
    let grown = scene.server.resident().saturating_sub(before);
    assert!(grown < 24 << 20, "{} KiB for 100 messages of 100 MiB", grown >> 10);
    // The largest that is allowed is read: it is only not a request.
    let mut fits = guest(&scene, "fits");
    let text = format!("42[\"chat\",\"{}\"]", "a".repeat(LIMIT - 13));
    assert_eq!(text.len(), LIMIT);
    fits.wire.text(&text);
    fits.must("join", &json!({ "version": 1 }));
    drop((crowd, fits));
    scene.close();
}

/// Line 20: attachments that are announced and do not come, or are too many or too large.
#[test]
fn line_20_attachments() {
    let scene = Scene::open("line-20");
    let announce = |count: u32| {
        let holes: Vec<_> =
            (0..count.min(20)).map(|num| json!({ "_placeholder": true, "num": num })).collect();
        format!("45{count}-{}", json!(["chat", holes]))
    };
    // None come: closed within 5 s (and some for a busy machine).
    let began = Instant::now();
    let mut waiting = guest(&scene, "waits");
    waiting.wire.text(&announce(2));
    waiting.wire.frame(BINARY, true, &[1; 100]);
    // Other requests do not extend the time; whether they are answered or not is open.
    for _ in 0..3 {
        waiting.wire.text("421[\"hand\",{\"raised\":true}]");
        std::thread::sleep(Duration::from_millis(500));
    }
    waiting.wire.closed(Duration::from_secs(6));
    assert!(began.elapsed() < Duration::from_secs(7), "closed after {:?}", began.elapsed());
    // More than ten are refused when they are announced.
    for count in [11, 10_000, u32::MAX] {
        let mut many = guest(&scene, "many");
        many.wire.text(&announce(count));
        many.wire.closed(Duration::from_secs(2));
    }
    // Ten, but with more than a mebibyte together.
    let mut large = guest(&scene, "heavy");
    large.wire.text(&announce(10));
    for _ in 0..10 {
        large.wire.frame(BINARY, true, &[1; 200_000]);
    }
    large.wire.closed(Duration::from_secs(2));
    // Attachments that nobody announced.
    let mut forced = guest(&scene, "forced");
    for _ in 0..20 {
        forced.wire.frame(BINARY, true, &[1; 1_000]);
    }
    forced.wire.closed(Duration::from_secs(6));
    scene.close();
}

/// Line 21 (CVE-2023-32695, CVE-2022-2421): packets that are no packets. Each may be refused, ignored, or end its own
/// connection; none may do more.
#[test]
fn line_21_malformed_packets() {
    let scene = Scene::open("line-21");
    let deep = |open: &str, close: &str, depth: usize| {
        format!("421[\"chat\",{}{}]", open.repeat(depth), close.repeat(depth))
    };
    let mut texts: Vec<String> = [
        "",
        "4",
        "42",
        "43",
        "44",
        "45",
        "46",
        "47",
        "40",
        "41",
        "49",
        "0",
        "1",
        "2",
        "2probe",
        "3probe",
        "5",
        "6",
        "7",
        "9",
        "x",
        "4x",
        "42x",
        "42[",
        "42]",
        "42[]",
        "42[1]",
        "42[null]",
        "42[[]]",
        "42[{}]",
        "42{}",
        "42\"join\"",
        "42null",
        "42[\"join\"",
        "42[\"join\"]",
        "421[\"join\"]",
        "421[\"join\",null]",
        "421[\"join\",[]]",
        "421[\"join\",1]",
        "421[\"join\",\"x\"]",
        "421[\"join\",{}]",
        "421[\"join\",{\"version\":\"1\"}]",
        "421[\"join\",{\"version\":1,\"offer\":{\"_placeholder\":true,\"num\":0}}]",
        "421[\"\",{}]",
        "421[\"disconnect\",{}]",
        "421[\"connect\",{}]",
        "421[\"__proto__\",{}]",
        "421[\"constructor\",{}]",
        "421[\"chat\",{\"__proto__\":{\"text\":\"x\"}}]",
        "42/,[\"join\",{}]",
        "42/other,1[\"join\",{}]",
        "40/other,{}",
        "40/other,{\"token\":{}}",
        "40{\"token\":1}",
        "40{",
        "41/other,",
        "4299999999999999999999[\"join\",{}]",
        "42-1[\"join\",{}]",
        "43[]",
        "431[]",
        "43999[{\"data\":{}}]",
        "4318446744073709551616[]",
        "450-[\"chat\"]",
        "451-",
        "45-",
        "451[\"chat\"]",
        "45999999999999999999999-[\"chat\"]",
        "451-[\"chat\",{\"_placeholder\":true,\"num\":7}]",
        "451-[\"chat\",{\"_placeholder\":true,\"num\":-1}]",
        "451-[\"chat\",{\"_placeholder\":true,\"num\":\"splice\"}]",
        "451-[\"chat\",{\"_placeholder\":true}]",
        "451-[{\"_placeholder\":true,\"num\":0},{}]",
        "461-1[]",
        "42[\"\u{fc}\u{1f600}\",{\"text\":\"\u{1f600}\"}]",
        "42[\"chat\",{\"text\":\"\\ud83d\"}]",
        "42[\"chat\",{\"text\":\"\\u0000\"}]",
        "4\u{1f600}",
        "\u{1f600}",
        "4२[]",
        "42[\"chat\",1e999]",
        "42[\"chat\",{\"a\":1,\"a\":2}]",
    ]
    .map(String::from)
    .into();
    texts.push(deep("[", "]", 100_000));
    texts.push(deep("{\"a\":", "}", 40_000));
    texts.push(format!("421[\"chat\",{}", "[".repeat(200_000)));
    texts.push(format!("421[\"{}\",{{}}]", "e".repeat(200_000)));
    texts.push(format!("40/{},{{}}", "n".repeat(200_000)));
    texts.push(format!("421[{}]", vec!["\"chat\""; 20_000].join(",")));
    texts.push(format!("42{}[\"chat\",{{}}]", "1".repeat(10_000)));
    // Cut off everywhere.
    let whole = "421[\"chat\",{\"text\":\"\u{e9}\u{1f600}\",\"nonce\":\"n\"}]";
    texts.extend(whole.char_indices().map(|(at, _)| whole[..at].to_owned()));
    let mut ended = 0;
    for text in &texts {
        let mut guest = guest(&scene, "odd");
        guest.wire.text(text);
        // Then something whole, which is answered unless the connection was ended.
        guest.wire.text("4277[\"hand\",{\"raised\":true}]");
        let deadline = Instant::now() + PATIENCE;
        loop {
            match guest.wire.read(deadline.saturating_duration_since(Instant::now())) {
                Some(Frame::Text(answer)) if answer.starts_with("4377") => {
                    assert!(answer.contains("\"error\""), "not joined, so it cannot raise a hand: {answer}");
                    break;
                }
                Some(Frame::Close(_) | Frame::Gone) => {
                    ended += 1;
                    break;
                }
                Some(_) => {}
                None => panic!("after {:.60} nothing is answered and nothing closed", text),
            }
        }
    }
    eprintln!("malformed packets: {} sent, {ended} ended their connection", texts.len());
    assert!(ended < texts.len(), "not all are worth it");
    // Text that is not UTF-8, cut in the middle of a character, and control frames that are too long.
    for bytes in [&b"42[\"\xff\xfe\"]"[..], b"42[\"\xf0\x9f\x98", b"\xc0\x80", b"4\xed\xa0\x80"] {
        let mut guest = guest(&scene, "bytes");
        guest.wire.frame(TEXT, true, bytes);
        guest.wire.closed(Duration::from_secs(5));
    }
    let mut control = guest(&scene, "control");
    control.wire.frame(9, true, &[0; 200]);
    control.wire.closed(Duration::from_secs(5));
    // What a known request makes of a wrong payload is a typed error.
    let mut typed = guest(&scene, "typed");
    for payload in [json!(null), json!([]), json!("x"), json!(7), json!({}), json!({ "version": {} })] {
        assert_eq!(typed.refused("join", &payload), "bad-request", "{payload}");
    }
    assert_eq!(typed.refused("no-such-event", &json!({})), "bad-request");
    typed.must("join", &json!({ "version": 1 }));
    for (event, payload) in [
        ("chat", json!({ "text": 1, "nonce": "n" })),
        ("chat", json!({ "text": "x", "nonce": { "$ne": null } })),
        ("hand", json!({ "raised": "yes" })),
        ("publish", json!({ "source": "kitchen" })),
        (
            "view",
            json!({ "pictures": [{ "participant": "p", "source": "camera", "width": -1, "height": 1e9 }] }),
        ),
        ("candidate", json!({ "candidate": ["candidate"] })),
    ] {
        assert_eq!(typed.refused(event, &payload), "bad-request", "{event} {payload}");
    }
    drop(typed);
    scene.close();
}

/// Line 23: a client that asks for much and reads nothing is disconnected, and what waits for it is bounded.
#[test]
fn line_23_never_reads() {
    let more = ["--socket-queue-messages", "64", "--http-write-stall-seconds", "3"];
    let scene = Scene::open_with("line-23", &more);
    let mut talker = guest(&scene, "talker");
    talker.must("join", &json!({ "version": 1 }));
    // Something to ask for: about 20 KiB of chat.
    for i in 0..5 {
        let text = format!("{i}{}", "a".repeat(4_000));
        talker.must("chat", &json!({ "text": text, "nonce": i.to_string() }));
    }
    let mut deaf: Vec<Signal> = (0..10)
        .map(|i| {
            let mut deaf = guest(&scene, &format!("deaf{i}"));
            deaf.must("join", &json!({ "version": 1 }));
            deaf
        })
        .collect();
    let before = scene.server.resident();
    let deadline = Instant::now() + Duration::from_secs(40);
    let mut highest = before;
    while deaf.iter_mut().any(|deaf| !refuses(deaf)) {
        assert!(Instant::now() < deadline, "still connected after 40 s without reading");
        for deaf in &mut deaf {
            for _ in 0..20 {
                deaf.send("sync", &json!({ "after": 0 }));
            }
        }
        highest = highest.max(scene.server.resident());
        std::thread::sleep(Duration::from_millis(200));
    }
    let grown = highest - before;
    assert!(grown < 64 << 20, "{} KiB waited for 10 clients", grown >> 10);
    talker.idle();
    assert!(!talker.gone, "who reads stays");
    talker.must("hand", &json!({ "raised": true }));
    drop((talker, deaf));
    scene.close();
}

/// Whether the server has ended a connection, without reading what it sent before: the writes fail.
fn refuses(signal: &mut Signal) -> bool {
    let stream = &mut signal.wire.stream;
    let error = stream.take_error().unwrap();
    if error.is_some() {
        return true;
    }
    stream.set_nonblocking(true).unwrap();
    // A pong of Engine.IO, which asks for nothing.
    let pong = [0x81, 0x81, 0, 0, 0, 0, b'3'];
    let outcome = Write::write(stream, &pong);
    stream.set_nonblocking(false).unwrap();
    matches!(outcome, Err(error) if error.kind() != ErrorKind::WouldBlock)
}

/// How many connections this process and the server may hold open at once, as far as descriptors go: the server has inherited the
/// limit of this process.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft = line.split_whitespace().nth(3).unwrap();
    // Both need some for themselves.
    soft.parse().map_or(usize::MAX, |soft: usize| soft.saturating_sub(500))
}

/// A school that comes at nine o'clock: who comes while the server is busy waits in the system's queue, and is not thrown away to try again after
/// seconds.
#[test]
fn a_school_that_comes_at_once_is_not_turned_away() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let count = 1_000.min(most.trim().parse().unwrap()).min(descriptors() / 2);
    let server = Server::start("school", &["--http-connections-per-ip", "20000"]);
    for port in [server.http, server.turn] {
        // The system tries again after a second.
        let soon = Duration::from_millis(900);
        let came: Result<Vec<_>, _> =
            server.frozen(|| (0..count).map(|_| TcpStream::connect_timeout(&port, soon)).collect());
        assert_eq!(came.map(|all| all.len()).map_err(|error| error.kind()), Ok(count), "{port}");
    }
    assert_eq!(http(server.http, "GET", "/healthz", &[], "").status, 200);
}

/// Line 22: 10,000 connections that stop at some point on their way to a WebSocket with a token are reaped within 10 s, with the
/// settings as they are delivered (but for the number of one address).
#[test]
fn line_22_half_finished_upgrades() {
    const WANTED: usize = 10_000;
    const REAPED: Duration = Duration::from_secs(10);
    let scene = Scene::open_with("line-22", &["--http-connections-per-ip", "20000"]);
    let server = scene.server.http;
    let count = WANTED.min(descriptors());
    assert!(count >= 500, "no more than {count} connections fit the limit of open files");
    let before = scene.server.metric("lectern_http_connections");
    // Upgrades of a session that began with polling: the probe is answered, the upgrade never said.
    let mut probes: Vec<(Wire, Instant)> = (0..20)
        .map(|_| {
            let path = "/socket.io/?EIO=4&transport=polling";
            let opened = http(server, "GET", path, &[], "");
            let (_, rest) = opened.body.split_once("\"sid\":\"").unwrap();
            let sid = rest.split('"').next().unwrap();
            let path = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
            let mut wire = Wire::upgrade(server, &path).unwrap();
            wire.text("2probe");
            assert_eq!(wire.read(PATIENCE), Some(Frame::Text("3probe".into())));
            (wire, Instant::now())
        })
        .collect();
    let upgrade = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // Nothing at all, half a head, a whole one whose WebSocket never says CONNECT, and one that stops in a frame.
    let parts = [String::new(), upgrade[..80].to_owned(), upgrade.to_owned(), format!("{upgrade}\u{1}")];
    let mut crowd: Vec<TcpStream> = Vec::with_capacity(count);
    let opening = Instant::now();
    for i in 0..count {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.write_all(parts[i % parts.len()].as_bytes()).unwrap();
        crowd.push(stream);
    }
    let opened = Instant::now();
    let most = scene.server.metric("lectern_http_connections") - before;
    eprintln!("half-finished: {count} of {WANTED}, opened in {:?}, {most} at once", opening.elapsed());
    for (wire, since) in &mut probes {
        wire.closed(REAPED + Duration::from_secs(3));
        let limit = REAPED + Duration::from_secs(2) + scene.stalled();
        assert!(
            since.elapsed() < limit.max(opened - *since + Duration::from_secs(1)),
            "{:?}",
            since.elapsed()
        );
    }
    // The answer to the question itself comes on one more connection.
    let gone = || scene.server.metric("lectern_http_connections") <= before + 1.0;
    eventually("the server has let go of all", REAPED + Duration::from_secs(3) + scene.stalled(), gone);
    eprintln!("half-finished: reaped {:?} after the last", opened.elapsed());
    for (i, stream) in crowd.iter_mut().enumerate() {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        let open =
            matches!(&end, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!open, "connection {i} is still open: {end:?}");
    }
    drop((probes, crowd));
    scene.close();
}

/// Line 22: sessions that were never given, a second CONNECT, and a thousand namespaces.
#[test]
fn line_22_sessions_and_namespaces() {
    let scene = Scene::open("line-22b");
    let server = scene.server.http;
    for sid in [
        "AAAAAAAAAAAAAAAA",
        "../../x",
        "",
        "%00",
        "a",
        &"A".repeat(4_000),
        "AAAAAAAAAAAAAAAA&sid=BBBBBBBBBBBBBBBB",
    ] {
        let path = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
        // The library answers an upgrade of a well-formed id before it looks the session up, and ends the connection then.
        match Wire::upgrade(server, &path) {
            Err(response) => assert_eq!(response.status, 400, "an upgrade of session {sid:.40}"),
            Ok(mut wire) => {
                let first = wire.read(PATIENCE);
                let ended = matches!(first, Some(Frame::Close(_) | Frame::Gone));
                assert!(ended, "an upgrade of session {sid:.40}: {first:?}");
            }
        }
        for method in ["GET", "POST"] {
            let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
            let response = http(server, method, &path, &[], if method == "POST" { "2" } else { "" });
            assert_eq!(response.status, 400, "{method} of session {sid:.40}");
        }
    }
    let status = |path: &str| Wire::upgrade(server, path).err().map(|response| response.status);
    assert_eq!(status("/socket.io/?EIO=3&transport=websocket"), Some(400), "a version that is not spoken");
    assert_eq!(status("/socket.io/?EIO=4&transport=carrier-pigeon"), Some(400), "a transport that is not");

    // A second CONNECT, with a token for somebody else and something else.
    let mut twice = guest(&scene, "twice");
    let other = scene.server.token("other", "other", "teacher");
    for auth in [json!({ "token": other }), json!({}), json!({ "token": "x" })] {
        twice.wire.text(&format!("40{auth}"));
    }
    // Fewer than 500 frames in a second, which would end the connection.
    for i in 0..1_000 {
        let auth = if i % 2 == 0 { json!({ "token": other }) } else { json!({}) };
        twice.wire.text(&format!("40/n{i},{auth}"));
        if i % 100 == 99 {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    twice.wire.text("4277[\"hand\",{\"raised\":true}]");
    let mut refused = 0;
    loop {
        match twice.wire.read(PATIENCE) {
            Some(Frame::Text(text)) if text == "2" => twice.wire.text("3"),
            Some(Frame::Text(text)) if text.starts_with("4377") => {
                assert!(text.contains("not-joined"), "{text}");
                break;
            }
            Some(Frame::Text(text)) => {
                assert!(text.starts_with("44/n"), "neither a refusal nor an answer: {text}");
                refused += 1;
            }
            other => panic!("who asked for much is still connected: {other:?}"),
        }
    }
    assert_eq!(refused, 1_000, "each namespace is refused");
    // And is still who it was.
    let caller = Caller::new(30, sim::client::ClientConfig::new);
    let joined = twice.must("join", &join_request(&caller));
    assert_eq!((&joined["participant"], &joined["role"]), (&json!("twice"), &json!("student")));
    let rooms = scene.server.metric("lectern_rooms");
    assert_eq!(rooms, 2.0, "its room and that of the call, none of the other token");
    drop((twice, caller));
    scene.close();
}
