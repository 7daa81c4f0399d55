//! coturn as a yardstick: a relay (RFC 8656) that carries the same packets to as many clients.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use sfu::io::{Transmit, Transport};

use super::media::loopback;
use super::server::{Process, own_folder};
use super::traffic::Traffic;
use super::usage::Usage;
use super::yardstick::{Cost, feed};
use crate::udp::{ReceiveArena, SendArena, Socket, Waker, wait};

/// Debian's name of the program.
const PROGRAM: &str = "turnserver";
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// RFC 8489, section 5; types of RFC 8656, section 17, methods Allocate and ChannelBind as requests and their successes.
const MAGIC_COOKIE: u32 = 0x2112_A442;
const ALLOCATE: u16 = 0x0003;
const CHANNEL_BIND: u16 = 0x0009;
const SUCCESS: u16 = 0x0100;
/// RFC 8656, section 18.
const CHANNEL_NUMBER: u16 = 0x000C;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_TRANSPORT: u16 = 0x0019;
/// The first channel (RFC 8656, section 12).
const CHANNEL: u16 = 0x4000;

/// Whether the program is there.
pub fn is_installed() -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(PROGRAM).is_file())
}

/// Runs a relay for a while.
///
/// # Errors
/// When it does not start or does not answer as a relay does.
pub fn relay(traffic: &Traffic, seconds: Duration) -> Result<Cost, String> {
    let text = |error: std::io::Error| error.to_string();
    let folder = own_folder("coturn")?;
    // Free a moment ago; should somebody else take it, coturn ends and says so.
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|s| s.local_addr()).map_err(text)?.port();
    let mut command = Command::new(PROGRAM);
    command
        .args([
            "-n",
            "--no-auth",
            "--allow-loopback-peers",
            "--listening-ip",
            "127.0.0.1",
            "--relay-ip",
            "127.0.0.1",
        ])
        .args([
            "--listening-port",
            &port.to_string(),
            "--no-tls",
            "--no-dtls",
            "--no-cli",
            "--relay-threads",
            "1",
        ])
        .args(["--no-stdout-log", "--realm", "bench", "--pidfile"])
        .arg(folder.join("pid"))
        .arg("--userdb")
        .arg(folder.join("db"))
        .arg("--log-file")
        .arg(folder.join("turn.log"));
    let mut process = Process::start(command, folder)?;
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let mut socket = Socket::bind(0, []).map_err(text)?;
    let receivers = traffic.viewers.max(traffic.listeners);
    let peer = SocketAddr::from(([127, 0, 0, 1], socket.port()));
    let mut relays = Vec::with_capacity(receivers);
    for receiver in 0..receivers {
        let client = SocketAddr::new(loopback(receiver as u32 + 1).into(), socket.port());
        let transport = attribute(REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        let reply = ask(&mut socket, &mut process, client, server, ALLOCATE, &transport)?;
        relays.push(relayed_address(&reply).ok_or("coturn's answer has no relayed address")?);
        let mut bind = attribute(CHANNEL_NUMBER, &[(CHANNEL >> 8) as u8, CHANNEL as u8, 0, 0]);
        bind.extend(attribute(XOR_PEER_ADDRESS, &xor_address(peer)));
        ask(&mut socket, &mut process, client, server, CHANNEL_BIND, &bind)?;
    }
    let before = Usage::read(process.pid())?;
    let packets = feed(&mut socket, traffic, seconds, |due, out| {
        // Sixteen bytes for the tag, so that what is on the wire is as long.
        let contents = vec![0x80; due.bytes + 16];
        out.extend(relays[..due.receivers].iter().map(|relay| Transmit {
            transport: Transport::Udp,
            source: peer,
            destination: *relay,
            contents: contents.clone(),
            forwarded: false,
        }));
    })?;
    let cpu = Usage::read(process.pid())?.cpu - before.cpu;
    Ok(Cost { cpu, packets })
}

/// Asks until there is an answer: the program may not listen yet.
fn ask(
    socket: &mut Socket,
    process: &mut Process,
    client: SocketAddr,
    server: SocketAddr,
    method: u16,
    attributes: &[u8],
) -> Result<Vec<u8>, String> {
    let mut id = [0; 12];
    getrandom::fill(&mut id).map_err(|error| error.to_string())?;
    let mut request = method.to_be_bytes().to_vec();
    request.extend((attributes.len() as u16).to_be_bytes());
    request.extend(MAGIC_COOKIE.to_be_bytes());
    request.extend(id);
    request.extend(attributes);
    let transmit = Transmit {
        transport: Transport::Udp,
        source: client,
        destination: server,
        contents: request,
        forwarded: false,
    };
    let waker = Waker::new().map_err(|error| error.to_string())?;
    let (mut arena, mut sending) = (ReceiveArena::default(), SendArena::default());
    let reply = process.until(PATIENCE, || {
        socket.send(&mut sending, std::slice::from_ref(&transmit));
        let until = Instant::now() + Duration::from_millis(200);
        while Instant::now() < until {
            let _ = wait(socket, &waker, until.saturating_duration_since(Instant::now()));
            let _ = socket.receive(&mut arena);
            let answer = arena.datagrams().find(|d| d.contents.len() >= 20 && d.contents[8..20] == id);
            if let Some(answer) = answer {
                return Some(answer.contents.to_vec());
            }
        }
        None
    });
    let reply = reply.map_err(|error| format!("coturn {error}"))?;
    if u16::from_be_bytes([reply[0], reply[1]]) == method | SUCCESS {
        Ok(reply)
    } else {
        Err(format!("coturn refuses method {method}"))
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// RFC 8489, section 14.2, for IPv4.
fn xor_address(address: SocketAddr) -> [u8; 8] {
    let cookie = MAGIC_COOKIE.to_be_bytes();
    let port = (address.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes();
    let mut out = [0, 1, port[0], port[1], 0, 0, 0, 0];
    if let SocketAddr::V4(v4) = address {
        for (at, (byte, mask)) in v4.ip().octets().into_iter().zip(cookie).enumerate() {
            out[4 + at] = byte ^ mask;
        }
    }
    out
}

fn relayed_address(reply: &[u8]) -> Option<SocketAddr> {
    let mut rest = reply.get(20..)?;
    loop {
        let [a, b, c, d, ..] = *rest else { return None };
        let length = usize::from(u16::from_be_bytes([c, d]));
        let value = rest.get(4..4 + length)?;
        if u16::from_be_bytes([a, b]) == XOR_RELAYED_ADDRESS {
            let [_, 1, p, q, ip @ ..] = value else { return None };
            let port = u16::from_be_bytes([*p, *q]) ^ (MAGIC_COOKIE >> 16) as u16;
            let ip = u32::from_be_bytes(ip.try_into().ok()?) ^ MAGIC_COOKIE;
            return Some((Ipv4Addr::from_bits(ip), port).into());
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_mask() {
        let address = SocketAddr::from(([127, 1, 2, 3], 49_152));
        let mut reply = vec![0; 20];
        reply.extend(attribute(0x8022, b"coturn"));
        reply.extend(attribute(XOR_RELAYED_ADDRESS, &xor_address(address)));
        assert_eq!(relayed_address(&reply), Some(address));
        for cut in 0..reply.len() {
            assert_eq!(relayed_address(&reply[..cut]), None);
        }
    }
}
