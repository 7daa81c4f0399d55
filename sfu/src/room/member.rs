//! A member of a room: a peer with its tracks, slots and view.

use std::time::{Duration, Instant};

use crate::forward::red::Protection;
use crate::forward::slot::Slot;
use crate::id::PeerId;
use crate::io::{PeerPolicy, Picture, Quality, Traffic};
use crate::media::{Kind, Mid, Source};
use crate::peer::Peer;
use crate::publish::clock::CaptureClock;
use crate::publish::track::Track;
use crate::room::downstream::Downstream;
use crate::room::recent::RecentPackets;

/// Loss and round trip above which a connection is fair, and poor.
const FAIR: (f32, Duration) = (0.03, Duration::from_millis(300));
const POOR: (f32, Duration) = (0.10, Duration::from_millis(600));
/// A network on which sound is repeated once at most, in bit/s.
const NARROW_BITS_PER_SECOND: u64 = 400_000;

/// See the [module](self).
#[derive(Debug)]
pub struct Member {
    pub id: PeerId,
    pub peer: Peer,
    pub policy: PeerPolicy,
    /// By [`Source::index`]; none where the offer has no m-line for the source.
    pub tracks: [Option<Track>; Source::ALL.len()],
    pub slots: Vec<Slot>,
    pub view: Vec<Picture>,
    /// What its network carries, and what is sent for it.
    pub downstream: Downstream,
    /// What its connection has carried.
    pub traffic: Traffic,
    /// Its last video packets.
    pub recent: RecentPackets,
    /// Its clock against ours.
    pub clock: CaptureClock,
    pub added: Instant,
    /// When something last came that proved to be its own.
    pub last_heard: Instant,
    /// Media flows.
    pub connected: bool,
    /// The handshake was done once.
    pub was_connected: bool,
    /// The engine has given it up.
    pub closed: bool,
    /// Written to since its last drain.
    pub dirty: bool,
    /// Its entry in the room's deadlines.
    pub deadline: Option<Instant>,
    /// How much the sound that it receives is protected.
    pub protection: Protection,
    /// It sends feedback on each packet (TWCC).
    has_feedback: bool,
    /// What was told of its connection.
    pub quality: Option<Quality>,
    reports: Vec<Report>,
    worst: Option<(f32, Duration)>,
}

/// Running totals of one direction of one m-line.
#[derive(Debug)]
struct Report {
    mid: Mid,
    egress: bool,
    packets: u64,
    nacks: u64,
}

/// What a report adds to the node's counts.
#[derive(Debug, Default, Clone, Copy)]
pub struct ReportDelta {
    pub nacks: u64,
    pub lost: u64,
}

impl Member {
    pub fn new(now: Instant, id: PeerId, peer: Peer, sources: &[(Mid, Source)], policy: PeerPolicy) -> Self {
        let mut tracks = [const { None }; Source::ALL.len()];
        for (mid, source) in sources {
            let rids = peer.lines().iter().find(|line| line.mid == *mid).map(|line| line.rids.as_slice());
            let audience = policy.publish[source.index()];
            tracks[source.index()] = Some(Track::new(*mid, *source, rids.unwrap_or_default(), audience));
        }
        let slots =
            peer.slots().into_iter().map(|(mid, kind)| Slot::new(mid, kind, 0, peer.red_of(mid))).collect();
        Member {
            id,
            peer,
            policy,
            tracks,
            slots,
            recent: RecentPackets::default(),
            view: Vec::new(),
            downstream: Downstream::default(),
            traffic: Traffic::default(),
            clock: CaptureClock::default(),
            added: now,
            last_heard: now,
            connected: false,
            was_connected: false,
            closed: false,
            dirty: false,
            deadline: None,
            protection: Protection::default(),
            has_feedback: false,
            quality: None,
            reports: Vec::new(),
            worst: None,
        }
    }

    /// Whether it sends nothing and no picture goes to it, so that its engine's timers may be coarse.
    pub fn is_quiet(&self) -> bool {
        self.connected
            && !self.tracks.iter().flatten().any(Track::is_open)
            && self.slots.iter().all(|slot| slot.kind == Kind::Audio || slot.occupant().is_none())
    }

    /// How often each packet of sound is repeated: for its loss, but little on a network that is hardly wide enough for a picture beside
    /// it; what is lost there is lost because it is full.
    pub fn sound_levels(&self) -> usize {
        let narrow =
            self.downstream.link.estimate().is_some_and(|estimate| estimate < NARROW_BITS_PER_SECOND);
        let levels = self.protection.levels();
        if narrow { levels.min(1) } else { levels }
    }

    pub fn track(&self, source: Source) -> Option<&Track> {
        self.tracks[source.index()].as_ref()
    }

    pub fn track_mut(&mut self, source: Source) -> Option<&mut Track> {
        self.tracks[source.index()].as_mut()
    }

    /// Takes a report of the engine; totals become differences.
    pub fn note_report(
        &mut self,
        mid: Mid,
        egress: bool,
        packets: u64,
        nacks: u64,
        loss: Option<f32>,
        rtt: Option<Duration>,
    ) -> ReportDelta {
        let position = self.reports.iter().position(|report| (report.mid, report.egress) == (mid, egress));
        let report = match position {
            Some(position) => &mut self.reports[position],
            None => {
                self.reports.push(Report { mid, egress, packets: 0, nacks: 0 });
                self.reports.last_mut().expect("just pushed")
            }
        };
        // Layers of one m-line report apart; totals that went back are those of another layer.
        let new_packets = packets.saturating_sub(report.packets);
        let new_nacks = nacks.saturating_sub(report.nacks);
        report.packets = report.packets.max(packets);
        report.nacks = report.nacks.max(nacks);
        let mut lost = 0;
        // A slot with a handful of packets says nothing about the network.
        if new_packets >= 10 {
            let loss = loss.unwrap_or(0.0).clamp(0.0, 1.0);
            lost = part(new_packets, loss);
            let (worst_loss, worst_rtt) = self.worst.unwrap_or_default();
            self.worst = Some((worst_loss.max(loss), worst_rtt.max(rtt.unwrap_or_default())));
        }
        ReportDelta { nacks: new_nacks, lost }
    }

    /// What a receiver says of a slot: its newest sequence number and its cumulative loss.
    pub fn note_received(&mut self, now: Instant, mid: Mid, newest: u64, lost: u64) {
        let slot = self.slots.iter_mut().find(|slot| slot.mid == mid);
        if let Some((packets, lost)) = slot.and_then(|slot| slot.handle_report(newest, lost))
            && !self.has_feedback
        {
            self.protection.handle_report(now, packets, lost);
        }
    }

    /// Takes the feedback of the last second; better than reports where there is any.
    pub fn note_feedback(&mut self, now: Instant) {
        let (packets, lost) = self.peer.take_feedback();
        self.has_feedback |= packets > 0;
        if packets > 0 {
            self.protection.handle_report(now, packets, lost);
        }
    }

    /// The quality of the connection, from the reports since the last call; `None` when there were none.
    pub fn take_quality(&mut self) -> Option<Quality> {
        let (loss, rtt) = self.worst.take()?;
        Some(if loss >= POOR.0 || rtt >= POOR.1 {
            Quality::Poor
        } else if loss >= FAIR.0 || rtt >= FAIR.1 {
            Quality::Fair
        } else {
            Quality::Good
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a count of two seconds, for a metric"
)]
fn part(count: u64, share: f32) -> u64 {
    (count as f32 * share) as u64
}
