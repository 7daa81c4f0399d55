//! Spends a receiver's bandwidth the way a teacher would.
//!
//! Each picture that a receiver shows is a [`Demand`]: a ladder of qualities, and how it stands in line. [`Downlink::allocate`] chooses
//! a rung of each ladder so that all together fit into what the network is estimated to carry: a readable board or screen first, then
//! the teacher's face, then whoever was called on, then all others in the order of the viewer's list. Sound is not rationed: it is taken off
//! first.
//!
//! Going down is quick, going up is careful. What is held is kept while the whole estimate carries it; more is taken only
//! when a part of the estimate does. Growth that did not last makes the next one wait longer, so that a steady network ends in a
//! steady picture.

pub mod estimate;
pub mod pace;

use std::time::{Duration, Instant};

use crate::io::Importance;
use crate::media::Rung;

/// Share of the estimate, in percent, that growth may use: the rest is for what an encoder overshoots and for repairs.
const GROW_PERCENT: u64 = 88;
/// Share, in percent, that a first picture may use: none at all is worse than one on a full line.
const FIRST_PERCENT: u64 = 96;
/// A rung of a face up to this rate comes before the first picture of everybody else; half size is about 500 kbit/s.
const MIDDLE_BITS_PER_SECOND: u64 = 650_000;
/// How long the held pictures may take more than the estimate before one goes down: estimators dip for a moment after each burst.
const OVER_GRACE: Duration = Duration::from_millis(400);
/// Unless they take this many percent of it: then the network has broken down, and each moment fills its queue.
const OVER_AT_ONCE_PERCENT: u64 = 150;
/// Wait before growing after something had to go down; doubled each time that a growth did not last.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// Growth that had to be taken back within this time did not last.
const LASTING: Duration = Duration::from_secs(20);
/// What first pictures may take while the estimate is a mere guess: nobody joins a class to see black tiles.
const FIRST_BITS_PER_SECOND: u64 = 2_500_000;
/// Least that is spent on pictures however low the estimate is when nothing is known but sound: an estimator that hears only sound
/// cannot tell more.
const FLOOR_BITS_PER_SECOND: u64 = 60_000;

/// What kind of picture it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A board or screen: to be read.
    Screen,
    /// Somebody's face.
    Face(Importance),
}

/// A picture that a receiver shows.
#[derive(Debug, Clone)]
pub struct Demand {
    /// How it stands in line.
    pub subject: Subject,
    /// Qualities that can be had, up to the one that is worth showing, cheapest first.
    pub ladder: Vec<Rung>,
    /// The rung that is sent now.
    pub held: Option<usize>,
    /// The viewer has just asked for it, or for another size: that does not wait as growth by itself does.
    pub fresh: bool,
}

/// Why less was given than the ladders hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Nothing was short.
    Nothing,
    /// The network.
    Network,
    /// The limit that was set.
    Limit,
}

/// What [`Downlink::allocate`] decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// For each demand, the rung; `None` is a pause.
    pub rungs: Vec<Option<usize>>,
    /// What all of them take.
    pub bits_per_second: u64,
    /// What all ladders would take at their top.
    pub wanted_bits_per_second: u64,
    /// What the cheapest step up would take in all; equal to `bits_per_second` at the top.
    pub next_bits_per_second: u64,
    /// What was short.
    pub bound: Bound,
    /// What is held takes so much more than the network carries that nothing of it should go on until what was chosen is there.
    pub is_flooded: bool,
}

/// A receiver's network, and what it has shown to carry.
#[derive(Debug, Default)]
pub struct Downlink {
    estimate: Option<u64>,
    /// The estimate is more than a first guess.
    is_proved: bool,
    over_since: Option<Instant>,
    /// No growth before.
    wait_until: Option<Instant>,
    wait: Option<Duration>,
    grown_at: Option<Instant>,
}

impl Downlink {
    /// The estimator says what the network carries, in bit/s.
    pub fn estimated(&mut self, bits_per_second: u64) {
        self.is_proved |= self.estimate.is_some_and(|estimate| estimate != bits_per_second);
        self.estimate = Some(bits_per_second);
    }

    /// What the network carries, in bit/s; unknown at first, and for receivers that do not report.
    pub fn estimate(&self) -> Option<u64> {
        self.estimate
    }

    /// Chooses a rung for each demand; demands of one subject are in the order of their importance. `sound` is taken off the estimate first, and
    /// `limit` bounds the pictures; all in bit/s.
    pub fn allocate(
        &mut self,
        now: Instant,
        demands: &[Demand],
        sound: u64,
        limit: Option<u64>,
    ) -> Allocation {
        let network = self.estimate.map(|estimate| estimate.saturating_sub(sound).max(FLOOR_BITS_PER_SECOND));
        let held: u64 = demands.iter().map(|demand| cost(demand, demand.held)).sum();
        let cap = limit.unwrap_or(u64::MAX);
        let budgets = match network {
            None => Budgets { keep: cap, first: cap, fresh: cap, grow: cap },
            Some(network) => {
                let fresh = network / 100 * GROW_PERCENT;
                let waits = self.wait_until.is_some_and(|until| now < until);
                let first = network / 100 * FIRST_PERCENT;
                let first = if self.is_proved { first } else { first.max(FIRST_BITS_PER_SECOND) };
                let keep = self.keep_budget(now, network, held);
                Budgets {
                    keep: if self.is_proved { keep } else { keep.max(held) }.min(cap),
                    first: first.min(cap),
                    fresh: fresh.min(cap),
                    grow: if waits { 0 } else { fresh.min(cap) },
                }
            }
        };
        let chosen = spend(demands, budgets);
        let spent: u64 = demands.iter().zip(&chosen).map(|(demand, rung)| cost(demand, *rung)).sum();
        if network.is_some() {
            self.note(now, demands, &chosen, limit.is_some_and(|limit| held > limit));
        }
        let top = |demand: &Demand| cost(demand, demand.ladder.len().checked_sub(1));
        let next = demands.iter().zip(&chosen).filter_map(|(demand, rung)| {
            let up = rung.map_or(0, |rung| rung + 1);
            let more = demand.ladder.get(up)?.bits_per_second.saturating_sub(cost(demand, *rung));
            Some(more)
        });
        let next = next.min();
        Allocation {
            bits_per_second: spent,
            wanted_bits_per_second: demands.iter().map(top).sum(),
            next_bits_per_second: spent + next.unwrap_or(0),
            bound: match next {
                None => Bound::Nothing,
                Some(next) if limit.is_some_and(|limit| spent + next > limit) => Bound::Limit,
                Some(_) => Bound::Network,
            },
            is_flooded: network.is_some_and(|network| {
                self.is_proved && held.saturating_mul(100) > network.saturating_mul(OVER_AT_ONCE_PERCENT)
            }),
            rungs: chosen,
        }
    }

    /// What may be spent on what is held already.
    fn keep_budget(&mut self, now: Instant, network: u64, held: u64) -> u64 {
        if held <= network {
            self.over_since = None;
            return network;
        }
        let since = *self.over_since.get_or_insert(now);
        let broken = held.saturating_mul(100) > network.saturating_mul(OVER_AT_ONCE_PERCENT);
        if broken || now.saturating_duration_since(since) >= OVER_GRACE { network } else { held }
    }

    /// Learns from what was decided.
    fn note(&mut self, now: Instant, demands: &[Demand], chosen: &[Option<usize>], limited: bool) {
        let pairs = || demands.iter().map(|demand| demand.held).zip(chosen.iter().copied());
        let fell = !limited && pairs().any(|(held, chosen)| held.is_some() && chosen < held);
        let grew = pairs().any(|(held, chosen)| held.is_some() && chosen > held);
        if fell {
            let did_not_last =
                self.grown_at.take().is_some_and(|at| now.saturating_duration_since(at) < LASTING);
            let wait = match self.wait {
                Some(wait) if did_not_last => (wait * 2).min(LONGEST_WAIT),
                Some(wait) if self.wait_until.is_some_and(|until| now < until) => wait,
                _ => FIRST_WAIT,
            };
            self.wait = Some(wait);
            self.wait_until = Some(now + wait);
        } else if grew {
            self.grown_at = Some(now);
        }
    }
}

fn cost(demand: &Demand, rung: Option<usize>) -> u64 {
    rung.and_then(|rung| demand.ladder.get(rung)).map_or(0, |rung| rung.bits_per_second)
}

/// When a rung has its turn: phases of a lesson's needs, lower first.
fn phase(subject: Subject, rung: usize, bits_per_second: u64) -> u8 {
    use Importance::{CalledOn, Other, Teacher};
    let middle = bits_per_second <= MIDDLE_BITS_PER_SECOND;
    match (subject, rung) {
        (Subject::Screen, 0) => 0,
        (Subject::Face(Teacher), 0) => 1,
        (Subject::Face(CalledOn), 0) => 2,
        (Subject::Screen, _) => 3,
        (Subject::Face(Teacher), _) if middle => 4,
        (Subject::Face(CalledOn), _) if middle => 5,
        (Subject::Face(Other), 0) => 6,
        (Subject::Face(Teacher), _) => 7,
        (Subject::Face(CalledOn), _) => 8,
        (Subject::Face(Other), _) => 9,
    }
}

/// What may be spent in all, in bit/s, by the step that is the last to fit.
#[derive(Debug, Clone, Copy)]
struct Budgets {
    /// On what is held already.
    keep: u64,
    /// On the smallest picture of something that is not seen.
    first: u64,
    /// On what was just asked for.
    fresh: u64,
    /// On anything better than that.
    grow: u64,
}

/// Goes up the ladders step by step, in the order of their phases, while the budget lasts.
fn spend(demands: &[Demand], budgets: Budgets) -> Vec<Option<usize>> {
    let mut steps: Vec<(u8, usize, usize)> = Vec::new();
    for (index, demand) in demands.iter().enumerate() {
        // A ladder's phases never go down, so that a step never comes before the one below it.
        let mut least = 0;
        for (rung, step) in demand.ladder.iter().enumerate() {
            least = phase(demand.subject, rung, step.bits_per_second).max(least);
            steps.push((least, rung, index));
        }
    }
    steps.sort_unstable();
    let mut chosen: Vec<Option<usize>> = vec![None; demands.len()];
    let mut spent = 0u64;
    for (_, rung, index) in steps {
        if rung.checked_sub(1) != chosen[index] {
            continue;
        }
        let demand = &demands[index];
        let more = demand.ladder[rung].bits_per_second.saturating_sub(cost(demand, chosen[index]));
        let budget = match demand.held {
            Some(held) if rung <= held => budgets.keep,
            // Nothing is worse than none, so that it never waits.
            _ if rung == 0 => budgets.first,
            _ if demand.fresh => budgets.fresh,
            _ => budgets.grow,
        };
        if spent.saturating_add(more) <= budget {
            spent += more;
            chosen[index] = Some(rung);
        }
    }
    chosen
}

#[cfg(test)]
mod tests;
