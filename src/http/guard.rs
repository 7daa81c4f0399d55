//! A connection that guards itself. It sits under hyper and does what neither hyper nor the Socket.IO library does:
//!
//! - a WebSocket frame or message over the limit is answered by a close frame with 1009 as soon as its header arrives, before
//!   anything is buffered (the library's own limit, which stays set, closes without a code);
//! - so is a flood of frames, with 1008;
//! - a connection whose other side takes nothing ends after a while (the library's writer would wait for ever, and hold the session);
//! - another task can end it at once ([`Kill`]), whatever waits to be written.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Sleep;

use super::frames::{FrameLimits, FrameMeter, Violation, close_frame};

/// How long a client that was told to go may go on sending, so that it reads why before the connection is reset.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes of such a client that are thrown away in one turn.
const DISCARD: usize = 16 * 1024;

/// Ends a connection from outside, or tells it that it is a WebSocket from now on.
#[derive(Debug, Clone, Default)]
pub struct Kill {
    shared: Arc<Shared>,
}

/// A [`Kill`] that may have outlived its connection.
#[derive(Debug, Clone)]
pub struct WeakKill {
    shared: Weak<Shared>,
}

impl WeakKill {
    /// Whether there is still something to end.
    pub fn is_alive(&self) -> bool {
        self.shared.strong_count() > 0
    }

    /// The switch, if there is still something to end.
    pub fn upgrade(&self) -> Option<Kill> {
        self.shared.upgrade().map(|shared| Kill { shared })
    }
}

#[derive(Debug, Default)]
struct Shared {
    killed: AtomicBool,
    is_websocket: AtomicBool,
    wakers: Mutex<[Option<Waker>; 2]>,
}

impl Kill {
    /// Ends the connection at once. What waits to be written is lost.
    pub fn kill(&self) {
        self.shared.killed.store(true, SeqCst);
        self.wake();
    }

    /// The request that was just read asks for a WebSocket: from here on the client sends frames.
    pub fn expect_frames(&self) {
        self.shared.is_websocket.store(true, SeqCst);
    }

    /// The upgrade was refused: the client goes on with requests.
    pub fn expect_requests(&self) {
        self.shared.is_websocket.store(false, SeqCst);
    }

    /// The same switch, without keeping anything.
    pub fn downgrade(&self) -> WeakKill {
        WeakKill { shared: Arc::downgrade(&self.shared) }
    }

    fn is_killed(&self) -> bool {
        self.shared.killed.load(SeqCst)
    }

    fn wake(&self) {
        let wakers = std::mem::take(&mut *self.shared.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Remembers who waits to read (0) or write (1).
    fn register(&self, side: usize, waker: &Waker) {
        let mut wakers = self.shared.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut wakers[side] {
            Some(known) => known.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
    }
}

/// See the [module](self).
pub struct Guarded<S> {
    inner: S,
    kill: Kill,
    limits: FrameLimits,
    write_stall: Duration,
    report: Box<dyn Fn(Violation) + Send>,
    incoming: Option<FrameMeter>,
    /// Before the frames: bytes since the end of the last request head.
    incoming_head: HeadEnd,
    outgoing: FrameMeter,
    /// The answer to the handshake comes before the server's frames.
    outgoing_head: HeadEnd,
    outgoing_is_frames: bool,
    stalled: Option<Pin<Box<Sleep>>>,
    farewell: Option<Farewell>,
    /// Goes when the stream is dropped, wherever an upgrade has taken it.
    dropped: watch::Sender<()>,
}

#[derive(Debug)]
struct Farewell {
    frame: [u8; 4],
    written: usize,
    shut: bool,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Guarded<S> {
    /// Guards a connection; `write_stall` is how long its other side may take nothing. A violation is reported when it
    /// happens.
    pub fn new(
        inner: S,
        limits: FrameLimits,
        write_stall: Duration,
        report: impl Fn(Violation) + Send + 'static,
    ) -> Self {
        Guarded {
            inner,
            kill: Kill::default(),
            limits,
            write_stall,
            report: Box::new(report),
            incoming: None,
            incoming_head: HeadEnd::default(),
            outgoing: FrameMeter::default(),
            outgoing_head: HeadEnd::default(),
            outgoing_is_frames: false,
            stalled: None,
            farewell: None,
            dropped: watch::channel(()).0,
        }
    }

    /// Completes when the stream is dropped, wherever an upgrade has taken it.
    pub fn dropped(&self) -> impl Future<Output = ()> + use<S> {
        let mut dropped = self.dropped.subscribe();
        async move { while dropped.changed().await.is_ok() {} }
    }

    /// Its switch.
    pub fn kill(&self) -> Kill {
        self.kill.clone()
    }

    fn check(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if !self.kill.shared.is_websocket.load(SeqCst) {
            self.incoming_head.take(bytes);
            return Ok(());
        }
        if self.incoming.is_none() && self.incoming_head.bytes_after != 0 {
            return Err(Violation::Early);
        }
        self.incoming.get_or_insert_default().take(bytes, &self.limits, Instant::now())
    }

    fn follow_outgoing(&mut self, bytes: &[u8]) {
        if !self.kill.shared.is_websocket.load(SeqCst) {
            return;
        }
        let mut bytes = bytes;
        if !self.outgoing_is_frames {
            let Some(end) = self.outgoing_head.take(bytes) else { return };
            self.outgoing_is_frames = true;
            bytes = &bytes[end..];
        }
        self.outgoing.follow(bytes);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    /// Says why, ends our side, and throws away what comes until the other side ends its own.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(farewell) = &mut self.farewell else { return Poll::Ready(Ok(())) };
        if farewell.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        // In the middle of a frame of the server, the writer finishes it first.
        while self.outgoing.at_boundary() && farewell.written < farewell.frame.len() {
            match Pin::new(&mut self.inner).poll_write(cx, &farewell.frame[farewell.written..]) {
                Poll::Ready(Ok(written)) => farewell.written += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if farewell.written == farewell.frame.len() && !farewell.shut {
            match Pin::new(&mut self.inner).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => farewell.shut = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        let mut scratch = [0; DISCARD];
        let mut discarded = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut discarded))?;
        if discarded.filled().is_empty() {
            return Poll::Ready(Ok(())); // the end
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.kill.register(0, cx.waker());
        if this.kill.is_killed() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if this.farewell.is_some() {
            return this.poll_farewell(cx);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let Err(violation) = this.check(&buf.filled()[before..]) else { return Poll::Ready(Ok(())) };
        buf.set_filled(before);
        (this.report)(violation);
        this.farewell = Some(Farewell {
            frame: close_frame(violation.close_code()),
            written: 0,
            shut: false,
            deadline: Box::pin(tokio::time::sleep(FAREWELL)),
        });
        // A writer that waits for room must not wait for ever: from now on its bytes are thrown away.
        this.kill.wake();
        this.poll_farewell(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.kill.register(1, cx.waker());
        if this.kill.is_killed() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let mut bytes = bytes;
        if this.farewell.is_some() {
            bytes = &bytes[..this.outgoing.until_boundary(bytes)];
            if bytes.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
        }
        match Pin::new(&mut this.inner).poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) => {
                this.stalled = None;
                this.follow_outgoing(&bytes[..written]);
                if this.farewell.is_some() && this.outgoing.at_boundary() {
                    this.kill.wake(); // the reader, to say why
                }
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let stall = this.write_stall;
                let stalled = this.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
                ready!(stalled.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.farewell.as_ref().is_some_and(|farewell| !farewell.shut) {
            return Poll::Ready(Ok(())); // after the close frame, by the reader
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Finds the empty line that ends an HTTP head.
#[derive(Debug, Default)]
struct HeadEnd {
    matched: usize,
    bytes_after: usize,
}

impl HeadEnd {
    /// Follows bytes; gives the position behind the first end that it finds in them.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        const END: &[u8; 4] = b"\r\n\r\n";
        let mut first = None;
        for (position, byte) in bytes.iter().enumerate() {
            self.matched = match (*byte == END[self.matched], *byte) {
                (true, _) => self.matched + 1,
                (false, b'\r') => 1,
                (false, _) => 0,
            };
            self.bytes_after += 1;
            if self.matched == END.len() {
                self.matched = 0;
                self.bytes_after = 0;
                first = first.or(Some(position + 1));
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const LIMITS: FrameLimits = FrameLimits { message_bytes: 1000, frames_per_second: 100 };
    const STALL: Duration = Duration::from_millis(50);

    fn pair() -> (DuplexStream, Guarded<DuplexStream>) {
        let (client, server) = duplex(64);
        (client, Guarded::new(server, LIMITS, STALL, |_| {}))
    }

    async fn handshake(client: &mut DuplexStream, server: &mut Guarded<DuplexStream>) {
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut head = [0; 18];
        server.read_exact(&mut head).await.unwrap();
        server.kill().expect_frames();
        server.write_all(b"HTTP/1.1 101 OK\r\n\r\n").await.unwrap();
        let mut head = [0; 19];
        client.read_exact(&mut head).await.unwrap();
    }

    #[tokio::test]
    async fn a_long_frame_is_answered_by_1009_and_never_seen_above() {
        let (mut client, mut server) = pair();
        let reported = Arc::new(Mutex::new(None));
        let report = reported.clone();
        server.report = Box::new(move |violation| *report.lock().unwrap() = Some(violation));
        handshake(&mut client, &mut server).await;
        client.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
        let mut small = [0; 8];
        server.read_exact(&mut small).await.unwrap();
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.map(|_| all)
        });
        client.write_all(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0x10, 0, 1, 2, 3, 4]).await.unwrap();
        client.write_all(&[0; 3000]).await.unwrap(); // thrown away, without blocking the client
        let mut reply = [0; 4];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply, [0x88, 2, 0x03, 0xf1]);
        drop(client);
        assert_eq!(reader.await.unwrap().unwrap(), b"");
        assert_eq!(*reported.lock().unwrap(), Some(Violation::Oversize));
    }

    #[tokio::test]
    async fn a_frame_of_the_server_is_finished_before_the_close_frame() {
        let (mut client, mut server) = pair();
        handshake(&mut client, &mut server).await;
        server.write_all(&[0x81, 4, b'a']).await.unwrap();
        client.write_all(&[0x81, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]).await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(server);
        let reader = tokio::spawn(async move { reading.read_to_end(&mut Vec::new()).await });
        tokio::task::yield_now().await;
        // The rest of the frame, and another that is no longer wanted.
        let _ = writing.write_all(&[b'b', b'c', b'd', 0x81, 1, b'x']).await;
        let mut reply = [0; 10];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply, [0x81, 4, b'a', b'b', b'c', b'd', 0x88, 2, 0x03, 0xf1]);
        drop(client);
        reader.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn frames_before_the_answer_are_refused() {
        let (mut client, mut server) = pair();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n\x81\x80").await.unwrap();
        let mut head = [0; 20];
        server.read_exact(&mut head).await.unwrap();
        server.kill().expect_frames();
        client.write_all(&[0, 0, 0, 0]).await.unwrap();
        let reader = tokio::spawn(async move { server.read_to_end(&mut Vec::new()).await });
        let mut reply = [0; 4];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply, close_frame(1002));
        drop(client);
        reader.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (_client, mut server) = pair();
        let error = server.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_killed_connection_ends_while_it_waits() {
        let (_client, mut server) = pair();
        server.write_stall = Duration::from_secs(60);
        let kill = server.kill();
        let (mut reading, mut writing) = tokio::io::split(server);
        let reader = tokio::spawn(async move { reading.read_u8().await });
        let writer = tokio::spawn(async move { writing.write_all(&[0; 1000]).await });
        tokio::task::yield_now().await;
        kill.kill();
        for error in [reader.await.unwrap().unwrap_err(), writer.await.unwrap().unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        }
    }
}
