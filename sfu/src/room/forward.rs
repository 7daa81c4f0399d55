//! A publisher's packet to one slot.

use std::time::Instant;

use crate::forward::rewrite::SourcePacket;
use crate::forward::select::Seen;
use crate::forward::slot::{Offered, TrackRef};
use crate::media::Source;
use crate::peer::Incoming;
use crate::publish::dependency::Described;
use crate::publish::layers::Standing;
use crate::publish::track::Subscriber;
use crate::room::{Outbox, Room};

/// A publisher's packet on its way to subscribers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forwarded<'a> {
    pub(super) reference: TrackRef,
    pub(super) seen: Seen,
    pub(super) incoming: &'a Incoming,
    pub(super) described: Option<&'a Described>,
    pub(super) captured: Instant,
}

/// A packet as a selector sees it.
pub(super) fn seen(layer: usize, incoming: &Incoming, standing: Standing, keyframe: bool) -> Seen {
    Seen { layer, keyframe, seq: incoming.seq, rtp_time: incoming.rtp_time, standing }
}

impl Room {
    /// Forwards a packet to one slot, if that is ready for it. When the slot has switched to the packet's layer: which track it left,
    /// if another.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        by: &Forwarded<'_>,
        subscriber: Subscriber,
        out: &mut Outbox,
    ) -> Option<Option<TrackRef>> {
        let Forwarded { reference, seen, incoming, described, captured } = *by;
        let receiver = self.member(subscriber.member).filter(|receiver| receiver.connected)?;
        let slot = &receiver.slots[subscriber.slot];
        let known = [slot.carries.as_ref(), slot.next.as_ref()]
            .into_iter()
            .flatten()
            .find(|carried| carried.track == reference)
            .and_then(|carried| carried.payload_type)
            .filter(|(theirs, _)| *theirs == incoming.pt);
        let payload_type = match known {
            Some((_, ours)) => ours,
            None => self.match_payload_type(reference, subscriber, incoming),
        }?;
        let receiver = self.member_mut(subscriber.member)?;
        let levels = receiver.sound_levels();
        let slot = &mut receiver.slots[subscriber.slot];
        let packet = SourcePacket {
            codec: incoming.codec,
            seq: incoming.seq,
            rtp_time: incoming.rtp_time,
            captured,
            marker: incoming.marker,
            described,
            up_to: (u8::MAX, u8::MAX),
            payload: &incoming.payload,
        };
        let (mut rewritten, switched) = match slot.offer(reference, seen, packet) {
            Offered::Dropped => return None,
            Offered::Forwarded(rewritten) => (rewritten, None),
            Offered::Switched(rewritten, old) => (rewritten, Some(old)),
        };
        if matches!(switched, Some(Some(_))) {
            // Nobody waits for what is left of the track before, and it may not be seen any more by the time that it would leave.
            receiver.peer.blank(slot.mid);
        }
        let payload_type = slot.protect(levels, switched.is_some(), payload_type, &mut rewritten);
        let is_face = reference.source == Source::Camera;
        receiver.peer.write(now, slot.mid, payload_type, is_face, incoming, rewritten, captured);
        out.counters.rtp_forwarded += 1;
        self.touch(subscriber.member);
        switched
    }

    /// Finds the receiver's payload type for what the publisher sends, and remembers it in the slot.
    fn match_payload_type(
        &mut self,
        reference: TrackRef,
        subscriber: Subscriber,
        incoming: &Incoming,
    ) -> Option<str0m::media::Pt> {
        let params = self.member(reference.member)?.peer.params(incoming.pt)?;
        let receiver = self.member_mut(subscriber.member)?;
        let ours = receiver.peer.match_params(params);
        if let Some(carried) = receiver.slots[subscriber.slot].carried_mut(reference) {
            carried.payload_type = Some((incoming.pt, ours));
        }
        ours
    }
}
