//! Yardsticks: what the same packets cost without a media server's work.
//!
//! - the **bare loop**: one thread receives, decrypts once, and for each receiver copies, seals and sends. No RTP, no
//!   state, no repairs: what is left of forwarding when everything but cipher and kernel is taken away;
//! - **coturn**, where installed: a relay of the same packets, which neither decrypts nor seals.
//!
//! Both are fed by the same generator at the same times, through the same sockets, with receivers that are read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sfu::io::{Transmit, Transport};

use super::media::loopback;
use super::traffic::{Due, Traffic};
use super::usage::own_thread;
use crate::udp::{ReceiveArena, SendArena, Socket, Waker, wait};

/// An RTP header, which is authenticated and not encrypted (RFC 7714, section 8.1).
const HEADER_BYTES: usize = 12;
/// AES-GCM's tag.
const TAG_BYTES: usize = 16;
/// Datagrams collected before they are sent, as in the media worker.
const TRANSMITS: usize = 256;
/// Longest sleep of the loop, so that it sees its end.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// What a yardstick has done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// CPU time of what is measured.
    pub cpu: Duration,
    /// Packets that it sent on.
    pub packets: u64,
}

impl Cost {
    /// CPU time a packet, in nanoseconds; none without packets.
    pub fn nanos_per_packet(&self) -> Option<f64> {
        (self.packets > 0).then(|| self.cpu.as_nanos() as f64 / self.packets as f64)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Cost) -> Cost {
        Cost { cpu: self.cpu + other.cpu, packets: self.packets + other.packets }
    }
}

fn key(number: usize) -> LessSafeKey {
    let mut bytes = [0x5A; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).expect("the key has the cipher's length"))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn seal(key: &LessSafeKey, counter: u64, packet: &mut Vec<u8>) {
    let (header, body) = packet.split_at_mut(HEADER_BYTES);
    let tag = key
        .seal_in_place_separate_tag(nonce(counter), Aad::from(&*header), body)
        .expect("a datagram is far below the cipher's limit");
    packet.extend_from_slice(tag.as_ref());
}

/// Runs the bare loop for a while. `grouped` sends all packets of a batch to one receiver, then to the next, so that the kernel
/// gets them as segments; otherwise each packet goes to all receivers before the next.
///
/// # Errors
/// When the system gives no socket or thread.
pub fn bare(traffic: &Traffic, seconds: Duration, grouped: bool) -> Result<Cost, String> {
    let text = |error: std::io::Error| error.to_string();
    let inner = Socket::bind(0, []).map_err(text)?;
    let mut outer = Socket::bind(0, []).map_err(text)?;
    let target = SocketAddr::from(([127, 0, 0, 1], inner.port()));
    let sink = outer.port();
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let looping = std::thread::Builder::new()
        .name("bare".into())
        .spawn({
            let (traffic, stop, sent) = (*traffic, Arc::clone(&stop), Arc::clone(&sent));
            move || bare_loop(inner, &traffic, sink, grouped, &stop, &sent)
        })
        .map_err(text)?;

    let keys: Vec<LessSafeKey> = (0..traffic.senders).map(key).collect();
    let mut counter = 0u64;
    let made = feed(&mut outer, traffic, seconds, |due, out| {
        counter += 1;
        // The header tells the loop whose it is and to how many it goes.
        let mut packet = vec![0; due.bytes];
        packet[..8].copy_from_slice(&counter.to_be_bytes());
        packet[8..10].copy_from_slice(&(due.sender as u16).to_be_bytes());
        packet[10..12].copy_from_slice(&(due.receivers as u16).to_be_bytes());
        seal(&keys[due.sender], counter, &mut packet);
        let source = SocketAddr::new(loopback(0xF000 + due.sender as u32).into(), sink);
        out.push(Transmit {
            transport: Transport::Udp,
            source,
            destination: target,
            contents: packet,
            forwarded: false,
        });
    });
    stop.store(true, Relaxed);
    let cpu = looping.join().map_err(|_| "the bare loop has panicked".to_owned())?;
    made?;
    Ok(Cost { cpu, packets: sent.load(Relaxed) })
}

/// The loop itself; gives its CPU time.
fn bare_loop(
    mut socket: Socket,
    traffic: &Traffic,
    sink: u16,
    grouped: bool,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Duration {
    let Ok(waker) = Waker::new() else { return Duration::ZERO };
    let from: Vec<LessSafeKey> = (0..traffic.senders).map(key).collect();
    let most = traffic.viewers.max(traffic.listeners);
    let to: Vec<(LessSafeKey, SocketAddr)> = (0..most)
        .map(|number| (key(1000 + number), SocketAddr::new(loopback(number as u32 + 1).into(), sink)))
        .collect();
    let source = SocketAddr::from(([127, 0, 0, 1], socket.port()));
    let blank = || Transmit {
        transport: Transport::Udp,
        source,
        destination: source,
        contents: Vec::new(),
        forwarded: true,
    };
    let mut transmits: Vec<Transmit> = std::iter::repeat_with(blank).take(TRANSMITS).collect();
    let (mut arena, mut sending) = (ReceiveArena::default(), SendArena::default());
    let mut opened: Vec<(Vec<u8>, usize)> = vec![(Vec::new(), 0); crate::udp::BATCH];
    let mut counter = 0u64;
    let before = own_thread();
    while !stop.load(Relaxed) {
        if socket.receive(&mut arena).is_ok_and(|count| count == 0) {
            if wait(&socket, &waker, LONGEST_WAIT).is_err() {
                break;
            }
            continue;
        }
        let mut count = 0;
        for datagram in arena.datagrams() {
            let (packet, receivers) = &mut opened[count];
            packet.clear();
            packet.extend_from_slice(datagram.contents);
            if packet.len() < HEADER_BYTES + TAG_BYTES {
                continue;
            }
            let (header, body) = packet.split_at_mut(HEADER_BYTES);
            let number = u64::from_be_bytes(header[..8].try_into().expect("eight bytes"));
            let sender = usize::from(u16::from_be_bytes([header[8], header[9]]));
            *receivers = usize::from(u16::from_be_bytes([header[10], header[11]])).min(to.len());
            let Some(key) = from.get(sender) else { continue };
            if key.open_in_place(nonce(number), Aad::from(&*header), body).is_err() {
                continue;
            }
            packet.truncate(packet.len() - TAG_BYTES);
            count += 1;
        }
        let mut filled = 0;
        let mut put = |packet: &[u8], receiver: usize| {
            let (key, address) = &to[receiver];
            let transmit = &mut transmits[filled];
            transmit.destination = *address;
            transmit.contents.clear();
            transmit.contents.extend_from_slice(packet);
            counter += 1;
            seal(key, counter, &mut transmit.contents);
            filled += 1;
            if filled == TRANSMITS {
                sent.fetch_add(socket.send(&mut sending, &transmits).datagrams, Relaxed);
                filled = 0;
            }
        };
        if grouped {
            for receiver in 0..to.len() {
                let due = opened[..count].iter().filter(|(_, receivers)| receiver < *receivers);
                due.for_each(|(packet, _)| put(packet, receiver));
            }
        } else {
            for (packet, receivers) in &opened[..count] {
                (0..*receivers).for_each(|receiver| put(packet, receiver));
            }
        }
        sent.fetch_add(socket.send(&mut sending, &transmits[..filled]).datagrams, Relaxed);
    }
    own_thread() - before
}

/// Sends a scenario's packets for a while through a socket, and reads what comes to it; gives how many came.
///
/// # Errors
/// When the socket fails.
pub fn feed(
    socket: &mut Socket,
    traffic: &Traffic,
    seconds: Duration,
    mut make: impl FnMut(Due, &mut Vec<Transmit>),
) -> Result<u64, String> {
    let waker = Waker::new().map_err(|error| error.to_string())?;
    let (mut arena, mut sending) = (ReceiveArena::default(), SendArena::default());
    let (mut due, mut out) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let mut schedule = traffic.schedule(start);
    let mut came = 0;
    loop {
        let now = Instant::now();
        if now >= start + seconds {
            return Ok(came);
        }
        schedule.take(now, &mut due);
        due.drain(..).for_each(|due| make(due, &mut out));
        socket.send(&mut sending, &out);
        out.clear();
        match socket.receive(&mut arena).map_err(|error| error.to_string())? {
            0 => {
                let until = schedule.next_at().min(start + seconds);
                wait(socket, &waker, until.saturating_duration_since(Instant::now()))
                    .map_err(|error| error.to_string())?;
            }
            count => came += count as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu::codec::Codec;

    #[test]
    fn the_bare_loop_sends_every_packet_to_everybody() {
        let traffic = Traffic {
            senders: 2,
            viewers: 3,
            listeners: 2,
            voices: crate::bench::VOICES,
            codec: Codec::Vp8,
            bitrate: 500_000,
            classes: 1,
            more: 0,
        };
        for grouped in [false, true] {
            let cost = bare(&traffic, Duration::from_millis(500), grouped).unwrap();
            let expected = traffic.packets_per_second() / 2.0;
            let share = cost.packets as f64 / expected;
            assert!((0.5..1.2).contains(&share), "{} of {expected}", cost.packets);
            assert!(cost.nanos_per_packet().unwrap() > 100.0);
        }
    }

    #[test]
    fn what_was_sealed_opens_with_its_key_alone() {
        let mut packet = vec![7; 200];
        seal(&key(1), 5, &mut packet);
        assert_eq!(packet.len(), 200 + TAG_BYTES);
        let open = |by: usize, packet: &[u8]| {
            let mut packet = packet.to_vec();
            let (header, body) = packet.split_at_mut(HEADER_BYTES);
            key(by).open_in_place(nonce(5), Aad::from(&*header), body).is_ok()
        };
        assert!(open(1, &packet));
        assert!(!open(2, &packet));
        packet[3] ^= 1;
        assert!(!open(1, &packet), "the header is authenticated");
    }
}
