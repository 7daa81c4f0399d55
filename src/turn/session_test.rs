//! Tests of allocations.

use proptest::prelude::*;
use turn_types::attribute::{Data, XorPeerAddress};
use turn_types::stun::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageWrite, MessageWriteExt, MessageWriteVec,
};

use super::super::wire::add;
use super::*;

const MEDIA: &str = "127.0.0.1:7882";
const SECOND: Duration = Duration::from_secs(1);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn session(filter: Filter, bytes_per_second: u64, now: Instant) -> Session {
    let credentials = LongTermKeyCredentials::new("u".into(), "p".into(), wire::REALM.into());
    let owner = Owner {
        username: "u".into(),
        key: credentials.make_key(IntegrityAlgorithm::Sha1),
        transaction: TransactionId::generate(),
        ends: None,
    };
    Session::new(owner, Vec::new(), Arc::new(filter), false, true, bytes_per_second, now)
}

fn media_alone() -> Filter {
    Filter { media: vec![address(MEDIA)], ..Filter::default() }
}

fn send(peer: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut message = Message::builder_indication(SEND, MessageWriteVec::new());
    let transaction = message.transaction_id();
    add(&mut message, &XorPeerAddress::new(peer, transaction));
    add(&mut message, &Data::new(payload));
    message.finish()
}

#[test]
fn permissions_and_channels_end_in_their_time() {
    let start = Instant::now();
    let (mut session, media) = (session(media_alone(), 1_000_000, start), address(MEDIA));
    let packet = send(media, b"hello");
    assert_eq!(session.handle_client(&packet, start), Err(Dropped::Permission));
    assert_eq!(session.handle_peer(media, b"x", start), Err(Dropped::Permission));
    session.permit(&[media.ip()], start).unwrap();
    let (peer, payload) = session.handle_client(&packet, start).unwrap();
    assert_eq!((peer, &packet[payload]), (media, &b"hello"[..]));
    let data = session.handle_peer(media, b"back", start).unwrap();
    let message = wire::message(&data).unwrap();
    assert_eq!(message.attribute::<Data<'_>>().unwrap().data(), b"back");

    assert!(session.may_bind(0x4000, media, start));
    session.bind(0x4000, media, start).unwrap();
    let channel = wire::channel_data(0x4000, b"by number", false).unwrap();
    assert_eq!(session.handle_client(&channel, start), Ok((media, 4..13)));
    assert_eq!(session.handle_peer(media, b"by number", start), Ok(channel.clone()));

    // The permission first; renewed, the channel's own end. The allocation itself is refreshed.
    session.refresh(start + PERMISSION);
    session.refresh(start + CHANNEL);
    let later = start + PERMISSION + SECOND;
    assert_eq!(session.handle_client(&channel, later), Err(Dropped::Permission));
    session.permit(&[media.ip()], later).unwrap();
    assert!(session.handle_client(&channel, later).is_ok());
    let end = start + CHANNEL + SECOND;
    session.permit(&[media.ip()], end).unwrap();
    assert_eq!(session.handle_client(&channel, end), Err(Dropped::Permission));
    assert!(wire::message(&session.handle_peer(media, b"x", end).unwrap()).is_some());
    // And its number is free again.
    assert!(session.may_bind(0x4001, media, end));

    let over = session.expires();
    session.permit(&[media.ip()], over).unwrap();
    assert_eq!(session.handle_client(&packet, over), Err(Dropped::Permission));
}

#[test]
fn a_channel_is_bound_to_one_peer_and_a_peer_to_one_channel() {
    let now = Instant::now();
    let filter = Filter { allowed: vec!["10.0.0.0/8".parse().unwrap()], ..Filter::default() };
    let mut session = session(filter, 1_000_000, now);
    let (one, other) = (address("10.0.0.1:1"), address("10.0.0.1:2"));
    session.bind(0x4000, one, now).unwrap();
    assert!(session.may_bind(0x4000, one, now));
    assert!(!session.may_bind(0x4000, other, now));
    assert!(!session.may_bind(0x4001, one, now));
    assert!(session.may_bind(0x4001, other, now));
}

/// A permission has no port, and must not open all the ports of an address of ours.
#[test]
fn a_permission_for_our_address_reaches_the_media_port_alone() {
    let now = Instant::now();
    let mut session = session(media_alone(), 1_000_000, now);
    session.permit(&[address(MEDIA).ip()], now).unwrap();
    for peer in ["127.0.0.1:6379", "127.0.0.1:1", "127.0.0.2:7882"].map(address) {
        assert_eq!(session.handle_client(&send(peer, b"x"), now), Err(Dropped::Peer));
        assert_eq!(session.handle_peer(peer, b"x", now), Err(Dropped::Peer));
    }
}

#[test]
fn there_is_a_limit_on_permissions_and_channels() {
    let now = Instant::now();
    let filter = Filter { allowed: vec!["10.0.0.0/8".parse().unwrap()], ..Filter::default() };
    let mut session = session(filter, 1_000_000, now);
    let ips: Vec<IpAddr> = (0..ENTRIES).map(|i| format!("10.0.0.{i}").parse().unwrap()).collect();
    session.permit(&ips, now).unwrap();
    session.permit(&ips, now).unwrap();
    assert_eq!(session.permit(&["10.0.1.1".parse().unwrap()], now), Err(Full));
    for i in 0..ENTRIES as u16 {
        session.bind(0x4000 + i, SocketAddr::new(ips[0], 1 + i), now).unwrap();
    }
    assert_eq!(session.bind(0x5000, SocketAddr::new(ips[0], 9999), now), Err(Full));
    session.bind(0x4000, SocketAddr::new(ips[0], 1), now).unwrap();
    let later = now + PERMISSION + SECOND;
    session.permit(&["10.0.1.1".parse().unwrap()], later).unwrap();
}

#[test]
fn what_is_over_the_rate_is_dropped_each_way() {
    let start = Instant::now();
    let (mut session, media) = (session(media_alone(), 100_000, start), address(MEDIA));
    session.bind(0x4000, media, start).unwrap();
    let packet = wire::channel_data(0x4000, &[0; 1000], false).unwrap();
    let mut sent = [0_u64; 2];
    // 10 s at ten times the rate.
    for tick in 0..10_000_u64 {
        let now = start + Duration::from_millis(tick);
        sent[0] += u64::from(session.handle_client(&packet, now).is_ok());
        sent[1] += u64::from(session.handle_peer(media, &[0; 1000], now).is_ok());
    }
    for sent in sent {
        let bytes = sent * 1000;
        assert!((1_000_000..1_000_000 + 70_000).contains(&bytes), "{bytes}");
    }
}

proptest! {
    /// Whatever a client or a peer sends, in whatever order, nothing panics and nothing leaves for a peer that the filter refuses.
    #[test]
    fn nothing_leaves_for_a_refused_peer(steps in prop::collection::vec((0_u8..6, any::<u32>(), any::<u16>(), 0_u16..200), 1..60)) {
        let start = Instant::now();
        let mut filter = media_alone();
        filter.allowed = vec!["8.0.0.0/6".parse().unwrap()];
        filter.denied = vec!["9.0.0.0/8".parse().unwrap()];
        let (mut session, mut now) = (session(filter.clone(), 1_000_000, start), start);
        for (step, v4, port, n) in steps {
            now += Duration::from_secs(u64::from(n));
            let peer = SocketAddr::from((v4.to_be_bytes(), port));
            let result = match step {
                0 => { let _ = session.permit(&[peer.ip()], now); continue }
                1 => { if session.may_bind(0x4000 + n, peer, now) { let _ = session.bind(0x4000 + n, peer, now); } continue }
                2 => session.handle_client(&send(peer, &[0; 10]), now),
                3 => session.handle_client(&wire::channel_data(0x4000 + n, &[0; 10], n % 2 == 0).unwrap(), now),
                4 => session.handle_client(&v4.to_be_bytes(), now),
                _ => session.handle_peer(peer, &[0; 10], now).map(|_| (peer, 0..0)),
            };
            if let Ok((peer, _)) = result {
                prop_assert!(filter.permits(peer), "{peer}");
            }
        }
    }
}
