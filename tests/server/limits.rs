//! Clients that do harm (HARDENING, 19 to 24). Each test has a bystander whose class must go on.

use std::time::{Duration, Instant};

use serde_json::json;
use signaling::lesson::Preset;
use signaling::permission::Role;
use signaling::token::{Claims, sign};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Ended, PATIENCE, TOKEN_SECRET, World, claims, code, get, request, token};

/// Two in a class that goes on.
struct Bystanders(Client, Client);

impl Bystanders {
    async fn new(world: &World) -> Self {
        let (teacher, _) = Client::join(world.address, "bystanders", "t", Role::Teacher).await;
        let (student, _) = Client::join(world.address, "bystanders", "s", Role::Student).await;
        Bystanders(teacher, student)
    }

    async fn check(&mut self) {
        let text = format!("{:?}", Instant::now());
        let began = Instant::now();
        let answer = self.0.ask("chat", json!({"text": text, "nonce": text})).await;
        assert!(answer.get("data").is_some(), "{answer}");
        while self.1.event("chat").await["text"] != text.as_str() {}
        assert!(began.elapsed() < Duration::from_millis(500), "the bystanders were held up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_is_closed_with_1009_before_it_is_read() {
    let world = World::new().await;
    let mut bystanders = Bystanders::new(&world).await;
    // As long as allowed, and answered.
    let mut client = Client::connect(world.address, &token("math", "ann", Role::Teacher)).await.unwrap();
    let padding = "x".repeat(262_144 - 40);
    let answer = client.ask_text(&format!("[\"chat\",{{\"text\":\"{padding}\"}}]")).await;
    assert_eq!(code(&answer), "bad-request");
    // One byte more, as a frame.
    client.send(&"y".repeat(262_145)).await;
    assert_eq!(client.end().await, Ended::Closed(Some(1009)));
    // Only announced: the header of a frame of 2^40 bytes.
    let mut client = Client::connect(world.address, &token("math", "ann", Role::Teacher)).await.unwrap();
    client.raw().write_all(&[0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]).await.unwrap();
    assert_eq!(client.end().await, Ended::Closed(Some(1009)));
    // In pieces that are each allowed.
    let mut client = Client::connect(world.address, &token("math", "ann", Role::Teacher)).await.unwrap();
    let piece = [&[0x01, 0xfe, 0xff, 0xff, 0, 0, 0, 0][..], &[b'z'; 0xffff]].concat();
    client.raw().write_all(&piece).await.unwrap();
    let more = [&[0x00, 0xfe, 0xff, 0xff, 0, 0, 0, 0][..], &[b'z'; 0xffff]].concat();
    for _ in 0..4 {
        let _ = client.raw().write_all(&more).await;
    }
    assert_eq!(client.end().await, Ended::Closed(Some(1009)));
    bystanders.check().await;
    assert_eq!(world.metric("lectern_sockets_closed_total{reason=\"oversize\"}").await, 3.0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_frames_is_closed() {
    let world = World::new().await;
    let mut bystanders = Bystanders::new(&world).await;
    let mut client = Client::connect(world.address, &token("math", "ann", Role::Teacher)).await.unwrap();
    for _ in 0..600 {
        client.send("3").await;
    }
    assert_eq!(client.end().await, Ended::Closed(Some(1008)));
    bystanders.check().await;
    world.stop().await;
}

/// The library reads the transport up to a second `=`: what it takes for a WebSocket must be guarded like one.
#[tokio::test(flavor = "multi_thread")]
async fn an_odd_spelling_of_the_transport_is_no_way_past_the_limits() {
    let world = World::new().await;
    for query in ["transport=websocket=", "transport=websocket=x&transport=polling"] {
        let Ok(mut client) = Client::at(world.address, query).await else { continue };
        for _ in 0..600 {
            client.send("3").await;
        }
        assert_eq!(client.end().await, Ended::Closed(Some(1008)), "{query}");
    }
    world.stop().await;
}

/// A proxy sends the requests of many people over one connection: a refused one must not spoil it for the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_leaves_the_connection_to_http() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let mut answers = BufReader::new(&mut stream);
    for (path, upgrade, status) in [
        ("/socket.io/?transport=websocket", "websocket", "400"),
        ("/healthz", "", "200"),
        ("/socket.io/?EIO=3&transport=websocket", "websocket", "400"),
        ("/healthz", "", "200"),
    ] {
        let connection = if upgrade.is_empty() { "keep-alive" } else { "Upgrade" };
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nUpgrade: {upgrade}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nX-Text: "
        )
        .into_bytes();
        // Read as the head of a frame this is a length far above the limit.
        head.extend([0xff; 200]);
        head.extend(b"\r\n\r\n");
        answers.get_mut().write_all(&head).await.unwrap();
        let (found, _) = tokio::time::timeout(PATIENCE, answer(&mut answers)).await.unwrap();
        assert_eq!(found, status, "{path}");
    }
    world.stop().await;
}

/// The status and the body of the next answer of a connection that stays.
async fn answer(stream: &mut (impl AsyncBufReadExt + Unpin)) -> (String, Vec<u8>) {
    let (mut status, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "the connection was closed");
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest.split(' ').next().unwrap().to_owned();
        } else if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.parse().unwrap();
        } else if line.is_empty() {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            return (status, body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_and_broken_packets_close_the_connection() {
    let world = World::new().await;
    let mut bystanders = Bystanders::new(&world).await;
    for packet in [
        "451-[\"chat\",{\"_placeholder\":true,\"num\":0}]",
        "459999999-[\"chat\",{}]",
        "45é",
        "461-1[{}]",
        "4",
        "47",
        "42",
        "42{}",
        "42[",
        "42[7]",
        "9",
        "b4AAAA",
        "6",
    ] {
        let mut client = Client::connect(world.address, &token("math", "ann", Role::Teacher)).await.unwrap();
        let began = Instant::now();
        client.send(packet).await;
        client.end().await;
        assert!(began.elapsed() < Duration::from_secs(5), "{packet}");
    }
    let mut client = Client::connect(world.address, &token("math", "ann", Role::Teacher)).await.unwrap();
    client.send_message(Message::binary(vec![1, 2, 3])).await;
    client.end().await;
    // An acknowledgement nobody asked for, and another namespace, are ignored or refused.
    let mut client = Client::connect(world.address, &token("math", "ann", Role::Teacher)).await.unwrap();
    client.send("437[{}]").await;
    client.send("42/admin,[\"chat\",{}]").await;
    for n in 0..1000 {
        client.send(&format!("40/n{n},{{}}")).await;
        if n % 200 == 199 {
            tokio::time::sleep(Duration::from_secs(1)).await; // below the limit of frames
        }
    }
    assert!(client.ask("join", json!({"version": 1})).await.get("data").is_some());
    bystanders.check().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connect_does_not_disturb_the_first() {
    let world = World::new().await;
    let (mut ann, _) = Client::join(world.address, "math", "ann", Role::Teacher).await;
    ann.send(&format!("40{}", json!({"token": token("math", "bob", Role::Student)}))).await;
    ann.send("40{\"token\":\"rubbish\"}").await;
    let answer = ann.ask("chat", json!({"text": "a", "nonce": "1"})).await;
    assert!(answer.get("data").is_some(), "{answer}");
    for path in [
        "/socket.io/?EIO=4&transport=polling&sid=rubbish",
        "/socket.io/?EIO=4&transport=polling&sid=%00",
        "/socket.io/?EIO=4&transport=websocket",
        "/socket.io/?EIO=3&transport=polling",
        "/socket.io/?EIO=4&transport=grpc",
        "/socket.io/",
    ] {
        assert_eq!(get(world.address, path).await.status, 400, "{path}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_go_on_is_closed() {
    let world = World::with(|settings| {
        settings.socket_connect_timeout_seconds = 1;
        settings.socket_join_timeout_seconds = 1;
        settings.http_header_timeout_seconds = 1;
    })
    .await;
    // No token.
    let mut silent = Client::open(world.address).await;
    // A token, and no join.
    let mut waiting = Client::connect(world.address, &token("math", "ann", Role::Teacher)).await.unwrap();
    // A head that never ends.
    let mut slow = TcpStream::connect(world.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    // An upgrade that is not finished.
    let open = get(world.address, "/socket.io/?EIO=4&transport=polling").await.text();
    let sid =
        serde_json::from_str::<serde_json::Value>(&open[1..]).unwrap()["sid"].as_str().unwrap().to_owned();
    let mut upgrading = Client::at(world.address, &format!("transport=websocket&sid={sid}")).await.unwrap();
    let began = Instant::now();
    silent.end().await;
    assert_eq!(waiting.notice("ended").await["reason"], "timeout");
    waiting.end().await;
    upgrading.end().await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, slow.read_to_end(&mut rest)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_disconnected() {
    let world = World::with(|settings| settings.socket_queue_messages = 16).await;
    let mut bystanders = Bystanders::new(&world).await;
    // Lectures take 500. A small window makes the kernel hold little of what the lazy one does not read.
    let lecture = |identity: &str| {
        let claims = Claims { preset: Some(Preset::Lecture), ..claims("math", identity, Role::Student) };
        sign(TOKEN_SECRET.as_bytes(), &claims).unwrap()
    };
    let mut lazy = Client::with_small_window(world.address).await;
    lazy.send(&format!("40{}", json!({"token": lecture("lazy")}))).await;
    lazy.receive().await.unwrap();
    assert!(lazy.ask("join", json!({"version": 1})).await.get("data").is_some());
    let mut is_cut = false;
    for speaker in 0..200 {
        let mut speaker = Client::connect(world.address, &lecture(&format!("s{speaker}"))).await.unwrap();
        assert!(speaker.ask("join", json!({"version": 1})).await.get("data").is_some());
        for n in 0..5 {
            let answer = speaker.ask("chat", json!({"text": "a".repeat(4000), "nonce": n.to_string()})).await;
            assert!(answer.get("data").is_some(), "{answer}");
        }
        assert!(speaker.ask("leave", json!({})).await.get("data").is_some());
        if world.metric("lectern_sockets_closed_total{reason=\"slow\"}").await == 1.0 {
            is_cut = true;
            break;
        }
    }
    assert!(is_cut, "the client that does not read is still there");
    bystanders.check().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_are_too_much_are_refused_with_a_reason() {
    let world = World::new().await;
    let mut bystanders = Bystanders::new(&world).await;
    let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    let media = |mid: usize| format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:{mid}\r\n");
    let many: String = (0..1000).map(media).collect();
    for offer in [
        String::new(),
        "rubbish".to_owned(),
        format!("{head}{many}"),
        format!("{head}{}{}", media(1), media(1)),
        format!("{head}{}", format!("a={}\r\n", "x".repeat(996)).repeat(210)),
    ] {
        let mut client = Client::connect(world.address, &token("math", "ann", Role::Teacher)).await.unwrap();
        let answer = client.ask("join", json!({"version": 1, "offer": offer})).await;
        assert!(["offer-refused", "too-large", "bad-request"].contains(&code(&answer)), "{answer}");
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
    }
    bystanders.check().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_address_are_counted() {
    let world = World::with(|settings| settings.http_connections_per_ip = 5).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(Client::open(world.address).await);
    }
    let mut sixth = TcpStream::connect(world.address).await.unwrap();
    let mut bytes = Vec::new();
    let _ = sixth.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await;
    let _ = tokio::time::timeout(PATIENCE, sixth.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.is_empty());
    held.clear();
    let began = Instant::now();
    loop {
        // A dropped connection gives its place back when the server has noticed.
        let mut again = TcpStream::connect(world.address).await.unwrap();
        let _ = again.write_all(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").await;
        let mut bytes = Vec::new();
        let _ = again.read_to_end(&mut bytes).await;
        if bytes.starts_with(b"HTTP/1.1 200") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "places are not given back");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_are_refused() {
    let world = World::new().await;
    let key = [("Authorization", "Bearer a-key-that-only-the-tests-know")];
    let body = vec![b' '; 1_048_577];
    let answer = request(world.address, "POST", "/api/tokens", &key, &body).await;
    assert_eq!((answer.status, code(&answer.json())), (413, "too-large"));
    let authorization = format!("Bearer {}", token("math", "obs", Role::Teacher));
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/sdp")];
    let answer = request(world.address, "POST", "/whip/math", &headers, &body).await;
    assert_eq!((answer.status, code(&answer.json())), (413, "too-large"));
    let answer = request(world.address, "POST", "/whip/math", &headers, b"\xff").await;
    assert_eq!((answer.status, code(&answer.json())), (400, "bad-request"));
    let answer = get(world.address, "/room/%ff").await;
    assert_eq!((answer.status, code(&answer.json())), (400, "bad-request"));
    // A token's claims have their own limits.
    let long = "n".repeat(129);
    let body = json!({"room": "a", "identity": "b", "name": long, "role": "student"}).to_string();
    let answer = request(world.address, "POST", "/api/tokens", &key, body.as_bytes()).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(claims("a", "b", Role::Student).name, "B");
    world.stop().await;
}
