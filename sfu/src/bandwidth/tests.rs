#![expect(clippy::disallowed_methods, reason = "a test may start from any instant")]

use proptest::prelude::*;

use super::*;
use crate::media::Target;

/// A ladder with these rates in kbit/s.
fn ladder(rates: &[u64]) -> Vec<Rung> {
    let rung = |(layer, rate): (usize, &u64)| Rung {
        target: Target::whole(u8::try_from(layer).expect("few")),
        bits_per_second: rate * 1_000,
        size: None,
    };
    rates.iter().enumerate().map(rung).collect()
}

fn face(importance: Importance, rates: &[u64]) -> Demand {
    Demand { subject: Subject::Face(importance), ladder: ladder(rates), held: None, fresh: true }
}

fn screen(rates: &[u64]) -> Demand {
    Demand { subject: Subject::Screen, ladder: ladder(rates), held: None, fresh: true }
}

const CAMERA: [u64; 3] = [150, 500, 1_700];

/// A network that was measured, in bit/s.
fn measured(estimate: u64) -> Downlink {
    let mut downlink = Downlink::default();
    downlink.estimated(estimate + 1);
    downlink.estimated(estimate);
    downlink
}

/// What everybody gets with this estimate, in kbit/s.
fn given(estimate: u64, demands: &[Demand]) -> Vec<Option<usize>> {
    let mut downlink = measured(estimate * 1_000);
    downlink.allocate(Instant::now(), demands, 0, None).rungs
}

/// Holds what was given, as the room does.
fn hold(demands: &mut [Demand], allocation: &Allocation) {
    for (demand, rung) in demands.iter_mut().zip(&allocation.rungs) {
        demand.held = *rung;
        demand.fresh = false;
    }
}

#[test]
fn the_board_comes_first_then_the_teacher_then_the_one_called_on_then_the_others() {
    let class = [
        face(Importance::Other, &CAMERA[..1]),
        face(Importance::Teacher, &CAMERA),
        screen(&[400, 2_000]),
        face(Importance::CalledOn, &CAMERA[..2]),
        face(Importance::Other, &CAMERA[..1]),
    ];
    for (estimate, expected) in [
        (300, [None, Some(0), None, None, None]),
        (500, [None, None, Some(0), None, None]),
        (650, [None, Some(0), Some(0), None, None]),
        (850, [None, Some(0), Some(0), Some(0), None]),
        // The whole screen before anybody's face grows; a first picture of another in what growth leaves free.
        (2_700, [Some(0), Some(0), Some(1), Some(0), None]),
        // Half a teacher before the others grow.
        (3_600, [Some(0), Some(1), Some(1), Some(1), Some(0)]),
        (6_000, [Some(0), Some(2), Some(1), Some(1), Some(0)]),
    ] {
        assert_eq!(given(estimate, &class), expected, "{estimate} kbit/s");
    }
}

#[test]
fn a_receiver_that_reports_nothing_gets_all() {
    let demands = [face(Importance::Other, &CAMERA), screen(&[400, 2_000])];
    let allocation = Downlink::default().allocate(Instant::now(), &demands, 0, None);
    assert_eq!(allocation.rungs, [Some(2), Some(1)]);
    assert_eq!(allocation.bound, Bound::Nothing);
    assert_eq!(allocation.next_bits_per_second, allocation.bits_per_second);
    assert_eq!(allocation.wanted_bits_per_second, 3_700_000);
}

#[test]
fn a_limit_holds_whatever_the_network_carries_and_says_so() {
    let demands = [face(Importance::Other, &CAMERA), face(Importance::Other, &CAMERA)];
    let mut downlink = Downlink::default();
    for estimate in [None, Some(50_000_000)] {
        if let Some(estimate) = estimate {
            downlink.estimated(estimate);
        }
        let now = Instant::now();
        let limited = downlink.allocate(now, &demands, 0, Some(250_000));
        assert_eq!((limited.rungs, limited.bound), (vec![Some(0), None], Bound::Limit));
        let none = downlink.allocate(now, &demands, 0, Some(0));
        assert_eq!((none.rungs, none.bound), (vec![None, None], Bound::Limit));
    }
    downlink.estimated(400_000);
    let short = downlink.allocate(Instant::now(), &demands, 100_000, Some(10_000_000));
    assert_eq!((short.rungs, short.bound), (vec![Some(0), None], Bound::Network));
}

#[test]
fn before_anything_is_measured_everybody_has_a_first_picture() {
    let mut demands = vec![face(Importance::Other, &CAMERA); 9];
    let mut downlink = Downlink::default();
    downlink.estimated(1_000_000);
    let now = Instant::now();
    let allocation = downlink.allocate(now, &demands, 0, None);
    assert_eq!(allocation.rungs, [Some(0); 9], "1.35 Mbit/s, a guess of 1");
    hold(&mut demands, &allocation);
    downlink.estimated(900_000);
    downlink.allocate(now, &demands, 0, None);
    let allocation = downlink.allocate(now + OVER_GRACE, &demands, 0, None);
    assert_eq!(allocation.rungs.iter().flatten().count(), 6, "it is measured now");
}

#[test]
fn sound_is_taken_off_first() {
    let demands = [face(Importance::Other, &CAMERA)];
    let mut downlink = measured(240_000);
    let now = Instant::now();
    assert_eq!(downlink.allocate(now, &demands, 20_000, None).rungs, [Some(0)]);
    assert_eq!(downlink.allocate(now, &demands, 120_000, None).rungs, [None]);
}

#[test]
fn a_dip_is_waited_out_a_collapse_is_not() {
    let mut now = Instant::now();
    let mut demands = [face(Importance::Teacher, &CAMERA)];
    let mut downlink = measured(2_500_000);
    let allocation = downlink.allocate(now, &demands, 0, None);
    assert_eq!(allocation.rungs, [Some(2)]);
    hold(&mut demands, &allocation);
    downlink.estimated(1_500_000);
    for _ in 0..3 {
        now += Duration::from_millis(100);
        assert_eq!(downlink.allocate(now, &demands, 0, None).rungs, [Some(2)], "a dip");
    }
    downlink.estimated(2_000_000);
    now += Duration::from_millis(100);
    assert_eq!(downlink.allocate(now, &demands, 0, None).rungs, [Some(2)]);
    downlink.estimated(1_500_000);
    assert_eq!(downlink.allocate(now, &demands, 0, None).rungs, [Some(2)], "another one");
    downlink.estimated(300_000);
    assert_eq!(downlink.allocate(now, &demands, 0, None).rungs, [Some(0)], "a collapse");
}

#[test]
fn growth_waits_after_a_fall_and_longer_each_time_that_it_does_not_last() {
    let mut now = Instant::now();
    let mut demands = [face(Importance::Teacher, &CAMERA)];
    let mut downlink = Downlink::default();
    let mut changes = Vec::new();
    // The estimator believes in 2.2 Mbit/s until it tries, and finds 600 kbit/s each time.
    for _ in 0..3_000 {
        now += Duration::from_millis(100);
        let top = demands[0].held == Some(2);
        downlink.estimated(if top { 600_000 } else { 2_200_000 });
        let allocation = downlink.allocate(now, &demands, 0, None);
        if allocation.rungs[0] != demands[0].held {
            changes.push(now);
        }
        hold(&mut demands, &allocation);
    }
    let first = changes[0];
    let late = changes.iter().filter(|at| at.duration_since(first) > Duration::from_secs(60)).count();
    assert!(changes.len() > 4, "it tries: {}", changes.len());
    assert!(late <= 8, "{late} changes in the last four minutes");
}

#[test]
fn what_was_just_asked_for_does_not_wait() {
    let now = Instant::now();
    let mut demands = vec![face(Importance::Other, &CAMERA)];
    let mut downlink = measured(2_500_000);
    let allocation = downlink.allocate(now, &demands, 0, None);
    hold(&mut demands, &allocation);
    downlink.estimated(900_000);
    let allocation = downlink.allocate(now, &demands, 0, None);
    assert_eq!(allocation.rungs, [Some(1)]);
    hold(&mut demands, &allocation);
    demands.push(face(Importance::Other, &CAMERA));
    let allocation = downlink.allocate(now, &demands, 0, None);
    assert_eq!(allocation.rungs, [Some(1), Some(0)], "a new picture at once");
    hold(&mut demands, &allocation);
    downlink.estimated(3_000_000);
    assert_eq!(downlink.allocate(now, &demands, 0, None).rungs, [Some(1), Some(0)], "growth waits");
    demands[1].fresh = true;
    assert_eq!(downlink.allocate(now, &demands, 0, None).rungs, [Some(1), Some(2)], "a larger tile does not");
}

fn any_demand() -> impl Strategy<Value = Demand> {
    let subject = prop_oneof![
        Just(Subject::Screen),
        Just(Subject::Face(Importance::Teacher)),
        Just(Subject::Face(Importance::CalledOn)),
        Just(Subject::Face(Importance::Other)),
    ];
    (subject, proptest::collection::vec(20u64..3_000, 0..6), any::<Option<u8>>(), any::<bool>()).prop_map(
        |(subject, rates, held, fresh)| {
            let held = held.map(usize::from).filter(|held| *held < rates.len());
            Demand { subject, ladder: ladder(&rates), held, fresh }
        },
    )
}

proptest! {
    /// Whatever is asked: nothing is spent that is not there, no rung is given that does not exist, and the figures add up.
    #[test]
    fn stays_within_the_estimate(
        demands in proptest::collection::vec(any_demand(), 0..12),
        estimate in 0u64..10_000_000,
        sound in 0u64..200_000,
        limit in any::<Option<u32>>(),
    ) {
        let mut downlink = measured(estimate);
        let start = Instant::now();
        let limit = limit.map(u64::from);
        downlink.allocate(start, &demands, sound, limit);
        // After the grace for dips.
        let allocation = downlink.allocate(start + OVER_GRACE, &demands, sound, limit);
        let spent: u64 = demands.iter().zip(&allocation.rungs).map(|(demand, rung)| cost(demand, *rung)).sum();
        prop_assert_eq!(spent, allocation.bits_per_second);
        prop_assert_eq!(allocation.rungs.len(), demands.len());
        for (demand, rung) in demands.iter().zip(&allocation.rungs) {
            prop_assert!(rung.is_none_or(|rung| rung < demand.ladder.len()));
        }
        // Rungs that cost less than the one below (a still picture) can make a sum smaller, never larger.
        let network = estimate.saturating_sub(sound).max(FLOOR_BITS_PER_SECOND);
        prop_assert!(spent <= network.min(limit.unwrap_or(u64::MAX)), "{spent} of {network}");
        prop_assert!(allocation.next_bits_per_second >= spent);
    }

    /// More network is never worse for the picture that matters most.
    #[test]
    fn the_first_in_line_only_gains(
        demands in proptest::collection::vec(any_demand(), 1..8),
        less in 0u64..5_000,
        more in 0u64..5_000,
    ) {
        let mut demands = demands;
        for demand in &mut demands {
            demand.held = None;
            demand.ladder.sort_by_key(|rung| rung.bits_per_second);
        }
        for demand in &mut demands[1..] {
            demand.subject = Subject::Face(Importance::Other);
        }
        demands[0].subject = Subject::Screen;
        let first = |estimate: u64| given(estimate, &demands)[0];
        prop_assert!(first(less) <= first(less + more));
    }
}
