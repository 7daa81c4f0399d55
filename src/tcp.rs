//! Media over TCP, for networks without UDP (ICE-TCP, RFC 6544): clients connect to a worker's port of the same number, and each
//! datagram is a frame with its length before it (RFC 4571).
//!
//! To the worker a connection is one more way for datagrams; who it is, ICE's checks prove as they do over UDP. A connection is
//! ended when its first frame is no check, when the worker has not answered it soon, when it falls silent, or when it takes nothing
//! of what is sent. What it takes too slowly is lost, as on any full link, and congestion control sees that.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::metrics::{Counted, Metrics};
use crate::places::Places;
use crate::udp::DATAGRAM_BYTES;
use crate::worker::{Inflow, WorkerHandle};

/// How long a connection has until a check of it is answered.
const PROOF: Duration = Duration::from_secs(10);
/// How long a client may be silent: ICE checks every few seconds (RFC 7675, section 5.1).
const SILENCE: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what is sent to it.
const STALL: Duration = Duration::from_secs(20);
/// Frames that wait for a client: a large picture in packets.
const QUEUE: usize = 128;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 16 * 1024;
/// Length before each frame.
const HEADER: usize = 2;

/// What a stream of frames holds that no client of ours sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame that is too large for a datagram")]
pub struct TooLarge;

/// The first frame in these bytes, once it is whole: its length with the header.
///
/// # Errors
/// When it is larger than a datagram may be.
pub fn frame(bytes: &[u8]) -> Result<Option<usize>, TooLarge> {
    let [high, low, ..] = *bytes else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    match HEADER + length {
        _ if length > DATAGRAM_BYTES => Err(TooLarge),
        whole if whole <= bytes.len() => Ok(Some(whole)),
        _ => Ok(None),
    }
}

/// Whether a datagram can be the check with which each connection begins: a STUN binding request (RFC 8489, section 5).
pub fn is_check(datagram: &[u8]) -> bool {
    matches!(datagram, [0, 1, _, _, 0x21, 0x12, 0xa4, 0x42, ..])
}

/// Serves connections of one worker. Clones are the same.
#[derive(Clone)]
pub struct MediaStreams {
    worker: WorkerHandle,
    places: Places,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
}

impl MediaStreams {
    /// For this worker, until `stop` becomes true.
    pub fn new(
        worker: WorkerHandle,
        places: Places,
        metrics: Arc<Metrics>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        MediaStreams { worker, places, metrics, stop }
    }

    /// Serves one connection of `client`, which came to our address `local`, until either side ends it.
    pub async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin,
        client: SocketAddr,
        local: IpAddr,
    ) {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let refused = |reason: &str| self.metrics.media_streams_refused.with_label_values(&[reason]).inc();
        let _place = match self.places.take(client.ip()) {
            Ok(place) => place,
            Err(why) => return refused(why.name()),
        };
        let _counted = Counted::new(&self.metrics.media_streams);
        let (out, queue) = mpsc::channel::<Vec<u8>>(QUEUE);
        if !self.worker.take_in(Inflow::Connected { client, out }) {
            return refused("worker");
        }
        let (reading, writing) = tokio::io::split(stream);
        let is_answered = AtomicBool::new(false);
        let mut stop = self.stop.clone();
        let ended = tokio::select! {
            ended = self.read(reading, client, local.to_canonical(), &is_answered) => ended,
            ended = write(writing, queue, &is_answered) => ended,
            _ = stop.wait_for(|stop| *stop) => End::Closed,
        };
        match ended {
            End::Closed => {}
            End::Refused(reason) => refused(reason),
        }
    }

    async fn read(
        &self,
        mut reading: impl AsyncRead + Unpin,
        client: SocketAddr,
        local: IpAddr,
        is_answered: &AtomicBool,
    ) -> End {
        // Of one frame and what comes with it.
        let mut bytes = vec![0; 2 * (HEADER + DATAGRAM_BYTES)];
        let mut filled = 0;
        let mut is_first = true;
        let begun = Instant::now();
        loop {
            let deadline = if is_answered.load(Relaxed) { Instant::now() + SILENCE } else { begun + PROOF };
            match tokio::time::timeout_at(deadline, reading.read(&mut bytes[filled..])).await {
                Ok(Ok(0) | Err(_)) => return End::Closed,
                Ok(Ok(more)) => filled += more,
                // It was answered while it waited.
                Err(_) if is_answered.load(Relaxed) && deadline < begun + SILENCE => continue,
                Err(_) => return End::Refused("silent"),
            }
            let mut begin = 0;
            loop {
                let whole = match frame(&bytes[begin..filled]) {
                    Ok(Some(whole)) => whole,
                    Ok(None) => break,
                    Err(TooLarge) => return End::Refused("malformed"),
                };
                let datagram = &bytes[begin + HEADER..begin + whole];
                begin += whole;
                if is_first && !is_check(datagram) {
                    return End::Refused("malformed");
                }
                is_first = false;
                // Lost when the worker is behind, as a datagram would be.
                self.worker.take_in(Inflow::Frame { client, local, contents: datagram.to_vec() });
            }
            bytes.copy_within(begin..filled, 0);
            filled -= begin;
            if !is_answered.load(Relaxed) && begun.elapsed() >= PROOF {
                return End::Refused("silent");
            }
        }
    }
}

/// How a connection ended.
enum End {
    /// By the client, or with the server.
    Closed,
    /// By us, for this reason.
    Refused(&'static str),
}

async fn write(
    mut writing: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Vec<u8>>,
    is_answered: &AtomicBool,
) -> End {
    let mut bytes = Vec::new();
    let frame = |bytes: &mut Vec<u8>, datagram: &[u8]| {
        // No datagram of ours is larger than an Ethernet frame.
        if let Ok(length) = u16::try_from(datagram.len()) {
            bytes.extend(length.to_be_bytes());
            bytes.extend(datagram);
        }
    };
    while let Some(datagram) = queue.recv().await {
        is_answered.store(true, Relaxed);
        bytes.clear();
        frame(&mut bytes, &datagram);
        while bytes.len() < WRITE_BYTES
            && let Ok(datagram) = queue.try_recv()
        {
            frame(&mut bytes, &datagram);
        }
        match tokio::time::timeout(STALL, writing.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::Closed,
            Err(_) => return End::Refused("stalled"),
        }
    }
    // Another connection from the same address has taken its place, or the worker has ended.
    End::Closed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_are_cut_where_they_end() {
        assert_eq!(frame(&[]), Ok(None));
        assert_eq!(frame(&[0]), Ok(None));
        assert_eq!(frame(&[0, 0, 9]), Ok(Some(2)));
        assert_eq!(frame(&[0, 2, 9]), Ok(None));
        assert_eq!(frame(&[0, 2, 9, 9, 9]), Ok(Some(4)));
        assert_eq!(frame(&[8, 1]), Err(TooLarge));
        assert_eq!(frame(b"GET "), Err(TooLarge));
        assert_eq!(frame(&[0x16, 3, 1]), Err(TooLarge));
    }

    proptest! {
        /// Datagrams come out as they went in, however the stream is cut.
        #[test]
        fn framing_comes_back(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..8), cut: u8) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let written = runtime.block_on(async {
                let (out, queue) = mpsc::channel(16);
                for datagram in &datagrams {
                    out.try_send(datagram.clone()).unwrap();
                }
                drop(out);
                let mut written = Vec::new();
                let _ = write(&mut written, queue, &AtomicBool::new(false)).await;
                written
            });
            let mut found = Vec::new();
            let mut bytes: Vec<u8> = Vec::new();
            for piece in written.chunks(usize::from(cut) + 1) {
                bytes.extend(piece);
                while let Some(whole) = frame(&bytes).unwrap() {
                    found.push(bytes[HEADER..whole].to_vec());
                    bytes.drain(..whole);
                }
            }
            prop_assert_eq!(found, datagrams);
            prop_assert!(bytes.is_empty());
        }
    }
}
