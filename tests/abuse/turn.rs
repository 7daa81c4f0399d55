//! Lines 15 to 18: TURN.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;
use turn_types::attribute::{
    ChannelNumber, Data, Lifetime, RequestedTransport, XorPeerAddress, XorRelayedAddress,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CONNECT, CREATE_PERMISSION, REFRESH, SEND};
use turn_types::stun::attribute::{ErrorCode, Nonce, Realm, Username};
use turn_types::stun::message::{
    BINDING, IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message, MessageWrite,
    MessageWriteExt, MessageWriteVec, Method,
};

use crate::caller::eventually;
use crate::handshake::stranger;
use crate::scene::{Person, Scene, now_secs};
use crate::wire::PATIENCE;

/// coturn's way to make a password; `aws-lc-rs` speaks for `openssl dgst -sha1 -hmac`.
fn password(secret: &str, username: &str) -> String {
    use aws_lc_rs::hmac;
    use base64::Engine;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

/// What a participant was told in the answer to its join.
fn credential(person: &Person) -> (String, String) {
    let server = &person.joined["iceServers"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&server["username"]), text(&server["credential"]))
}

enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// A client of the relay.
struct Client {
    link: Link,
    username: String,
    key: IntegrityKey,
    nonce: String,
}

impl Client {
    fn new(server: SocketAddr, is_tcp: bool, (username, password): &(String, String)) -> Client {
        let link = if is_tcp {
            let stream = TcpStream::connect(server).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            Link::Tcp(stream)
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(server).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Link::Udp(socket)
        };
        let credentials = LongTermKeyCredentials::new(username.clone(), password.clone(), "turn".into());
        let key = credentials.make_key(IntegrityAlgorithm::Sha1);
        Client { link, username: username.clone(), key, nonce: String::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        match &mut self.link {
            Link::Udp(socket) => drop(socket.send(bytes).unwrap()),
            Link::Tcp(stream) => stream.write_all(bytes).unwrap(),
        }
    }

    fn read(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 2048];
        match &mut self.link {
            Link::Udp(socket) => {
                let length = socket.recv(&mut bytes).unwrap();
                bytes.truncate(length);
            }
            Link::Tcp(stream) => {
                stream.read_exact(&mut bytes[..20]).unwrap();
                let length = 20 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
                stream.read_exact(&mut bytes[20..length]).unwrap();
                bytes.truncate(length);
            }
        }
        bytes
    }

    /// A request with the credentials; `fill` adds what it is about.
    fn request(&self, method: Method, fill: &dyn Fn(&mut MessageWriteVec)) -> Vec<u8> {
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        fill(&mut message);
        message.add_attribute(&Username::new(&self.username).unwrap()).unwrap();
        message.add_attribute(&Realm::new("turn").unwrap()).unwrap();
        message.add_attribute(&Nonce::new(&self.nonce).unwrap()).unwrap();
        message.add_message_integrity_with_key(&self.key, IntegrityAlgorithm::Sha1).unwrap();
        message.finish()
    }

    /// The code of the answer, 0 for a success, and the answer.
    fn ask(&mut self, method: Method, fill: &dyn Fn(&mut MessageWriteVec)) -> (u16, Vec<u8>) {
        let request = self.request(method, fill);
        self.send(&request);
        let answer = self.read();
        let message = Message::from_bytes(&answer).unwrap();
        let code = message.attribute::<ErrorCode>().map_or(0, |error| error.code());
        (code, answer)
    }

    /// A first request without credentials, for the nonce.
    fn begin(&mut self) {
        let mut message = Message::builder_request(ALLOCATE, MessageWriteVec::new());
        add_udp(&mut message);
        self.send(&message.finish());
        let answer = self.read();
        let message = Message::from_bytes(&answer).unwrap();
        assert_eq!(message.attribute::<ErrorCode>().unwrap().code(), 401);
        self.nonce = message.attribute::<Nonce>().unwrap().nonce().into();
    }

    fn allocate(&mut self) -> u16 {
        self.begin();
        self.ask(ALLOCATE, &add_udp).0
    }

    fn about(&mut self, method: Method, peer: SocketAddr, channel: Option<u16>) -> u16 {
        self.ask(method, &|message| {
            let peer = XorPeerAddress::new(peer, message.transaction_id());
            message.add_attribute(&peer).unwrap();
            if let Some(channel) = channel {
                message.add_attribute(&ChannelNumber::new(channel)).unwrap();
            }
        })
        .0
    }

    /// A Send indication, which has no answer.
    fn data(&mut self, peer: SocketAddr, payload: &[u8]) {
        let mut message = Message::builder_indication(SEND, MessageWriteVec::new());
        let to = XorPeerAddress::new(peer, message.transaction_id());
        message.add_attribute(&to).unwrap();
        message.add_attribute(&Data::new(payload)).unwrap();
        self.send(&message.finish());
    }
}

fn add_udp(message: &mut MessageWriteVec) {
    message.add_attribute(&RequestedTransport::new(RequestedTransport::UDP)).unwrap();
}

/// Line 15: strangers get at most ten answers in a second, and no larger ones than they ask for, but for the challenge of RFC 8489,
/// which has 48 bytes. Malformed messages get nothing and break nothing, whole streams of them neither.
#[test]
fn line_15_strangers_of_the_relay() {
    let scene = Scene::open("line-15-turn");
    let target = scene.server.turn;
    let plain = |method: Method, fill: &dyn Fn(&mut MessageWriteVec)| {
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        fill(&mut message);
        message.finish()
    };
    let stolen = Client::new(target, false, &("1900000000:somebody".into(), "guessed".into()));
    let known = Client::new(target, false, &credential(&scene.alice));
    let messages = [
        plain(BINDING, &|_| {}),
        plain(ALLOCATE, &add_udp),
        plain(ALLOCATE, &|_| {}),
        plain(REFRESH, &|_| {}),
        plain(CREATE_PERMISSION, &|_| {}),
        plain(CHANNEL_BIND, &|_| {}),
        plain(CONNECT, &|_| {}),
        plain(Method::new(0x0fff), &|_| {}),
        stolen.request(ALLOCATE, &add_udp),
        known.request(ALLOCATE, &add_udp),
        known.request(REFRESH, &|_| {}),
        b"\x40\x00\x00\x04data".to_vec(),
        vec![0; 20],
    ];
    let strangers: Vec<UdpSocket> = (0..4).map(|_| stranger()).collect();
    let mut answers: Vec<Vec<Instant>> = vec![Vec::new(); strangers.len()];
    let mut asked: HashMap<[u8; 12], Vec<u8>> = HashMap::new();
    let began = Instant::now();
    let mut buffer = [0; 2_048];
    while began.elapsed() < Duration::from_secs(3) {
        for (stranger, answers) in strangers.iter().zip(&mut answers) {
            for message in &messages {
                let mut message = message.clone();
                let mut transaction = [7; 12];
                transaction[..8].copy_from_slice(&(asked.len() as u64).to_be_bytes());
                if message.len() >= 20 {
                    message[8..20].copy_from_slice(&transaction);
                }
                stranger.send_to(&message, target).unwrap();
                asked.insert(transaction, message);
            }
            while let Ok(length) = stranger.recv(&mut buffer) {
                let question = &asked[<&[u8; 12]>::try_from(&buffer[8..20]).unwrap()];
                let is_challenge = length == 48 && question[..2] == [0, 3] && question.len() <= 28;
                assert!(length <= question.len() || is_challenge, "{length} for {question:?}");
                answers.push(Instant::now());
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(asked.len() > 10_000, "{}", asked.len());
    for times in answers {
        assert!(!times.is_empty());
        let too_many = times.windows(11).find(|eleven| eleven[10] - eleven[0] < Duration::from_secs(1));
        assert!(too_many.is_none(), "{} answers, eleven of them within a second", times.len());
    }
    assert_eq!(scene.server.metric("lectern_turn_allocations"), 0.0);

    // A good request, cut off anywhere and every byte of it changed, over both transports.
    let mut client = Client::new(target, false, &credential(&scene.alice));
    client.begin();
    let real = client.request(ALLOCATE, &add_udp);
    let mut altered: Vec<Vec<u8>> = (0..real.len()).map(|length| real[..length].to_vec()).collect();
    for at in 0..real.len() {
        for change in [1, 0x80, 0xff] {
            let mut message = real.clone();
            message[at] ^= change;
            altered.push(message);
        }
    }
    for message in &altered {
        client.send(message);
    }
    for message in altered.iter().step_by(3) {
        let mut stream = TcpStream::connect(target).unwrap();
        stream.write_all(message).unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(scene.server.metric("lectern_turn_allocations"), 0.0);
    // What is no TURN at all ends a stream.
    for wrong in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"\x00\x01\xff\xfc\x21\x12\xa4\x42",
        &[0x80; 64],
    ] {
        let mut stream = TcpStream::connect(target).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(wrong).unwrap();
        match stream.read(&mut [0; 16]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{wrong:?}: {other:?}"),
        }
    }
    scene.close();
}

/// Line 16: what a relay may not reach, in every spelling, by every message that names a peer; and by those that name none.
#[test]
fn line_16_forbidden_peers() {
    let scene = Scene::open("line-16");
    let secret_service = stranger();
    let service = secret_service.local_addr().unwrap();
    let media = scene.alice.media;
    let never = "127.0.0.2:7882 127.255.255.254:80 0.0.0.0:80 [::]:80 [::1]:80 [::ffff:127.0.0.1]:80 [::127.0.0.1]:80 \
        10.0.0.1:80 172.16.0.1:80 192.168.0.1:80 100.64.0.1:80 169.254.169.254:80 [::ffff:169.254.169.254]:80 [fe80::1]:80 \
        [fc00::1]:80 [fd00:ec2::254]:80 224.0.0.1:80 255.255.255.255:80 [ff02::1]:80 [64:ff9b::7f00:1]:80 \
        [64:ff9b::a9fe:a9fe]:80 [64:ff9b:1::7f00:1]:80 [2002:7f00:1::]:80 [2001:0:7f00:1::]:80 8.8.8.8:53 [2001:4860:4860::8888]:53";
    for is_tcp in [false, true] {
        let mut client = Client::new(scene.server.turn, is_tcp, &credential(&scene.alice));
        assert_eq!(client.allocate(), 0);
        for peer in never.split_whitespace().map(|peer| peer.parse().unwrap()) {
            for (method, channel) in
                [(CREATE_PERMISSION, None), (CHANNEL_BIND, Some(0x4000)), (CONNECT, None)]
            {
                assert_eq!(client.about(method, peer, channel), 403, "{method} {peer}");
            }
            client.data(peer, b"to nobody");
        }
        // An address of ours, with a port that is not a media worker's: a permission is for all ports of an address, and data
        // is held to those of media all the same.
        assert_eq!(client.about(CHANNEL_BIND, service, Some(0x4001)), 403);
        assert_eq!(client.about(CONNECT, service, None), 403);
        assert_eq!(client.about(CREATE_PERMISSION, media, None), 0);
        let begun = scene.server.metric("lectern_turn_bytes_total");
        client.data(service, b"to the service");
        client.send(b"\x40\x01\x00\x04data");
        // And what is allowed gets through: the media port answers a binding request only of those whom it knows, but it is sent.
        client.data(media, b"to media");
        let relayed = || scene.server.metric("lectern_turn_bytes_total") - begun;
        eventually("what is allowed is relayed", PATIENCE, || relayed() > 0.0);
        assert_eq!(relayed(), 8.0);
        assert!(secret_service.recv(&mut [0; 64]).is_err(), "a service of the machine was reached");
        // Nor does it get in from there.
        let relay_port = {
            let mut other = Client::new(scene.server.turn, is_tcp, &credential(&scene.bob));
            other.begin();
            let (code, answer) = other.ask(ALLOCATE, &add_udp);
            assert_eq!(code, 0);
            let message = Message::from_bytes(&answer).unwrap();
            let relayed = message.attribute::<XorRelayedAddress>().unwrap();
            assert_eq!(other.about(CREATE_PERMISSION, media, None), 0);
            secret_service.send_to(b"hello", relayed.addr(message.transaction_id())).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            relayed.addr(message.transaction_id()).port()
        };
        assert_ne!(relay_port, 0);
        assert_eq!(relayed(), 8.0);
    }
    scene.close();
}

/// Line 17: where the relay is open to the public and to a list, the deployment's own addresses stay closed.
#[test]
fn line_17_own_services() {
    let arguments = [
        "--turn-public-peers",
        "--turn-allow-peers",
        "10.0.0.0/8",
        "--turn-deny-peers",
        "10.20.0.0/16,9.9.9.9",
    ];
    let scene = Scene::open_with("line-17", &arguments);
    let mut client = Client::new(scene.server.turn, false, &credential(&scene.alice));
    assert_eq!(client.allocate(), 0);
    let denied =
        ["10.20.1.1:6379", "10.20.255.1:27017", "9.9.9.9:443", "127.0.0.1:6379", "192.168.0.1:27017"];
    for peer in
        denied.map(|peer| peer.parse().unwrap()).into_iter().chain([scene.server.http, scene.server.turn])
    {
        for (method, channel) in [(CHANNEL_BIND, Some(0x4000)), (CONNECT, None)] {
            assert_eq!(client.about(method, peer, channel), 403, "{method} {peer}");
        }
    }
    for peer in ["10.20.1.1:1", "9.9.9.9:1", "192.168.0.1:1"].map(|peer| peer.parse().unwrap()) {
        assert_eq!(client.about(CREATE_PERMISSION, peer, None), 403, "{peer}");
    }
    for (channel, peer) in (0x4010..).zip(["10.21.0.1:1", "8.8.8.8:53"].map(|peer| peer.parse().unwrap())) {
        assert_eq!(client.about(CHANNEL_BIND, peer, Some(channel)), 0, "{peer}");
    }
    scene.close();
}

/// Line 18: 100 allocations on one credential; expired credentials, and those of another room or person.
#[test]
fn line_18_quotas_and_credentials() {
    const SECRET: &str = "a secret of the relay";
    let scene = Scene::open_with("line-18", &["--turn-secret", SECRET]);
    let (turn, alice, bob) = (scene.server.turn, credential(&scene.alice), credential(&scene.bob));
    assert_eq!(alice.1, password(SECRET, &alice.0), "as coturn would test it");
    let elsewhere = Person::join(&scene.server, "another-room", 1, "teacher");
    let other_room = credential(&elsewhere);
    assert_ne!(
        other_room.0.split(':').nth(1),
        alice.0.split(':').nth(1),
        "the same identity in another room"
    );
    let expired = format!("{}:somebody", now_secs() - 1);
    let wrong = [
        (expired.clone(), password(SECRET, &expired)),
        (alice.0.clone(), bob.1.clone()),
        (other_room.0.clone(), alice.1.clone()),
        (alice.0.replacen(&alice.0[..1], "9", 1), alice.1.clone()),
        ("somebody".into(), password(SECRET, "somebody")),
        (String::new(), password(SECRET, "")),
    ];
    for credential in &wrong {
        for is_tcp in [false, true] {
            assert_eq!(Client::new(turn, is_tcp, credential).allocate(), 401, "{credential:?}");
        }
    }
    let mut clients: Vec<Client> = (0..100).map(|i| Client::new(turn, i % 2 == 0, &alice)).collect();
    let codes: Vec<u16> = clients.iter_mut().map(Client::allocate).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 12, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 486].contains(code)), "{codes:?}");
    // Nobody else's allocation is another's to end.
    let mut thief = Client::new(turn, false, &bob);
    assert_eq!(thief.allocate(), 0);
    let end = |message: &mut MessageWriteVec| message.add_attribute(&Lifetime::new(0)).unwrap();
    (thief.username, thief.key) = (alice.0.clone(), clients[0].key.clone());
    assert_eq!(thief.ask(REFRESH, &end).0, 441);
    // What ends is free again: by a word, or with its connection.
    let allocations = || scene.server.metric("lectern_turn_allocations");
    assert_eq!(allocations(), 13.0);
    let own = clients.iter_mut().find(|client| matches!(client.link, Link::Udp(_))).unwrap();
    assert_eq!(own.ask(REFRESH, &end).0, 0);
    clients.retain(|client| matches!(client.link, Link::Udp(_)));
    eventually("the allocations of ended connections are gone", PATIENCE, || allocations() == 6.0);
    assert_eq!(Client::new(turn, true, &alice).allocate(), 0);
    drop(elsewhere);
    scene.close();
}
