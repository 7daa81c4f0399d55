//! Media by WHIP and WHEP over real sockets, with trickled candidates and an ICE restart.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::json;
use sfu::media::Source;
use signaling::permission::Role;
use sim::client::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::caller::Caller;
use crate::client::{API_KEY, Answer, PATIENCE, World, request, token};

/// The publisher's number in its packets.
const PUBLISHER: u32 = 7;

async fn open(world: &World, kind: &str, token: &str, caller: &Caller) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/sdp"),
        ("Accept", "application/sdp"),
    ];
    let answer =
        request(world.address, "POST", &format!("/{kind}/math"), &headers, caller.offer().as_bytes()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/sdp"));
    assert!(answer.header("location").unwrap().starts_with(&format!("/{kind}/math/")));
    caller.take_answer(&answer.text());
    answer
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The value of the first `a=name:` line.
fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let prefix = format!("a={name}:");
    sdp.lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("no {name} in {sdp}"))
        .trim()
}

#[tokio::test(flavor = "multi_thread")]
async fn published_watched_restarted_and_ended() {
    let world = World::new().await;
    let publisher_token = token("math", "obs", Role::Teacher);
    let publisher = Caller::new(PUBLISHER, ClientConfig::whip);
    let opened = open(&world, "whip", &publisher_token, &publisher).await;
    publisher.publish(Source::Microphone);
    publisher.publish(Source::Camera);
    let viewer = Caller::new(8, ClientConfig::whep);
    let watched = open(&world, "whep", &token("math", "player", Role::Student), &viewer).await;
    until("sound and picture arrive", || {
        viewer.frames_of(PUBLISHER, Source::Camera) > 10
            && viewer.frames_of(PUBLISHER, Source::Microphone) > 10
    })
    .await;

    // Each is a participant whom the console sees.
    let key = format!("Bearer {API_KEY}");
    let rooms = request(world.address, "GET", "/api/rooms", &[("Authorization", &key)], b"").await.json();
    let participants = rooms["rooms"][0]["participants"].as_array().unwrap();
    let media: BTreeMap<&str, &str> = participants
        .iter()
        .map(|who| (who["identity"].as_str().unwrap(), who["media"].as_str().unwrap()))
        .collect();
    assert_eq!(media, BTreeMap::from([("obs", "connected"), ("player", "connected")]));
    let obs = participants.iter().find(|who| who["identity"] == "obs").unwrap();
    assert_eq!(obs["tracks"], json!(["microphone", "camera"]));

    let session = opened.header("location").unwrap();
    let etag = opened.header("etag").unwrap();
    let authorization = format!("Bearer {publisher_token}");
    let patch = async |if_match: Option<&str>, kind: &str, body: &str| {
        let mut headers = vec![("Authorization", authorization.as_str()), ("Content-Type", kind)];
        headers.extend(if_match.map(|tag| ("If-Match", tag)));
        request(world.address, "PATCH", session, &headers, body.as_bytes()).await
    };
    let offer = publisher.offer();
    let credentials = |sdp: &str| {
        format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", attribute(sdp, "ice-ufrag"), attribute(sdp, "ice-pwd"))
    };
    let trickled = format!(
        "{}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:9 1 udp 2122260223 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n",
        credentials(&offer)
    );
    for (if_match, kind, body, status) in [
        (None, FRAGMENT, trickled.as_str(), 428),
        (Some("\"other\""), FRAGMENT, trickled.as_str(), 412),
        (Some("*"), FRAGMENT, trickled.as_str(), 412),
        (Some(etag), "application/sdp", trickled.as_str(), 415),
        (Some(etag), FRAGMENT, "rubbish", 400),
        (Some(etag), FRAGMENT, "a=ice-ufrag:onlyufrag", 400),
        (Some(etag), FRAGMENT, trickled.as_str(), 204),
    ] {
        let answer = patch(if_match, kind, body).await;
        assert_eq!(answer.status, status, "{if_match:?} {kind} {body}: {}", answer.text());
    }
    // Somebody else's token does not touch it, and is told no more than that there is nothing.
    let other = format!("Bearer {}", token("math", "eve", Role::Teacher));
    for method in ["PATCH", "DELETE"] {
        let headers = [("Authorization", other.as_str()), ("Content-Type", FRAGMENT), ("If-Match", etag)];
        assert_eq!(request(world.address, method, session, &headers, trickled.as_bytes()).await.status, 404);
    }

    // ICE restart: a fragment with new credentials, answered by one with the server's.
    let (offers, restarted) = channel();
    publisher.order(move |client, now| {
        client.restart_ice(now, None);
        offers.send(client.offer()).unwrap();
    });
    let new_offer =
        tokio::task::spawn_blocking(move || restarted.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    assert_ne!(attribute(&new_offer, "ice-ufrag"), attribute(&offer, "ice-ufrag"));
    let candidate = attribute(&new_offer, "candidate");
    let fragment =
        format!("{}m=audio 9 X 0\r\na=mid:0\r\na=candidate:{candidate}\r\n", credentials(&new_offer));
    let answer = patch(Some("*"), FRAGMENT, &fragment).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(FRAGMENT)), "{}", answer.text());
    assert_ne!(answer.header("etag"), Some(etag));
    let (old, new) = (opened.text(), answer.text());
    assert_ne!(attribute(&old, "ice-ufrag"), attribute(&new, "ice-ufrag"));
    assert!(new.contains("a=candidate:"), "{new}");
    // What a WHIP client does with it: the old answer with the new credentials.
    let merged = old
        .replace(attribute(&old, "ice-ufrag"), attribute(&new, "ice-ufrag"))
        .replace(attribute(&old, "ice-pwd"), attribute(&new, "ice-pwd"));
    publisher.take_answer(&merged);
    let user = format!("{}:{}", attribute(&new, "ice-ufrag"), attribute(&new_offer, "ice-ufrag"));
    until("checks with the new credentials", || {
        let seen = publisher.seen();
        seen.sent.iter().any(|datagram| datagram.windows(user.len()).any(|part| part == user.as_bytes()))
    })
    .await;
    let before = viewer.frames_of(PUBLISHER, Source::Camera);
    until("the picture goes on", || viewer.frames_of(PUBLISHER, Source::Camera) > before + 20).await;
    assert_eq!((publisher.seen().losses, viewer.seen().losses), (0, 0));
    assert!(viewer.seen().violations.is_empty(), "{:?}", viewer.seen().violations);

    // The end.
    let headers = [("Authorization", authorization.as_str())];
    assert_eq!(request(world.address, "DELETE", session, &headers, b"").await.status, 200);
    assert_eq!(request(world.address, "DELETE", session, &headers, b"").await.status, 404);
    assert_eq!(world.metric("lectern_participants").await, 1.0);
    assert!(watched.header("etag").is_some());
    world.stop().await;
}

const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// A client that asks for more than it may has its session ended all the same when it says so.
#[tokio::test(flavor = "multi_thread")]
async fn delete_ends_the_session_also_beyond_the_limit_of_requests() {
    let world = World::new().await;
    let token = token("math", "obs", Role::Teacher);
    let opened = open(&world, "whip", &token, &Caller::new(PUBLISHER, ClientConfig::whip)).await;
    let authorization = format!("Bearer {token}");
    let (session, etag) = (opened.header("location").unwrap(), opened.header("etag").unwrap());
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", FRAGMENT), ("If-Match", etag)];
    let many = "a=candidate:9 1 udp 2122260223 127.0.0.1 9 typ host\r\n".repeat(64);
    let began = Instant::now();
    while request(world.address, "PATCH", session, &headers, many.as_bytes()).await.status != 429 {
        assert!(began.elapsed() < PATIENCE, "there is no limit");
    }
    let headers = [("Authorization", authorization.as_str())];
    assert_eq!(request(world.address, "DELETE", session, &headers, b"").await.status, 200);
    let left = async || world.metric("lectern_participants").await;
    let began = Instant::now();
    while left().await != 0.0 {
        assert!(began.elapsed() < Duration::from_secs(5), "it is still there");
    }
    world.stop().await;
}

/// A client that hangs up in the middle of a restart can ask for another.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_nobody_waits_for_is_in_nobodys_way() {
    let world = World::new().await;
    let token = token("math", "obs", Role::Teacher);
    let opened = open(&world, "whip", &token, &Caller::new(PUBLISHER, ClientConfig::whip)).await;
    let session = opened.header("location").unwrap();
    let restart = |round: u32| {
        let body = format!("a=ice-ufrag:new{round:03}\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n");
        format!(
            "PATCH {session} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: {FRAGMENT}\r\nIf-Match: *\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for round in 0..8 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(restart(2 * round).as_bytes()).await.unwrap();
        drop(stream);
        // Until the room is done with the one that was given up, another is one too many.
        let began = Instant::now();
        loop {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            stream.write_all(restart(2 * round + 1).as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            if answer.starts_with("HTTP/1.1 200") {
                break;
            }
            assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
            assert!(began.elapsed() < Duration::from_secs(2), "round {round}: {answer}");
            tokio::time::sleep(Duration::from_millis(100)).await; // within the limit of requests
        }
    }
    world.stop().await;
}
