//! Tests of the gate.

use proptest::prelude::*;
use turn_types::message::SEND;
use turn_types::stun::attribute::AttributeWrite;
use turn_types::stun::message::{MessageWriteExt, MessageWriteVec, Method};

use super::*;

const SECRET: &[u8] = b"0123456789abcdef";
const WALL: u64 = 1_700_000_000;
const MEDIA: &str = "198.51.100.7:7882";

fn asker(text: &str) -> Asker {
    Asker { address: text.parse().unwrap(), is_stream: false }
}

fn gate(now: Instant) -> Gate {
    let filter = Filter { media: vec![MEDIA.parse().unwrap()], ..Filter::default() };
    let limits = Limits { per_credential: 12, total: 20 };
    Gate::new(SECRET, &[7; 32], limits, Arc::new(filter), now)
}

/// A client of the relay.
struct Client {
    asker: Asker,
    username: String,
    key: IntegrityKey,
    nonce: String,
    session: Option<Session>,
}

impl Client {
    fn new(address: &str, username: &str, secret: &[u8]) -> Self {
        let password = credentials::password(secret, username);
        let credentials = LongTermKeyCredentials::new(username.into(), password, REALM.into());
        Client {
            asker: asker(address),
            username: username.into(),
            key: credentials.make_key(IntegrityAlgorithm::Sha1),
            nonce: String::new(),
            session: None,
        }
    }

    fn good(address: &str) -> Self {
        let issued = credentials::issue(SECRET, "algebra", "ada", WALL + 60);
        Client::new(address, &issued.username, SECRET)
    }

    fn request(&self, method: Method, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        for attribute in attributes {
            add(&mut message, *attribute);
        }
        add(&mut message, &Username::new(&self.username).unwrap());
        add(&mut message, &Realm::new(REALM).unwrap());
        add(&mut message, &Nonce::new(&self.nonce).unwrap());
        signed(message, &self.key)
    }

    fn take(&mut self, gate: &mut Gate, bytes: &[u8], now: Instant) -> Outcome {
        let outcome = gate.handle(self.asker, self.session.as_mut(), bytes, now, WALL);
        if let Outcome::Answer(answer, Some(Refusal::Challenge | Refusal::StaleNonce)) = &outcome {
            let nonce = wire::message(answer).unwrap().attribute::<Nonce>().unwrap();
            self.nonce = nonce.nonce().into();
        }
        outcome
    }

    /// The code of the answer; 0 for a success.
    fn ask(
        &mut self,
        gate: &mut Gate,
        method: Method,
        attributes: &[&dyn AttributeWrite],
        now: Instant,
    ) -> u16 {
        let request = self.request(method, attributes);
        code(&self.take(gate, &request, now))
    }

    fn challenged(mut self, gate: &mut Gate, now: Instant) -> Self {
        let bare = bare_allocate();
        assert_eq!(code(&self.take(gate, &bare, now)), 401);
        self
    }

    fn allocate(&mut self, gate: &mut Gate, now: Instant) -> u16 {
        let request = self.request(ALLOCATE, &[&RequestedTransport::new(RequestedTransport::UDP)]);
        match self.take(gate, &request, now) {
            Outcome::Allocate(wanted) => {
                let granted = gate.grant(&wanted, self.asker, MEDIA.parse().unwrap());
                let (owner, filter) = (wanted.owner.clone(), wanted.filter.clone());
                let session = Session::new(owner, granted, filter, false, wanted.is_v4, 1_000_000, now);
                self.session = Some(session);
                0
            }
            other => code(&other),
        }
    }
}

fn bare_allocate() -> Vec<u8> {
    let mut message = Message::builder_request(ALLOCATE, MessageWriteVec::new());
    add(&mut message, &RequestedTransport::new(RequestedTransport::UDP));
    message.finish()
}

fn code(outcome: &Outcome) -> u16 {
    match outcome {
        Outcome::Silence(_) => 1,
        Outcome::Allocate(_) => 2,
        Outcome::End(_) => 0,
        Outcome::Answer(answer, refusal) => {
            let message = wire::message(answer).unwrap();
            let code = message.attribute::<ErrorCode>().map_or(0, |error| error.code());
            assert_eq!(code != 0, refusal.is_some());
            code
        }
    }
}

fn peer(text: &str, request: &MessageWriteVec) -> XorPeerAddress {
    XorPeerAddress::new(text.parse().unwrap(), request.transaction_id())
}

/// A request about a peer: its address is masked with the transaction, so it is made with the message.
fn about(client: &Client, method: Method, address: &str, channel: Option<u16>) -> Vec<u8> {
    let mut message = Message::builder_request(method, MessageWriteVec::new());
    let peer = peer(address, &message);
    add(&mut message, &peer);
    if let Some(channel) = channel {
        add(&mut message, &ChannelNumber::new(channel));
    }
    add(&mut message, &Username::new(&client.username).unwrap());
    add(&mut message, &Realm::new(REALM).unwrap());
    add(&mut message, &Nonce::new(&client.nonce).unwrap());
    signed(message, &client.key)
}

#[test]
fn an_allocation_from_challenge_to_end() {
    let now = Instant::now();
    let mut gate = gate(now);
    let mut client = Client::good("192.0.2.1:1000").challenged(&mut gate, now);
    assert_eq!(client.allocate(&mut gate, now), 0);
    assert_eq!((gate.total, gate.allocations.len()), (1, 1));
    let granted = client.session.as_ref().unwrap().granted().to_owned();
    let message = wire::message(&granted).unwrap();
    assert!(message.validate_integrity_with_key(&client.key).is_ok());
    let transaction = message.transaction_id();
    let lifetime = message.attribute::<Lifetime>().unwrap().seconds();
    let mapped = message.attribute::<XorMappedAddress>().unwrap().addr(transaction);
    let relayed = message.attribute::<XorRelayedAddress>().unwrap().addr(transaction);
    assert_eq!((lifetime, mapped, relayed), (300, client.asker.address, MEDIA.parse().unwrap()));

    // Another from there is a mismatch; the same again is the same.
    let transport = RequestedTransport::new(RequestedTransport::UDP);
    assert_eq!(client.ask(&mut gate, ALLOCATE, &[&transport], now), 437);
    let mut again = client.request(ALLOCATE, &[&transport]);
    again = {
        let mut message = Message::builder(
            wire::message(&again).unwrap().get_type(),
            client.session.as_ref().unwrap().owner().transaction,
            MessageWriteVec::new(),
        );
        add(&mut message, &transport);
        add(&mut message, &Username::new(&client.username).unwrap());
        add(&mut message, &Realm::new(REALM).unwrap());
        add(&mut message, &Nonce::new(&client.nonce).unwrap());
        signed(message, &client.key)
    };
    assert!(
        matches!(client.take(&mut gate, &again, now), Outcome::Answer(answer, None) if answer == granted)
    );

    let later = now + Duration::from_secs(200);
    assert_eq!(client.ask(&mut gate, REFRESH, &[&Lifetime::new(3600)], later), 0);
    assert_eq!(client.session.as_ref().unwrap().expires(), later + crate::turn::session::LIFETIME);
    let v6 = RequestedAddressFamily::new(AddressFamily::IPV6);
    assert_eq!(client.ask(&mut gate, REFRESH, &[&v6], later), 443);
    let end = client.request(REFRESH, &[&Lifetime::new(0)]);
    assert!(matches!(client.take(&mut gate, &end, later), Outcome::End(_)));
    gate.release(&client.username);
    assert_eq!((gate.total, gate.allocations.len()), (0, 0));
    client.session = None;
    assert_eq!(client.ask(&mut gate, REFRESH, &[], later), 437);
}

/// Anybody may test before class, so that what is open to participants stays closed to it, and nothing outlives it.
#[test]
fn a_test_before_class_reaches_media_alone_and_ends_in_its_time() {
    let now = Instant::now();
    let filter = Filter { media: vec![MEDIA.parse().unwrap()], public: true, ..Filter::default() };
    let limits = Limits { per_credential: 12, total: 20 };
    let mut gate = Gate::new(SECRET, &[7; 32], limits, Arc::new(filter), now);
    let public = "8.8.8.8:53";
    let mut student = Client::good("192.0.2.1:1000").challenged(&mut gate, now);
    assert_eq!(student.allocate(&mut gate, now), 0);
    let bind = about(&student, CHANNEL_BIND, public, Some(0x4000));
    assert_eq!(code(&student.take(&mut gate, &bind, now)), 0);

    let issued = credentials::issue_check(SECRET, "0f", WALL + 60);
    let mut check = Client::new("192.0.2.2:1000", &issued.username, SECRET).challenged(&mut gate, now);
    assert_eq!(check.allocate(&mut gate, now), 0);
    for (method, channel) in [(CHANNEL_BIND, Some(0x4000)), (CREATE_PERMISSION, None), (CONNECT, None)] {
        let request = about(&check, method, public, channel);
        assert_eq!(code(&check.take(&mut gate, &request, now)), 403, "{method:?}");
    }
    let bind = about(&check, CHANNEL_BIND, MEDIA, Some(0x4000));
    assert_eq!(code(&check.take(&mut gate, &bind, now)), 0);

    let end = now + Duration::from_secs(60);
    let session = check.session.as_ref().unwrap();
    let granted = wire::message(session.granted()).unwrap().attribute::<Lifetime>().unwrap().seconds();
    assert_eq!((session.expires(), granted), (end, 60));
    let later = now + Duration::from_secs(50);
    let refresh = check.request(REFRESH, &[&Lifetime::new(600)]);
    let Outcome::Answer(answer, None) = check.take(&mut gate, &refresh, later) else { panic!("refused") };
    let left = wire::message(&answer).unwrap().attribute::<Lifetime>().unwrap().seconds();
    assert_eq!((check.session.as_ref().unwrap().expires(), left), (end, 10));
}

/// Line 18.
#[test]
fn a_credential_has_twelve_allocations_and_the_server_so_many() {
    let now = Instant::now();
    let mut gate = gate(now);
    let mut clients: Vec<Client> =
        (0..13).map(|i| Client::good(&format!("192.0.2.{i}:1000")).challenged(&mut gate, now)).collect();
    let codes: Vec<u16> = clients.iter_mut().map(|client| client.allocate(&mut gate, now)).collect();
    assert_eq!((&codes[..12], codes[12]), (&[0; 12][..], 486));
    let other = credentials::issue(SECRET, "algebra", "ben", WALL + 60).username;
    for i in 0..9 {
        let mut client = Client::new(&format!("192.0.3.{i}:1"), &other, SECRET).challenged(&mut gate, now);
        assert_eq!(client.allocate(&mut gate, now), if i < 8 { 0 } else { 508 });
    }
    gate.release(&clients[0].username);
    assert_eq!(clients[12].allocate(&mut gate, now), 0);
}

/// Line 18: expired; another room's password; another secret; another name.
#[test]
fn wrong_credentials_are_refused() {
    let now = Instant::now();
    let mut gate = gate(now);
    let issue = |room: &str, expires| credentials::issue(SECRET, room, "ada", expires).username;
    let (here, there) = (issue("algebra", WALL + 60), issue("physics", WALL + 60));
    let expired = issue("algebra", WALL);
    let wrong = [(&expired, SECRET), (&here, b"another secret!!"), (&"ada".to_owned(), SECRET)];
    for (port, (username, secret)) in (1000..).zip(wrong) {
        let address = format!("192.0.2.1:{port}");
        let mut client = Client::new(&address, username, secret).challenged(&mut gate, now);
        assert_eq!(client.allocate(&mut gate, now), 401, "{username}");
    }
    let mut swapped = Client::new("192.0.2.2:1000", &here, SECRET).challenged(&mut gate, now);
    swapped.username = there;
    assert_eq!(swapped.allocate(&mut gate, now), 401);
    // And on an allocation that is there.
    let mut client = Client::good("192.0.2.3:1000").challenged(&mut gate, now);
    assert_eq!(client.allocate(&mut gate, now), 0);
    let other = Client::new("192.0.2.3:1000", &issue("physics", WALL + 60), SECRET);
    (client.username, client.key) = (other.username, other.key);
    assert_eq!(client.ask(&mut gate, REFRESH, &[], now), 441);
}

#[test]
fn a_nonce_is_good_for_its_address_and_hours() {
    let now = Instant::now();
    let mut gate = gate(now);
    let mut client = Client::good("192.0.2.1:1000").challenged(&mut gate, now);
    let nonce = client.nonce.clone();
    let mut elsewhere = Client::good("192.0.2.1:1001");
    elsewhere.nonce.clone_from(&nonce);
    assert_eq!(elsewhere.allocate(&mut gate, now), 438);
    assert_eq!(elsewhere.allocate(&mut gate, now), 0, "with the nonce that came with the refusal");
    assert_eq!(client.allocate(&mut gate, now + NONCE), 0);
    assert_eq!(client.ask(&mut gate, REFRESH, &[], now + 2 * NONCE), 438);
    assert_eq!(
        client.ask(&mut gate, REFRESH, &[], now + 2 * NONCE),
        0,
        "though the credential has expired by then"
    );
}

/// Line 16, for every request that names a peer.
#[test]
fn forbidden_peers_get_403() {
    let now = Instant::now();
    let mut gate = gate(now);
    let mut client = Client::good("192.0.2.1:1000").challenged(&mut gate, now);
    assert_eq!(client.allocate(&mut gate, now), 0);
    let never = "127.0.0.1:7882 0.0.0.0:1 [::]:1 [::1]:7882 [::ffff:127.0.0.1]:7882 10.0.0.1:1 169.254.169.254:80 \
        [fe80::1]:1 [fd00::1]:1 224.0.0.1:1 [64:ff9b::7f00:1]:1 [2002:7f00:1::]:1 8.8.8.8:53 [::ffff:198.51.100.7]:7882";
    for address in never.split_whitespace() {
        for (method, channel) in [(CREATE_PERMISSION, None), (CHANNEL_BIND, Some(0x4000)), (CONNECT, None)] {
            let request = about(&client, method, address, channel);
            assert_eq!(code(&client.take(&mut gate, &request, now)), 403, "{method} {address}");
        }
    }
    // Of ours another port: a channel has a port.
    let request = about(&client, CHANNEL_BIND, "198.51.100.7:6379", Some(0x4000));
    assert_eq!(code(&client.take(&mut gate, &request, now)), 403);
    for (method, channel, wanted) in [
        (CREATE_PERMISSION, None, 0),
        (CHANNEL_BIND, Some(0x4000), 0),
        (CHANNEL_BIND, Some(0x3fff), 400),
        (CONNECT, None, 400),
    ] {
        let request = about(&client, method, MEDIA, channel);
        assert_eq!(code(&client.take(&mut gate, &request, now)), wanted, "{method}");
    }
}

#[test]
fn what_is_not_offered_is_refused_in_the_words_of_the_standard() {
    let now = Instant::now();
    let mut gate = gate(now);
    let mut client = Client::good("192.0.2.1:1000").challenged(&mut gate, now);
    let udp = RequestedTransport::new(RequestedTransport::UDP);
    assert_eq!(client.ask(&mut gate, ALLOCATE, &[], now), 400);
    assert_eq!(client.ask(&mut gate, ALLOCATE, &[&RequestedTransport::new(6)], now), 442);
    assert_eq!(client.ask(&mut gate, ALLOCATE, &[&udp, &EvenPort::new(true)], now), 508);
    assert_eq!(client.ask(&mut gate, ALLOCATE, &[&udp, &ReservationToken::new(1)], now), 508);
    assert_eq!(
        client.ask(&mut gate, ALLOCATE, &[&udp, &turn_types::attribute::DontFragment::new()], now),
        420
    );
    assert_eq!(client.ask(&mut gate, SEND, &[], now), 400);
    let v6 = RequestedAddressFamily::new(AddressFamily::IPV6);
    let request = client.request(ALLOCATE, &[&udp, &v6]);
    let Outcome::Allocate(wanted) = client.take(&mut gate, &request, now) else {
        panic!("v6 may be asked for")
    };
    assert!(!wanted.is_v4);
    assert_eq!(gate.total, 1);
    gate.fail(&wanted, ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED);
    assert_eq!(gate.total, 0);
}

/// Line 15.
#[test]
fn a_stranger_gets_ten_answers_a_second_none_larger_but_the_challenge() {
    let start = Instant::now();
    let mut gate = gate(start);
    let stranger = asker("192.0.2.1:1000");
    let bind = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
    assert_eq!(code(&gate.handle(stranger, None, &bind, start, WALL)), 1, "32 bytes for 20");
    let stream = Asker { is_stream: true, ..stranger };
    assert_eq!(code(&gate.handle(stream, None, &bind, start, WALL)), 0);
    let mut answered = Vec::new();
    for ms in 0..5_000 {
        let now = start + Duration::from_millis(ms);
        let request = bare_allocate();
        if let Outcome::Answer(answer, _) = gate.handle(stranger, None, &request, now, WALL) {
            assert_eq!((request.len(), answer.len()), (28, 48));
            answered.push(ms);
        }
    }
    assert!(answered.len() > 15, "{}", answered.len());
    assert!(answered.windows(11).all(|eleven| eleven[10] - eleven[0] >= 1000), "{answered:?}");
    // All ports of one address.
    let all = (1..2000_u16).filter(|port| {
        let from = Asker { address: SocketAddr::new("192.0.2.9".parse().unwrap(), *port), is_stream: false };
        code(&gate.handle(from, None, &bare_allocate(), start + Duration::from_secs(9), WALL)) == 401
    });
    assert_eq!(all.count(), REFUSALS.1 as usize / 2);
    // What is remembered of them does not grow without end.
    for i in 0..3 * REFUSED as u32 {
        let from = Asker { address: SocketAddr::from((i.to_be_bytes(), 1)), is_stream: false };
        gate.handle(from, None, &bare_allocate(), start + Duration::from_secs(20), WALL);
    }
    assert!(gate.rates.by_address.len() <= REFUSED && gate.rates.by_ip.len() <= REFUSED + 1);
}

proptest! {
    /// Whatever is done to good requests, nothing panics, nothing is granted, and without a proof nothing larger comes back.
    #[test]
    fn altered_requests_get_nothing(
        which in 0_usize..5, at: prop::sample::Index, change in 1_u8.., cut: prop::sample::Index, is_cut: bool, more in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let now = Instant::now();
        let mut gate = gate(now);
        let mut client = Client::good("192.0.2.1:1000").challenged(&mut gate, now);
        let udp = RequestedTransport::new(RequestedTransport::UDP);
        let mut bytes = match which {
            0 => client.request(ALLOCATE, &[&udp]),
            1 => client.request(REFRESH, &[&Lifetime::new(0)]),
            2 => about(&client, CREATE_PERMISSION, MEDIA, None),
            3 => about(&client, CHANNEL_BIND, MEDIA, Some(0x4000)),
            _ => bare_allocate(),
        };
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
            bytes.extend(&more);
            if bytes.len() >= 4 {
                let length = (bytes.len().saturating_sub(20)) as u16;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
            }
        } else {
            let at = at.index(bytes.len());
            bytes[at] ^= change;
        }
        match client.take(&mut gate, &bytes, now) {
            Outcome::Answer(answer, _) => prop_assert!(answer.len() <= bytes.len() || answer.len() == 48),
            Outcome::Silence(_) => {}
            Outcome::Allocate(_) | Outcome::End(_) => prop_assert!(false, "granted"),
        }
        prop_assert_eq!(gate.total, 0);
    }
}
