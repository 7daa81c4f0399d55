#![expect(clippy::disallowed_methods, reason = "a test may start from any instant")]

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A way to a receiver: a bottleneck with a queue, delay, and loss that follows from a seed.
struct Way {
    bits_per_second: u64,
    queue: Duration,
    delay: Duration,
    loss_percent: u64,
    busy_until: Duration,
    seed: u64,
    down: bool,
}

impl Way {
    fn new(bits_per_second: u64) -> Self {
        Way {
            bits_per_second,
            queue: 300 * MS,
            delay: 20 * MS,
            loss_percent: 0,
            busy_until: Duration::ZERO,
            seed: 0x9e37_79b9,
            down: false,
        }
    }

    /// When a packet arrives.
    fn carry(&mut self, at: Duration, bytes: usize) -> Option<Duration> {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if self.down || (self.seed >> 33) % 100 < self.loss_percent {
            return None;
        }
        let start = self.busy_until.max(at);
        if start.saturating_sub(at) > self.queue {
            return None;
        }
        self.busy_until = start + Duration::from_micros(bytes as u64 * 8_000_000 / self.bits_per_second);
        Some(self.busy_until + self.delay)
    }
}

/// A sender that uses what it is told the network carries, up to `wants`, in frames of 30 a second; the receiver reports each 50 ms.
struct Call {
    start: Instant,
    at: Duration,
    estimator: Estimator,
    way: Way,
    wants: u64,
    number: u64,
    /// Packets under way and reported of: number, arrival.
    flying: VecDeque<(u64, Option<Duration>, Duration)>,
    debt: f64,
}

impl Call {
    fn new(way: Way, wants: u64) -> Self {
        let mut estimator = Estimator::new(1_000_000);
        estimator.desire(wants / 100 * 120);
        Call {
            start: Instant::now(),
            at: Duration::ZERO,
            estimator,
            way,
            wants,
            number: 65_000,
            flying: VecDeque::new(),
            debt: 0.0,
        }
    }

    fn send(&mut self, bytes: usize) {
        let arrival = self.way.carry(self.at, bytes + LOWER_LAYERS);
        self.estimator.sent(self.start + self.at, low(self.number), bytes);
        self.flying.push_back((self.number, arrival, self.at));
        self.number += 1;
    }

    /// Runs for a while; gives the least and the largest estimate on the way.
    fn run(&mut self, time: Duration) -> (u64, u64) {
        let end = self.at + time;
        let (mut least, mut most) = (u64::MAX, 0);
        while self.at < end {
            self.at += MS;
            let millis = self.at.as_millis();
            if millis.is_multiple_of(33) {
                let rate = self.wants.min(self.estimator.estimate() / 100 * 90);
                self.debt += rate as f64 * 0.033 / 8.0;
                while self.debt > 600.0 {
                    self.send(1_000);
                    self.debt -= 1_000.0;
                }
            }
            if millis.is_multiple_of(4) {
                let mut fill = self.estimator.poll_fill(self.start + self.at);
                while fill > 0 {
                    self.send(120);
                    fill = fill.saturating_sub(148);
                }
            }
            if millis.is_multiple_of(50) {
                self.report();
            }
            least = least.min(self.estimator.estimate());
            most = most.max(self.estimator.estimate());
        }
        (least, most)
    }

    fn report(&mut self) {
        if self.way.down {
            return;
        }
        let at = self.at;
        let back = self.way.delay;
        // All up to the newest that has arrived, by the time that the report is here.
        let arrived = |(_, arrival, _): &(u64, Option<Duration>, Duration)| {
            arrival.is_some_and(|arrival| arrival + back <= at)
        };
        let Some(last) = self.flying.iter().rposition(arrived) else { return };
        let packets: Vec<_> =
            self.flying.drain(..=last).map(|(number, arrival, _)| (low(number), arrival)).collect();
        self.estimator.feedback(self.start + at, packets);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are wanted")]
fn low(number: u64) -> u16 {
    number as u16
}

fn within(value: u64, from: u64, to: u64) -> bool {
    (from * 1_000..=to * 1_000).contains(&value)
}

#[test]
fn finds_a_fast_network_within_two_seconds() {
    let mut call = Call::new(Way::new(20_000_000), 4_000_000);
    call.run(Duration::from_secs(2));
    let (least, _) = call.run(Duration::from_secs(60));
    assert!(least >= 4_000_000, "{least}");
}

#[test]
fn settles_below_a_bottleneck_without_a_standing_queue() {
    for kilobits in [300, 700, 1_500, 2_500] {
        let mut call = Call::new(Way::new(kilobits * 1_000), 6_000_000);
        call.run(Duration::from_secs(10));
        let (mut sum, mut waits) = (0, Duration::ZERO);
        for _ in 0..60 {
            call.run(Duration::from_secs(1));
            sum += call.estimator.estimate();
            waits += call.way.busy_until.saturating_sub(call.at);
        }
        let mean = sum / 60;
        assert!(within(mean, kilobits * 6 / 10, kilobits * 105 / 100), "{kilobits} kbit/s: {mean}");
        assert!(waits / 60 < 100 * MS, "{kilobits} kbit/s: a queue of {:?}", waits / 60);
    }
}

#[test]
fn random_loss_is_not_congestion() {
    for loss_percent in [2, 5, 10, 20] {
        let mut call = Call::new(Way { loss_percent, ..Way::new(20_000_000) }, 1_500_000);
        call.run(Duration::from_secs(20));
        let (least, _) = call.run(Duration::from_secs(40));
        assert!(within(least, 1_000, 20_000), "{loss_percent} %: {least}");
    }
}

#[test]
fn a_policer_without_a_queue_is_obeyed() {
    let mut call = Call::new(Way { queue: 5 * MS, ..Way::new(800_000) }, 4_000_000);
    call.run(Duration::from_secs(15));
    let mut sum = 0;
    for _ in 0..30 {
        call.run(Duration::from_secs(1));
        sum += call.estimator.estimate();
    }
    assert!(within(sum / 30, 350, 1_150), "{}", sum / 30);
}

#[test]
fn follows_a_network_down_and_up_again() {
    let mut call = Call::new(Way::new(2_000_000), 1_700_000);
    call.run(Duration::from_secs(10));
    assert!(call.estimator.estimate() >= 1_600_000, "{}", call.estimator.estimate());
    call.way.bits_per_second = 300_000;
    call.run(Duration::from_secs(2));
    assert!(within(call.estimator.estimate(), 100, 330), "{}", call.estimator.estimate());
    let (_, most) = call.run(Duration::from_secs(15));
    assert!(most <= 450_000, "{most}");
    call.way.bits_per_second = 2_000_000;
    call.run(Duration::from_secs(8));
    assert!(call.estimator.estimate() >= 1_500_000, "{}", call.estimator.estimate());
}

#[test]
fn an_outage_is_no_congestion() {
    let mut call = Call::new(Way::new(5_000_000), 1_500_000);
    call.run(Duration::from_secs(10));
    call.way.down = true;
    call.run(Duration::from_secs(3));
    call.way.down = false;
    call.run(Duration::from_secs(2));
    assert!(call.estimator.estimate() >= 1_500_000, "{}", call.estimator.estimate());
}

#[test]
fn a_longer_way_is_no_queue_for_long() {
    let mut call = Call::new(Way::new(5_000_000), 1_500_000);
    call.run(Duration::from_secs(10));
    call.way.delay = 150 * MS;
    call.run(Duration::from_secs(6));
    assert!(call.estimator.estimate() >= 1_400_000, "{}", call.estimator.estimate());
}

#[test]
fn silence_proves_nothing() {
    let mut call = Call::new(Way::new(5_000_000), 1_500_000);
    call.run(Duration::from_secs(10));
    let before = call.estimator.estimate();
    call.wants = 0;
    call.estimator.desire(0);
    call.run(Duration::from_secs(30));
    assert!(call.estimator.estimate() >= before / 100 * 95, "{before} to {}", call.estimator.estimate());
}

#[test]
fn nonsense_is_survived() {
    let now = Instant::now();
    let mut estimator = Estimator::new(1_000_000);
    estimator.feedback(now, [(5, None), (6, Some(Duration::MAX)), (7, Some(Duration::ZERO))]);
    for number in [0, 40_000, 3, 65_535, 1] {
        estimator.sent(now, number, usize::MAX / 2);
    }
    let later = now + Duration::from_secs(3600);
    for number in 0..=u16::MAX {
        let arrival = (number % 3 != 0).then(|| Duration::from_micros(u64::from(number) * 77_777));
        estimator.feedback(later, [(number, arrival)]);
    }
    assert!(estimator.estimate() >= LEAST);
}
