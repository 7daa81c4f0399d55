//! Signalling: who gets in, what is said to whom, in which order.

use serde_json::{Value, json};
use signaling::permission::Role;
use signaling::token::{Claims, sign};

use crate::client::{Client, TOKEN_SECRET, World, claims, code, get, request, token};

#[tokio::test(flavor = "multi_thread")]
async fn two_meet_and_hear_of_each_other() {
    let world = World::new().await;
    let (mut teacher, joined) = Client::join(world.address, "math", "ann", Role::Teacher).await;
    assert_eq!((joined["participant"].as_str(), joined["resumed"].as_bool()), (Some("ann"), Some(false)));
    assert_eq!(joined["seq"], 2, "{joined}");
    assert_eq!(joined["state"]["participants"]["ann"]["name"], "ANN");
    let (mut student, joined) = Client::join(world.address, "math", "bob", Role::Student).await;
    assert_eq!(joined["state"]["participants"]["ann"]["present"], true);
    assert_eq!(teacher.event("joined").await["participant"], "bob");

    let said = student.ask("chat", json!({"text": "½ <b>", "nonce": "n1"})).await;
    let seq = said["data"]["seq"].as_u64().unwrap();
    let chat = teacher.event("chat").await;
    assert_eq!((chat["by"].as_str(), chat["text"].as_str()), (Some("bob"), Some("½ <b>")));
    assert_eq!(chat["seq"].as_u64(), Some(seq));
    // Said again after a lost acknowledgement: the same answer, not said twice.
    let again = student.ask("chat", json!({"text": "½ <b>", "nonce": "n1"})).await;
    assert_eq!(again["data"]["seq"].as_u64(), Some(seq));

    // What a student may not do.
    assert_eq!(code(&student.ask("mute-all", json!({"source": "microphone"})).await), "forbidden");
    assert_eq!(code(&student.ask("end", json!({})).await), "forbidden");
    assert_eq!(code(&student.ask("remove", json!({"participant": "ann"})).await), "forbidden");

    // Out, and not in again, with no session and with a new one.
    assert!(teacher.ask("remove", json!({"participant": "bob"})).await.get("data").is_some());
    assert_eq!(student.notice("ended").await["reason"], "removed");
    student.end().await;
    let mut back = Client::connect(world.address, &token("math", "bob", Role::Student)).await.unwrap();
    assert_eq!(code(&back.ask("join", json!({"version": 1})).await), "removed");
    let resume = json!({"version": 1, "resume": {"session": joined["session"], "after": 1}});
    let mut back = Client::connect(world.address, &token("math", "bob", Role::Student)).await.unwrap();
    assert_eq!(code(&back.ask("join", resume).await), "removed");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_runs_out_ends_a_session_only_where_that_is_set() {
    for end_at_token_expiry in [true, false] {
        let world = World::with(|settings| settings.end_at_token_expiry = end_at_token_expiry).await;
        let mut claims = claims("math", "ann", Role::Teacher);
        claims.expires_at_secs -= 3600 - 3;
        let token = sign(TOKEN_SECRET.as_bytes(), &claims).unwrap();
        let mut ann = Client::connect(world.address, &token).await.unwrap();
        assert!(ann.ask("join", json!({"version": 1})).await.get("data").is_some());
        if end_at_token_expiry {
            assert_eq!(ann.notice("ended").await["reason"], "token-expired");
        } else {
            tokio::time::sleep(std::time::Duration::from_secs(4)).await;
            assert!(ann.ask("sync", json!({"after": 0})).await.get("data").is_some());
        }
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_connection_keep_their_order() {
    let world = World::new().await;
    let (mut ann, _) = Client::join(world.address, "math", "ann", Role::Student).await;
    let mut last = 0;
    for round in 0..10 {
        // Sent together: a server that runs each event as a task of its own mixes them up.
        for n in 0..2 {
            let raised = n == 0;
            ann.send(&format!("42{}", json!(["hand", {"raised": raised}]))).await;
        }
        let answer = ann.ask("sync", json!({"after": last})).await;
        let events =
            answer["data"]["events"].as_array().unwrap_or_else(|| panic!("{round}: {answer}")).clone();
        let kinds: Vec<&str> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
        assert!(kinds.ends_with(&["hand-raised", "hand-lowered"]), "{kinds:?}");
        last = answer["data"]["seq"].as_u64().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(150)).await; // 20 requests a second are allowed
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_are_refused_and_hurt_nobody() {
    let world = World::new().await;
    let (mut victim, _) = Client::join(world.address, "math", "ann", Role::Teacher).await;
    let good = token("math", "ann", Role::Teacher);
    let mut parts: Vec<String> = good.split('.').map(str::to_owned).collect();
    let forged = |claims: &Claims, secret: &str| sign(secret.as_bytes(), claims).unwrap();
    let expired = Claims { expires_at_secs: 1_000_000, ..claims("math", "ann", Role::Teacher) };
    let early = Claims { not_before_secs: Some(u64::MAX / 2000), ..claims("math", "ann", Role::Teacher) };
    let other_secret = "another secret that nobody should use";
    parts[2] = "AAAA".into();
    let tampered = parts.join(".");
    // {"alg":"none"}
    let none = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
    for (text, error) in [
        ("", "unauthenticated"),
        ("x", "unauthenticated"),
        (tampered.as_str(), "unauthenticated"),
        (none.as_str(), "unauthenticated"),
        (&forged(&claims("math", "ann", Role::Teacher), other_secret), "unauthenticated"),
        (&forged(&early, TOKEN_SECRET), "unauthenticated"),
        (&forged(&expired, TOKEN_SECRET), "token-expired"),
        (&"a".repeat(100_000), "unauthenticated"),
    ] {
        let refused = Client::connect(world.address, text).await.err();
        assert_eq!(refused.as_deref(), Some(error), "{}", text.get(..40).unwrap_or(text));
    }
    // No auth, and auth of the wrong shape.
    for connect in ["40", "40{}", "40[]", "40{\"token\":{\"$ne\":null}}", "40{\"token\":7}", "40null"] {
        let mut client = Client::open(world.address).await;
        client.send(connect).await;
        assert!(client.receive().await.unwrap().contains("unauthenticated"), "{connect}");
    }
    // The victim, whose name was used all along, is still there.
    let answer = victim.ask("chat", json!({"text": "here", "nonce": "1"})).await;
    assert!(answer.get("data").is_some(), "{answer}");
    assert_eq!(world.metric("lectern_sockets").await, 1.0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_gets_a_typed_error() {
    let world = World::new().await;
    let mut client = Client::connect(world.address, &token("math", "ann", Role::Teacher)).await.unwrap();
    assert_eq!(code(&client.ask("chat", json!({"text": "a", "nonce": "1"})).await), "not-joined");
    assert_eq!(code(&client.ask("join", json!({"version": 99})).await), "unsupported-version");
    assert_eq!(
        code(&client.ask("join", json!({"version": 1, "offer": "v=0\r\nrubbish"})).await),
        "offer-refused"
    );
    assert!(client.ask("join", json!({"version": 1})).await.get("data").is_some());
    assert_eq!(code(&client.ask("join", json!({"version": 1})).await), "already-joined");
    let deep = format!("[\"chat\",{}{}]", "[".repeat(20_000), "]".repeat(20_000));
    for text in [
        r#"["unknown",{}]"#,
        r#"["chat",{}]"#,
        r#"["chat",{"text":{"$ne":null},"nonce":"1"}]"#,
        r#"["chat",{"text":"a","nonce":["$regex"]}]"#,
        r#"["chat"]"#,
        r#"["view",{"pictures":[{"participant":"a","source":"camera","width":1e400,"height":1}]}]"#,
        r#"["settings",{"preset":"lecture"}]"#,
        r#"["leave",{},{}]"#,
        r#"["éé",{"é":"\ud800"}]"#,
        deep.as_str(),
    ] {
        assert_eq!(code(&client.ask_text(text).await), "bad-request", "{}", text.get(..60).unwrap_or(text));
    }
    let said = client.ask("chat", json!({"text": "still here", "nonce": "2"})).await;
    assert!(said.get("data").is_some(), "{said}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_resumes_and_gets_what_it_missed() {
    let world = World::new().await;
    let (mut ann, _) = Client::join(world.address, "math", "ann", Role::Teacher).await;
    let (bob, joined) = Client::join(world.address, "math", "bob", Role::Student).await;
    let after = joined["seq"].as_u64().unwrap();
    drop(bob);
    ann.ask("chat", json!({"text": "missed", "nonce": "1"})).await;
    let mut bob = Client::connect(world.address, &token("math", "bob", Role::Student)).await.unwrap();
    let resume = json!({"version": 1, "resume": {"session": joined["session"], "after": after}});
    let data = bob.ask("join", resume).await["data"].clone();
    assert_eq!(data["resumed"], true, "{data}");
    assert_eq!(data["events"][0]["text"], "missed");
    let guess = json!({"version": 1, "resume": {"session": "0".repeat(32), "after": after}});
    let mut eve = Client::connect(world.address, &token("math", "eve", Role::Student)).await.unwrap();
    assert_eq!(code(&eve.ask("join", guess).await), "session-unknown");
    // A second session of an identity replaces the first.
    let (_again, _) = Client::join(world.address, "math", "bob", Role::Student).await;
    assert_eq!(bob.notice("ended").await["reason"], "replaced");
    world.stop().await;
}

/// Engine.IO by HTTP polling, as both official clients begin.
#[tokio::test(flavor = "multi_thread")]
async fn polling_works_too() {
    let world = World::new().await;
    let open = get(world.address, "/socket.io/?EIO=4&transport=polling").await;
    let open: Value = serde_json::from_str(&open.text()[1..]).unwrap();
    assert_eq!(open["maxPayload"], 262_144);
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap());
    let post = async |body: String| {
        request(world.address, "POST", &path, &[("Content-Type", "text/plain")], body.as_bytes()).await.status
    };
    let poll = async |wanted: &str| {
        for _ in 0..20 {
            let text = get(world.address, &path).await.text();
            if text.contains(wanted) {
                return text;
            }
        }
        panic!("no {wanted}");
    };
    assert_eq!(post(format!("40{}", json!({"token": token("math", "ann", Role::Teacher)}))).await, 200);
    poll("40{").await;
    assert_eq!(post(format!("421{}", json!(["join", {"version": 1}]))).await, 200);
    assert!(poll("431[").await.contains("\"resumed\":false"));
    // Two packets in one request.
    assert_eq!(post("422[\"leave\",{}]\u{1e}423[\"leave\",{}]".into()).await, 200);
    assert!(poll("432[").await.contains("\"data\":{}"));
    // And upgraded to a WebSocket.
    let open = get(world.address, "/socket.io/?EIO=4&transport=polling").await;
    let open: Value = serde_json::from_str(&open.text()[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    let mut client = Client::at(world.address, &format!("transport=websocket&sid={sid}")).await.unwrap();
    client.send("2probe").await;
    assert_eq!(client.receive().await.unwrap(), "3probe");
    client.send("5").await;
    client.send(&format!("40{}", json!({"token": token("math", "ann", Role::Teacher)}))).await;
    assert!(client.receive().await.unwrap().starts_with("40{"));
    assert!(client.ask("join", json!({"version": 1})).await.get("data").is_some());
    world.stop().await;
}
