//! Carries out what `gate.rs` and `session.rs` decide: sockets of relayed addresses, and what goes through them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus::IntCounter;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use turn_types::stun::attribute::ErrorCode;

use super::gate::{Asker, Gate, Outcome, Refusal, Wanted};
use super::session::{Dropped, Session};
use super::wire;
use crate::clock;
use crate::metrics::Metrics;
use crate::places::Places;

/// Datagrams that a relayed address takes in before others have their turn: a large picture's.
const DATAGRAMS_AT_ONCE: usize = 64;

/// How many free ports are looked at for an even one.
const PORTS_TRIED: usize = 16;

/// Where datagrams for clients go: a socket, or a queue in front of one. It never blocks.
pub trait Datagrams: Send + Sync {
    /// Sends from this address of the machine, if it is known. False when the queue is full and it is lost.
    fn send(&self, from: Option<IpAddr>, to: SocketAddr, contents: Vec<u8>) -> bool;
}

/// The way to a client.
#[derive(Clone)]
pub(super) enum Sink {
    Datagrams { socket: Arc<dyn Datagrams>, local: Option<IpAddr>, client: SocketAddr },
    Stream(mpsc::Sender<Vec<u8>>),
}

impl Sink {
    /// False when it was lost.
    pub(super) fn send(&self, bytes: Vec<u8>) -> bool {
        match self {
            Sink::Datagrams { socket, local, client } => socket.send(*local, *client, bytes),
            // A client that does not take what comes loses it, as on any full link: congestion control sees that.
            Sink::Stream(queue) => queue.try_send(bytes).is_ok(),
        }
    }
}

/// Where peers really are, and with which address relays speak to them.
///
/// The media sockets of this machine are reached without leaving it, also where clients know them by an address that only a
/// NAT in front of the machine has: then by the address that the relay itself has. So neither a firewall nor a NAT needs to know
/// of relayed ports, unless the operator lets relays reach others.
#[derive(Debug, Clone, Default)]
pub(super) struct Ways {
    /// As clients know them, in order of preference.
    pub media: Vec<SocketAddr>,
    /// Addresses of the machine.
    pub local: HashSet<IpAddr>,
    /// Whether there may be other peers.
    pub reaches_out: bool,
}

impl Ways {
    /// The address to bind a relay of this family to, and the one to tell the client.
    fn addresses(&self, is_v4: bool) -> Option<(IpAddr, IpAddr)> {
        let mut of_family = self.media.iter().map(SocketAddr::ip).filter(|ip| ip.is_ipv4() == is_v4);
        let first = of_family.clone().next()?;
        let (any, loopback): (IpAddr, IpAddr) = if is_v4 {
            (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into())
        } else {
            (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into())
        };
        if self.reaches_out {
            return Some((any, first));
        }
        let bound = of_family.find(|ip| self.local.contains(ip)).unwrap_or(loopback);
        Some((bound, bound))
    }

    /// Where a datagram for this peer goes from a relay that is bound to `bound`.
    fn actual(&self, peer: SocketAddr, bound: IpAddr) -> SocketAddr {
        if self.local.contains(&peer.ip()) || !self.media.contains(&peer) {
            return peer;
        }
        let ip = match bound {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(ip, peer.port())
    }
}

/// Clients over UDP that have an allocation, by their address and ours.
pub(super) type Clients = HashMap<(SocketAddr, Option<IpAddr>), Arc<Client>>;

/// What all connections of the relay share.
pub(super) struct Shared {
    pub gate: Mutex<Gate>,
    pub ways: Ways,
    pub bytes_per_second: u64,
    pub clients: Mutex<Clients>,
    pub streams: Places,
    pub metrics: Arc<Metrics>,
    pub up: IntCounter,
    pub down: IntCounter,
    pub runtime: Handle,
    pub stop: watch::Receiver<bool>,
}

/// What became of a client's message.
pub(super) enum Taken {
    Nothing,
    Answer(Vec<u8>),
    Begun(Arc<Client>, Vec<u8>),
    Ended(Vec<u8>),
}

impl Shared {
    /// Takes a message of a client, which has an allocation or not.
    pub(super) fn take(
        self: &Arc<Self>,
        asker: Asker,
        client: Option<&Arc<Client>>,
        bytes: &[u8],
        sink: impl FnOnce() -> Sink,
    ) -> Taken {
        let is_data = match wire::kind(bytes) {
            Some(wire::Kind::Channel) => true,
            // The second bit of the class: an indication (RFC 8489, section 5).
            Some(wire::Kind::Stun) => bytes[0] & 1 == 0 && bytes.get(1).is_some_and(|byte| byte & 0x10 != 0),
            None => return self.refused(Refusal::Malformed),
        };
        if is_data {
            match client {
                Some(client) => client.relay(bytes),
                None => self.dropped("no-allocation"),
            }
            return Taken::Nothing;
        }
        let client = client.filter(|client| !client.is_over());
        let outcome = {
            let mut state = client.map(|client| lock(&client.state));
            let session = state.as_mut().map(|state| &mut state.session);
            let (now, wall) = (Instant::now(), clock::wall().as_secs());
            lock(&self.gate).handle(asker, session, bytes, now, wall)
        };
        match outcome {
            Outcome::Silence(refusal) => self.refused(refusal),
            Outcome::Answer(answer, refusal) => {
                if let Some(refusal) = refusal {
                    self.refused(refusal);
                }
                Taken::Answer(answer)
            }
            Outcome::End(answer) => Taken::Ended(answer),
            Outcome::Allocate(wanted) => self.allocate(asker, &wanted, sink()),
        }
    }

    fn allocate(self: &Arc<Self>, asker: Asker, wanted: &Wanted, sink: Sink) -> Taken {
        let opened = match self.ways.addresses(wanted.is_v4) {
            Some((bound, told)) => self
                .open(bound, wanted.is_even)
                .map(|(socket, port)| (socket, bound, SocketAddr::new(told, port))),
            None => {
                self.refused(Refusal::Unsupported);
                return Taken::Answer(lock(&self.gate).fail(wanted, ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED));
            }
        };
        match opened {
            Ok((socket, bound, relayed)) => {
                let granted = lock(&self.gate).grant(wanted, asker, relayed);
                let session = Session::new(
                    wanted.owner.clone(),
                    granted.clone(),
                    wanted.filter.clone(),
                    asker.is_stream,
                    wanted.is_v4,
                    self.bytes_per_second,
                    Instant::now(),
                );
                let client = Arc::new(Client {
                    username: wanted.owner.username.clone(),
                    state: Mutex::new(State { session, peers: HashMap::new() }),
                    socket,
                    bound,
                    sink,
                    ended: Notify::new(),
                    shared: self.clone(),
                });
                self.metrics.turn_allocations.inc();
                self.runtime.spawn(client.clone().run());
                Taken::Begun(client, granted)
            }
            Err(error) => {
                tracing::warn!(%error, "no socket for a relayed address");
                self.refused(Refusal::Capacity);
                Taken::Answer(lock(&self.gate).fail(wanted, ErrorCode::INSUFFICIENT_CAPACITY))
            }
        }
    }

    fn open(&self, ip: IpAddr, is_even: bool) -> io::Result<(UdpSocket, u16)> {
        // Kept until one fits, so that the next is another.
        let mut odd = Vec::new();
        let (socket, port) = loop {
            let socket = std::net::UdpSocket::bind((ip, 0))?;
            let port = socket.local_addr()?.port();
            if !is_even || port % 2 == 0 {
                break (socket, port);
            }
            odd.push(socket);
            if odd.len() == PORTS_TRIED {
                return Err(io::ErrorKind::AddrInUse.into());
            }
        };
        socket.set_nonblocking(true)?;
        let _context = self.runtime.enter();
        Ok((UdpSocket::from_std(socket)?, port))
    }

    fn refused(&self, refusal: Refusal) -> Taken {
        self.metrics.turn_refusals.with_label_values(&[refusal.name()]).inc();
        Taken::Nothing
    }

    pub(super) fn dropped(&self, reason: &str) {
        self.metrics.turn_dropped.with_label_values(&[reason]).inc();
    }
}

/// A client with an allocation.
pub(super) struct Client {
    username: Arc<str>,
    state: Mutex<State>,
    socket: UdpSocket,
    bound: IpAddr,
    sink: Sink,
    ended: Notify,
    shared: Arc<Shared>,
}

struct State {
    session: Session,
    /// What the client calls peers that are really elsewhere, see [`Ways`].
    peers: HashMap<SocketAddr, SocketAddr>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.metrics.turn_allocations.dec();
        lock(&self.shared.gate).release(&self.username);
    }
}

impl Client {
    /// Ends the allocation.
    pub(super) fn end(&self) {
        self.ended.notify_one();
    }

    /// From the client to a peer.
    fn relay(&self, bytes: &[u8]) {
        let to = {
            let mut state = lock(&self.state);
            state.session.handle_client(bytes, Instant::now()).map(|(peer, payload)| {
                let actual = self.shared.ways.actual(peer, self.bound);
                if actual != peer {
                    // One for each media socket at most: for others the two are the same.
                    state.peers.insert(actual, peer);
                }
                (actual, payload)
            })
        };
        match to {
            Ok((peer, payload)) => {
                let length = payload.len();
                match self.socket.try_send_to(&bytes[payload], peer) {
                    Ok(_) => self.shared.up.inc_by(length as u64),
                    Err(_) => self.shared.dropped("socket"),
                }
            }
            Err(dropped) => self.shared.dropped(reason(dropped)),
        }
    }

    /// From peers to the client, until the allocation ends.
    async fn run(self: Arc<Self>) {
        let mut stop = self.shared.stop.clone();
        let mut datagram = vec![0; wire::FRAME_BYTES];
        loop {
            let expires = lock(&self.state).session.expires();
            tokio::select! {
                ready = self.socket.readable() => {
                    if ready.is_err() {
                        break;
                    }
                    for _ in 0..DATAGRAMS_AT_ONCE {
                        match self.socket.try_recv_from(&mut datagram) {
                            // A full buffer: what was longer has been cut off.
                            Ok((length, _)) if length == datagram.len() => self.shared.dropped("malformed"),
                            Ok((length, from)) => self.deliver(from, &datagram[..length]),
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                            // An earlier datagram found nobody (ECONNREFUSED), which ICE finds out by itself.
                            Err(_) => {}
                        }
                    }
                }
                () = tokio::time::sleep_until(expires.into()) => {
                    if lock(&self.state).session.expires() <= Instant::now() {
                        break;
                    }
                }
                () = self.ended.notified() => break,
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if let Sink::Datagrams { local, client, .. } = self.sink {
            let mut clients = lock(&self.shared.clients);
            // Not one that has come since.
            if clients.get(&(client, local)).is_some_and(|known| Arc::ptr_eq(known, &self)) {
                clients.remove(&(client, local));
            }
        }
    }

    fn deliver(&self, from: SocketAddr, payload: &[u8]) {
        let bytes = {
            let mut state = lock(&self.state);
            let peer = state.peers.get(&from).copied().unwrap_or(from);
            state.session.handle_peer(peer, payload, Instant::now())
        };
        match bytes {
            Ok(bytes) => match self.sink.send(bytes) {
                true => self.shared.down.inc_by(payload.len() as u64),
                false => self.shared.dropped("queue"),
            },
            Err(dropped) => self.shared.dropped(reason(dropped)),
        }
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self) -> bool {
        lock(&self.state).session.expires() <= Instant::now()
    }
}

const fn reason(dropped: Dropped) -> &'static str {
    match dropped {
        Dropped::Malformed => "malformed",
        Dropped::Permission => "permission",
        Dropped::Peer => "peer",
        Dropped::Bandwidth => "bandwidth",
    }
}

/// Each holder of a lock leaves whole what it guards, also when it panics.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn relays_stay_on_the_machine_unless_there_are_peers_elsewhere() {
        let local: HashSet<IpAddr> = ["10.0.0.5", "127.0.0.1"].iter().map(|ip| ip.parse().unwrap()).collect();
        let mut ways = Ways { media: vec![address("198.51.100.7:7882")], local, reaches_out: false };
        let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
        // Behind a NAT: by loopback, whatever the NAT does.
        assert_eq!(ways.addresses(true), Some((loopback, loopback)));
        assert_eq!(ways.addresses(false), None);
        assert_eq!(ways.actual(ways.media[0], loopback), address("127.0.0.1:7882"));
        // With an own address: as it is.
        ways.media.push(address("10.0.0.5:7882"));
        let own: IpAddr = "10.0.0.5".parse().unwrap();
        assert_eq!(ways.addresses(true), Some((own, own)));
        assert_eq!(ways.actual(ways.media[1], own), ways.media[1]);
        assert_eq!(ways.actual(ways.media[0], own), address("10.0.0.5:7882"));
        // With peers elsewhere: on all addresses, known by the one that clients know.
        ways.reaches_out = true;
        assert_eq!(ways.addresses(true), Some((Ipv4Addr::UNSPECIFIED.into(), ways.media[0].ip())));
        assert_eq!(ways.actual(address("9.9.9.9:53"), Ipv4Addr::UNSPECIFIED.into()), address("9.9.9.9:53"));
        assert_eq!(ways.actual(ways.media[0], Ipv4Addr::UNSPECIFIED.into()), address("127.0.0.1:7882"));
    }
}
