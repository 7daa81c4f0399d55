//! The proxy as a process: what it loses, how fast it is, and who gets what.
//!
//! Nothing here waits for luck: a test waits until the proxy says that it has taken what was sent, and knows from its counters how
//! much of that arrives.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so and stops")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Nothing takes this long unless it never comes.
const NEVER: Duration = Duration::from_secs(20);

struct Proxy {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Proxy {
    fn start(server: &UdpSocket, up: &Value, down: &Value, seed: u64) -> Proxy {
        let mut child = Command::new(env!("CARGO_BIN_EXE_udp-proxy"))
            .args(["--to", &server.local_addr().unwrap().to_string()])
            .args(["--up", &up.to_string(), "--down", &down.to_string(), "--seed", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut proxy = Proxy { child, input, output, address: SocketAddr::from(([0, 0, 0, 0], 0)) };
        let said = proxy.read();
        proxy.address = said["listen"].as_str().unwrap().parse().unwrap();
        assert_eq!(said["port"], proxy.address.port());
        proxy
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn tell(&mut self, line: &str) -> Value {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        self.read()
    }

    /// Waits until the link upwards has taken this many datagrams; gives the counters of then.
    fn taken(&mut self, datagrams: u64) -> Value {
        let deadline = Instant::now() + NEVER;
        loop {
            let counters = self.tell("{}");
            if counters["up"]["sent"] == datagrams {
                return counters;
            }
            assert!(Instant::now() < deadline, "the proxy took {counters} of {datagrams}");
            std::thread::yield_now();
        }
    }

    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(NEVER)).unwrap();
    socket
}

fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut datagram = vec![0; len];
    datagram[..4].copy_from_slice(&number.to_be_bytes());
    datagram
}

fn receive(socket: &UdpSocket) -> (u32, SocketAddr) {
    let mut buffer = [0; 2048];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    assert!(len >= 4);
    (u32::from_be_bytes(buffer[..4].try_into().unwrap()), from)
}

/// Sends `count` numbered datagrams in portions that no socket's buffer is too small for; gives the numbers in the order in which
/// they arrived.
fn pour(proxy: &mut Proxy, server: &UdpSocket, count: u32) -> (Vec<u32>, Value) {
    let browser = socket();
    let before = proxy.tell("{}")["up"]["sent"].as_u64().unwrap();
    let mut arrived: Vec<u32> = Vec::new();
    let mut counters = Value::Null;
    for number in 0..count {
        browser.send_to(&numbered(number, 200), proxy.address).unwrap();
        if number % 40 == 39 || number + 1 == count {
            counters = proxy.taken(before + u64::from(number) + 1);
            let up = &counters["up"];
            let get = |name: &str| up[name].as_u64().unwrap();
            let arriving =
                usize::try_from(get("sent") - get("lost") - get("overflowed") + get("duplicated")).unwrap();
            while arrived.len() < arriving {
                arrived.push(receive(server).0);
            }
        }
    }
    (arrived, counters)
}

#[test]
fn loses_the_share_that_was_asked_for_and_with_a_seed_always_the_same() {
    let run = |seed, up| {
        let server = socket();
        let mut proxy = Proxy::start(&server, &up, &json!({}), seed);
        let (arrived, counters) = pour(&mut proxy, &server, 4000);
        assert_eq!(counters["failed"], 0);
        proxy.end();
        arrived
    };
    for up in [json!({"loss": 0.1}), json!({"loss": 0.1, "burstLength": 4})] {
        let arrived = run(7, up.clone());
        let share = 1.0 - arrived.len() as f64 / 4000.0;
        assert!((0.07..0.13).contains(&share), "{up}: lost {share}");
        assert_eq!(arrived, run(7, up.clone()), "the same seed");
        assert_ne!(arrived, run(8, up), "another seed");
    }
}

#[test]
fn keeps_the_order_unless_told_otherwise() {
    for (up, ordered) in [
        (json!({"jitterMs": 5}), true),
        (json!({"jitterMs": 5, "jitterReorders": true, "duplicateRate": 0.1}), false),
    ] {
        let server = socket();
        let mut proxy = Proxy::start(&server, &up, &json!({}), 3);
        let (arrived, _) = pour(&mut proxy, &server, 400);
        assert_eq!(arrived.is_sorted(), ordered, "{up}");
        assert_eq!(arrived.iter().copied().collect::<BTreeSet<_>>(), (0..400).collect(), "{up}: all of them");
        assert_eq!(arrived.len() > 400, !ordered, "{up}: copies");
        proxy.end();
    }
}

#[test]
fn a_rate_holds_and_can_be_changed_while_it_runs() {
    let server = socket();
    let browser = socket();
    let rate = |bits_per_second: u32| json!({"up": {"bitsPerSecond": bits_per_second, "queueBytes": 40_000}});
    let mut proxy = Proxy::start(&server, &json!({}), &json!({}), 1);
    // 20 times 1000 bytes are 160,000 bits.
    let took = |proxy: &mut Proxy| {
        let from = Instant::now();
        for number in 0..20 {
            browser.send_to(&numbered(number, 1000), proxy.address).unwrap();
        }
        for number in 0..20 {
            assert_eq!(receive(&server).0, number);
        }
        from.elapsed()
    };
    proxy.tell(&rate(400_000).to_string());
    let slow = took(&mut proxy);
    proxy.tell(&rate(4_000_000).to_string());
    let fast = took(&mut proxy);
    let ms = Duration::from_millis;
    // Never faster than the rate; slower by what the machine's other work costs.
    assert!((ms(400)..ms(600)).contains(&slow), "{slow:?}");
    assert!((ms(40)..ms(240)).contains(&fast), "{fast:?}");

    // What the queue does not hold is dropped: 20 at once, of which one is being sent and about five wait.
    proxy.tell(&json!({"up": {"bitsPerSecond": 100_000, "queueBytes": 5000}}).to_string());
    for number in 0..20 {
        browser.send_to(&numbered(number, 1000), proxy.address).unwrap();
    }
    let counters = proxy.taken(60);
    assert!(counters["up"]["overflowed"].as_u64().unwrap() >= 12, "{counters}");
    proxy.end();
}

#[test]
fn each_browser_gets_its_own_answers_and_delay_is_per_direction() {
    let server = socket();
    let mut proxy = Proxy::start(&server, &json!({}), &json!({"delayMs": 60}), 1);
    let browsers = [socket(), socket(), socket()];
    let mut seen = BTreeSet::new();
    for (number, browser) in (0..).zip(&browsers) {
        browser.send_to(&numbered(number, 100), proxy.address).unwrap();
        let from = Instant::now();
        let (got, source) = receive(&server);
        assert_eq!(got, number);
        assert!(seen.insert(source), "the server can tell them apart");
        server.send_to(&numbered(number + 100, 100), source).unwrap();
        let (answer, answered_from) = receive(browser);
        assert_eq!((answer, answered_from), (number + 100, proxy.address));
        assert!(from.elapsed() >= Duration::from_millis(60), "{:?}", from.elapsed());
    }
    assert_eq!(proxy.tell("{}")["clients"], 3);

    proxy.tell(r#"{"up": {"down": true}}"#);
    browsers[0].send_to(&numbered(9, 100), proxy.address).unwrap();
    assert_eq!(proxy.taken(4)["up"]["lost"], 1);
    // And a line that is wrong changes nothing.
    assert!(proxy.tell(r#"{"up": {}, "down": {"los": 0.5}}"#)["error"].as_str().unwrap().contains("los"));
    browsers[0].send_to(&numbered(9, 100), proxy.address).unwrap();
    assert_eq!(proxy.taken(5)["up"]["lost"], 2);
    proxy.end();
}
