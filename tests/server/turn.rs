//! What participants are told about TURN, and what the server says when its port cannot be had. The relay itself is under
//! `tests/abuse` and, with real clients, `tests/e2e/turn.test.mjs`.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use lectern::Server;
use lectern::config::Secret;
use serde_json::{Value, json};
use signaling::permission::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, Folder, PATIENCE, World, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_join_and_a_resume_tell_of_the_relay() {
    let world = World::with(|settings| settings.turn_credential_seconds = 600).await;
    let port = world.server.turn_addr().unwrap().port();
    let (ann, joined) = Client::join(world.address, "math", "ann", Role::Teacher).await;
    let server = &joined["iceServers"][0];
    let urls =
        [format!("turn:127.0.0.1:{port}?transport=udp"), format!("turn:127.0.0.1:{port}?transport=tcp")];
    assert_eq!(server["urls"], json!(urls));
    let expiry: u64 = server["username"].as_str().unwrap().split(':').next().unwrap().parse().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((now + 590..=now + 600).contains(&expiry), "{expiry} at {now}");
    drop(ann);
    let mut ann =
        Client::connect(world.address, &crate::client::token("math", "ann", Role::Teacher)).await.unwrap();
    let resume = json!({"session": joined["session"], "after": joined["seq"]});
    let resumed = ann.ask("join", json!({"version": 1, "resume": resume})).await;
    assert_eq!(resumed["data"]["resumed"], true, "{resumed}");
    assert_eq!(resumed["data"]["iceServers"][0]["urls"], json!(urls));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_relays_are_told_with_credentials_of_the_shared_secret() {
    let url = "turns:turn.example.org:443?transport=tcp";
    let world = World::with(|settings| {
        settings.turn_urls = vec![url.into()];
        settings.turn_secret = Some(Secret::new("shared with coturn"));
        settings.turn_host = None;
    })
    .await;
    assert_eq!(world.server.turn_addr(), None, "the relay inside is off");
    let (_ann, joined) = Client::join(world.address, "math", "ann", Role::Teacher).await;
    let server = &joined["iceServers"][0];
    assert_eq!(server["urls"], json!([url]));
    // As coturn computes it.
    use aws_lc_rs::hmac;
    use base64::Engine;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"shared with coturn");
    let digest = hmac::sign(&key, server["username"].as_str().unwrap().as_bytes());
    assert_eq!(server["credential"], base64::engine::general_purpose::STANDARD.encode(digest));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_relay_nobody_is_told_of_one() {
    let world = World::with(|settings| settings.turn_port = Some(0)).await;
    let (_ann, joined) = Client::join(world.address, "math", "ann", Role::Teacher).await;
    assert_eq!((world.server.turn_addr(), &joined["iceServers"]), (None, &Value::Array(Vec::new())));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_a_quarter_of_the_connections() {
    let world = World::with(|settings| settings.turn_allocations = 8).await;
    let port = world.server.turn_addr().unwrap().port();
    let connect = || TcpStream::connect(("127.0.0.1", port));
    let (mut first, mut second) = (connect().await.unwrap(), connect().await.unwrap());
    // Served, not only accepted: the places go to whom the server comes to first.
    asks_and_is_answered(&mut first).await;
    asks_and_is_answered(&mut second).await;
    let mut third = connect().await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, third.read(&mut [0; 8])).await.unwrap();
    assert_eq!(closed.unwrap(), 0, "the third is closed");
    assert_eq!(world.metric(r#"lectern_turn_refusals_total{reason="connections"}"#).await, 1.0);
    asks_and_is_answered(&mut first).await;
    // And gives its place back.
    drop(first);
    let begun = std::time::Instant::now();
    while world.metric("lectern_turn_streams").await > 1.0 {
        assert!(begun.elapsed() < PATIENCE, "the connection that ended is still counted");
    }
    world.stop().await;
}

/// A binding request (RFC 8489, section 5), in two parts.
async fn asks_and_is_answered(stream: &mut TcpStream) {
    let request = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    stream.write_all(&request[..7]).await.unwrap();
    stream.write_all(&request[7..]).await.unwrap();
    let mut answer = [0; 32];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!((&answer[..2], &answer[8..20]), (&[1, 1][..], &request[8..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named_with_its_setting() {
    let udp = UdpSocket::bind("[::]:0").unwrap();
    let tcp = TcpListener::bind("[::]:0").unwrap();
    for taken in
        [udp.local_addr(), tcp.local_addr()].map(|address: std::io::Result<SocketAddr>| address.unwrap())
    {
        let folder = Folder::new();
        let mut settings = settings(&folder);
        settings.turn_port = Some(taken.port());
        let error = Server::start(settings).await.err().unwrap().to_string();
        for part in ["turn_port", &taken.port().to_string(), "--turn-port"] {
            assert!(error.contains(part), "`{error}` does not say `{part}`");
        }
    }
    let folder = Folder::new();
    let mut settings = settings(&folder);
    settings.turn_urls = vec!["turn:turn.example.org".into()];
    let error = Server::start(settings).await.err().unwrap().to_string();
    assert!(error.contains("turn_urls") && error.contains("turn_secret"), "{error}");
}
