//! What the network to a receiver carries, from its transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! Three signs, in the order of their weight:
//! - **Queue.** One-way delay above the smallest seen lately. The smallest of each moment counts, so that a burst (a frame, a keyframe) that
//!   drains before the next is no congestion, and jitter is none either. A queue that stands means that more is sent than
//!   gets through: the estimate becomes what did get through, less a tenth to drain it.
//! - **Loss.** Some networks lose at random whatever is sent. So loss first lowers the estimate to what gets through, and when that
//!   does not help twice it is taken for the network's own and only more than that counts.
//! - **Probes.** Media alone says little about what more would get through. When more is wanted, a short cluster of packets is sent at a higher
//!   rate ([`Estimator::poll_fill`] says what is to be added to the media), and the rate at which it arrives is believed.
//!
//! Written for what a forwarder sends: steps between layers of three times, bursts, and silence. The engine's own estimator stayed at a
//! third of a clean link there (docs/benchmarks.md).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Packets that are remembered: two seconds of 10 Mbit/s.
const REMEMBERED: usize = 2_048;
/// How far back the smallest delay counts. Longer than a rate stays too high, shorter than a clock drifts by what matters.
const BASE_WINDOW: Duration = Duration::from_secs(4);
const BASE_WINDOWS: usize = 4;
/// Delay that stands for this long is a queue. Above [`QUEUE`] after [`QUEUE_LASTS`], above [`QUEUE_LONG`] at once.
const QUEUE: Duration = Duration::from_millis(45);
const QUEUE_LASTS: Duration = Duration::from_millis(150);
const QUEUE_LONG: Duration = Duration::from_millis(180);
/// Below this the queue is empty for what it matters.
const QUEUE_EMPTY: Duration = Duration::from_millis(20);
/// Time over which what gets through is measured.
const THROUGHPUT_WINDOW: Duration = Duration::from_millis(500);
/// Share of what got through that is kept after a queue, in percent: the rest drains it.
const DRAIN_PERCENT: u64 = 88;
/// Time between two cuts: the effect of the first has to be seen.
const CUT_PAUSE: Duration = Duration::from_millis(300);
/// How long after a cut for a queue the network still counts as full.
const CONGESTED: Duration = Duration::from_secs(2);
/// Packets over which loss is measured, and least for which it means something.
const LOSS_WINDOW: usize = 150;
const LOSS_LEAST: usize = 30;
/// Loss that is the network's affair, in percent, and how much more than its own counts.
const LOSS_FINE: u64 = 4;
const LOSS_MORE: u64 = 6;
/// Growth without a probe, in percent a second, while media uses what is estimated.
const GROWTH_PERCENT: u64 = 8;
/// Growth by media alone ends at this much more than gets through, in percent.
const GROWTH_BOUND_PERCENT: u64 = 125;
/// Length of a probe, and of the wait for its last packets.
const PROBE: Duration = Duration::from_millis(100);
const PROBE_ANSWER: Duration = Duration::from_millis(800);
/// Step of a probe: twice the estimate; layers are three times apart.
const PROBE_FACTOR: u64 = 2;
/// Least and most that is probed, in bit/s.
const PROBE_LEAST: u64 = 150_000;
const PROBE_MOST: u64 = 12_000_000;
/// Wait after a probe that found more, and after one that did not (doubled each time, to the longest).
const PROBE_AGAIN: Duration = Duration::from_millis(300);
const PROBE_FAILED: Duration = Duration::from_secs(2);
const PROBE_LONGEST: Duration = Duration::from_secs(30);
/// Wait after a cut.
const PROBE_AFTER_CUT: Duration = Duration::from_millis(1_500);
/// Received share of the sent rate at which a probe has got through, in percent.
const THROUGH_PERCENT: u64 = 94;
/// Nothing below this: sound, and enough to learn more.
const LEAST: u64 = 60_000;
/// Silence of the feedback that is an outage; what was lost in it says nothing about rates.
const OUTAGE: Duration = Duration::from_millis(700);
/// Bytes of a datagram beyond what the engine sends: IP and UDP headers.
const LOWER_LAYERS: usize = 28;

#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Instant,
    bytes: usize,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing was said of it yet.
    Unknown,
    Lost,
    Received,
    /// The feedback never spoke of it, or it was sent into an outage.
    Forgotten,
}

/// A probe under way: packets from `first` on, sent until `end`.
#[derive(Debug, Clone, Copy)]
struct Probe {
    rate: u64,
    start: Instant,
    end: Instant,
    first: u64,
    /// The number after its last packet, once it is sent.
    after: Option<u64>,
    sent_bytes: u64,
    /// First and last arrival on the receiver's clock, first and last departure, bytes received after the first.
    arrivals: Option<(Duration, Duration)>,
    departures: Option<(Instant, Instant)>,
    received_bytes: u64,
    first_bytes: u64,
    received: u32,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Estimator {
    estimate: u64,
    desired: u64,
    /// Whether feedback has come.
    heard: Option<Instant>,
    /// Sent packets, the first with number `first`.
    sent: VecDeque<Sent>,
    first: u64,
    next: u64,
    /// The smallest delay of each of the last windows, in microseconds, and when the newest began.
    base: VecDeque<i64>,
    base_since: Option<Instant>,
    /// When delay began to stand above [`QUEUE`].
    queue_since: Option<Instant>,
    cut_at: Option<Instant>,
    /// When it was last cut because of a queue.
    drained_at: Option<Instant>,
    /// Delay at the last cut, in microseconds, and cuts since that did not lower it.
    cut_delay: i64,
    cuts_in_vain: u32,
    /// Arrivals of the last moments: receiver's time and bytes.
    arrived: VecDeque<(Duration, usize)>,
    /// The last fates, lost or not.
    fates: VecDeque<bool>,
    /// The network's own loss, in percent.
    own_loss: u64,
    /// Loss at the last cut for loss, and cuts that did not lower it, and the estimate before them.
    loss_cut: Option<(u64, u32, u64)>,
    grown_at: Option<Instant>,
    probe: Option<Probe>,
    probe_at: Option<Instant>,
    probe_wait: Duration,
    origin: Option<Instant>,
}

impl Estimator {
    /// An estimator that begins with `first` bit/s, which nothing has proved yet.
    pub fn new(first: u64) -> Self {
        Estimator {
            estimate: first,
            desired: 0,
            heard: None,
            sent: VecDeque::new(),
            first: 0,
            next: 0,
            base: VecDeque::new(),
            base_since: None,
            queue_since: None,
            cut_at: None,
            drained_at: None,
            cut_delay: 0,
            cuts_in_vain: 0,
            arrived: VecDeque::new(),
            fates: VecDeque::new(),
            own_loss: 0,
            loss_cut: None,
            grown_at: None,
            probe: None,
            probe_at: None,
            probe_wait: PROBE_FAILED,
            origin: None,
        }
    }

    /// What the network carries, in bit/s.
    pub fn estimate(&self) -> u64 {
        self.estimate
    }

    /// Whether what is lost may be lost because too much is sent: a queue stands, or did a moment ago. Networks that lose at random have none.
    pub fn is_congested(&self, now: Instant) -> bool {
        let lately = |cut: Instant| now.saturating_duration_since(cut) < CONGESTED;
        self.queue_since.is_some() || self.drained_at.is_some_and(lately)
    }

    /// How much would be used if it got through, in bit/s. Probes look for more only up to this.
    pub fn desire(&mut self, bits_per_second: u64) {
        if bits_per_second > self.desired {
            // Probes that failed did so for less, or long ago: somebody waits for this.
            self.probe_wait = PROBE_FAILED;
            if let Some(at) = self.probe_at.as_mut() {
                *at = (*at)
                    .min(self.cut_at.map_or(*at, |cut| cut + PROBE_AFTER_CUT).max(self.heard.unwrap_or(*at)));
            }
        }
        self.desired = bits_per_second;
    }

    /// A packet has left with this transport-wide number (the low 16 bits count) and size.
    pub fn sent(&mut self, now: Instant, number: u16, bytes: usize) {
        let number = extend(self.next, number);
        if self.sent.is_empty() || number >= self.next + REMEMBERED as u64 {
            self.sent.clear();
            self.first = number;
            self.next = number;
        }
        // Numbers that were skipped (a packet that the socket refused) are never spoken of.
        while self.next < number {
            self.sent.push_back(Sent { at: now, bytes: 0, fate: Fate::Forgotten });
            self.next += 1;
        }
        if number < self.next {
            return;
        }
        let bytes = bytes + LOWER_LAYERS;
        self.sent.push_back(Sent { at: now, bytes, fate: Fate::Unknown });
        self.next = number + 1;
        while self.sent.len() > REMEMBERED {
            self.sent.pop_front();
            self.first += 1;
        }
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.after.is_none()) {
            probe.sent_bytes += bytes as u64;
            if now >= probe.end {
                probe.after = Some(self.next);
            }
        }
    }

    /// The receiver tells of packets, in the order of their numbers: when they arrived on its clock, or that they have not. Whether the estimate has
    /// changed.
    pub fn feedback(
        &mut self,
        now: Instant,
        packets: impl IntoIterator<Item = (u16, Option<Duration>)>,
    ) -> bool {
        let before = self.estimate;
        // Without packets there are no reports either.
        let waits = |packet: &Sent| {
            packet.fate == Fate::Unknown && now.saturating_duration_since(packet.at) >= OUTAGE
        };
        let silent = self.heard.is_some_and(|heard| now.saturating_duration_since(heard) >= OUTAGE)
            && self.sent.iter().rev().any(waits);
        let outage_until = silent.then(|| now.checked_sub(Duration::from_millis(250))).flatten();
        self.heard = Some(now);
        let origin = *self.origin.get_or_insert(now);
        let mut least: Option<i64> = None;
        for (number, arrival) in packets {
            let number = extend(self.next, number);
            let Some(index) = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok())
            else {
                continue;
            };
            let Some(packet) = self.sent.get_mut(index) else { continue };
            match (packet.fate, arrival) {
                (Fate::Unknown | Fate::Lost, Some(arrival)) => {
                    let was_lost = packet.fate == Fate::Lost;
                    packet.fate = Fate::Received;
                    let packet = *packet;
                    if was_lost {
                        // It was only late.
                        if let Some(lost) = self.fates.iter_mut().rev().find(|lost| **lost) {
                            *lost = false;
                        }
                    } else {
                        self.note_fate(false);
                    }
                    let left = signed_micros(packet.at, origin);
                    let delay = i64::try_from(arrival.as_micros()).unwrap_or(i64::MAX) - left;
                    least = Some(least.map_or(delay, |least| least.min(delay)));
                    self.arrived.push_back((arrival, packet.bytes));
                    self.note_probe(number, arrival, packet);
                }
                (Fate::Unknown, None) => {
                    if outage_until.is_some_and(|until| packet.at < until) {
                        packet.fate = Fate::Forgotten;
                    } else {
                        packet.fate = Fate::Lost;
                        self.note_fate(true);
                    }
                }
                _ => {}
            }
        }
        if silent {
            // The network was away: half of what it carried, until probes say more; and at once.
            self.estimate = (self.estimate / 2).max(LEAST);
            self.probe = None;
            self.probe_at = Some(now + PROBE_AGAIN);
            self.probe_wait = PROBE_FAILED;
            self.base.clear();
            self.queue_since = None;
        }
        self.forget_arrivals();
        if let Some(delay) = least {
            self.note_delay(now, delay);
        }
        self.look_at_loss(now);
        self.grow(now);
        self.finish_probe(now);
        self.plan_probe(now);
        self.estimate != before
    }

    /// When [`Estimator::poll_fill`] has something to say.
    pub fn timeout(&self) -> Option<Instant> {
        match &self.probe {
            Some(probe) if probe.after.is_none() => Some(probe.start),
            Some(probe) => Some(probe.end + PROBE_ANSWER),
            None => self.probe_at.filter(|_| self.wants_more()),
        }
    }

    /// How many bytes of filling should go out now, so that a probe keeps its rate; to be asked again each few milliseconds while a probe is
    /// [under way](Estimator::is_probing).
    pub fn poll_fill(&mut self, now: Instant) -> usize {
        if self.probe.is_none() && self.probe_at.is_some_and(|at| at <= now) && self.wants_more() {
            let rate = (self.estimate * PROBE_FACTOR).min(self.desired).clamp(PROBE_LEAST, PROBE_MOST);
            self.probe = Some(Probe {
                rate,
                start: now,
                end: now + PROBE,
                first: self.next,
                after: None,
                sent_bytes: 0,
                arrivals: None,
                departures: None,
                received_bytes: 0,
                first_bytes: 0,
                received: 0,
            });
        }
        let Some(probe) = self.probe.as_mut() else { return 0 };
        if probe.after.is_some() {
            self.finish_probe(now);
            return 0;
        }
        if now >= probe.end {
            probe.after = Some(self.next);
            return 0;
        }
        // One packet more than what is due, so that it begins at once.
        let elapsed = now.saturating_duration_since(probe.start).as_micros();
        let due = u64::try_from(u128::from(probe.rate) * elapsed / 8_000_000).unwrap_or(0) + 200;
        usize::try_from(due.saturating_sub(probe.sent_bytes)).unwrap_or(0)
    }

    /// Whether a probe is being sent.
    pub fn is_probing(&self) -> bool {
        self.probe.is_some_and(|probe| probe.after.is_none())
    }

    fn wants_more(&self) -> bool {
        self.desired > self.estimate
    }

    fn note_fate(&mut self, lost: bool) {
        self.fates.push_back(lost);
        if self.fates.len() > LOSS_WINDOW {
            self.fates.pop_front();
        }
    }

    /// Share of lost packets lately, in percent.
    fn loss(&self) -> Option<u64> {
        let lost = self.fates.iter().filter(|lost| **lost).count();
        (self.fates.len() >= LOSS_LEAST).then(|| (lost * 100 / self.fates.len()) as u64)
    }

    fn forget_arrivals(&mut self) {
        let newest = self.arrived.iter().map(|(at, _)| *at).max();
        let Some(oldest) = newest.and_then(|newest| newest.checked_sub(THROUGHPUT_WINDOW)) else { return };
        while self.arrived.front().is_some_and(|(at, _)| *at < oldest) {
            self.arrived.pop_front();
        }
    }

    /// What gets through, in bit/s.
    fn throughput(&self) -> Option<u64> {
        let first = self.arrived.iter().map(|(at, _)| *at).min()?;
        let last = self.arrived.iter().map(|(at, _)| *at).max()?;
        let bytes: usize = self.arrived.iter().map(|(_, bytes)| bytes).sum();
        let micros = last.saturating_sub(first).max(THROUGHPUT_WINDOW / 10 * 9).as_micros();
        u64::try_from(bytes as u128 * 8_000_000 / micros).ok()
    }

    /// Looks at the smallest delay of a report.
    fn note_delay(&mut self, now: Instant, delay: i64) {
        let since = *self.base_since.get_or_insert(now);
        if self.base.is_empty() {
            self.base.push_back(delay);
        } else if now.saturating_duration_since(since) >= BASE_WINDOW {
            self.base_since = Some(now);
            self.base.push_back(delay);
            if self.base.len() > BASE_WINDOWS {
                self.base.pop_front();
            }
        }
        if let Some(newest) = self.base.back_mut() {
            *newest = delay.min(*newest);
        }
        let base = self.base.iter().copied().min().unwrap_or(delay);
        let queue = Duration::from_micros(u64::try_from(delay - base).unwrap_or(0));
        if queue < QUEUE {
            self.queue_since = None;
            if queue < QUEUE_EMPTY {
                self.cuts_in_vain = 0;
            }
            return;
        }
        let stands = now.saturating_duration_since(*self.queue_since.get_or_insert(now)) >= QUEUE_LASTS;
        if (!stands && queue < QUEUE_LONG) || !self.may_cut(now) {
            return;
        }
        // A way that has become longer looks like a queue that no cut shortens.
        self.cuts_in_vain =
            if self.cut_at.is_some() && delay + 10_000 >= self.cut_delay { self.cuts_in_vain + 1 } else { 0 };
        if self.cuts_in_vain >= 3 {
            self.base.clear();
            self.base.push_back(delay);
            self.base_since = Some(now);
            self.queue_since = None;
            self.cuts_in_vain = 0;
            return;
        }
        self.cut_delay = delay;
        self.drained_at = Some(now);
        let through = self.throughput().unwrap_or(self.estimate);
        self.cut(now, through / 100 * DRAIN_PERCENT);
    }

    fn may_cut(&self, now: Instant) -> bool {
        self.cut_at.is_none_or(|at| now.saturating_duration_since(at) >= CUT_PAUSE)
    }

    fn cut(&mut self, now: Instant, to: u64) {
        self.cut_at = Some(now);
        self.estimate = self.estimate.min(to).max(LEAST);
        self.grown_at = None;
        self.probe = None;
        self.probe_at = Some(now + PROBE_AFTER_CUT);
    }

    fn look_at_loss(&mut self, now: Instant) {
        let Some(loss) = self.loss() else { return };
        if loss <= LOSS_FINE || loss <= self.own_loss + LOSS_MORE {
            // What it was is slowly forgotten when it is over.
            if loss + 2 < self.own_loss && self.may_cut(now) {
                self.own_loss -= 1;
            }
            return;
        }
        if !self.may_cut(now) {
            return;
        }
        let (last, vain, before) = self.loss_cut.unwrap_or((100, 0, self.estimate));
        // Loss of a full queue falls when less is sent.
        let helped = loss + 3 < last;
        let vain = if helped || last == 100 { 0 } else { vain + 1 };
        if vain >= 2 {
            self.own_loss = loss;
            self.loss_cut = None;
            self.estimate = self.estimate.max(before);
            return;
        }
        let before = if helped { self.estimate } else { before };
        self.loss_cut = Some((loss, vain, before));
        let through = self.throughput().unwrap_or(self.estimate);
        let kept = self.estimate / 100 * (100 - loss / 2);
        self.cut(now, kept.max(through));
        // Loss of before the cut says nothing about after it.
        self.fates.clear();
    }

    /// Grows a little while media uses what is estimated, and nothing speaks against it.
    fn grow(&mut self, now: Instant) {
        let last = self.grown_at.replace(now);
        let quiet = self.queue_since.is_none() && self.may_cut(now);
        let Some(elapsed) = last.map(|last| now.saturating_duration_since(last)).filter(|_| quiet) else {
            return;
        };
        let Some(through) = self.throughput() else { return };
        if through > self.estimate {
            // It gets through.
            self.estimate = through;
            return;
        }
        if through < self.estimate / 10 * 7 {
            return;
        }
        let step = self.estimate * GROWTH_PERCENT / 100
            * u64::try_from(elapsed.as_millis().min(500)).unwrap_or(0)
            / 1_000;
        // What was lost was sent all the same.
        let used = through * 100 / (100 - self.loss().unwrap_or(0).min(50));
        let bound = used / 100 * GROWTH_BOUND_PERCENT;
        self.estimate = (self.estimate + step).min(bound).max(self.estimate);
    }

    /// Counts a packet that has arrived into the probe that it belongs to.
    fn note_probe(&mut self, number: u64, arrival: Duration, packet: Sent) {
        let Some(probe) = self.probe.as_mut() else { return };
        if number < probe.first || probe.after.is_some_and(|after| number >= after) {
            return;
        }
        let bytes = packet.bytes as u64;
        match (&mut probe.arrivals, &mut probe.departures) {
            (Some((_, last)), Some((_, left))) => {
                *last = arrival.max(*last);
                *left = packet.at.max(*left);
            }
            _ => {
                probe.arrivals = Some((arrival, arrival));
                probe.departures = Some((packet.at, packet.at));
                probe.first_bytes = bytes;
            }
        }
        probe.received_bytes += bytes;
        probe.received += 1;
    }

    /// Judges a probe whose packets have all been spoken of.
    fn finish_probe(&mut self, now: Instant) {
        let Some(probe) = self.probe else { return };
        let Some(after) = probe.after else { return };
        let open = |number: u64| {
            let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
            index.and_then(|index| self.sent.get(index)).is_some_and(|packet| packet.fate == Fate::Unknown)
        };
        let late = now.saturating_duration_since(probe.end) >= PROBE_ANSWER;
        if !late && (probe.first..after).rev().take(3).any(open) {
            return;
        }
        self.probe = None;
        let found = judge(&probe);
        if found > self.estimate {
            self.estimate = found.min(PROBE_MOST);
            self.probe_wait = PROBE_FAILED;
            self.probe_at = Some(now + PROBE_AGAIN);
        } else {
            self.probe_at = Some(now + self.probe_wait);
            self.probe_wait = (self.probe_wait * 2).min(PROBE_LONGEST);
        }
    }

    fn plan_probe(&mut self, now: Instant) {
        if self.probe_at.is_none() {
            self.probe_at = Some(now);
        }
    }
}

/// The rate that a probe has shown to get through; 0 when it says nothing.
fn judge(probe: &Probe) -> u64 {
    let (Some((first, last)), Some((left_first, left_last))) = (probe.arrivals, probe.departures) else {
        return 0;
    };
    if probe.received < 8 {
        return 0;
    }
    let rate = |span: Duration| {
        let bytes = u128::from(probe.received_bytes - probe.first_bytes);
        u64::try_from(bytes * 8_000_000 / span.as_micros().max(1)).unwrap_or(u64::MAX)
    };
    let sent = rate(left_last.saturating_duration_since(left_first).max(PROBE / 2));
    let received = rate(last.saturating_sub(first).max(PROBE / 2));
    if received >= sent / 100 * THROUGH_PERCENT {
        sent.min(probe.rate)
    } else {
        // It filled the network: this is what that carries.
        received / 100 * 95
    }
}

/// The number with these low bits that is nearest to `near`.
fn extend(near: u64, low: u16) -> u64 {
    let base = near & !0xffff | u64::from(low);
    let candidates = [base.checked_sub(0x1_0000), Some(base), base.checked_add(0x1_0000)];
    candidates.into_iter().flatten().min_by_key(|candidate| candidate.abs_diff(near)).unwrap_or(base)
}

fn signed_micros(at: Instant, origin: Instant) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match at.checked_duration_since(origin) {
        Some(after) => micros(after),
        None => -micros(origin.saturating_duration_since(at)),
    }
}

#[cfg(test)]
mod tests;
