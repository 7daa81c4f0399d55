use sfu::id::{PeerId, RoomId};

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn config() -> WorkerConfig {
    WorkerConfig {
        index: 0,
        port: 0,
        candidate_ips: vec![ip("127.0.0.1"), ip("::1")],
        stream_addr: None,
        relay: None,
        stats: Arc::default(),
        records: None,
    }
}

/// Waits for something that another thread does.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come true");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_translated_address_stands_for_the_first_candidate_of_its_family() {
    let candidates: Vec<SocketAddr> = ["10.0.0.5:7", "127.0.0.1:7", "[2001:db8::1]:7", "[::1]:7"]
        .map(|candidate| candidate.parse().unwrap())
        .into();
    let (v4, v6) = ("192.0.2.1:9".parse().unwrap(), "[2001:db8::9]:9".parse().unwrap());
    let find = |source, destination: Option<&str>| {
        candidate_for(&candidates, source, destination.map(ip)).map(|candidate| candidate.to_string())
    };
    assert_eq!(find(v4, Some("127.0.0.1")).unwrap(), "127.0.0.1:7");
    assert_eq!(find(v6, Some("::1")).unwrap(), "[::1]:7");
    assert_eq!(find(v4, Some("172.17.0.2")).unwrap(), "10.0.0.5:7");
    assert_eq!(find(v4, None).unwrap(), "10.0.0.5:7");
    assert_eq!(find(v6, Some("2001:db8::77")).unwrap(), "[2001:db8::1]:7");
    assert_eq!(candidate_for(&candidates[..2], v6, Some(ip("::1"))), None);
}

#[test]
fn ends_when_the_last_handle_goes() {
    let (events, _receiver) = mpsc::channel(1);
    let (handle, thread) = start(config(), events).unwrap();
    assert!(handle.is_alive());
    assert_eq!(handle.candidates()[0], SocketAddr::new(ip("127.0.0.1"), handle.udp_addr().port()));
    let second = handle.clone();
    drop(handle);
    let started = Instant::now();
    // Asleep for up to a second by now or soon: the drop must wake it.
    std::thread::sleep(Duration::from_millis(20));
    assert!(!thread.is_finished());
    drop(second);
    thread.join().unwrap();
    assert!(started.elapsed() < Duration::from_millis(900), "woken, not timed out: {:?}", started.elapsed());
}

#[test]
fn ends_when_asked_and_says_so() {
    let (events, mut receiver) = mpsc::channel(1);
    let (handle, thread) = start(config(), events).unwrap();
    handle.shutdown();
    thread.join().unwrap();
    assert!(!handle.is_alive());
    let command = Command::OpenRoom { room: RoomId(1) };
    assert_eq!(handle.send(command), Err(WorkerGone));
    assert_eq!(receiver.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
}

#[test]
fn takes_every_command_before_it_ends() {
    let (events, _receiver) = mpsc::channel(1);
    let (handle, thread) = start(config(), events).unwrap();
    for room in 0..1_000 {
        handle.send(Command::OpenRoom { room: RoomId(room) }).unwrap();
    }
    handle.shutdown();
    thread.join().unwrap();
    assert_eq!(handle.stats().load().rooms, 1_000);
}

#[test]
fn a_taken_port_is_an_error_and_not_a_dead_worker() {
    let (events, _receiver) = mpsc::channel(1);
    let (handle, _thread) = start(config(), events.clone()).unwrap();
    let taken = WorkerConfig { port: handle.udp_addr().port(), ..config() };
    assert_eq!(start(taken, events.clone()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    let nowhere = WorkerConfig { candidate_ips: Vec::new(), ..config() };
    assert_eq!(start(nowhere, events).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
}

#[test]
fn a_worker_counts_what_it_reads_and_sleeps_otherwise() {
    let (events, _receiver) = mpsc::channel(1);
    let (handle, _thread) = start(config(), events).unwrap();
    let stats = handle.stats();
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = ("127.0.0.1", handle.udp_addr().port());
    client.send_to(&[0; 3_000], target).unwrap();
    for _ in 0..100 {
        client.send_to(b"neither STUN nor DTLS nor RTP", target).unwrap();
    }
    eventually("100 datagrams", || stats.load().datagrams_in == 100);
    assert_eq!(stats.oversize.load(Relaxed), 1);
    assert_eq!(stats.load().datagrams_dropped, 100);
    assert!(stats.receive_calls.load(Relaxed) <= 101);
    // Idle: it turns about once a second, and does not spin.
    let turns = stats.turns.load(Relaxed);
    std::thread::sleep(Duration::from_millis(300));
    assert!(stats.turns.load(Relaxed) - turns <= 10, "{} turns in 300 ms", stats.turns.load(Relaxed) - turns);
}

#[test]
fn a_panic_is_kept_in_and_told() {
    let signals =
        Signals { waker: Waker::new().unwrap(), stop: AtomicBool::new(false), ended: AtomicBool::new(false) };
    let (commands, queue) = sync_channel::<Command>(1);
    guard(0, &signals, move || {
        // The worker owns the queue's end, and it goes with it.
        let _queue = queue;
        panic!("a bug in the node");
    });
    assert!(signals.ended.load(Relaxed));
    let stats = Arc::default();
    let udp_addr = "127.0.0.1:1".parse().unwrap();
    let shared = Shared { signals: Arc::new(signals), udp_addr, candidates: Vec::new(), stats };
    let (inflow, _) = sync_channel(1);
    let handle = WorkerHandle { commands, inflow, shared: Arc::new(shared) };
    assert!(!handle.is_alive());
    assert_eq!(handle.send(Command::OpenRoom { room: RoomId(1) }), Err(WorkerGone));
    let message = catch_unwind(|| panic!("number {}", 7)).unwrap_err();
    assert_eq!(panic_message(message.as_ref()), "number 7");
}

fn worker(events: mpsc::Sender<Event>) -> Worker {
    let socket = Socket::bind(0, []).unwrap();
    let candidates = vec![SocketAddr::new(ip("127.0.0.1"), socket.port())];
    let now = Instant::now();
    let node = Node::new(
        NodeConfig {
            candidates: candidates.clone(),
            tcp_candidates: Vec::new(),
            unix_time: crate::clock::unix_time(),
        },
        now,
    );
    let signals = Arc::new(Signals {
        waker: Waker::new().unwrap(),
        stop: AtomicBool::new(false),
        ended: AtomicBool::new(false),
    });
    let (_, commands) = sync_channel(1);
    let streams = Streams { inflow: sync_channel(1).1, candidates: Vec::new(), connected: HashMap::new() };
    Worker::new(&config(), socket, node, candidates, streams, commands, signals, events, now)
}

#[test]
fn what_the_relay_has_to_send_waits_for_nothing_else() {
    let (events, _receiver) = mpsc::channel(1);
    let mut worker = worker(events);
    // Somebody who may yet send commands: without, the worker ends and lets everything lie.
    let (_commands, commands) = sync_channel(1);
    worker.commands = commands;
    let (queue, waiting) = sync_channel(turn::DATAGRAMS_QUEUED);
    let outbox = Arc::new(Outbox { queue, signals: worker.signals.clone() });
    worker.relay = Some(Relay { turn: Arc::default(), outbox: outbox.clone(), waiting });
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..2 * TRANSMITS + 1 {
        outbox.send(None, client.local_addr().unwrap(), vec![0; 20]);
    }
    let mut received = ReceiveArena::default();
    let more: Vec<bool> = (0..3).map(|_| worker.turn(Instant::now(), &mut received).unwrap().work).collect();
    // Nobody wakes it for the rest: it must know that there is some.
    assert_eq!(more, [true, true, false]);
}

#[test]
fn lessons_that_lag_get_every_event_that_matters_in_order() {
    let (events, mut receiver) = mpsc::channel(2);
    let mut worker = worker(events);
    let connected = |i: usize| Event::Connected { room: RoomId(1), peer: PeerId(i as u64) };
    let speakers = || Event::Speakers { room: RoomId(1), levels: Vec::new(), active: None };
    for i in 0..WAITING_EVENTS + 100 {
        worker.publish(connected(i));
        worker.publish(speakers());
    }
    assert!(worker.stats.events_dropped.load(Relaxed) > 0, "only speakers were");
    assert_eq!(worker.patience(worker.node_timeout - Duration::from_secs(1)), RETRY);
    let mut next = 0;
    while next < WAITING_EVENTS + 100 {
        let event = receiver.try_recv().expect("retried below");
        if !matches!(event, Event::Speakers { .. }) {
            assert_eq!(event, connected(next));
            next += 1;
        }
        worker.retry_events();
    }
    for i in 0..2 * WAITING_EVENTS_HARD {
        worker.publish(connected(i));
    }
    assert_eq!(worker.waiting.len(), WAITING_EVENTS_HARD, "lessons that hang cost bounded memory");
    drop(receiver);
    worker.retry_events();
    assert!(worker.waiting.is_empty());
}

#[test]
fn one_log_line_and_a_count_of_the_others() {
    let mut limit = LogLimit::default();
    let start = Instant::now();
    assert_eq!(limit.take(start), Some(0));
    assert_eq!(limit.take(start + Duration::from_secs(1)), None);
    assert_eq!(limit.take(start + Duration::from_secs(9)), None);
    assert_eq!(limit.take(start + LOG_INTERVAL), Some(2));
}
