//! The relay's own port: UDP on a thread with batched system calls (`udp.rs`), TCP on the runtime.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sfu::io::Transmit;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle as Task;

use super::Turn;
use super::relay::Datagrams;
use crate::addresses;
use crate::udp::{ReceiveArena, SendArena, Socket, Waker, wait};

/// Datagrams for clients that wait to be sent, as in the media worker: four full system calls.
const QUEUE: usize = 1024;
/// Longest wait for a datagram, after which the thread sees that it is to end even if nobody wakes it.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How often a free port is looked for that is free for both transports.
const ATTEMPTS: usize = 16;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 256;
/// Bytes that the kernel keeps for a client that is slow to take them. Its own choice is megabytes, in which the present waits
/// behind the past: at 1 Mbit/s this is half a second.
const SEND_BUFFER: u32 = 64 * 1024;
/// How long to wait when the system gives no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
        let (socket, tcp) = bind(port)?;
        let address = socket.local_addr();
        let (queue, waiting) = sync_channel(QUEUE);
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
        let listener = tokio::spawn(accept(turn.clone(), tcp));
        Ok(Listening { address, outbox, thread: Some(thread), listener })
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
        let tcp = bind_tcp(port)?;
        let given = tcp.local_addr()?.port();
        match Socket::bind(given, own.iter().copied()) {
            Ok(socket) => return Ok((socket, tcp)),
            Err(error) if port == 0 && attempt < ATTEMPTS && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

fn bind_tcp(port: u16) -> io::Result<TcpListener> {
    let bind = |socket: TcpSocket, ip: IpAddr| {
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(SEND_BUFFER)?; // what is accepted inherits it
        socket.bind(SocketAddr::new(ip, port))?;
        socket.listen(BACKLOG)
    };
    match TcpSocket::new_v6().and_then(|socket| bind(socket, Ipv6Addr::UNSPECIFIED.into())) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            // No IPv6 on this machine.
            bind(TcpSocket::new_v4()?, Ipv4Addr::UNSPECIFIED.into())
        }
        result => result,
    }
}

async fn accept(turn: Turn, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, source)) => {
                // Media does not wait for more of itself.
                let _ = stream.set_nodelay(true);
                let turn = turn.clone();
                tokio::spawn(async move { turn.serve_stream(stream, source).await });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
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
    fn send(&self, from: Option<IpAddr>, to: SocketAddr, contents: Vec<u8>) {
        // An address that the machine does not have leaves the choice to the kernel.
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let source = SocketAddr::new(from.unwrap_or(any), 0);
        let transmit = Transmit { source, destination: to, contents, forwarded: false };
        // Full: the network does not take what comes, and what is late is worth nothing.
        if self.queue.try_send(transmit).is_ok() && !self.woken.swap(true, SeqCst) {
            self.waker.wake();
        }
    }
}

/// The thread: takes in datagrams of clients, sends those for them.
fn carry(
    turn: &Turn,
    mut socket: Socket,
    outbox: &Arc<Outbox>,
    waiting: &Receiver<Transmit>,
) -> io::Result<()> {
    let (mut received, mut sending) = (ReceiveArena::default(), SendArena::default());
    let mut batch: Vec<Transmit> = Vec::with_capacity(QUEUE);
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
        batch.extend(waiting.try_iter().take(QUEUE));
        if !batch.is_empty() {
            socket.send(&mut sending, &batch);
            batch.clear();
        }
    }
}
