use proptest::prelude::*;

use super::*;

/// The machine in a world of its own: events come, the receiver is up or down, hours pass in no time.
struct World {
    origin: Instant,
    /// Milliseconds since the origin.
    at: u64,
    plan: Plan,
    /// When each event came; number `n` at `n - 1`.
    events: Vec<u64>,
    /// In the order of the deliveries, with the time.
    delivered: Vec<(u64, u64)>,
    skipped: Vec<(u64, u64)>,
    attempts: Vec<u64>,
}

const START: u64 = 1_795_000_000_000;

impl World {
    fn new() -> Self {
        World {
            origin: Instant::now(),
            at: 0,
            plan: Plan::new(0, None),
            events: Vec::new(),
            delivered: Vec::new(),
            skipped: Vec::new(),
            attempts: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now { instant: self.origin + Duration::from_millis(self.at), wall: Timestamp(START + self.at) }
    }

    fn next_attempt(&self) -> Option<u64> {
        let next = usize::try_from(self.plan.cursor()).unwrap();
        let came = *self.events.get(next)?;
        let due = self.plan.poll_timeout().map_or(0, |due| {
            u64::try_from(due.saturating_duration_since(self.origin).as_millis()).unwrap() + 1
        });
        Some(came.max(due).max(self.at))
    }

    fn attempt(&mut self, is_up: bool, jitter: u32) {
        let seq = self.plan.cursor() + 1;
        self.attempts.push(self.at);
        if is_up {
            self.plan.handle_delivered(seq);
            self.delivered.push((seq, self.at));
        } else if let Some(old) = self.plan.handle_failed(self.now(), jitter) {
            let came = |seq: u64| Timestamp(START + self.events[usize::try_from(seq - 1).unwrap()]);
            let mut through = self.plan.cursor();
            while through < self.events.len() as u64 && came(through + 1) < old {
                through += 1;
            }
            let from = self.plan.cursor();
            assert_eq!(self.plan.handle_skipped(through), through - from);
            self.skipped.extend((from + 1..=through).map(|seq| (seq, self.at)));
        }
    }
}

#[test]
fn pauses_double_up_to_the_longest_and_end_with_a_delivery() {
    let mut world = World::new();
    world.events = vec![0, 0];
    let mut pauses = Vec::new();
    for _ in 0..12 {
        world.attempt(false, u32::MAX);
        let due = world.plan.poll_timeout().unwrap();
        pauses.push(due.duration_since(world.now().instant).as_secs());
        world.at = world.next_attempt().unwrap();
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
    assert!(world.plan.is_retry());
    world.attempt(true, 0);
    assert_eq!((world.plan.cursor(), world.plan.poll_timeout(), world.plan.failing_since()), (1, None, None));
    world.attempt(false, 0);
    assert_eq!(
        world.plan.poll_timeout().unwrap().duration_since(world.now().instant).as_secs(),
        1,
        "half of the first"
    );
}

#[test]
fn a_plan_goes_on_where_the_one_before_stood() {
    let mut world = World::new();
    let since = Timestamp(START - 2 * 24 * 3_600_000);
    world.plan = Plan::new(0, Some(since));
    world.events = vec![0];
    assert_eq!(world.plan.poll_timeout(), None, "it tries at once");
    world.attempt(false, 7);
    assert_eq!(world.plan.failing_since(), Some(since));
    world.at = 24 * 3_600_000;
    world.attempt(false, 7);
    assert_eq!(world.skipped, [], "three days, but of the receiver; the event is a day old");
    world.at = 3 * 24 * 3_600_000 + 1;
    world.attempt(false, 7);
    assert_eq!(world.skipped, [(1, world.at)]);
}

#[test]
fn a_clock_that_was_put_back_makes_nothing_longer() {
    let mut plan = Plan::new(0, Some(Timestamp(START)));
    let now = Now { instant: Instant::now(), wall: Timestamp(START - 500) };
    assert_eq!(plan.handle_failed(now, 0), None);
    assert_eq!(plan.failing_since(), Some(Timestamp(START - 500)));
}

/// The receiver is up and down by turns, for so many minutes each, beginning with up.
fn is_up(turns: &[u64], at: u64) -> bool {
    let mut end = 0;
    for (index, minutes) in turns.iter().enumerate() {
        end += minutes * 60_000;
        if at < end {
            return index % 2 == 0;
        }
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn in_order_none_lost_none_too_late(
        gaps in proptest::collection::vec(0u64..7_200_000, 1..60),
        turns in proptest::collection::vec(1u64..6000, 0..6),
        jitters in proptest::collection::vec(any::<u32>(), 64),
    ) {
        let mut world = World::new();
        let mut at = 0;
        for gap in gaps {
            at += gap;
            world.events.push(at);
        }
        while let Some(at) = world.next_attempt() {
            let pause = at - world.at.max(world.attempts.last().copied().unwrap_or(0));
            let came = world.events[usize::try_from(world.plan.cursor()).unwrap()];
            // Never idle for longer than a pause with something to send.
            prop_assert!(came == at || pause <= u64::try_from(LONGEST_PAUSE.as_millis()).unwrap() + 1, "{pause} ms");
            world.at = at;
            let jitter = jitters[world.attempts.len() % jitters.len()];
            world.attempt(is_up(&turns, at), jitter);
            prop_assert!(world.attempts.len() < 50_000, "it never ends");
        }
        // Each event once, in order, whether delivered or skipped.
        let mut all: Vec<(u64, u64)> = world.delivered.iter().chain(&world.skipped).copied().collect();
        all.sort_unstable();
        let numbers: Vec<u64> = all.iter().map(|(seq, _)| *seq).collect();
        prop_assert_eq!(numbers, (1..=world.events.len() as u64).collect::<Vec<_>>());
        prop_assert!(world.delivered.is_sorted());
        // Nothing is skipped that is younger than three days, or while the receiver was up in those.
        let give_up = u64::try_from(GIVE_UP.as_millis()).unwrap();
        for (seq, at) in &world.skipped {
            prop_assert!(at - world.events[usize::try_from(*seq - 1).unwrap()] >= give_up);
            prop_assert!(!world.delivered.iter().any(|(_, when)| when <= at && when + give_up > *at));
        }
        // A receiver that is down is asked less and less: at most 12 times in an hour, and 10 more.
        for window in world.attempts.windows(24) {
            let failed = window.iter().all(|at| !is_up(&turns, *at));
            prop_assert!(!failed || window[23] - window[0] >= 3_600_000, "too often");
        }
    }
}
