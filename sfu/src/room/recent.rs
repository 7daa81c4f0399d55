//! The last packets of each video layer, for slots that switch to a keyframe whose first packet comes late.
//!
//! A slot switches with the first packet of a keyframe. When that one was lost on its way here and is repaired, or was overtaken,
//! the rest of the frame has come already; without it the receiver would wait in vain and ask for another keyframe.

use std::collections::VecDeque;
use std::time::Instant;

use crate::media::Source;
use crate::peer::Incoming;

/// Packets of a layer that are kept: half a second of 1.5 Mbit/s, which is longer than a repair takes. Payloads are shared.
const RECENT_PACKETS: usize = 64;

/// A packet that was forwarded to those who were ready for it.
#[derive(Debug, Clone)]
pub struct Recent {
    /// The packet.
    pub incoming: Incoming,
    /// When it was captured, on the node's clock.
    pub captured: Instant,
}

/// See the [module](self). A publisher has few layers, so they are a list.
#[derive(Debug, Default)]
pub struct RecentPackets {
    layers: Vec<((Source, usize), VecDeque<Recent>)>,
}

impl RecentPackets {
    /// Keeps a packet.
    pub fn keep(&mut self, source: Source, layer: usize, packet: Recent) {
        let place = (source, layer);
        let index = self.layers.iter().position(|(other, _)| *other == place).unwrap_or_else(|| {
            self.layers.push((place, VecDeque::with_capacity(RECENT_PACKETS)));
            self.layers.len() - 1
        });
        let kept = &mut self.layers[index].1;
        // Another stream took the layer's place: nothing of the old one goes with the new one.
        if kept.back().is_some_and(|last| last.incoming.ssrc != packet.incoming.ssrc) {
            kept.clear();
        }
        // In the order of sequence numbers, so that a burst of repairs of old packets does not push out the newest.
        let at =
            kept.iter().rposition(|other| other.incoming.seq <= packet.incoming.seq).map_or(0, |at| at + 1);
        if kept.len() == RECENT_PACKETS {
            if at == 0 {
                return;
            }
            kept.pop_front();
            kept.insert(at - 1, packet);
        } else {
            kept.insert(at, packet);
        }
    }

    /// The kept packets of the same stream after `packet`, in order.
    pub fn after(&self, source: Source, layer: usize, packet: &Incoming) -> Vec<Recent> {
        let kept = self.layers.iter().find(|(place, _)| *place == (source, layer)).map(|(_, kept)| kept);
        kept.into_iter()
            .flatten()
            .filter(|other| other.incoming.ssrc == packet.ssrc && other.incoming.seq > packet.seq)
            .cloned()
            .collect()
    }

    /// Forgets a source that is not sent any more.
    pub fn forget(&mut self, source: Source) {
        self.layers.retain(|((other, _), _)| *other != source);
    }
}
