//! The relay's own port: UDP on a thread with batched system calls (`udp.rs`), TCP on the runtime.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sfu::io::{Transmit, Transport};
use tokio::net::TcpListener;
use tokio::task::JoinHandle as Task;

use super::Turn;
use super::relay::Datagrams;
use crate::addresses;
use crate::listener;
use crate::udp::{ReceiveArena, SendArena, Socket, Waker, wait};

/// Datagrams for clients that wait to be sent: a large picture's to a thousand of them, which come at once.
pub const DATAGRAMS_QUEUED: usize = 16_384;
/// How many of them are sent before datagrams of clients have their turn: four full system calls.
const BATCH: usize = 1024;
/// Longest wait for a datagram, after which the thread sees that it is to end even if nobody wakes it.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How often a free port is looked for that is free for both transports.
const ATTEMPTS: usize = 16;

/// A port that listens, until it is dropped; [`Listening::stop`] waits for the end.
pub struct Listening {
    address: SocketAddr,
    outbox: Arc<Outbox>,
    thread: Option<JoinHandle<()>>,
    listener: Task<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.listener.abort();
        self.outbox.stop.store(true, SeqCst);
        self.outbox.waker.wake();
    }
}

impl Listening {
    /// Listens for the relay on UDP and TCP (port 0: one that is free for both).
    ///
    /// # Errors
    /// When the port is taken.
    pub(super) fn start(turn: &Turn, port: u16) -> io::Result<Self> {
        let (socket, streams) = bind(port)?;
        let address = socket.local_addr();
        let (queue, waiting) = sync_channel(DATAGRAMS_QUEUED);
        let outbox = Arc::new(Outbox {
            queue,
            waker: Waker::new()?,
            woken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let (there, relay) = (outbox.clone(), turn.clone());
        let thread = std::thread::Builder::new().name("turn-udp".into()).spawn(move || {
            if let Err(error) = carry(&relay, socket, &there, &waiting) {
                tracing::error!(%error, "TURN has lost its UDP socket");
            }
        })?;
        let relay = turn.clone();
        let accepting = tokio::spawn(listener::accept(streams, move |stream, source| {
            let relay = relay.clone();
            async move { relay.serve_stream(stream, source).await }
        }));
        Ok(Listening { address, outbox, thread: Some(thread), listener: accepting })
    }

    /// Where it listens, on both transports.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it, and waits for its thread, which does nothing that takes long.
    pub fn stop(mut self) {
        let thread = self.thread.take();
        drop(self);
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of TURN has panicked");
        }
    }
}

fn bind(port: u16) -> io::Result<(Socket, TcpListener)> {
    let own = addresses::own().unwrap_or_default();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let streams = listener::bind(port)?;
        let given = streams.local_addr()?.port();
        match Socket::bind(given, own.iter().copied()) {
            Ok(socket) => return Ok((socket, streams)),
            Err(error) if port == 0 && attempt < ATTEMPTS && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

/// Datagrams on their way to the thread.
struct Outbox {
    queue: SyncSender<Transmit>,
    waker: Waker,
    /// Whether the thread has been woken and has not looked yet.
    woken: AtomicBool,
    stop: AtomicBool,
}

impl Datagrams for Outbox {
    fn send(&self, from: Option<IpAddr>, to: SocketAddr, contents: Vec<u8>) -> bool {
        // Full: the network does not take what comes, and what is late is worth nothing.
        let taken = self.queue.try_send(transmit(from, to, contents)).is_ok();
        if taken && !self.woken.swap(true, SeqCst) {
            self.waker.wake();
        }
        taken
    }
}

/// What is sent to a client of the relay from this address of the machine, if it is known.
pub fn transmit(from: Option<IpAddr>, to: SocketAddr, contents: Vec<u8>) -> Transmit {
    // An address that the machine does not have leaves the choice to the kernel.
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = SocketAddr::new(from.unwrap_or(any), 0);
    Transmit { transport: Transport::Udp, source, destination: to, contents, forwarded: false }
}

/// The thread: takes in datagrams of clients, sends those for them.
fn carry(
    turn: &Turn,
    mut socket: Socket,
    outbox: &Arc<Outbox>,
    waiting: &Receiver<Transmit>,
) -> io::Result<()> {
    let (mut received, mut sending) = (ReceiveArena::default(), SendArena::default());
    let mut batch: Vec<Transmit> = Vec::with_capacity(BATCH);
    let out: Arc<dyn Datagrams> = outbox.clone();
    loop {
        if wait(&socket, &outbox.waker, LONGEST_WAIT)?.woken {
            outbox.waker.clear();
        }
        if outbox.stop.load(SeqCst) {
            return Ok(());
        }
        // An error is about an earlier datagram, which found nobody.
        if socket.receive(&mut received).is_ok_and(|messages| messages > 0) {
            for datagram in received.datagrams() {
                turn.handle_datagram(&out, datagram.source, datagram.destination, datagram.contents);
            }
        }
        // Before the queue is emptied: what comes from now on wakes again.
        outbox.woken.store(false, SeqCst);
        batch.extend(waiting.try_iter().take(BATCH));
        if batch.len() == BATCH && !outbox.woken.swap(true, SeqCst) {
            // There is more, and those who put it there have woken already.
            outbox.waker.wake();
        }
        if !batch.is_empty() {
            socket.send(&mut sending, &batch);
            batch.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_full_queue_does_not_take_is_told() {
        let (queue, waiting) = sync_channel(2);
        let (woken, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let outbox = Outbox { queue, waker: Waker::new().unwrap(), woken, stop };
        let to = SocketAddr::from(([127, 0, 0, 1], 9));
        let taken: Vec<bool> = (0..3).map(|number| outbox.send(None, to, vec![number])).collect();
        assert_eq!(taken, [true, true, false]);
        assert!(outbox.woken.load(SeqCst));
        let contents: Vec<Vec<u8>> = waiting.try_iter().map(|transmit| transmit.contents).collect();
        assert_eq!(contents, [[0], [1]]);
    }
}
