//! Who is heard, and who is shown to speak.

use std::time::Duration;

use sfu::codec::Codec;
use sfu::id::PeerId;
use sfu::io::Event;
use sfu::media::{Kind, Source};
use sim::rng::Rng;
use sim::world::{Join, Who, World, seminar, teacher};

const MS: Duration = Duration::from_millis(1);
const SILENT: i8 = -90;
const SPEAKS: i8 = -30;

/// A teacher and others, all with open microphones, silent.
fn room_of(seed: u64, others: usize) -> (World, Who, Vec<Who>) {
    let mut world = World::new(seed);
    let room = world.open_room();
    let lecturer = world.join(room, &Join::with(teacher()));
    let others: Vec<Who> = (0..others).map(|_| world.join(room, &Join::with(seminar()))).collect();
    for who in [&[lecturer], &others[..]].concat() {
        world.publish(who, Source::Microphone, Codec::Opus);
        say(&mut world, who, SILENT);
    }
    world.run(1500 * MS);
    (world, lecturer, others)
}

fn say(world: &mut World, who: Who, level: i8) {
    world.with_client(who, |client, _| client.set_level(Source::Microphone, level));
}

fn heard_by(world: &World, who: Who) -> Vec<PeerId> {
    let person = world.person(who);
    let slots = person.client().slots_of(Kind::Audio);
    let mut heard: Vec<PeerId> =
        slots.filter_map(|slot| person.carries(slot)).map(|(peer, _)| peer).collect();
    heard.sort_unstable();
    heard
}

#[test]
fn the_loudest_are_heard_and_the_teacher_always() {
    for seed in sim::seeds(6) {
        let (mut world, lecturer, others) = room_of(seed, 8);
        let mut rng = Rng::new(seed);
        for round in 0..6 {
            world.step(format!("round {round}"));
            let mut speakers = others.clone();
            while speakers.len() > 2 {
                speakers.remove(rng.below(speakers.len()));
            }
            for who in &others {
                say(&mut world, *who, if speakers.contains(who) { SPEAKS } else { SILENT });
            }
            world.run(4000 * MS);
            world.forget();
            world.run(500 * MS);
            for listener in [&[lecturer], &others[..]].concat() {
                for speaker in speakers.iter().filter(|speaker| **speaker != listener) {
                    assert!(
                        world.sees(listener, *speaker, Source::Microphone),
                        "seed {seed}: {listener:?} {speaker:?}"
                    );
                }
                if listener != lecturer {
                    assert!(
                        world.sees(listener, lecturer, Source::Microphone),
                        "the teacher always has a slot"
                    );
                }
                assert!(heard_by(&world, listener).len() <= 3);
                assert!(!heard_by(&world, listener).contains(&world.peer(listener)), "nobody hears himself");
            }
        }
        world.assert_clean();
    }
}

#[test]
fn a_new_voice_is_heard_within_a_syllable_or_two() {
    for seed in sim::seeds(8) {
        let (mut world, lecturer, others) = room_of(seed, 8);
        let speaker = others[7];
        world.forget();
        say(&mut world, speaker, SPEAKS);
        let took = world.run_until(500 * MS, |world| {
            others[..7].iter().chain([&lecturer]).all(|who| world.sees(*who, speaker, Source::Microphone))
        });
        assert!(took.is_some(), "seed {seed}");
        world.run(500 * MS);
        world.assert_clean();
    }
}

#[test]
fn slots_of_sound_do_not_flap_while_four_talk_about_equally_loud() {
    for seed in sim::seeds(4) {
        let (mut world, lecturer, others) = room_of(seed, 6);
        for who in &others[..4] {
            say(&mut world, *who, SPEAKS);
        }
        world.run(2000 * MS);
        let changes = |world: &World| world.person(lecturer).announced().iter().map(Vec::len).sum::<usize>();
        let before = changes(&world);
        let mut rng = Rng::new(seed);
        for _ in 0..100 {
            // Levels waver, as voices do.
            for who in &others[..4] {
                say(&mut world, *who, SPEAKS - rng.below(5) as i8);
            }
            world.run(100 * MS);
        }
        let flaps = changes(&world) - before;
        assert!(flaps <= 4, "seed {seed}: {flaps} changes in 10 s");
        world.assert_clean();
    }
}

/// Changes of the active speaker as they were told.
fn active_changes(world: &World) -> Vec<Option<PeerId>> {
    let mut changes: Vec<Option<PeerId>> = Vec::new();
    for (_, event) in world.events() {
        if let Event::Speakers { active, .. } = event
            && changes.last() != Some(active)
        {
            changes.push(*active);
        }
    }
    changes
}

#[test]
fn the_active_speaker_changes_with_those_who_go_on_speaking_only() {
    for seed in sim::seeds(5) {
        let (mut world, _, others) = room_of(seed, 5);
        let [first, second, cougher] = [others[0], others[1], others[2]];
        world.step("first speaks, with pauses");
        for _ in 0..6 {
            say(&mut world, first, SPEAKS);
            world.run(900 * MS);
            say(&mut world, first, SILENT);
            world.run(400 * MS);
        }
        assert_eq!(world.active_speaker(), Some(world.peer(first)));
        world.step("somebody coughs");
        say(&mut world, first, SPEAKS);
        world.run(300 * MS);
        say(&mut world, cougher, -10);
        world.run(150 * MS);
        say(&mut world, cougher, SILENT);
        world.run(2000 * MS);
        assert_eq!(world.active_speaker(), Some(world.peer(first)));
        world.step("second takes over");
        say(&mut world, first, SILENT);
        say(&mut world, second, SPEAKS);
        let peer = world.peer(second);
        let took = world.run_until(2000 * MS, |world| world.active_speaker() == Some(peer));
        assert!(took.is_some(), "seed {seed}");
        let told: Vec<_> = active_changes(&world).into_iter().flatten().collect();
        assert_eq!(told, [world.peer(first), world.peer(second)], "seed {seed}: no other in between");
        world.assert_clean();
    }
}

#[test]
fn speakers_are_told_at_most_five_times_a_second() {
    let (mut world, _, others) = room_of(3, 8);
    let mut rng = Rng::new(3);
    for _ in 0..100 {
        for who in &others {
            say(&mut world, *who, -20 - rng.below(60) as i8);
        }
        world.run(50 * MS);
    }
    let mut last = None;
    for (at, event) in world.events() {
        if matches!(event, Event::Speakers { .. })
            && let Some(last) = last.replace(*at)
        {
            assert!(*at - last >= 199 * MS, "{:?}", *at - last);
        }
    }
    assert!(last.is_some());
}

#[test]
fn sound_is_continuous_while_it_has_a_slot() {
    let (mut world, lecturer, others) = room_of(4, 2);
    say(&mut world, lecturer, SPEAKS);
    world.run(10_000 * MS);
    for who in others {
        let client = world.person(who).client();
        for slot in client.slots_of(Kind::Audio) {
            let counters = client.slots()[slot].decoder.counters();
            assert_eq!((counters.packets_lost, counters.frames_skipped), (0, 0));
        }
        let seen = world.seen(who, lecturer, Source::Microphone).expect("is heard");
        assert!(seen.frames > 550, "{} packets in 11 s", seen.frames);
    }
    world.assert_clean();
}

/// As browsers do where it is agreed: silence is a packet each 400 ms, and a word comes at once.
#[test]
fn a_silent_microphone_sends_next_to_nothing() {
    let mut world = World::new(1);
    let room = world.open_room();
    let who = world.join(room, &Join::with(teacher()));
    world.publish(who, Source::Microphone, Codec::Opus);
    world.run(Duration::from_secs(1));
    let set = |world: &mut World, level| {
        world.with_client(who, |client, _| {
            client.set_dtx(Source::Microphone, true);
            client.set_level(Source::Microphone, level);
        });
    };
    let sent = |world: &mut World, time| {
        let before = world.with_client(who, |client, _| client.counters().rtp_out);
        world.run(time);
        world.with_client(who, |client, _| client.counters().rtp_out) - before
    };
    set(&mut world, -100);
    let silent = sent(&mut world, Duration::from_secs(4));
    assert!((10..=11).contains(&silent), "{silent}");
    set(&mut world, -30);
    let talking = sent(&mut world, Duration::from_millis(100));
    assert!((5..=6).contains(&talking), "{talking}");
    world.assert_clean();
}
