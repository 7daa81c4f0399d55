//! Sound that comes with redundancy becomes plain packets, before it is looked at as any other.

use std::time::Instant;

use crate::codec::Codec;
use crate::peer::Incoming;
use crate::publish::red::Rebuilt;
use crate::room::{Outbox, Room};

impl Room {
    /// A packet from a publisher; what its redundancy can replace goes before it.
    pub(super) fn handle_incoming(
        &mut self,
        now: Instant,
        key: usize,
        mut incoming: Incoming,
        out: &mut Outbox,
    ) {
        out.counters.rtp_in += 1;
        let Incoming { ssrc, seq, rtp_time, pt, .. } = incoming;
        if incoming.codec == Codec::Opus {
            let track = self.member_mut(key).and_then(|member| {
                member.tracks.iter_mut().flatten().find(|track| track.mid == incoming.mid)
            });
            let Some(track) = track else {
                out.counters.rtp_denied += 1;
                return;
            };
            if incoming.red {
                let unpacked = track.unpacker.unpack(ssrc, seq, rtp_time, &incoming.payload, *pt);
                let Some(unpacked) = unpacked else {
                    out.counters.rtp_denied += 1;
                    return;
                };
                for Rebuilt { seq, rtp_time, payload } in unpacked.rebuilt {
                    out.counters.rtp_lost_in += 1;
                    out.counters.rtp_rebuilt_in += 1;
                    let packet = incoming.rebuilt(seq, rtp_time, payload);
                    self.handle_rtp(now, key, &packet, out);
                }
                let Some(primary) = unpacked.primary else {
                    out.counters.rtp_lost_in = out.counters.rtp_lost_in.saturating_sub(1);
                    return;
                };
                incoming.payload = primary;
            } else if !track.unpacker.note(ssrc, seq, rtp_time) {
                out.counters.rtp_lost_in = out.counters.rtp_lost_in.saturating_sub(1);
                return;
            }
        }
        self.handle_rtp(now, key, &incoming, out);
    }
}
