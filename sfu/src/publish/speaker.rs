//! Who speaks: smoothed levels, the loudest few, and the active speaker.
//!
//! Levels come with each audio packet (RFC 6464), so nothing is decoded. They are kept as loudness, 0 (silence) to 127
//! (loudest), the other way round than on the wire.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::io::AudioLevel;

/// How often the ranking is made: quick enough for a speaking ring, slow enough not to flicker.
pub const TICK: Duration = Duration::from_millis(200);
/// A voice: −50 dBov. Breath and keyboards stay below with browsers' noise suppression on.
const VOICE: f32 = 77.0;
/// Share of a new packet's level in the smoothed one: up within three packets, down within half a second.
const ATTACK: f32 = 0.4;
const RELEASE: f32 = 0.06;
/// Discontinuous transmission sends a packet each 400 ms in silence; without any for longer, it is silent.
const SILENT_AFTER: Duration = Duration::from_millis(600);
/// How much louder than the one before it in the ranking somebody must be to take its place.
const RANK_MARGIN: f32 = 10.0;
/// Who has spoken within this time keeps its place.
const HOLD: Duration = Duration::from_secs(2);
/// How much louder than the active speaker somebody must be, and for how long, to become active.
const ACTIVE_MARGIN: f32 = 6.0;
const ACTIVE_AFTER: Duration = Duration::from_millis(400);
/// A pause of the active speaker shorter than this does not make room for another.
const ACTIVE_PAUSE: Duration = Duration::from_millis(800);
/// Levels are told in steps of this many dB, so that small changes make no event.
const LEVEL_STEP: i8 = 5;

#[derive(Debug, Clone, Copy)]
struct Voice {
    loudness: f32,
    updated: Instant,
    last_voice: Option<Instant>,
}

/// What has changed at a tick, see [`Speakers::poll`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaking<K> {
    /// Those with a voice now, loudest first.
    pub levels: Vec<(K, AudioLevel)>,
    /// The active speaker.
    pub active: Option<K>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Speakers<K> {
    voices: BTreeMap<K, Voice>,
    /// All of them, the loudest first.
    ranking: Vec<K>,
    active: Option<K>,
    /// Who might become active, and since when.
    challenger: Option<(K, Instant)>,
    told: Speaking<K>,
}

impl<K: Copy + Ord> Default for Speakers<K> {
    fn default() -> Self {
        Speakers {
            voices: BTreeMap::new(),
            ranking: Vec::new(),
            active: None,
            challenger: None,
            told: Speaking { levels: Vec::new(), active: None },
        }
    }
}

impl<K: Copy + Ord> Speakers<K> {
    /// Somebody's microphone is open.
    pub fn add(&mut self, now: Instant, who: K) {
        if self.voices.contains_key(&who) {
            return;
        }
        self.voices.insert(who, Voice { loudness: 0.0, updated: now, last_voice: None });
        self.ranking.push(who);
    }

    /// Somebody's microphone is closed.
    pub fn remove(&mut self, who: K) {
        self.voices.remove(&who);
        self.ranking.retain(|other| *other != who);
        if self.active == Some(who) {
            self.active = None;
        }
    }

    /// A packet has come with this level in dBov.
    pub fn heard(&mut self, now: Instant, who: K, level: i8) {
        let Some(voice) = self.voices.get_mut(&who) else { return };
        let loudness = f32::from(127 - level.unsigned_abs().min(127));
        let share = if loudness > voice.loudness { ATTACK } else { RELEASE };
        voice.loudness += (loudness - voice.loudness) * share;
        voice.updated = now;
        if voice.loudness >= VOICE {
            voice.last_voice = Some(now);
        }
    }

    /// Everybody but those whom `skip` names, ranked, the loudest first and at most `count`. A place is lost only to who is clearly
    /// louder, at every rank, so that however many are heard, two who are about equally loud do not take turns. Who is silent is
    /// ranked too, so that in a small room everybody has a place before they speak.
    pub fn loudest(&mut self, now: Instant, count: usize, skip: impl Fn(K) -> bool) -> Vec<K> {
        let voices = &self.voices;
        self.ranking.retain(|who| voices.contains_key(who));
        let loudness = |who: &K| {
            voices.get(who).map_or(0.0, |voice| {
                let holds = voice.last_voice.is_some_and(|last| now.saturating_duration_since(last) < HOLD);
                if holds { voice.loudness.max(VOICE) } else { voice.loudness }
            })
        };
        // An insertion sort with a margin: when nothing changes, one comparison for each.
        for place in 1..self.ranking.len() {
            let mut place = place;
            while place > 0
                && loudness(&self.ranking[place]) > loudness(&self.ranking[place - 1]) + RANK_MARGIN
            {
                self.ranking.swap(place, place - 1);
                place -= 1;
            }
        }
        self.ranking.iter().copied().filter(|who| !skip(*who)).take(count).collect()
    }

    /// To be called each [`TICK`]: what is to be told, if it differs from what was told.
    pub fn poll(&mut self, now: Instant) -> Option<Speaking<K>> {
        for voice in self.voices.values_mut() {
            if now.saturating_duration_since(voice.updated) > SILENT_AFTER {
                voice.loudness = 0.0;
            }
        }
        self.choose_active(now);
        let mut speaking: Vec<(K, f32)> = self
            .voices
            .iter()
            .filter(|(_, voice)| voice.loudness >= VOICE)
            .map(|(who, voice)| (*who, voice.loudness))
            .collect();
        speaking.sort_by(|a, b| b.1.total_cmp(&a.1));
        let levels = speaking.into_iter().map(|(who, loudness)| (who, level(loudness))).collect();
        let speaking = Speaking { levels, active: self.active };
        (speaking != self.told).then(|| {
            self.told = speaking.clone();
            speaking
        })
    }

    fn choose_active(&mut self, now: Instant) {
        let loudest = self
            .voices
            .iter()
            .filter(|(_, voice)| voice.loudness >= VOICE)
            .max_by(|a, b| a.1.loudness.total_cmp(&b.1.loudness).then(b.0.cmp(a.0)))
            .map(|(who, voice)| (*who, voice.loudness));
        let Some((who, loudness)) = loudest else {
            self.challenger = None;
            return;
        };
        let active = self.active.and_then(|active| self.voices.get(&active));
        let beaten = match active {
            _ if self.active == Some(who) => {
                self.challenger = None;
                return;
            }
            None => true,
            Some(active) => {
                let pausing =
                    active.last_voice.is_none_or(|last| now.saturating_duration_since(last) >= ACTIVE_PAUSE);
                pausing || loudness > active.loudness + ACTIVE_MARGIN
            }
        };
        if !beaten {
            self.challenger = None;
            return;
        }
        let since = match self.challenger {
            Some((challenger, since)) if challenger == who => since,
            _ => now,
        };
        self.challenger = Some((who, since));
        if active.is_none() || now.saturating_duration_since(since) >= ACTIVE_AFTER {
            self.active = Some(who);
            self.challenger = None;
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "loudness is within 0 to 127")]
fn level(loudness: f32) -> AudioLevel {
    let dbov = (loudness - 127.0) as i8;
    AudioLevel(dbov / LEVEL_STEP * LEVEL_STEP)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start from any instant")]
mod tests {
    use super::*;

    /// Lets people speak in a plan of (from ms, to ms, who, dBov) and gives the active speaker at each tick.
    fn run(until_ms: u64, plan: &[(u64, u64, u8, i8)]) -> Vec<Option<u8>> {
        let start = Instant::now();
        let mut speakers = Speakers::default();
        for who in 0..6 {
            speakers.add(start, who);
        }
        let mut active = None;
        let mut timeline = Vec::new();
        for ms in (0..until_ms).step_by(20) {
            let now = start + Duration::from_millis(ms);
            for who in 0..6 {
                let level =
                    plan.iter().find(|(from, to, speaker, _)| *speaker == who && (*from..*to).contains(&ms));
                speakers.heard(now, who, level.map_or(-90, |(.., level)| *level));
            }
            if ms % 200 == 0 {
                if let Some(speaking) = speakers.poll(now) {
                    active = speaking.active;
                }
                timeline.push(active);
            }
        }
        timeline
    }

    #[test]
    fn the_active_speaker_stays_through_pauses_and_coughs() {
        // 1 speaks with a pause of 600 ms, 2 coughs loudly for 150 ms meanwhile.
        let timeline = run(6000, &[(0, 2000, 1, -30), (2600, 6000, 1, -30), (1000, 1150, 2, -10)]);
        assert!(timeline[2..].iter().all(|active| *active == Some(1)), "{timeline:?}");
    }

    #[test]
    fn another_who_goes_on_speaking_takes_over() {
        let timeline = run(8000, &[(0, 3000, 1, -30), (3200, 8000, 2, -30)]);
        assert_eq!(timeline[10], Some(1));
        assert_eq!(timeline[25], Some(2), "within 2 s: {timeline:?}");
        let changes = timeline.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes <= 2, "{timeline:?}");
    }

    #[test]
    fn the_loudest_few_do_not_flap() {
        let start = Instant::now();
        let mut speakers = Speakers::default();
        for who in 0..10u8 {
            speakers.add(start, who);
        }
        let mut sets = Vec::new();
        for tick in 0..50u64 {
            let now = start + Duration::from_millis(tick * 200);
            for who in 0..10u8 {
                // All about equally loud, each a little louder in turn.
                let louder = i8::from(tick % 10 == u64::from(who)) * 3;
                speakers.heard(now, who, -40 + louder);
            }
            let mut set = speakers.loudest(now, 8, |_| false)[..3].to_vec();
            set.sort_unstable();
            sets.push(set);
        }
        assert_eq!(sets[5..].iter().filter(|set| **set != sets[5]).count(), 0, "{sets:?}");
        let later = start + Duration::from_secs(11);
        for _ in 0..20 {
            speakers.heard(later, 9, -5);
        }
        assert!(speakers.loudest(later, 8, |_| false)[..3].contains(&9));
    }

    #[test]
    fn a_fourth_who_begins_to_speak_is_heard() {
        let start = Instant::now();
        let mut speakers = Speakers::default();
        for who in 0..5u8 {
            speakers.add(start, who);
        }
        assert_eq!(speakers.loudest(start, 8, |_| false), [0, 1, 2, 3, 4], "all silent: by name");
        let later = start + Duration::from_secs(3);
        for _ in 0..10 {
            speakers.heard(later, 4, -30);
        }
        assert!(speakers.loudest(later, 8, |_| false)[..3].contains(&4));
        assert!(!speakers.loudest(later, 8, |who| who == 4).contains(&4), "skipped");
    }

    #[test]
    fn who_is_gone_is_not_active() {
        let start = Instant::now();
        let mut speakers = Speakers::default();
        speakers.add(start, 1);
        for _ in 0..20 {
            speakers.heard(start, 1, -20);
        }
        assert_eq!(speakers.poll(start).and_then(|speaking| speaking.active), Some(1));
        speakers.remove(1);
        assert_eq!(speakers.poll(start), Some(Speaking { levels: vec![], active: None }));
        assert_eq!(speakers.poll(start), None, "told once");
    }
}
