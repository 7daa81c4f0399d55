//! Connections that are not HTTP: media over TCP, and a port for everything. That media really flows is in
//! `tests/e2e/tcp.test.mjs`; here is what must not get in or stay.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use signaling::permission::Role;
use sim::client::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::caller::Caller;
use crate::client::{PATIENCE, World, get, request, token};

/// A STUN binding request (RFC 8489, section 5) of nobody, in a frame (RFC 4571).
const CHECK: [u8; 22] = [0, 20, 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// Where the server of this world takes media over TCP.
fn stream_addr(world: &World) -> SocketAddr {
    world.server.stream_addrs()[0]
}

/// Sends, and waits until the server ends the connection; what it said before.
async fn say(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // It may be ended in the middle.
    let _ = stream.write_all(bytes).await;
    let mut said = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("the server ends it");
    said
}

async fn refused(world: &World, reason: &str) -> f64 {
    world.metric(&format!("lectern_media_streams_refused_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_media_is_ended_at_once() {
    let world = World::new().await;
    let at = stream_addr(&world);
    let not_a_check = [&[0, 4][..], b"abcd"].concat();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0, 5], &not_a_check, &[0, 0], &[0xff; 4000]] {
        assert_eq!(say(at, bytes).await, b"", "{bytes:?}");
    }
    assert_eq!(refused(&world, "malformed").await, 5.0);
    assert_eq!(world.metric("lectern_media_streams").await, 0.0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_nothing_is_ended_soon() {
    let world = World::new().await;
    let at = stream_addr(&world);
    let begun = Instant::now();
    let silent = say(at, b"");
    let slow = say(at, &CHECK[..5]);
    // Checks of nobody all the time: none is answered.
    let busy = async {
        let mut stream = TcpStream::connect(at).await.unwrap();
        while begun.elapsed() < PATIENCE {
            if stream.write_all(&CHECK).await.is_err() {
                return;
            }
            let read = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 8])).await;
            match read {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => panic!("a check of nobody was answered"),
                Err(_) => {}
            }
        }
        panic!("a connection without proof lives on");
    };
    let (silent, slow, ()) = tokio::join!(silent, slow, busy);
    assert_eq!((silent, slow), (Vec::new(), Vec::new()));
    assert_eq!(refused(&world, "silent").await, 3.0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_a_quarter_of_the_connections() {
    let world = World::with(|settings| settings.ice_tcp_connections = 8).await;
    let at = stream_addr(&world);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(&CHECK).await.unwrap();
        held.push(stream);
    }
    let begun = Instant::now();
    while world.metric("lectern_media_streams").await < 2.0 {
        assert!(begun.elapsed() < PATIENCE, "the connections are not counted");
    }
    assert_eq!(say(at, &CHECK).await, b"");
    assert_eq!(refused(&world, "address").await, 1.0);
    drop(held);
    while world.metric("lectern_media_streams").await > 0.0 {
        assert!(begun.elapsed() < PATIENCE, "connections that ended are still counted");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_name_the_tcp_port_unless_it_is_off() {
    for on in [true, false] {
        let world = World::with(|settings| settings.ice_tcp = on).await;
        let caller = Caller::new(7, ClientConfig::whip);
        let authorization = format!("Bearer {}", token("math", "obs", Role::Teacher));
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/sdp")];
        let offer = caller.offer();
        let answer = request(world.address, "POST", "/whip/math", &headers, offer.as_bytes()).await;
        let answer = answer.text();
        assert!(answer.contains(" udp "), "{answer}");
        let port = world.server.stream_addrs().first().map(SocketAddr::port);
        let passive =
            answer.lines().filter(|line| line.contains(" tcp ") && line.contains("tcptype passive"));
        let ports: Vec<u16> = passive.map(|line| line.split(' ').nth(5).unwrap().parse().unwrap()).collect();
        assert_eq!(ports.first(), port.as_ref(), "{answer}");
        assert_eq!(world.server.stream_addrs().len(), usize::from(on));
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_for_everything_waits_for_nobody() {
    let world = World::with(|settings| {
        settings.one_port = true;
        settings.tls_self_signed = true;
        settings.http_header_timeout_seconds = 1;
    })
    .await;
    assert_eq!(world.server.udp_addrs()[0].port(), world.address.port());
    // Nothing; half of what would tell; TLS without an end; TLS with nonsense.
    for bytes in [&b""[..], &[0, 20, 0], &[0x16, 3, 1], &[0x16, 3, 1, 0, 4, 9, 9, 9, 9]] {
        let said = say(world.address, bytes).await;
        assert!(!said.starts_with(b"HTTP"), "{bytes:?}");
    }
    assert_eq!(say(world.address, &[&[0, 4][..], &[0; 12]].concat()).await[..12], *b"HTTP/1.1 400");
    // Without TLS there is nothing but the way to it; whoever cannot say where from gets no place in a header.
    let answer = get(world.address, "/room/math?x=1").await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), Some(format!("https://{}/room/math?x=1", world.address).as_str()));
    assert_eq!(get(world.address, "/healthz").await.status, 200, "for the health checks of containers");
    let token = request(world.address, "POST", "/api/tokens", &[("Authorization", "Bearer x")], b"{}").await;
    assert_eq!(token.status, 308, "nothing is answered without TLS");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_itself_is_named() {
    for (change, key) in [
        (
            (|settings| settings.tls_key = Some("key.pem".into())) as fn(&mut lectern::config::Settings),
            "tls_cert",
        ),
        (
            |settings| (settings.tls_cert, settings.tls_key) = (Some("no.pem".into()), Some("no.key".into())),
            "tls_cert",
        ),
    ] {
        let folder = crate::client::Folder::new();
        let mut settings = crate::client::settings(&folder);
        change(&mut settings);
        let error = lectern::Server::start(settings).await.err().unwrap().to_string();
        assert!(error.contains(key), "{error}");
    }
}
