//! A seeded one-way link: decides for each datagram whether, when and how often it arrives.
//!
//! A link holds no datagrams. It says at which instants copies of a datagram arrive, and the world keeps one queue for all
//! links, so that hundreds of links cost one heap.

use std::time::{Duration, Instant};

use crate::rng::Rng;

/// How datagrams are lost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Loss {
    /// None is.
    #[default]
    None,
    /// Each on its own.
    Uniform {
        /// Share of the datagrams that are lost, 0 to 1.
        rate: f64,
    },
    /// In bursts: a Gilbert-Elliott chain that loses nothing in its good state and everything in its bad one.
    Bursts {
        /// Share of the datagrams that are lost, 0 to 1.
        rate: f64,
        /// Mean length of a burst, in datagrams, at least 1.
        mean_length: f64,
    },
}

/// A bottleneck with a queue before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Throughput.
    pub bits_per_second: u64,
    /// What the queue holds; a datagram that does not fit is dropped (tail drop).
    pub queue_bytes: usize,
}

/// What a link does. The default is perfect: at once, all, in order.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinkConfig {
    /// One-way delay.
    pub delay: Duration,
    /// Added to the delay, evenly from zero to this. Without [`Self::jitter_reorders`] a datagram still waits for those before it.
    pub jitter: Duration,
    /// Whether jitter lets datagrams overtake each other.
    pub jitter_reorders: bool,
    /// Loss.
    pub loss: Loss,
    /// Share of the datagrams that are held back by [`Self::reorder_by`], so that later ones overtake them.
    pub reorder_rate: f64,
    /// How long such a datagram is held back.
    pub reorder_by: Duration,
    /// Share of the datagrams that arrive twice.
    pub duplicate_rate: f64,
    /// Throughput, if limited.
    pub rate: Option<RateLimit>,
    /// Nothing gets through.
    pub down: bool,
}

impl LinkConfig {
    /// A link with this delay and nothing else.
    pub fn delayed(delay: Duration) -> Self {
        LinkConfig { delay, ..LinkConfig::default() }
    }

    /// The same with loss.
    #[must_use]
    pub fn with_loss(self, loss: Loss) -> Self {
        LinkConfig { loss, ..self }
    }
}

/// What a link did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounters {
    /// Datagrams given to it.
    pub sent: u64,
    /// Bytes given to it.
    pub bytes: u64,
    /// Lost by chance or because the link is down.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub overflowed: u64,
    /// Extra copies made.
    pub duplicated: u64,
}

/// A link with its state.
#[derive(Debug, Clone)]
pub struct Link {
    config: LinkConfig,
    rng: Rng,
    in_burst: bool,
    /// When the bottleneck has sent all that it holds.
    busy_until: Option<Instant>,
    last_arrival: Option<Instant>,
    shared: Option<(Instant, Fate)>,
    counters: LinkCounters,
}

/// What chance does to a datagram.
#[derive(Debug, Clone, Copy)]
struct Fate {
    lost: bool,
    jitter: Duration,
    held_back: bool,
    duplicated: bool,
}

impl Link {
    /// A link whose chance comes from `rng`.
    pub fn new(config: LinkConfig, rng: Rng) -> Self {
        Link {
            config,
            rng,
            in_burst: false,
            busy_until: None,
            last_arrival: None,
            shared: None,
            counters: LinkCounters::default(),
        }
    }

    /// Changes what it does from now on; what is on its way stays on its way.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// What it does.
    pub fn config(&self) -> LinkConfig {
        self.config
    }

    /// What it did.
    pub fn counters(&self) -> LinkCounters {
        self.counters
    }

    /// Takes a datagram of `len` bytes at `now`; gives the instants at which it arrives: none, one or two.
    pub fn handle(&mut self, now: Instant, len: usize) -> [Option<Instant>; 2] {
        let fate = self.draw();
        self.carry(now, len, fate)
    }

    /// The same for a datagram that shares its fate with all others of its instant that are handled by this. For senders that put
    /// several into an order of chance.
    pub fn handle_shared(&mut self, now: Instant, len: usize) -> [Option<Instant>; 2] {
        let fate = match self.shared {
            Some((at, fate)) if at == now => fate,
            _ => self.draw(),
        };
        self.shared = Some((now, fate));
        self.carry(now, len, fate)
    }

    /// The draws are made in any case, so that switching one property on does not move the chance of the others.
    fn draw(&mut self) -> Fate {
        Fate {
            lost: self.draw_loss(),
            jitter: self.rng.duration(self.config.jitter),
            held_back: self.rng.chance(self.config.reorder_rate),
            duplicated: self.rng.chance(self.config.duplicate_rate),
        }
    }

    fn carry(&mut self, now: Instant, len: usize, fate: Fate) -> [Option<Instant>; 2] {
        let Fate { lost, jitter, held_back, duplicated } = fate;
        self.counters.sent += 1;
        self.counters.bytes += len as u64;
        if lost || self.config.down {
            self.counters.lost += 1;
            return [None, None];
        }
        let Some(sent) = self.transmit(now, len) else {
            self.counters.overflowed += 1;
            return [None, None];
        };
        let mut arrival = sent + self.config.delay + jitter;
        if held_back {
            arrival += self.config.reorder_by;
        } else if !self.config.jitter_reorders {
            arrival = self.last_arrival.map_or(arrival, |last| arrival.max(last));
            self.last_arrival = Some(arrival);
        }
        self.counters.duplicated += u64::from(duplicated);
        [Some(arrival), duplicated.then_some(arrival)]
    }

    /// Takes a datagram that this link spares: it is delayed, and nothing else. The draws are made as for any other.
    pub fn handle_spared(&mut self, now: Instant, len: usize) -> [Option<Instant>; 2] {
        self.draw();
        self.counters.sent += 1;
        self.counters.bytes += len as u64;
        [(!self.config.down).then_some(now + self.config.delay), None]
    }

    /// When the datagram has left the bottleneck, or nothing if the queue is full.
    fn transmit(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let Some(rate) = self.config.rate else { return Some(now) };
        let start = self.busy_until.map_or(now, |busy| busy.max(now));
        let nanos = |bytes: usize| {
            Duration::from_nanos(
                (bytes as u64 * 8).saturating_mul(1_000_000_000) / rate.bits_per_second.max(1),
            )
        };
        if start - now > nanos(rate.queue_bytes) {
            return None;
        }
        let end = start + nanos(len);
        self.busy_until = Some(end);
        Some(end)
    }

    fn draw_loss(&mut self) -> bool {
        match self.config.loss {
            Loss::None => false,
            Loss::Uniform { rate } => self.rng.chance(rate),
            Loss::Bursts { rate, mean_length } => {
                let leave = 1.0 / mean_length.max(1.0);
                // In the long run the chain is in its bad state for enter / (enter + leave) of the datagrams.
                let enter = leave * rate / (1.0 - rate).max(f64::EPSILON);
                self.in_burst = if self.in_burst { !self.rng.chance(leave) } else { self.rng.chance(enter) };
                self.in_burst
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn arrivals(config: LinkConfig, seed: u64, n: u32) -> Vec<Vec<Duration>> {
        let base = Instant::now();
        let mut link = Link::new(config, Rng::new(seed));
        (0..n)
            .map(|i| {
                link.handle(base + MS * i, 1000)
                    .into_iter()
                    .flatten()
                    .map(|at| at - (base + MS * i))
                    .collect()
            })
            .collect()
    }

    #[test]
    fn a_perfect_link_delays_only() {
        let all = arrivals(LinkConfig::delayed(7 * MS), 1, 50);
        assert!(all.iter().all(|a| a == &[7 * MS]));
    }

    #[test]
    fn the_same_seed_gives_the_same_link() {
        let config = LinkConfig {
            jitter: 9 * MS,
            loss: Loss::Uniform { rate: 0.3 },
            duplicate_rate: 0.1,
            ..LinkConfig::delayed(5 * MS)
        };
        assert_eq!(arrivals(config, 5, 500), arrivals(config, 5, 500));
        assert_ne!(arrivals(config, 5, 500), arrivals(config, 6, 500));
    }

    #[test]
    fn loss_is_as_large_as_asked_and_bursts_are_as_long() {
        for loss in [Loss::Uniform { rate: 0.1 }, Loss::Bursts { rate: 0.1, mean_length: 5.0 }] {
            let all = arrivals(LinkConfig::default().with_loss(loss), 3, 50_000);
            let lost = all.iter().filter(|a| a.is_empty()).count() as f64 / all.len() as f64;
            assert!((0.08..0.12).contains(&lost), "{loss:?} lost {lost}");
            let bursts = all.windows(2).filter(|w| !w[0].is_empty() && w[1].is_empty()).count() as f64;
            let length = lost * all.len() as f64 / bursts;
            let expected = if matches!(loss, Loss::Bursts { .. }) { 5.0 } else { 1.1 };
            assert!((length - expected).abs() < 0.15 * expected, "{loss:?} bursts of {length}");
        }
    }

    #[test]
    fn jitter_reorders_only_when_asked() {
        for reorders in [false, true] {
            let config =
                LinkConfig { jitter: 20 * MS, jitter_reorders: reorders, ..LinkConfig::delayed(5 * MS) };
            let base = Instant::now();
            let mut link = Link::new(config, Rng::new(9));
            let at: Vec<_> = (0..500).filter_map(|i| link.handle(base + MS * i, 100)[0]).collect();
            assert_eq!(at.is_sorted(), !reorders);
        }
    }

    #[test]
    fn a_bottleneck_spaces_queues_and_drops() {
        // 1000 bytes take 8 ms at 1 Mbit/s; the queue holds two more.
        let rate = RateLimit { bits_per_second: 1_000_000, queue_bytes: 2000 };
        let base = Instant::now();
        let mut link = Link::new(LinkConfig { rate: Some(rate), ..LinkConfig::default() }, Rng::new(1));
        let at: Vec<_> = (0..5).map(|_| link.handle(base, 1000)[0].map(|at| at - base)).collect();
        assert_eq!(at, [Some(8 * MS), Some(16 * MS), Some(24 * MS), None, None]);
        assert_eq!(link.counters().overflowed, 2);
    }
}
