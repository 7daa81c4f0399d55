//! The reducer over random logs.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sfu::media::Source;
use signaling::lesson::{
    CHAT_IN_STATE, EventKind, LeaveReason, LessonEvent, LessonState, Preset, RecordingEnd, RecordingLimit,
    RoomSettings,
};
use signaling::permission::Role;
use signaling::time::Timestamp;

/// The same run each time, unless `PROPTEST_RNG_SEED` and `PROPTEST_CASES` say otherwise.
fn plan() -> ProptestConfig {
    let given = ProptestConfig::default();
    let rng_seed =
        if given.rng_seed == RngSeed::Random { RngSeed::Fixed(20_261_121) } else { given.rng_seed };
    ProptestConfig { rng_seed, failure_persistence: None, ..given }
}

fn identity() -> impl Strategy<Value = String> {
    proptest::sample::select(&["t", "s1", "s2", "s3", "__proto__", "10", "stranger"][..])
        .prop_map(str::to_owned)
}

fn settings() -> impl Strategy<Value = RoomSettings> {
    (any::<[bool; 3]>(), proptest::sample::select(&[Preset::Tutoring, Preset::Lecture, Preset::Seminar][..]))
        .prop_map(|(bits, preset)| RoomSettings {
            locked: bits[0],
            chat: bits[1],
            students_see_students: bits[2],
            ..RoomSettings::from_preset(preset, "Zahlen & 数")
        })
}

fn kind() -> impl Strategy<Value = EventKind> {
    let source = || proptest::sample::select(&Source::ALL[..]);
    let role = || proptest::sample::select(&Role::ALL[..4]);
    let reasons = [
        LeaveReason::Left,
        LeaveReason::Removed,
        LeaveReason::Timeout,
        LeaveReason::Closed,
        LeaveReason::Shutdown,
    ];
    prop_oneof![
        8 => (identity(), role())
            .prop_map(|(participant, role)| EventKind::Joined { name: participant.clone(), participant, role }),
        3 => (identity(), proptest::sample::select(reasons.to_vec()))
            .prop_map(|(participant, reason)| EventKind::Left { participant, reason }),
        5 => (identity(), source(), any::<bool>())
            .prop_map(|(participant, source, muted)| EventKind::Published { participant, source, muted }),
        2 => (identity(), source()).prop_map(|(participant, source)| EventKind::Unpublished { participant, source }),
        3 => (identity(), source(), any::<bool>())
            .prop_map(|(participant, source, muted)| EventKind::Muted { participant, source, muted }),
        4 => identity().prop_map(|participant| EventKind::HandRaised { participant }),
        2 => identity().prop_map(|participant| EventKind::HandLowered { participant }),
        4 => identity().prop_map(|participant| EventKind::FloorGiven { participant }),
        2 => identity().prop_map(|participant| EventKind::FloorTaken { participant }),
        2 => (identity(), role()).prop_map(|(participant, role)| EventKind::RoleChanged { participant, role }),
        6 => "[a-z]{0,3}".prop_map(|text| EventKind::Chat { nonce: text.clone(), text }),
        2 => settings().prop_map(|settings| EventKind::SettingsChanged { settings }),
        2 => "[a-b]{1}".prop_map(|recording| EventKind::RecordingStarted { recording }),
        1 => any::<bool>().prop_map(|paused| match paused {
            true => EventKind::RecordingPaused {},
            false => EventKind::RecordingResumed {},
        }),
        1 => any::<bool>().prop_map(|again| EventKind::RecordingStopped {
            reason: if again { RecordingEnd::Interrupted } else { RecordingEnd::Stopped },
        }),
        1 => any::<bool>().prop_map(|limited| EventKind::RecordingLimited {
            limit: limited.then_some(RecordingLimit::SoundOnly),
        }),
        2 => (identity(), any::<bool>())
            .prop_map(|(participant, agreed)| EventKind::RecordingConsent { participant, agreed }),
        1 => proptest::bool::weighted(0.2).prop_map(|close| match close {
            true => EventKind::Closed {},
            false => EventKind::HandRaised { participant: "s1".into() },
        }),
    ]
}

fn log() -> impl Strategy<Value = Vec<LessonEvent>> {
    let event = (proptest::option::weighted(0.8, identity()), kind(), 0u64..5000);
    (settings(), proptest::collection::vec(event, 0..120)).prop_map(|(settings, events)| {
        let opened = EventKind::Opened { lesson: "ab".repeat(16), room: "r".into(), settings };
        let mut at = 1_795_253_400_000;
        let first = LessonEvent { seq: 1, at: Timestamp(at), by: None, kind: opened };
        let rest = events.into_iter().zip(2..).map(|((by, kind, later_ms), seq)| {
            at += later_ms;
            LessonEvent { seq, at: Timestamp(at), by, kind }
        });
        std::iter::once(first).chain(rest).collect()
    })
}

fn assert_sound(state: &LessonState) -> Result<(), TestCaseError> {
    for list in [&state.hands, &state.floor] {
        prop_assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len(), "nobody twice");
        prop_assert!(list.iter().all(|identity| state.is_present(identity)), "only those present");
    }
    for identity in &state.removed {
        prop_assert!(state.participants.contains_key(identity));
    }
    prop_assert!(state.participants.values().all(|found| found.present || found.tracks.is_empty()));
    prop_assert!(state.chat.len() <= CHAT_IN_STATE);
    prop_assert!(state.chat.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    Ok(())
}

proptest! {
    #![proptest_config(plan())]

    #[test]
    fn every_state_on_the_way_is_sound(log in log()) {
        let mut state = LessonState::from_opened(&log[0]).unwrap();
        for event in &log[1..] {
            let removed = state.removed.len();
            state.apply(event);
            prop_assert_eq!(state.seq, event.seq);
            prop_assert!(state.removed.len() >= removed, "nobody is forgiven");
            assert_sound(&state)?;
        }
    }

    #[test]
    fn a_snapshot_and_the_rest_make_the_same_state(log in log(), at in 0usize..120, again in 0usize..10) {
        let at = (at % log.len()).max(1);
        let whole = LessonState::fold(&log).unwrap();
        let snapshot = serde_json::to_string(&LessonState::fold(&log[..at]).unwrap()).unwrap();
        let mut resumed: LessonState = serde_json::from_str(&snapshot).unwrap();
        // Some events come again after a resume; they are in already.
        for event in &log[at.saturating_sub(again).max(1)..] {
            let event: LessonEvent = serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap();
            resumed.apply(&event);
        }
        prop_assert_eq!(resumed, whole);
    }

    #[test]
    fn after_closed_nobody_is_there(log in log()) {
        let mut state = LessonState::fold(&log).unwrap();
        let kind = EventKind::Closed {};
        state.apply(&LessonEvent { seq: state.seq + 1, at: Timestamp(0), by: None, kind });
        prop_assert!(state.closed && state.present().next().is_none());
        prop_assert!(state.hands.is_empty() && state.floor.is_empty());
    }
}

#[test]
fn a_log_that_does_not_begin_with_opened_has_no_state() {
    let kind = EventKind::Closed {};
    let event = LessonEvent { seq: 1, at: Timestamp(0), by: None, kind };
    assert_eq!(LessonState::fold([&event]), None);
    assert_eq!(LessonState::fold([]), None);
}
