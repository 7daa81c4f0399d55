//! The loop: sockets, and a queue of what is on its way.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use sim::link::{Link, LinkConfig, LinkCounters};
use sim::rng::Rng;

/// The socket that browsers send to. A client's socket towards the server has its index as token.
const FRONT: Token = Token(usize::MAX);
/// A line has come, or the end of the input.
const CONTROL: Token = Token(usize::MAX - 1);
/// A browser has one or two sockets in a class; a test has some dozens of browsers.
const MAX_CLIENTS: usize = 1000;
/// Larger than any datagram that the server or a browser sends.
const MAX_DATAGRAM: usize = 2048;

/// What both links do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Links {
    /// From browsers to the server.
    pub up: LinkConfig,
    /// From the server to browsers.
    pub down: LinkConfig,
}

/// What both links did.
#[derive(Debug, Clone, Copy)]
pub struct Counters {
    pub up: LinkCounters,
    pub down: LinkCounters,
    /// Addresses that browsers sent from.
    pub clients: usize,
    /// Datagrams that a socket's full buffer or an error kept from leaving: a loss that is not the link's.
    pub failed: u64,
}

/// A browser's socket.
struct Client {
    address: SocketAddr,
    /// Towards the server.
    socket: UdpSocket,
}

/// Which way a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// A datagram on its way. `number` keeps those of one instant in the order in which they came.
struct Travelling {
    arrives: Instant,
    number: u64,
    way: Way,
    client: usize,
    datagram: Arc<[u8]>,
}

impl PartialEq for Travelling {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Travelling {}

impl PartialOrd for Travelling {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Travelling {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.arrives, self.number).cmp(&(other.arrives, other.number))
    }
}

/// See the [module](self).
pub struct Proxy {
    poll: Poll,
    waker: Arc<Waker>,
    front: UdpSocket,
    local: SocketAddr,
    server: SocketAddr,
    clients: Vec<Client>,
    by_address: HashMap<SocketAddr, usize>,
    links: Links,
    up: Link,
    down: Link,
    queue: BinaryHeap<Reverse<Travelling>>,
    next_number: u64,
    failed: u64,
    control: Receiver<String>,
}

impl Proxy {
    /// Listens at `listen` for browsers that want to reach `server`.
    pub fn bind(
        listen: SocketAddr,
        server: SocketAddr,
        links: Links,
        seed: u64,
        control: Receiver<String>,
    ) -> io::Result<Proxy> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), CONTROL)?);
        let mut front = UdpSocket::bind(listen)?;
        poll.registry().register(&mut front, FRONT, Interest::READABLE)?;
        let local = front.local_addr()?;
        let mut rng = Rng::new(seed);
        Ok(Proxy {
            poll,
            waker,
            front,
            local,
            server,
            clients: Vec::new(),
            by_address: HashMap::new(),
            links,
            up: Link::new(links.up, rng.fork(1)),
            down: Link::new(links.down, rng.fork(2)),
            queue: BinaryHeap::new(),
            next_number: 0,
            failed: 0,
            control,
        })
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Wakes the loop after something was sent to `control`.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Forwards until the other end of `control` is gone. `take` handles a line from it.
    pub fn run<E: From<String>>(
        &mut self,
        mut take: impl FnMut(&str, &mut Links, Counters) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut events = Events::with_capacity(64);
        let mut buffer = [0; MAX_DATAGRAM];
        loop {
            let wait = self
                .queue
                .peek()
                .map(|Reverse(first)| first.arrives.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, wait.map(at_least_a_moment)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(error.to_string().into());
                }
                _ => {}
            }
            for event in &events {
                match event.token() {
                    FRONT => self.read_front(&mut buffer),
                    CONTROL => {}
                    Token(client) => self.read_client(client, &mut buffer),
                }
            }
            loop {
                match self.control.try_recv() {
                    Ok(line) => {
                        let counters = self.counters();
                        take(&line, &mut self.links, counters)?;
                        self.up.set_config(self.links.up);
                        self.down.set_config(self.links.down);
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            self.deliver();
        }
    }

    fn counters(&self) -> Counters {
        Counters {
            up: self.up.counters(),
            down: self.down.counters(),
            clients: self.clients.len(),
            failed: self.failed,
        }
    }

    fn read_front(&mut self, buffer: &mut [u8]) {
        // Until it is empty: the poll tells of a socket only when something new comes.
        loop {
            match self.front.recv_from(buffer) {
                Ok((len, from)) => {
                    if let Some(client) = self.client_of(from) {
                        self.send(Way::Up, client, &buffer[..len]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The port of a browser that has gone; the error is of an earlier datagram.
                Err(_) => {}
            }
        }
    }

    fn read_client(&mut self, client: usize, buffer: &mut [u8]) {
        loop {
            match self.clients[client].socket.recv(buffer) {
                Ok(len) => self.send(Way::Down, client, &buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The server is not there (yet, or any more).
                Err(_) => {}
            }
        }
    }

    fn client_of(&mut self, address: SocketAddr) -> Option<usize> {
        if let Some(client) = self.by_address.get(&address) {
            return Some(*client);
        }
        let index = self.clients.len();
        if index >= MAX_CLIENTS {
            return None;
        }
        let connect = || {
            let mut socket = UdpSocket::bind(SocketAddr::new(self.local.ip(), 0))?;
            socket.connect(self.server)?;
            self.poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
            io::Result::Ok(socket)
        };
        let socket = connect().inspect_err(|error| eprintln!("udp-proxy: {error}")).ok()?;
        self.clients.push(Client { address, socket });
        self.by_address.insert(address, index);
        Some(index)
    }

    /// Puts a datagram onto its link.
    fn send(&mut self, way: Way, client: usize, datagram: &[u8]) {
        let now = Instant::now();
        let link = match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        };
        let arrivals = link.handle(now, datagram.len());
        let mut shared = None;
        for arrives in arrivals.into_iter().flatten() {
            let datagram = Arc::clone(shared.get_or_insert_with(|| Arc::from(datagram)));
            let number = self.next_number;
            self.next_number += 1;
            self.queue.push(Reverse(Travelling { arrives, number, way, client, datagram }));
        }
    }

    /// Lets out what has arrived.
    fn deliver(&mut self) {
        let now = Instant::now();
        while self.queue.peek().is_some_and(|Reverse(first)| first.arrives <= now) {
            let Some(Reverse(Travelling { way, client, datagram, .. })) = self.queue.pop() else { return };
            let Client { address, socket } = &self.clients[client];
            let sent = match way {
                Way::Up => socket.send(&datagram),
                Way::Down => self.front.send_to(&datagram, *address),
            };
            self.failed += u64::from(sent.is_err());
        }
    }
}

/// The kernel waits in whole milliseconds, rounded up: what is nearly due is not worth one.
fn at_least_a_moment(wait: Duration) -> Duration {
    if wait < Duration::from_micros(100) { Duration::ZERO } else { wait }
}
