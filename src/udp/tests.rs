//! Real sockets on loopback.

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn transmit(source: &str, destination: &str, port: u16, contents: Vec<u8>) -> Transmit {
    Transmit {
        transport: sfu::io::Transport::Udp,
        source: SocketAddr::new(source.parse().unwrap(), 1),
        destination: SocketAddr::new(destination.parse().unwrap(), port),
        contents,
        forwarded: false,
    }
}

/// A datagram without the loan.
#[derive(Debug, Clone)]
struct Owned {
    source: SocketAddr,
    destination: Option<IpAddr>,
    arrival: Option<SystemTime>,
    contents: Vec<u8>,
}

/// Receives until `count` messages have come, whole or not; returns the whole ones and the number of the others.
fn receive(socket: &Socket, count: usize) -> (Vec<Owned>, usize) {
    let waker = Waker::new().unwrap();
    let mut arena = ReceiveArena::default();
    let (mut whole, mut oversize, mut messages) = (Vec::new(), 0, 0);
    let deadline = Instant::now() + PATIENCE;
    while messages < count {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{messages} of {count} came");
        wait(socket, &waker, left).unwrap();
        let given = socket.receive(&mut arena).unwrap();
        assert!(given <= BATCH);
        messages += given;
        oversize += arena.oversize();
        whole.extend(arena.datagrams().map(|d| Owned {
            source: d.source,
            destination: d.destination,
            arrival: d.arrival,
            contents: d.contents.to_vec(),
        }));
    }
    assert_eq!(socket.receive(&mut arena).unwrap(), 0, "more than {count} came");
    (whole, oversize)
}

fn send_all(socket: &mut Socket, batch: &[Transmit]) -> Sent {
    let sent = socket.send(&mut SendArena::default(), batch);
    assert_eq!(sent.datagrams, batch.len() as u64, "{sent:?}");
    sent
}

fn dual() -> Socket {
    let socket = Socket::bind(0, [IpAddr::from(Ipv6Addr::LOCALHOST)]).unwrap();
    assert_eq!(socket.family(), Family::Dual, "the machines that build this have IPv6 on loopback");
    socket
}

fn v4_only() -> Socket {
    let fd = open(Family::V4, 0).unwrap();
    let port = bound_port(&fd).unwrap();
    Socket { fd, family: Family::V4, port, local: HashSet::new(), segmentation: true }
}

#[test]
fn knows_where_a_datagram_was_sent_to() {
    for socket in [dual(), v4_only()] {
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for ip in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
            client.send_to(b"hello", (ip, socket.port())).unwrap();
            let (came, _) = receive(&socket, 1);
            assert_eq!(came[0].destination, Some(ip.parse().unwrap()));
            assert_eq!(came[0].source, client.local_addr().unwrap(), "plain IPv4, not v4-mapped");
            assert_eq!(came[0].contents, b"hello");
        }
    }
    let socket = dual();
    let client = std::net::UdpSocket::bind("[::1]:0").unwrap();
    client.send_to(b"six", ("::1", socket.port())).unwrap();
    let (came, _) = receive(&socket, 1);
    assert_eq!(came[0].destination, Some(Ipv6Addr::LOCALHOST.into()));
    assert_eq!(came[0].source, client.local_addr().unwrap());
}

#[test]
fn sends_from_the_address_that_the_pair_names() {
    for mut socket in [dual(), v4_only()] {
        let peer = dual();
        for source in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
            send_all(&mut socket, &[transmit(source, "127.0.0.1", peer.port(), vec![7; 30])]);
            let (came, _) = receive(&peer, 1);
            assert_eq!(came[0].source, SocketAddr::new(source.parse().unwrap(), socket.port()));
        }
        // A public address that the machine does not have: the kernel picks one.
        send_all(&mut socket, &[transmit("203.0.113.9", "127.0.0.1", peer.port(), vec![7; 30])]);
        assert!(receive(&peer, 1).0[0].source.ip().is_loopback());
    }
    let (mut socket, peer) = (dual(), dual());
    send_all(&mut socket, &[transmit("::1", "::1", peer.port(), vec![8; 30])]);
    let (came, _) = receive(&peer, 1);
    assert_eq!(came[0].source, SocketAddr::new(Ipv6Addr::LOCALHOST.into(), socket.port()));
}

#[test]
fn a_port_is_not_shared() {
    let socket = dual();
    let error = Socket::bind(socket.port(), []).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn the_kernel_says_when_a_datagram_came() {
    let (mut socket, peer) = (dual(), dual());
    let before = SystemTime::now();
    send_all(&mut socket, &[transmit("127.0.0.1", "127.0.0.1", peer.port(), vec![1])]);
    // What happens after the arrival must not be in it.
    std::thread::sleep(Duration::from_millis(30));
    let read = SystemTime::now();
    let arrival = receive(&peer, 1).0[0].arrival.expect("SO_TIMESTAMPNS");
    // The kernel's clock for stamps and ours are one; a tick of slack for coarse clocks.
    assert!(arrival + Duration::from_millis(5) >= before, "{arrival:?} {before:?}");
    assert!(arrival + Duration::from_millis(20) <= read, "{arrival:?} {read:?}");
}

#[test]
fn larger_than_any_media_is_dropped_and_counted() {
    let (mut socket, peer) = (dual(), dual());
    let sizes = [DATAGRAM_BYTES, DATAGRAM_BYTES + 1, 9_000, 0, 20];
    let batch: Vec<_> =
        sizes.iter().map(|size| transmit("127.0.0.1", "127.0.0.1", peer.port(), vec![3; *size])).collect();
    send_all(&mut socket, &batch);
    let (whole, oversize) = receive(&peer, sizes.len());
    assert_eq!(oversize, 2);
    assert_eq!(whole.iter().map(|d| d.contents.len()).collect::<Vec<_>>(), [DATAGRAM_BYTES, 0, 20]);
}

/// 200 datagrams of changing size, and runs of equal ones as a keyframe makes them, to two receivers in turn: each gets its
/// own, whole and in order, with few system calls.
#[test]
fn a_batch_arrives_whole_and_in_order() {
    for segmentation in [true, false] {
        let (mut socket, peers) = (dual(), [dual(), dual()]);
        socket.segmentation &= segmentation;
        let destinations = ["127.0.0.1", "::1"];
        let size = |i: usize| if (50..150).contains(&i) { 1_200 } else { 100 + i * 13 % 700 };
        let batch: Vec<_> = (0..200)
            .map(|i| {
                let to = (i / 10) % 2;
                let mut contents = vec![i as u8; size(i)];
                contents[0] = to as u8;
                transmit(destinations[to], destinations[to], peers[to].port(), contents)
            })
            .collect();
        let sent = send_all(&mut socket, &batch);
        assert!(sent.calls <= 4, "{sent:?}");
        assert_eq!(sent.bytes, batch.iter().map(|t| t.contents.len() as u64).sum::<u64>());
        for (to, peer) in peers.iter().enumerate() {
            let wanted: Vec<_> =
                batch.iter().filter(|t| t.contents[0] == to as u8).map(|t| &t.contents).collect();
            let (came, _) = receive(peer, wanted.len());
            assert!(came.iter().map(|d| &d.contents).eq(wanted));
        }
    }
}

#[test]
fn segments_are_equal_consecutive_and_to_one_destination() {
    let to = |port: u16, size: usize| transmit("127.0.0.1", "127.0.0.1", port, vec![0; size]);
    let many = |count: usize, size: usize| (0..count).map(|_| to(1, size)).collect::<Vec<_>>();
    assert_eq!(segments(&[to(1, 1200)]), 1);
    assert_eq!(segments(&[to(1, 1200), to(1, 1200), to(1, 1200), to(2, 1200)]), 3);
    assert_eq!(segments(&[to(1, 1200), to(1, 800), to(1, 1200)]), 2, "only the last may be shorter");
    assert_eq!(segments(&[to(1, 800), to(1, 1200)]), 1);
    assert_eq!(segments(&[to(1, 800), to(1, 0)]), 1);
    assert_eq!(segments(&[to(1, 0), to(1, 0)]), 1);
    assert_eq!(segments(&many(100, 100)), SEGMENTS);
    assert_eq!(segments(&many(100, 1200)), SEGMENTED_BYTES / 1200);
    assert_eq!(segments(&many(3, 65_000)), 1);
    let mut other_source = to(1, 1200);
    other_source.source = "127.0.0.2:1".parse().unwrap();
    assert_eq!(segments(&[to(1, 1200), other_source]), 1);
}

/// One bad datagram does not take its neighbours with it, alone or among segments.
#[test]
fn what_the_kernel_refuses_is_skipped_and_counted() {
    let (mut socket, peer) = (dual(), dual());
    let good = || transmit("127.0.0.1", "127.0.0.1", peer.port(), vec![1; 500]);
    let too_long = || transmit("127.0.0.1", "127.0.0.1", peer.port(), vec![1; 65_600]);
    let no_port = || transmit("127.0.0.1", "127.0.0.1", 0, vec![1; 500]);
    let broadcast = || transmit("127.0.0.1", "255.255.255.255", peer.port(), vec![1; 500]);
    let batch = [good(), too_long(), good(), no_port(), no_port(), no_port(), good(), broadcast(), good()];
    let sent = socket.send(&mut SendArena::default(), &batch);
    assert_eq!((sent.datagrams, sent.failed, sent.dropped), (4, 5, 0), "{sent:?}");
    assert_eq!(receive(&peer, 4).0.len(), 4);
    assert!(socket.segmentation, "the socket still takes segments");

    let mut v4 = v4_only();
    let six = transmit("::1", "::1", peer.port(), vec![1; 50]);
    let sent = v4.send(&mut SendArena::default(), &[six, good()]);
    assert_eq!((sent.datagrams, sent.failed), (1, 1));
    receive(&peer, 1);
}

/// A receiver that went away makes the kernel say "connection refused" some time later; media to others goes on.
#[test]
fn a_closed_port_does_not_stop_the_socket() {
    let (mut socket, peer) = (dual(), dual());
    let gone = dual().port();
    for _ in 0..3 {
        let batch = [gone, peer.port(), gone, peer.port()]
            .map(|port| transmit("127.0.0.1", "127.0.0.1", port, vec![5; 100]));
        let sent = socket.send(&mut SendArena::default(), &batch);
        assert_eq!(sent.datagrams + sent.failed, 4);
        receive(&peer, 2);
    }
    assert_eq!(socket.receive(&mut ReceiveArena::default()).unwrap(), 0);
}

#[test]
fn datagrams_that_nobody_reads_are_counted() {
    let (mut socket, peer) = (dual(), dual());
    set_option(&peer.fd, libc::SOL_SOCKET, libc::SO_RCVBUF, 20_000).unwrap();
    let batch: Vec<_> =
        (0..100).map(|_| transmit("127.0.0.1", "127.0.0.1", peer.port(), vec![5; 1_000])).collect();
    send_all(&mut socket, &batch);
    let mut arena = ReceiveArena::default();
    let kept = peer.receive(&mut arena).unwrap();
    assert!((1..BATCH).contains(&kept));
    // The kernel notes on each datagram how many were lost before it came.
    send_all(&mut socket, &batch[..1]);
    let waker = Waker::new().unwrap();
    assert!(wait(&peer, &waker, PATIENCE).unwrap().socket);
    assert_eq!(peer.receive(&mut arena).unwrap(), 1);
    assert_eq!(arena.overflows(), Some(u32::try_from(100 - kept).unwrap()));
}

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    let socket = dual();
    let waker = Waker::new().unwrap();
    let start = Instant::now();
    assert_eq!(wait(&socket, &waker, Duration::from_millis(20)).unwrap(), Ready::default());
    assert!(start.elapsed() >= Duration::from_millis(20));
    std::thread::scope(|scope| {
        scope.spawn(|| waker.wake());
        let ready = wait(&socket, &waker, PATIENCE).unwrap();
        assert_eq!(ready, Ready { socket: false, woken: true });
    });
    waker.clear();
    waker.clear();
    assert_eq!(wait(&socket, &waker, Duration::ZERO).unwrap(), Ready::default());
}

/// What segments save, in nanoseconds a datagram, on loopback: `cargo test --release -p lectern --lib segments_pay -- --ignored
/// --nocapture`. Runs of 1, 2, 4 and 8 datagrams to one receiver, as a node's output has them.
#[test]
#[ignore = "a measurement"]
fn segments_pay() {
    let mut arena = SendArena::default();
    for run in [1, 2, 4, 8] {
        let peers: Vec<_> = (0..8).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let port = |i: usize| peers[(i / run) % peers.len()].local_addr().unwrap().port();
        let batch: Vec<_> =
            (0..256).map(|i| transmit("127.0.0.1", "127.0.0.1", port(i), vec![9; 1_200])).collect();
        for segmentation in [false, true] {
            let mut socket = Socket::bind(0, []).unwrap();
            socket.segmentation &= segmentation;
            let best = (0..200)
                .map(|_| {
                    let start = Instant::now();
                    socket.send(&mut arena, &batch);
                    let taken = start.elapsed();
                    let mut buffer = [0; 2_048];
                    for peer in &peers {
                        peer.set_nonblocking(true).unwrap();
                        while peer.recv(&mut buffer).is_ok() {}
                    }
                    taken
                })
                .min()
                .unwrap();
            println!("run {run} segmentation {segmentation}: {} ns", best.as_nanos() / 256);
        }
    }
}

/// A network that is slower than the media: what does not fit is dropped after 5 ms and counted, the worker goes on. Loopback is
/// never slow by itself, so this runs in a namespace of its own:
/// `unshare -rn sh -c 'ip link set lo up; tc qdisc add dev lo root tbf rate 2mbit burst 20kb latency 10s; cargo test -p lectern
/// --lib slower -- --ignored'`.
#[test]
#[ignore = "needs a slowed loopback"]
fn a_slower_network_costs_packets_and_not_time() {
    for segmentation in [true, false] {
        let (mut socket, peer) = (dual(), dual());
        socket.segmentation &= segmentation;
        set_option(&socket.fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 60_000).unwrap();
        let batch: Vec<_> =
            (0..400).map(|_| transmit("127.0.0.1", "127.0.0.1", peer.port(), vec![5; 1_200])).collect();
        let began = Instant::now();
        let sent = socket.send(&mut SendArena::default(), &batch);
        let taken = began.elapsed();
        assert!(sent.datagrams > 0 && sent.dropped > 0, "{sent:?}");
        assert_eq!(sent.datagrams + sent.dropped + sent.failed, 400, "{sent:?}");
        assert!(taken < Duration::from_millis(50), "{taken:?}");
        // It is over when the network has caught up.
        let deadline = Instant::now() + PATIENCE;
        while socket.send(&mut SendArena::default(), &batch[..1]).datagrams == 0 {
            assert!(Instant::now() < deadline, "still full");
        }
    }
}
