//! The way of packets to the recorder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sfu::io::RecordedPacket;

/// Packets that wait for the recorder: a second of thirty people who all send three layers.
const PACKETS: usize = 16_384;

/// Takes packets of media workers. Clones are the same queue.
#[derive(Debug, Clone)]
pub struct Feed {
    packets: SyncSender<RecordedPacket>,
    /// Packets that were refused since the recorder last looked.
    refused: Arc<AtomicU64>,
}

/// The other end of a [`Feed`].
#[derive(Debug)]
pub struct FeedEnd {
    /// In order of each worker.
    pub(crate) packets: Receiver<RecordedPacket>,
    /// Packets that were refused since this was last looked at.
    pub(crate) refused: Arc<AtomicU64>,
}

impl Feed {
    /// A queue for packets.
    pub fn new() -> (Feed, FeedEnd) {
        let (sender, packets) = sync_channel(PACKETS);
        let refused = Arc::<AtomicU64>::default();
        (Feed { packets: sender, refused: refused.clone() }, FeedEnd { packets, refused })
    }

    /// Takes a packet, or refuses it: media never waits for a disk.
    pub fn take(&self, packet: RecordedPacket) -> bool {
        let taken = self.packets.try_send(packet).is_ok();
        if !taken {
            self.refused.fetch_add(1, Relaxed);
        }
        taken
    }
}
