//! A slot: one receiving m-line of a participant, onto which tracks are put.

use str0m::media::Pt;

use crate::forward::red::{History, Received};
use crate::forward::rewrite::{FIRST_SEQ, Rewriter, Rewritten, SourcePacket};
use crate::forward::select::{Seen, Selector, Step};
use crate::id::PeerId;
use crate::media::{Kind, Mid, Source};
use crate::publish::keyframe::ReceiverBudget;

/// A track, by its place in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackRef {
    /// The publishing member of the room.
    pub member: usize,
    /// Which of its tracks.
    pub source: Source,
}

/// A track that a slot carries or is about to carry.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// The track.
    pub track: TrackRef,
    /// Its publisher's name.
    pub publisher: PeerId,
    /// How large it is drawn: width and height in pixels.
    pub shown: (u16, u16),
    /// Nothing has been decided yet since it was asked for, or asked for in this size.
    pub fresh: bool,
    /// Which of its layers.
    pub selector: Selector,
    /// The publisher's payload type and the receiver's for it (none: the receiver does not know the codec).
    pub payload_type: Option<(Pt, Option<Pt>)>,
}

impl Carried {
    /// A track from its next keyframe on; nothing of it passes before its selector is aimed.
    pub fn new(track: TrackRef, publisher: PeerId, shown: (u16, u16)) -> Self {
        Carried { track, publisher, shown, fresh: true, selector: Selector::new(None), payload_type: None }
    }
}

/// What became of a packet that was offered to a slot.
#[derive(Debug)]
pub enum Offered {
    /// Not for this slot now.
    Dropped,
    /// It goes out like this.
    Forwarded(Rewritten),
    /// It goes out like this, the first of a keyframe; its track may have taken the place of another.
    Switched(Rewritten, Option<TrackRef>),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Slot {
    /// The m-line.
    pub mid: Mid,
    /// Sound or picture.
    pub kind: Kind,
    /// Makes its sources look like one stream.
    pub rewriter: Rewriter,
    /// What it carries.
    pub carries: Option<Carried>,
    /// What takes its place at its first keyframe; until then the old picture goes on.
    pub next: Option<Carried>,
    /// What the participant was told that it carries.
    pub told: Option<(PeerId, Source)>,
    /// Limits the receiver's own keyframe requests.
    pub budget: ReceiverBudget,
    /// Sound: what it has sent last.
    history: History,
    /// Sound: packets sent, without the one that primed it.
    sent: u64,
    received: Received,
    /// Sound: the receiver's payload type for RED, if it knows that.
    red: Option<Pt>,
}

impl Slot {
    /// An empty slot.
    pub fn new(mid: Mid, kind: Kind, first_time: u32, red: Option<Pt>) -> Self {
        let clock_rate = match kind {
            Kind::Audio => 48_000,
            Kind::Video => 90_000,
        };
        Slot {
            mid,
            kind,
            rewriter: Rewriter::new(clock_rate, first_time),
            carries: None,
            next: None,
            told: None,
            budget: ReceiverBudget::default(),
            history: History::default(),
            sent: 0,
            received: Received::new(FIRST_SEQ),
            red,
        }
    }

    /// What it will carry: what waits for its keyframe, else what it carries.
    pub fn occupant(&self) -> Option<&Carried> {
        self.next.as_ref().or(self.carries.as_ref())
    }

    /// What it knows of a track that it carries or is about to.
    pub fn carried(&self, track: TrackRef) -> Option<&Carried> {
        [self.carries.as_ref(), self.next.as_ref()]
            .into_iter()
            .flatten()
            .find(|carried| carried.track == track)
    }

    /// The same, to be changed.
    pub fn carried_mut(&mut self, track: TrackRef) -> Option<&mut Carried> {
        [self.carries.as_mut(), self.next.as_mut()]
            .into_iter()
            .flatten()
            .find(|carried| carried.track == track)
    }

    /// Starts to carry `carried` at once; nothing passes until its keyframe.
    pub fn carry(&mut self, carried: Option<Carried>) {
        self.carries = carried;
        self.next = None;
        self.rewriter.stop();
    }

    /// Waits for keyframes again, after the receiver was away.
    pub fn restart(&mut self) {
        for carried in [self.carries.as_mut(), self.next.as_mut()].into_iter().flatten() {
            carried.selector.reset();
        }
        self.rewriter.stop();
    }

    /// What a packet of `track` becomes here.
    pub fn offer(&mut self, track: TrackRef, seen: Seen, packet: SourcePacket<'_>) -> Offered {
        if let Some(next) = self.next.as_mut().filter(|next| next.track == track) {
            let Step::Switch { ends_picture } = next.selector.step(seen) else { return Offered::Dropped };
            let packet = packet.within(next.selector.up_to(), ends_picture);
            let old = self.carries.replace(*next).map(|old| old.track);
            self.next = None;
            self.rewriter.switch(packet);
            return match self.rewriter.rewrite(packet) {
                Some(rewritten) => Offered::Switched(rewritten, old),
                None => Offered::Dropped,
            };
        }
        let Some(carried) = self.carries.as_mut().filter(|carried| carried.track == track) else {
            return Offered::Dropped;
        };
        let step = carried.selector.step(seen);
        let up_to = carried.selector.up_to();
        let forwarded = match step {
            Step::Drop => None,
            Step::LeaveOut { picture } => self.rewriter.leave_out(packet, picture),
            Step::Forward { ends_picture } => self.rewriter.rewrite(packet.within(up_to, ends_picture)),
            Step::Switch { ends_picture } => {
                self.rewriter.switch(packet);
                let rewritten = self.rewriter.rewrite(packet.within(up_to, ends_picture));
                return rewritten.map_or(Offered::Dropped, |rewritten| Offered::Switched(rewritten, None));
            }
        };
        forwarded.map_or(Offered::Dropped, Offered::Forwarded)
    }

    /// Puts the `levels` packets before this one of sound into it, if the receiver knows RED. Gives the payload type with which it goes
    /// out. `first`: the source has just changed.
    pub fn protect(&mut self, levels: usize, first: bool, payload_type: Pt, packet: &mut Rewritten) -> Pt {
        if self.kind == Kind::Video {
            return payload_type;
        }
        self.sent += 1;
        if first {
            self.history.restart();
        }
        let Some(red) = self.red else { return payload_type };
        let protected =
            self.history.protect(levels, *payload_type, packet.seq, packet.rtp_time, &packet.payload);
        let Some(payload) = protected else { return payload_type };
        packet.payload = payload.into();
        red
    }

    /// Sound: how often each packet is sent with so many levels of redundancy.
    pub fn copies(&self, levels: usize) -> u64 {
        if self.red.is_some() { 1 + u64::try_from(levels).unwrap_or(0) } else { 1 }
    }

    /// A report of the receiver: its newest sequence number and its cumulative loss. Gives packets and losses that are new.
    pub fn handle_report(&mut self, newest: u64, lost: u64) -> Option<(u64, u64)> {
        let unsent = match self.kind {
            Kind::Audio => (self.rewriter.next_seq() - FIRST_SEQ).saturating_sub(self.sent + 1),
            // A publisher's lost pictures are asked for again.
            Kind::Video => 0,
        };
        self.received.handle(newest, lost, unsent)
    }
}
