//! Relays (TURN, RFC 8656) that carry a scenario's packets from one peer to as many clients, each over its own allocation and channel:
//! coturn as a yardstick of a server, and Lectern's own relay beside coturn (`--scenario relay`).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Serialize;
use sfu::io::{Transmit, Transport};
use turn_types::attribute::{ChannelNumber, RequestedTransport, XorPeerAddress, XorRelayedAddress};
use turn_types::message::{ALLOCATE, CHANNEL_BIND};
use turn_types::stun::attribute::{ErrorCode, Nonce, Realm, Username};
use turn_types::stun::message::{
    IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message, MessageWrite, MessageWriteExt,
    MessageWriteVec, Method,
};

use super::media::loopback;
use super::server::{Process, Target, own_folder};
use super::traffic::Traffic;
use super::usage::{Usage, own_thread};
use super::yardstick::{Cost, feed};
use crate::turn::credentials;
use crate::udp::{ReceiveArena, SendArena, Socket, Waker, wait};

/// Debian's name of the program.
const PROGRAM: &str = "turnserver";
/// How long a relay may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first channel (RFC 8656, section 12).
const CHANNEL: u16 = 0x4000;
/// UDP as the transport of an allocation (RFC 8656, section 18.8).
const UDP: u8 = 17;
/// A time that does not come, in seconds since 1970.
const FAR_SECS: u64 = 1 << 40;
/// How long what was sent last may be on its way.
const TAIL: Duration = Duration::from_millis(100);
/// Each step of the search for the highest rate has so many times the clients of the one before, and is looked at for so long.
const STEP_FACTOR: f64 = 1.5;
const STEP: Duration = Duration::from_millis(1500);
/// Most clients of it.
pub const STEP_PEOPLE: usize = 1500;
/// Share of its core from which on the generator may be what is late.
const GENERATOR_LIMIT: f64 = 0.9;

/// Whether coturn is there.
pub fn is_installed() -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(PROGRAM).is_file())
}

/// Has coturn relay for a while.
///
/// # Errors
/// When it does not start or does not answer as a relay does.
pub fn coturn(traffic: &Traffic, seconds: Duration) -> Result<Cost, String> {
    Relay::coturn()?.carry(traffic, seconds).map(|carried| carried.cost)
}

/// Keeps a relay's process.
enum Running {
    Coturn(Process),
    Lectern(Target),
}

/// A relay in a process of its own.
struct Relay {
    name: &'static str,
    running: Running,
    address: SocketAddr,
    /// Makes its credentials; none where it wants none.
    secret: Option<&'static str>,
}

/// What a relay has carried.
#[derive(Debug, Clone, Copy, Default)]
struct Carried {
    /// CPU of the relay, and packets that arrived.
    cost: Cost,
    /// Packets given to it.
    sent: u64,
    time: Duration,
    /// CPU of the generator's thread.
    generator: Duration,
}

impl Carried {
    fn and(self, other: Carried) -> Carried {
        Carried {
            cost: self.cost.and(other.cost),
            sent: self.sent + other.sent,
            time: self.time + other.time,
            generator: self.generator + other.generator,
        }
    }

    fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.cost.packets)
    }
}

impl Relay {
    fn coturn() -> Result<Relay, String> {
        let folder = own_folder("coturn")?;
        // Free a moment ago; should somebody else take it, coturn ends and says so.
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let address = free.map_err(|error| error.to_string())?;
        let port = address.port().to_string();
        let mut command = Command::new(PROGRAM);
        command
            .args(["-n", "--no-auth", "--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-cli"])
            .args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--listening-port", &port])
            .args(["--relay-threads", "1", "--no-stdout-log", "--realm", "bench", "--pidfile"])
            .arg(folder.join("pid"))
            .arg("--userdb")
            .arg(folder.join("db"))
            .arg("--log-file")
            .arg(folder.join("turn.log"));
        let running = Running::Coturn(Process::start(command, folder)?);
        Ok(Relay { name: "coturn", running, address, secret: None })
    }

    /// Lectern's, which relays to this machine's own addresses only when told to.
    fn lectern(program: &Path) -> Result<Relay, String> {
        let secret = "the secret of one measurement";
        let more = [
            ["--turn-secret", secret],
            ["--turn-allow-peers", "127.0.0.1"],
            ["--turn-kilobits-per-second", "1000000"],
        ];
        let target = Target::start(program, more.as_flattened())?;
        let address = target.turn.ok_or("the server to be measured has no relay")?;
        Ok(Relay { name: "lectern", running: Running::Lectern(target), address, secret: Some(secret) })
    }

    fn pid(&self) -> Result<u32, String> {
        match &self.running {
            Running::Coturn(process) => Ok(process.pid()),
            Running::Lectern(target) => target.pid.ok_or_else(|| "a server without a process".to_owned()),
        }
    }

    /// Opens an allocation for each client, and has one peer send to all of them for a while.
    fn carry(&mut self, traffic: &Traffic, seconds: Duration) -> Result<Carried, String> {
        let mut socket = Socket::bind(0, []).map_err(|error| error.to_string())?;
        let receivers = traffic.viewers.max(traffic.listeners);
        let peer = SocketAddr::from(([127, 0, 0, 1], socket.port()));
        let mut relays = Vec::with_capacity(receivers);
        for receiver in 0..receivers {
            let client = SocketAddr::new(loopback(receiver as u32 + 1).into(), socket.port());
            // Each its own, as participants have; good beyond any measurement's end.
            let credential = self.secret.map(|secret| {
                credentials::issue(secret.as_bytes(), "bench", &receiver.to_string(), FAR_SECS)
            });
            let mut asking = Asking { relay: self, socket: &mut socket, client, credential, nonce: None };
            let reply = asking.ask(ALLOCATE, &|message| {
                message.add_attribute(&RequestedTransport::new(UDP)).map_err(|error| error.to_string())
            })?;
            let relayed = Message::from_bytes(&reply).ok().and_then(|reply| {
                let address = reply.attribute::<XorRelayedAddress>().ok()?;
                Some(address.addr(reply.transaction_id()))
            });
            relays.push(relayed.ok_or_else(|| format!("{}'s answer has no relayed address", self.name))?);
            asking.ask(CHANNEL_BIND, &|message| {
                let peer = XorPeerAddress::new(peer, message.transaction_id());
                let added = message.add_attribute(&ChannelNumber::new(CHANNEL));
                added.and_then(|()| message.add_attribute(&peer)).map_err(|error| error.to_string())
            })?;
        }
        let before = Usage::read(self.pid()?)?;
        let (own, began, mut sent) = (own_thread(), Instant::now(), 0);
        let mut packets = feed(&mut socket, traffic, seconds, |due, out| {
            // Sixteen bytes for the tag, so that what is on the wire is as long.
            let contents = vec![0x80; due.bytes + 16];
            sent += due.receivers as u64;
            out.extend(relays[..due.receivers].iter().map(|relay| Transmit {
                transport: Transport::Udp,
                source: peer,
                destination: *relay,
                contents: contents.clone(),
                forwarded: false,
            }));
        })?;
        let (time, generator) = (began.elapsed(), own_thread() - own);
        let waker = Waker::new().map_err(|error| error.to_string())?;
        let (mut arena, until) = (ReceiveArena::default(), Instant::now() + TAIL);
        while Instant::now() < until {
            packets += socket.receive(&mut arena).map_err(|error| error.to_string())? as u64;
            let _ = wait(&socket, &waker, Duration::from_millis(5));
        }
        let cpu = Usage::read(self.pid()?)?.cpu.saturating_sub(before.cpu);
        Ok(Carried { cost: Cost { cpu, packets }, sent, time, generator })
    }
}

/// What a request is about.
type Fill<'a> = &'a dyn Fn(&mut MessageWriteVec) -> Result<(), String>;

/// A client that asks a relay.
struct Asking<'a> {
    relay: &'a Relay,
    socket: &'a mut Socket,
    client: SocketAddr,
    credential: Option<credentials::Credential>,
    nonce: Option<String>,
}

impl Asking<'_> {
    /// Asks for something; with credentials as soon as the relay wants them (RFC 8489, section 9.2).
    fn ask(&mut self, method: Method, fill: Fill<'_>) -> Result<Vec<u8>, String> {
        for _ in 0..2 {
            let reply = self.exchange(&self.request(method, fill)?)?;
            let answer = Message::from_bytes(&reply).map_err(|error| error.to_string())?;
            match answer.attribute::<ErrorCode>() {
                Err(_) => return Ok(reply),
                Ok(error) if error.code() == ErrorCode::UNAUTHORIZED && self.nonce.is_none() => {
                    let nonce = answer.attribute::<Nonce>().map_err(|error| error.to_string())?;
                    self.nonce = Some(nonce.nonce().to_owned());
                }
                Ok(error) => {
                    return Err(format!("{} refuses {method}: {}", self.relay.name, error.code()));
                }
            }
        }
        Err(format!("{} wants credentials again and again", self.relay.name))
    }

    fn request(&self, method: Method, fill: Fill<'_>) -> Result<Vec<u8>, String> {
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        fill(&mut message)?;
        if let (Some(nonce), Some(credential)) = (&self.nonce, &self.credential) {
            let added = || -> Result<(), Box<dyn std::error::Error>> {
                message.add_attribute(&Username::new(&credential.username)?)?;
                message.add_attribute(&Realm::new(crate::turn::REALM)?)?;
                message.add_attribute(&Nonce::new(nonce)?)?;
                message.add_message_integrity_with_key(&key(credential), IntegrityAlgorithm::Sha1)?;
                Ok(())
            }();
            added.map_err(|error| error.to_string())?;
        }
        Ok(message.finish())
    }

    /// Sends a request until there is an answer: the program may not listen yet.
    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        let transmit = Transmit {
            transport: Transport::Udp,
            source: self.client,
            destination: self.relay.address,
            contents: request.to_vec(),
            forwarded: false,
        };
        let waker = Waker::new().map_err(|error| error.to_string())?;
        let (mut arena, mut sending) = (ReceiveArena::default(), SendArena::default());
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            self.socket.send(&mut sending, std::slice::from_ref(&transmit));
            let until = Instant::now() + Duration::from_millis(200);
            while Instant::now() < until {
                let _ = wait(self.socket, &waker, until.saturating_duration_since(Instant::now()));
                let _ = self.socket.receive(&mut arena);
                // The transaction id (RFC 8489, section 5).
                let is_answer = |bytes: &[u8]| bytes.len() >= 20 && bytes[8..20] == request[8..20];
                if let Some(answer) = arena.datagrams().find(|datagram| is_answer(datagram.contents)) {
                    return Ok(answer.contents.to_vec());
                }
            }
        }
        Err(format!("{} does not answer", self.relay.name))
    }
}

fn key(credential: &credentials::Credential) -> IntegrityKey {
    let (username, password) = (credential.username.clone(), credential.password.clone());
    LongTermKeyCredentials::new(username, password, crate::turn::REALM.into())
        .make_key(IntegrityAlgorithm::Sha1)
}

/// What `--scenario relay` has found. Names end in their unit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayReport {
    /// Clients.
    pub people: usize,
    /// Of the camera that each gets.
    pub bits_per_second: u64,
    /// Lectern's own relay.
    pub lectern: RelayFigures,
    /// coturn, or why there is none.
    pub coturn: Result<RelayFigures, String>,
    /// CPU a packet of the first over the second.
    pub ratio: Option<f64>,
}

/// One relay's figures.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayFigures {
    /// CPU of the whole process for a packet that arrived, in nanoseconds.
    pub nanos_per_packet: Option<f64>,
    /// Packets that arrived, a second.
    pub packets_per_second: f64,
    /// Packets that did not arrive.
    pub lost: u64,
    /// Highest rate of a step at which no more than the permitted share was lost, in packets a second.
    pub best_packets_per_second: f64,
    /// What the relay took of a core then.
    pub best_cpu_share: f64,
    /// Why the search has ended: `loss`, `generator` (which could not send more), or nothing.
    pub broke_by: Option<&'static str>,
}

/// Measures Lectern's relay beside coturn: in turns, as the machine may change its mind in between.
///
/// # Errors
/// When Lectern's does not start or answer.
pub fn compare(
    program: &Path,
    traffic: &Traffic,
    seconds: Duration,
    loss: f64,
) -> Result<RelayReport, String> {
    let mut own = Relay::lectern(program)?;
    let mut other = if is_installed() { Relay::coturn() } else { Err("coturn is not installed".to_owned()) };
    let quarter = (seconds / 4).max(Duration::from_millis(500));
    let (mut carried, mut by_other) = (Carried::default(), Carried::default());
    for _ in 0..4 {
        carried = carried.and(own.carry(traffic, quarter)?);
        if let Ok(relay) = &mut other {
            match relay.carry(traffic, quarter) {
                Ok(more) => by_other = by_other.and(more),
                Err(error) => other = Err(error),
            }
        }
    }
    let lectern = figures(&mut own, traffic, &carried, loss)?;
    let coturn = other.and_then(|mut relay| figures(&mut relay, traffic, &by_other, loss));
    let ratio =
        coturn.as_ref().ok().and_then(|coturn| Some(lectern.nanos_per_packet? / coturn.nanos_per_packet?));
    Ok(RelayReport { people: traffic.viewers, bits_per_second: traffic.bitrate, lectern, coturn, ratio })
}

/// The figures of what was carried, and the highest rate: ever more clients.
fn figures(
    relay: &mut Relay,
    traffic: &Traffic,
    carried: &Carried,
    loss: f64,
) -> Result<RelayFigures, String> {
    let mut found = RelayFigures {
        nanos_per_packet: carried.cost.nanos_per_packet(),
        packets_per_second: carried.cost.packets as f64 / carried.time.as_secs_f64().max(f64::EPSILON),
        lost: carried.lost(),
        ..RelayFigures::default()
    };
    let mut people = traffic.viewers;
    while people <= STEP_PEOPLE {
        let more = Traffic { viewers: people, listeners: people, ..*traffic };
        let step = relay.carry(&more, STEP)?;
        let seconds = step.time.as_secs_f64();
        // Schedules do not catch up, so that a generator that is late sends less than it should.
        let late = (step.sent as f64) < 0.95 * more.packets_per_second() * seconds;
        if step.lost() as f64 > loss * step.sent as f64 {
            found.broke_by = Some("loss");
            break;
        }
        if late || step.generator.as_secs_f64() > GENERATOR_LIMIT * seconds {
            found.broke_by = Some("generator");
            break;
        }
        found.best_packets_per_second = step.cost.packets as f64 / seconds;
        found.best_cpu_share = step.cost.cpu.as_secs_f64() / seconds;
        people = (people as f64 * STEP_FACTOR).ceil() as usize;
    }
    Ok(found)
}

impl std::fmt::Display for RelayReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (model, cores) = super::machine();
        writeln!(f, "machine: {model}, {cores} cores")?;
        writeln!(
            f,
            "{} clients, each with its own allocation and channel over UDP, a camera of {} kbit/s and Opus to each",
            self.people,
            self.bits_per_second / 1000
        )?;
        let mut row = |name: &str, figures: &RelayFigures| {
            writeln!(
                f,
                "{name:<8} {:>6.0} ns a packet at {:.0} a second, {} lost; at most {:.0} a second at {:.0} % of a core ({})",
                figures.nanos_per_packet.unwrap_or(f64::NAN),
                figures.packets_per_second,
                figures.lost,
                figures.best_packets_per_second,
                figures.best_cpu_share * 100.0,
                figures.broke_by.map_or_else(|| "no limit found".to_owned(), |what| format!("then {what}"))
            )
        };
        row("lectern", &self.lectern)?;
        match &self.coturn {
            Ok(coturn) => row("coturn", coturn)?,
            Err(error) => writeln!(f, "coturn   {error}")?,
        }
        if let Some(ratio) = self.ratio {
            writeln!(f, "lectern over coturn, CPU a packet: {ratio:.2}x")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sfu::codec::Codec;

    use super::*;

    fn traffic() -> Traffic {
        Traffic {
            senders: 1,
            viewers: 2,
            listeners: 2,
            voices: crate::bench::VOICES,
            codec: Codec::Vp8,
            bitrate: 500_000,
            classes: 1,
            more: 0,
        }
    }

    #[test]
    fn what_does_not_answer_is_an_error_and_not_a_figure() {
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let folder = own_folder("silent").unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut relay = Relay {
            name: "nobody",
            running: Running::Coturn(Process::start(command, folder).unwrap()),
            address: silent.local_addr().unwrap(),
            secret: None,
        };
        let error = relay.carry(&traffic(), Duration::from_millis(100)).unwrap_err();
        assert!(error.contains("nobody does not answer"), "{error}");
    }

    #[test]
    fn what_was_lost_is_what_did_not_come() {
        let cost = |packets| Cost { cpu: Duration::from_millis(1), packets };
        let one = Carried { cost: cost(8), sent: 10, ..Carried::default() };
        let two = Carried { cost: cost(5), sent: 5, ..Carried::default() };
        assert_eq!((one.and(two).lost(), one.and(two).sent), (2, 15));
    }
}
