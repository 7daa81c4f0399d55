//! Lines 26 to 28: who may enter, and who may do what.

use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto};
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::scene::{Person, Scene, Server, now_secs};
use crate::signal::Signal;
use crate::wire::http;

/// Base64 for URLs without padding (RFC 4648, section 5).
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            out.push(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63] as char);
        }
    }
    out
}

/// A token with any header, signed with HS256 by the server's secret, or not at all.
fn forge(server: &Server, header: &Value, claims: &Value, signed: bool) -> String {
    let body =
        format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    let key = EncodingKey::from_secret(server.secret());
    let signature =
        if signed { crypto::sign(body.as_bytes(), &key, Algorithm::HS256).unwrap() } else { String::new() };
    format!("{body}.{signature}")
}

/// Tokens that must not open anything, with the reason.
fn bad_tokens(server: &Server, room: &str, identity: &str) -> Vec<(String, String)> {
    let claims = Server::claims(room, identity, "teacher");
    let with = |key: &str, value: Value| {
        let mut claims = claims.clone();
        claims[key] = value;
        claims
    };
    let without = |key: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(key);
        claims
    };
    let good = server.sign(&Header::default(), &claims);
    let mut bad: Vec<(String, String)> = Vec::new();
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({ "alg": algorithm, "typ": "JWT" });
        bad.push((format!("alg {algorithm:?}, unsigned"), forge(server, &header, &claims, false)));
        bad.push((format!("alg {algorithm:?}, signed"), forge(server, &header, &claims, true)));
    }
    for algorithm in ["RS256", "ES256", "PS256", "EdDSA", "HS384", "HS512", "hs256"] {
        let header = json!({ "alg": algorithm, "typ": "JWT" });
        bad.push((format!("alg {algorithm}, signed with HS256"), forge(server, &header, &claims, true)));
    }
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        bad.push((format!("{algorithm:?}"), server.sign(&Header::new(algorithm), &claims)));
    }
    let other =
        jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(&[0; 40])).unwrap();
    bad.push(("another secret".into(), other));
    let empty = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(b"")).unwrap();
    bad.push(("no secret".into(), empty));
    let future = now_secs() + 3600;
    for (name, claims) in [
        ("exp as a string", with("exp", json!(future.to_string()))),
        ("exp as a list", with("exp", json!([future]))),
        ("exp null", with("exp", json!(null))),
        ("exp true", with("exp", json!(true))),
        ("exp in the past", with("exp", json!(now_secs() - 10))),
        ("exp 0", with("exp", json!(0))),
        ("exp negative", with("exp", json!(-1))),
        ("no exp", without("exp")),
        ("nbf in the future", with("nbf", json!(future))),
        ("nbf as a string", with("nbf", json!("0"))),
        ("another audience", with("aud", json!("elsewhere"))),
        ("audience in a part", with("aud", json!("lecter"))),
        ("no audience", without("aud")),
        ("audience null", with("aud", json!(null))),
        ("no room", without("room")),
        ("room empty", with("room", json!(""))),
        ("room a path", with("room", json!("../x"))),
        ("room an object", with("room", json!({ "$ne": null }))),
        ("no identity", without("identity")),
        ("identity empty", with("identity", json!(""))),
        ("identity too long", with("identity", json!("i".repeat(129)))),
        ("name too long", with("name", json!("n".repeat(129)))),
        ("role unknown", with("role", json!("admin"))),
        ("role a list", with("role", json!(["teacher"]))),
    ] {
        bad.push((name.into(), server.sign(&Header::default(), &claims)));
    }
    bad.push(("empty".into(), String::new()));
    bad.push(("two dots".into(), "..".into()));
    bad.push(("cut".into(), good[..good.len() - 1].to_owned()));
    bad.push(("longer".into(), format!("{good}A")));
    bad.push(("fourth part".into(), format!("{good}.x")));
    bad.push(("no signature".into(), good[..=good.rfind('.').unwrap()].to_owned()));
    bad.push(("100 KiB".into(), format!("{}.{}", "a".repeat(50_000), "b".repeat(50_000))));
    let mut parts = good.splitn(3, '.');
    let (header, _, signature) = (parts.next().unwrap(), parts.next(), parts.next().unwrap());
    let altered = base64url(with("identity", json!("somebody")).to_string().as_bytes());
    bad.push(("altered".into(), format!("{header}.{altered}.{signature}")));
    bad
}

/// Line 26 (CVE-2026-25537): 401 by HTTP, a refused CONNECT by Socket.IO.
#[test]
fn line_26_bad_tokens() {
    let scene = Scene::open("line-26");
    let server = &scene.server;
    let offer = Caller::new(9, sim::client::ClientConfig::whip).offer();
    let whip = |room: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/sdp")];
        http(server.http, "POST", &format!("/whip/{room}"), &headers, &offer).status
    };
    for (name, token) in bad_tokens(server, "tokens", "nobody") {
        match Signal::connect(server.http, &token) {
            Ok(_) => panic!("{name}: let in"),
            Err(error) => {
                let code = error["message"].as_str().unwrap_or_default();
                assert!(matches!(code, "unauthenticated" | "token-expired"), "{name}: {error}");
            }
        }
        // A head as long as this is refused as a head.
        if token.len() < 8_000 {
            assert_eq!(whip("tokens", &token), 401, "{name}");
        }
    }
    // A good token, for another room.
    let good = server.token("tokens", "somebody", "teacher");
    assert_eq!(whip("bystanders", &good), 401);
    assert_eq!(whip("tokens", &good), 201);
    // Things that are not even text.
    for auth in [
        json!({}),
        json!({ "token": null }),
        json!({ "token": 1 }),
        json!({ "token": [good] }),
        json!([]),
        json!(1),
    ] {
        let mut signal = Signal::open(server.http);
        signal.wire.text(&format!("40{auth}"));
        signal.wire.text("421[\"join\",{\"version\":1}]");
        let mut said = String::new();
        while let Some(crate::wire::Frame::Text(text)) =
            signal.wire.read(std::time::Duration::from_millis(300))
        {
            said.push_str(&text);
        }
        assert!(!said.contains("40{\"sid\"") && !said.contains("\"data\""), "{auth}: {said}");
    }
    // The key of the API is not a token, and a token is not the key.
    let ask = |bearer: &str| {
        let bearer = format!("Bearer {bearer}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = json!({ "room": "tokens", "identity": "x", "name": "x", "role": "teacher" }).to_string();
        http(server.http, "POST", "/api/tokens", &headers, &body).status
    };
    assert_eq!(ask(&good), 401);
    assert_eq!(ask(""), 401);
    assert_eq!(ask(&server.api_key[1..]), 401);
    assert_eq!(ask(&server.api_key), 201);
    assert!(Signal::connect(server.http, &server.api_key).is_err());
    scene.close();
}

/// Line 27 (CVE-2022-41960): bad tokens that name Alice, good ones of another room, and her session named by somebody else. Alice
/// stays.
#[test]
fn line_27_somebody_elses_identity() {
    let scene = Scene::open("line-27");
    let server = &scene.server;
    for (name, token) in bad_tokens(server, "bystanders", "p1") {
        if name == "altered" || name == "identity empty" {
            continue;
        }
        assert!(Signal::connect(server.http, &token).is_err(), "{name}: let in");
    }
    let session = &scene.alice.joined["session"];
    assert!(session.as_str().unwrap().len() >= 22, "at least 128 bits: {session}");
    // Her session, in the hands of another participant of her room.
    let mut thief = Signal::connect(server.http, &server.token("bystanders", "thief", "student")).unwrap();
    let resume = json!({ "version": 1, "resume": { "session": session, "after": 0 } });
    let code = thief.refused("join", &resume);
    assert!(matches!(code.as_str(), "session-unknown" | "forbidden"), "{code}");
    // Guesses.
    for guess in ["", "0", "null", "../../x", &"A".repeat(22), &"a".repeat(10_000)] {
        let resume = json!({ "version": 1, "resume": { "session": guess, "after": 0 } });
        let code = thief.refused("join", &resume);
        assert!(matches!(code.as_str(), "session-unknown" | "bad-request"), "{guess:.20}: {code}");
    }
    // The same identity in another room is somebody else.
    let mut namesake = Signal::connect(server.http, &server.token("elsewhere", "p1", "teacher")).unwrap();
    assert_eq!(namesake.refused("join", &resume), "session-unknown");
    namesake.must("join", &json!({ "version": 1 }));
    namesake.must("end", &json!({}));
    drop(thief);
    scene.close();
}

/// Line 28: a student does what only a teacher may; somebody who was removed comes back.
#[test]
fn line_28_rights() {
    let mut scene = Scene::open("line-28");
    // In Alice's own room, where it would hurt.
    let mut student = Person::join(&scene.server, "bystanders", 10, "student");
    for (event, payload) in [
        ("mute", json!({ "source": "microphone", "muted": true, "participant": "p1" })),
        ("mute", json!({ "source": "camera", "muted": false, "participant": "p2" })),
        ("mute-all", json!({ "source": "microphone" })),
        ("remove", json!({ "participant": "p1" })),
        ("remove", json!({ "participant": "p2" })),
        ("role", json!({ "participant": "p10", "role": "teacher" })),
        ("role", json!({ "participant": "p1", "role": "student" })),
        ("floor", json!({ "participant": "p10", "granted": true })),
        ("hand", json!({ "raised": false, "participant": "p1" })),
        ("settings", json!({ "locked": true })),
        ("settings", json!({ "maxParticipants": 1 })),
        ("end", json!({})),
    ] {
        assert_eq!(student.signal.refused(event, &payload), "forbidden", "{event} {payload}");
        // Within the rate limit.
        std::thread::sleep(std::time::Duration::from_millis(60));
    }
    // An observer may not speak or write.
    let mut observer = Person::join(&scene.server, "bystanders", 11, "observer");
    for (event, payload) in [
        ("publish", json!({ "source": "microphone" })),
        ("publish", json!({ "source": "screen" })),
        ("chat", json!({ "text": "hello", "nonce": "1" })),
        ("hand", json!({ "raised": true })),
    ] {
        assert_eq!(observer.signal.refused(event, &payload), "forbidden", "{event} {payload}");
    }
    // Removed, and back: on the same session, anew, and by WHIP.
    let session = student.joined["session"].clone();
    scene.alice.signal.must("remove", &json!({ "participant": "p10" }));
    assert_eq!(student.signal.event("ended")["reason"], "removed");
    let token = scene.server.token("bystanders", "p10", "student");
    for request in [
        json!({ "version": 1, "resume": { "session": session, "after": 0 } }),
        json!({ "version": 1 }),
        json!({ "version": 1, "offer": student.caller.offer(), "sources": {} }),
    ] {
        let code = match Signal::connect(scene.server.http, &token) {
            Ok(mut back) => back.refused("join", &request),
            Err(error) => error["message"].as_str().unwrap_or_default().to_owned(),
        };
        assert!(matches!(code.as_str(), "removed" | "session-unknown"), "{request}: {code}");
    }
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/sdp")];
    let offer = Caller::new(9, sim::client::ClientConfig::whip).offer();
    let whip = http(scene.server.http, "POST", "/whip/bystanders", &headers, &offer);
    assert_eq!(whip.status, 403, "{whip:?}");
    // Its media was cut with it.
    crate::caller::eventually("media of the removed ends", crate::wire::PATIENCE, || {
        student.caller.seen().losses > 0
    });
    drop((student, observer));
    scene.close();
}
