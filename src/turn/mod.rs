//! TURN (RFC 8656): a relay for clients whose network lets nothing through to the media ports, inside the process.
//!
//! [`start`] brings up what the settings ask for; [`Turn`] takes clients from anywhere: datagrams with
//! [`Turn::handle_datagram`], and any stream of bytes (TCP, TLS) with [`Turn::serve_stream`]. `gate.rs`, `session.rs`,
//! `filter.rs`, `credentials.rs` and `wire.rs` decide, without clock or socket; `relay.rs` and `listen.rs` carry out.

pub mod credentials;
mod filter;
mod gate;
mod listen;
mod relay;
mod servers;
mod session;
mod wire;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use turn_types::stun::attribute::{AttributeStaticType, Username};
use turn_types::stun::message::{BINDING, MessageClass};

pub use filter::is_public;
pub use listen::{DATAGRAMS_QUEUED, Listening, transmit};
pub use relay::Datagrams;
pub use servers::IceServers;
pub use wire::REALM;

use self::filter::Filter;
use self::gate::{Asker, Gate, Limits};
use self::relay::{Client, Shared, Sink, Taken, Ways, lock};
use crate::addresses;
use crate::config::{Secret, Settings};
use crate::metrics::{Counted, Metrics};
use crate::places::Places;
use crate::secrets::{random, random_hex};

/// The port of TURN (RFC 8656, section 3.1).
const PORT: u16 = 3478;
/// How long a stream may be without an allocation.
const IDLE: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what is sent to it.
const STALL: Duration = Duration::from_secs(20);
/// Messages that wait for a stream: a large picture in packets.
const QUEUE: usize = 128;
/// Bytes that are written to a stream at once.
const WRITE_BYTES: usize = 16 * 1024;
/// The share of all streams that one address may have.
const SHARE_OF_STREAMS: usize = 4;

/// Why TURN did not start.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The port cannot be had.
    #[error(
        "turn_port: cannot listen on port {port} of UDP and TCP: {source}; choose another with --turn-port, or 0 to do without"
    )]
    Listen {
        /// As set, or the default.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// Other servers cannot know a secret that was made here.
    #[error("turn_urls: the servers named there test credentials with a secret; set the same as turn_secret")]
    NoSecret,
}

/// The port that everything has.
#[derive(Debug, Clone, Copy)]
pub struct OnePort {
    /// Its number.
    pub port: u16,
    /// Whether clients of the relay may come by TLS there, with a certificate that somebody vouches for.
    pub has_tls: bool,
}

/// What [`start`] has started.
pub struct Started {
    /// The relay, unless it is switched off or there are others.
    pub turn: Option<Turn>,
    /// Its port.
    pub listening: Option<Listening>,
    /// What participants are told.
    pub ice_servers: IceServers,
}

/// Starts the relay, unless the settings name others or switch it off. `media` are the addresses of the media workers as
/// clients know them. When there is one port for everything, others take the relay's clients there and bring them to
/// [`Started::turn`].
///
/// # Errors
/// When its port cannot be had, or settings contradict each other.
pub fn start(
    settings: &Settings,
    media: Vec<SocketAddr>,
    one_port: Option<OnePort>,
    metrics: Arc<Metrics>,
) -> Result<Started, TurnError> {
    let lifetime = Duration::from_secs(settings.turn_credential_seconds);
    if !settings.turn_urls.is_empty() {
        let secret = settings.turn_secret.clone().ok_or(TurnError::NoSecret)?;
        let ice_servers = IceServers::of_others(settings.turn_urls.clone(), secret, lifetime);
        return Ok(Started { turn: None, listening: None, ice_servers });
    }
    let port = match settings.turn_port {
        Some(0) => {
            let ice_servers = IceServers::new(Vec::new(), Secret::new(""), lifetime);
            return Ok(Started { turn: None, listening: None, ice_servers });
        }
        Some(port) => port,
        None if settings.udp_port == 0 => 0,
        None => PORT,
    };
    // Nobody but this process tests the credentials, so they need not outlive it.
    let secret = settings.turn_secret.clone().unwrap_or_else(|| Secret::new(random_hex::<32>()));
    let hosts = match &settings.turn_host {
        Some(host) => vec![host.clone()],
        None => servers::hosts(&media.iter().map(SocketAddr::ip).collect::<Vec<_>>()),
    };
    let turn = Turn::new(settings, &secret, media, metrics);
    if let Some(OnePort { port, has_tls }) = one_port {
        let urls = servers::one_port_urls(&hosts, port, has_tls);
        tracing::info!(port, ?urls, "TURN listens");
        let ice_servers = IceServers::new(urls, secret, lifetime);
        return Ok(Started { turn: Some(turn), listening: None, ice_servers });
    }
    let listening = match Listening::start(&turn, port) {
        // Another relay or another Lectern has the usual port. Clients are told the port, so that any does; an operator who
        // opens a firewall for it names one.
        Err(error) if settings.turn_port.is_none() && error.kind() == io::ErrorKind::AddrInUse => {
            tracing::warn!(
                "TURN: port {port} is taken, taking a free one; set turn_port where a firewall must know it"
            );
            Listening::start(&turn, 0)
        }
        result => result,
    };
    let listening = listening.map_err(|source| TurnError::Listen { port, source })?;
    let urls = servers::own_urls(&hosts, listening.address().port());
    tracing::info!(port = listening.address().port(), ?urls, "TURN listens");
    let ice_servers = IceServers::new(urls, secret, lifetime);
    Ok(Started { turn: Some(turn), listening: Some(listening), ice_servers })
}

/// Whether a datagram that has come to a port of media is for the relay: ChannelData, and STUN that is no part of ICE's checks,
/// which alone name a user in a binding request.
pub fn is_for_relay(datagram: &[u8]) -> bool {
    match wire::kind(datagram) {
        Some(wire::Kind::Channel) => true,
        Some(wire::Kind::Stun) => wire::message(datagram).is_some_and(|message| {
            !message.has_method(BINDING)
                || (message.has_class(MessageClass::Request) && !message.has_attribute(Username::TYPE))
        }),
        None => false,
    }
}

/// The relay. Clones are the same one.
#[derive(Clone)]
pub struct Turn {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}

impl Turn {
    fn new(settings: &Settings, secret: &Secret, media: Vec<SocketAddr>, metrics: Arc<Metrics>) -> Self {
        let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        // Without them relays work all the same, by loopback.
        let own = addresses::own().unwrap_or_default();
        let filter = Arc::new(Filter {
            media: media.clone(),
            denied: settings.turn_deny_peers.clone(),
            allowed: settings.turn_allow_peers.clone(),
            public: settings.turn_public_peers,
            own: own.iter().copied().chain(media.iter().map(SocketAddr::ip)).collect(),
        });
        let limits = Limits {
            per_credential: count(settings.turn_allocations_per_credential),
            total: count(settings.turn_allocations),
        };
        let now = Instant::now();
        let reaches_out = filter.reaches_out();
        let gate = Gate::new(secret.expose().as_bytes(), &random::<32>(), limits, filter, now);
        let (stop, stopping) = watch::channel(false);
        let relayed = |direction| metrics.turn_bytes.with_label_values(&[direction]);
        let shared = Arc::new(Shared {
            gate: Mutex::new(gate),
            ways: Ways { media, local: own.into_iter().collect(), reaches_out },
            bytes_per_second: settings.turn_kilobits_per_second * 1000 / 8,
            clients: Mutex::default(),
            streams: Places::new(limits.total, limits.total.div_ceil(SHARE_OF_STREAMS)),
            up: relayed("up"),
            down: relayed("down"),
            metrics,
            runtime: tokio::runtime::Handle::current(),
            stop: stopping,
        });
        Turn { shared, stop }
    }

    /// Takes a datagram of a client, which was sent to this address of the machine, if that is known. Answers, now and later, go
    /// to `socket`, whose owner this may be called by: it must only put them into a queue.
    pub fn handle_datagram(
        &self,
        socket: &Arc<dyn Datagrams>,
        source: SocketAddr,
        destination: Option<IpAddr>,
        contents: &[u8],
    ) {
        let key = (source, destination);
        let client = lock(&self.shared.clients).get(&key).cloned();
        let asker = Asker { address: source, is_stream: false };
        let sink = || Sink::Datagrams { socket: socket.clone(), local: destination, client: source };
        let answer = match self.shared.take(asker, client.as_ref(), contents, sink) {
            Taken::Nothing => return,
            Taken::Answer(answer) => answer,
            Taken::Begun(client, answer) => {
                lock(&self.shared.clients).insert(key, client);
                answer
            }
            Taken::Ended(answer) => {
                // Out of the map at once: the next message from there is a new client's.
                lock(&self.shared.clients).remove(&key);
                if let Some(client) = client {
                    client.end();
                }
                answer
            }
        };
        if !socket.send(destination, source, answer) {
            self.shared.dropped("queue");
        }
    }

    /// Serves a client over a stream of bytes until either side ends it.
    pub async fn serve_stream(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        source: SocketAddr,
    ) {
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let Ok(_place) = self.shared.streams.take(source.ip()) else {
            self.shared.metrics.turn_refusals.with_label_values(&["connections"]).inc();
            return;
        };
        let _counted = Counted::new(&self.shared.metrics.turn_streams);
        let (mut reading, mut writing) = tokio::io::split(stream);
        let (out, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE);
        let mut stop = self.shared.stop.clone();
        let mut streaming =
            Streaming { turn: self, asker: Asker { address: source, is_stream: true }, out, client: None };
        let writer = async {
            let mut bytes = Vec::new();
            while let Some(message) = queue.recv().await {
                bytes.clear();
                bytes.extend(message);
                while bytes.len() < WRITE_BYTES
                    && let Ok(message) = queue.try_recv()
                {
                    bytes.extend(message);
                }
                match tokio::time::timeout(STALL, writing.write_all(&bytes)).await {
                    Ok(Ok(())) => {}
                    _ => return,
                }
            }
        };
        tokio::select! {
            () = streaming.read(&mut reading) => {}
            () = writer => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Ends all allocations and streams.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// One client over a stream.
struct Streaming<'a> {
    turn: &'a Turn,
    asker: Asker,
    out: mpsc::Sender<Vec<u8>>,
    client: Option<Arc<Client>>,
}

/// With its connection goes the allocation (RFC 8656, section 3.1), however it ends.
impl Drop for Streaming<'_> {
    fn drop(&mut self) {
        if let Some(client) = &self.client {
            client.end();
        }
    }
}

impl Streaming<'_> {
    /// Reads until the stream ends, says what is no TURN, or has no allocation for too long.
    async fn read(&mut self, reading: &mut (impl AsyncRead + Unpin)) {
        // Of one message and what comes with it.
        let mut bytes = vec![0; 2 * wire::FRAME_BYTES];
        let mut filled = 0;
        let mut idle_since = tokio::time::Instant::now();
        loop {
            let read = tokio::time::timeout_at(idle_since + IDLE, reading.read(&mut bytes[filled..])).await;
            if self.client.as_ref().is_some_and(|client| client.is_over()) {
                self.client = None;
            }
            match read {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(more)) => filled += more,
                Err(_) if self.client.is_none() => return,
                Err(_) => idle_since = tokio::time::Instant::now(),
            }
            let mut begin = 0;
            loop {
                match wire::frame(&bytes[begin..filled]) {
                    Ok(Some(length)) if begin + length <= filled => {
                        self.take(&bytes[begin..begin + length]);
                        begin += length;
                    }
                    Ok(_) => break,
                    Err(wire::NotTurn) => return,
                }
            }
            bytes.copy_within(begin..filled, 0);
            filled -= begin;
            if self.client.is_some() {
                idle_since = tokio::time::Instant::now();
            }
        }
    }

    fn take(&mut self, message: &[u8]) {
        let sink = || Sink::Stream(self.out.clone());
        let answer = match self.turn.shared.take(self.asker, self.client.as_ref(), message, sink) {
            Taken::Nothing => return,
            Taken::Answer(answer) => answer,
            Taken::Begun(client, answer) => {
                self.client = Some(client);
                answer
            }
            Taken::Ended(answer) => {
                if let Some(client) = self.client.take() {
                    client.end();
                }
                answer
            }
        };
        // A client that asks without reading the answers loses them.
        let _ = self.out.try_send(answer);
    }
}
