//! Lines 24 and 25: offers, and tracks that are announced and never sent.

use serde_json::json;

use crate::caller::Caller;
use crate::scene::{Person, Scene, join_request};
use crate::signal::Signal;

/// Line 24: offers that are too long, too many, ambiguous or nonsense are refused with a reason; a right one after them is not.
#[test]
fn line_24_hostile_offers() {
    let scene = Scene::open("line-24");
    let caller = Caller::new(10, sim::client::ClientConfig::new);
    let offer = caller.offer();
    let (session, _) = offer.split_once("m=").unwrap();
    let lines = |count: usize, mid: &dyn Fn(usize) -> String| {
        let mut text = session.to_owned();
        for i in 0..count {
            let mid = mid(i);
            text.push_str(&format!(
                "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=recvonly\r\n\
                 a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
            ));
        }
        text
    };
    // A repair stream that says what it repairs twice, in one line and in two, and one that repairs what the m-line does not list.
    let rtx = offer.lines().find(|line| line.contains("apt=")).unwrap();
    let (payload_type, _) = rtx.split_once(" apt=").unwrap();
    let twice = offer.replacen(rtx, &format!("{rtx}\r\n{payload_type} apt=111"), 1);
    // In one line: JSON writes the end of a line with four bytes, and the message has a limit of its own.
    let padding = format!("a=x:{}\r\n", "y".repeat(180_000));
    // With a part of the reason: an offer that is refused for something else would not show that its own fault is seen.
    let hostile: Vec<(&str, String, &str)> = vec![
        ("empty", String::new(), "begin with v=0"),
        ("not SDP", "hello".into(), "begin with v=0"),
        ("binary", "\u{0}\u{1}\u{2}\r\n\u{ffff}".into(), "begin with v=0"),
        ("only a session", session.to_owned(), "no m-line"),
        ("cut off", offer[..offer.len() / 2].to_owned(), "cannot be understood"),
        ("over 200 KiB", format!("{offer}{padding}"), "longer than"),
        ("1,000 m-lines", lines(1_000, &|i| i.to_string()), "too many m-lines"),
        ("one mid twice", lines(2, &|_| "0".into()), "mid twice"),
        ("one mid in all", offer.replace("a=mid:", "a=mid:same\r\na=ignored:"), "mid twice"),
        ("no fingerprint", without(&offer, "a=fingerprint:"), "cannot be understood"),
        ("no ufrag", without(&offer, "a=ice-ufrag:"), "cannot be understood"),
        ("endless line", format!("{session}m=audio 9 {}\r\n", "9 ".repeat(50_000)), "no mid"),
        ("absurd numbers", offer.replace("a=rtpmap:", "a=rtpmap:99999999999"), "cannot be understood"),
        ("two repairs in one line", offer.replacen("apt=", "apt=127;apt=", 1), "apt"),
        ("two repairs in two lines", twice, "which cannot be"),
        ("a repair of another line", offer.replacen("apt=", "apt=19;x=", 1), "which cannot be"),
    ];
    let token = |identity: &str| scene.server.token("offers", identity, "student");
    for (name, text, reason) in &hostile {
        let mut signal = Signal::connect(scene.server.http, &token("hostile")).unwrap();
        let mut request = join_request(&caller);
        request["offer"] = json!(text);
        request["sources"] = json!({});
        assert!(request.to_string().len() < 250_000, "{name} would end the connection");
        let answer = signal.ask("join", &request);
        let error = &answer["error"];
        let code = if *name == "over 200 KiB" { "too-large" } else { "offer-refused" };
        assert_eq!(error["code"], code, "{name}: {answer:.200}");
        assert!(error["message"].as_str().unwrap().contains(reason), "{name}: {error}");
        // The connection is as good as before.
        let mut right = join_request(&caller);
        right["sources"] = json!({});
        signal.must("join", &right);
        signal.must("leave", &json!({}));
    }
    // Sources that are not in the offer.
    for sources in [
        json!({ "camera": "99" }),
        json!({ "camera": "0" }),
        json!({ "microphone": "0", "screen-audio": "0" }),
        json!({ "camera": "4" }),
        json!({ "camera": "x".repeat(10_000) }),
    ] {
        let mut signal = Signal::connect(scene.server.http, &token("sources")).unwrap();
        let mut request = join_request(&caller);
        request["sources"] = sources.clone();
        let code = signal.refused("join", &request);
        assert!(code == "offer-refused" || code == "bad-request", "{sources}: {code}");
    }
    drop(caller);
    scene.close();
}

fn without(offer: &str, start: &str) -> String {
    offer.split_inclusive("\r\n").filter(|line| !line.starts_with(start)).collect()
}

/// Line 25: tracks that are announced again and again and never sent count once, and nobody waits for them.
#[test]
fn line_25_tracks_never_sent() {
    let scene = Scene::open("line-25");
    let mut liar = Person::join(&scene.server, "liars", 10, "teacher");
    let mut viewer = Person::join(&scene.server, "liars", 11, "student");
    let before = scene.server.metric("lectern_tracks");
    for round in 0..15 {
        for source in ["microphone", "camera", "screen", "screen-audio"] {
            liar.signal.must("publish", &json!({ "source": source }));
        }
        // Within the rate limit of 20 requests a second.
        if round % 5 == 0 {
            viewer.view(&liar);
        }
        std::thread::sleep(std::time::Duration::from_millis(210));
    }
    assert_eq!(liar.signal.refused("publish", &json!({ "source": "desktop" })), "bad-request");
    assert_eq!(liar.signal.refused("publish", &json!({ "source": "camera2" })), "bad-request");
    let tracks = scene.server.metric("lectern_tracks") - before;
    assert!(tracks <= 4.0, "{tracks} tracks of one participant");
    // The log does not grow with what changes nothing.
    let state = liar.signal.must("sync", &json!({ "after": 0 }));
    assert!(state["seq"].as_u64().unwrap() < 40, "{}", state["seq"]);
    // A real camera is seen in the same slots.
    liar.publish();
    viewer.view(&liar);
    crate::caller::eventually("the real camera is seen", crate::wire::PATIENCE, || {
        viewer.caller.frames_of(10, sfu::media::Source::Camera) > 10
    });
    drop((liar, viewer));
    scene.close();
}
