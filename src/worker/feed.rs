//! The way of packets to the recorder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};

use sfu::io::RecordedPacket;

/// Packets that wait for the recorder: a second of thirty people who all send three layers.
const PACKETS: usize = 16_384;

/// Takes packets of media workers. Clones are the same queue.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The standard library's bounded queue takes the memory of all its places at once; this one as it fills.
    packets: Sender<RecordedPacket>,
    counts: Arc<Counts>,
}

/// The other end of a [`Feed`].
#[derive(Debug)]
pub struct FeedEnd {
    packets: Receiver<RecordedPacket>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    /// Packets that were refused since the recorder last looked.
    refused: AtomicU64,
}

impl Feed {
    /// A queue for packets.
    pub fn new() -> (Feed, FeedEnd) {
        let (sender, packets) = channel();
        let counts = Arc::<Counts>::default();
        (Feed { packets: sender, counts: counts.clone() }, FeedEnd { packets, counts })
    }

    /// Takes a packet, or refuses it: media never waits for a disk.
    pub fn take(&self, packet: RecordedPacket) -> bool {
        // Several workers may see the last place free at once: the queue may be longer than its limit by one packet of each.
        let taken = self.counts.waiting.load(Relaxed) < PACKETS;
        if taken {
            self.counts.waiting.fetch_add(1, Relaxed);
            // Nobody is there to take it when the recorder has ended.
            let _ = self.packets.send(packet);
        } else {
            self.counts.refused.fetch_add(1, Relaxed);
        }
        taken
    }
}

impl FeedEnd {
    /// The next packet, in order of each worker, if there is one now.
    pub(crate) fn next(&self) -> Option<RecordedPacket> {
        let packet = self.packets.try_recv().ok()?;
        self.counts.waiting.fetch_sub(1, Relaxed);
        Some(packet)
    }

    /// How many packets were refused since this was last asked.
    pub(crate) fn refused(&self) -> u64 {
        self.counts.refused.swap(0, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use sfu::codec::Codec;
    use sfu::id::{PeerId, RoomId};
    use sfu::media::Source;

    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_counted() {
        let (feed, end) = Feed::new();
        let now = Instant::now();
        let packet = || RecordedPacket {
            room: RoomId(1),
            publisher: PeerId(1),
            source: Source::Camera,
            codec: Codec::Vp8,
            layer: 0,
            ssrc: 1,
            arrival: now,
            seq: 1,
            rtp_time: 1,
            clock_rate: 90_000,
            report: None,
            marker: false,
            level_dbov: None,
            colour: None,
            payload: [].into(),
        };
        for _ in 0..PACKETS {
            assert!(feed.take(packet()));
        }
        assert!(!feed.take(packet()) && !feed.take(packet()));
        assert_eq!((end.refused(), end.refused()), (2, 0));
        assert!(end.next().is_some() && end.next().is_some());
        assert!(feed.take(packet()) && feed.take(packet()) && !feed.take(packet()));
        while end.next().is_some() {}
        assert!(feed.take(packet()));
    }
}
