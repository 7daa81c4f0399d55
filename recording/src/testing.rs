//! Packets for tests.

use std::sync::Arc;
use std::time::Instant;

use sfu::codec::Codec;
use sfu::id::{PeerId, RoomId};
use sfu::io::RecordedPacket;
use sfu::media::Source;

/// A packet of somebody's microphone; a test changes what it is about.
pub fn packet(arrival: Instant) -> RecordedPacket {
    RecordedPacket {
        room: RoomId(1),
        publisher: PeerId(1),
        source: Source::Microphone,
        codec: Codec::Opus,
        layer: 0,
        ssrc: 1,
        arrival,
        seq: 0,
        rtp_time: 0,
        clock_rate: 48_000,
        report: None,
        marker: true,
        level_dbov: None,
        colour: None,
        payload: Arc::from([0xf8, 0xff, 0xfe]),
    }
}
