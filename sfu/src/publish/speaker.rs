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
/// Who speaks this long without a place gets one, although those who have them are louder.
const FAIR_AFTER: Duration = Duration::from_secs(5);
/// It has the place this long, and takes it from who had one at least as long: a few sentences.
const TURN: Duration = Duration::from_secs(5);
/// Between two such changes, so that many who talk at once do not make the sound flicker.
const BETWEEN_TURNS: Duration = Duration::from_millis(2500);
/// Syllables make a voice swing by 20 dB and more within a second; a fan, a road or a hum stays within a few. Browsers' voice flag
/// (RFC 6464) says little about that: libwebrtc sets it on whatever its encoder does not leave out.
const SWING: f32 = 6.0;
const SWING_WITH_FLAG: f32 = 3.0;
const SWING_WINDOW: Duration = Duration::from_secs(1);
/// Without such a swing for this long it is a noise, and ranked like silence.
const NOISE_AFTER: Duration = Duration::from_secs(5);
const NOISE_AFTER_WITH_FLAG: Duration = Duration::from_secs(15);
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
    swing: Swing,
    /// Among the heard since, or speaking and not among them since.
    place: Place,
}

/// How a level moves.
#[derive(Debug, Clone, Copy)]
struct Swing {
    since: Instant,
    low: f32,
    high: f32,
    /// When it last moved as a voice does.
    lively: Instant,
    /// When the voice flag was last set.
    flagged: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Without a place, and silent.
    None,
    /// Without a place, and speaking since.
    Waits(Instant),
    /// Among the heard since, having spoken so long before without.
    Heard { since: Instant, waited: Duration },
    /// The same, in a turn that it waited for.
    Turn(Instant),
}

impl Swing {
    fn new(now: Instant) -> Self {
        Swing { since: now, low: f32::MAX, high: f32::MIN, lively: now, flagged: None }
    }

    fn handle(&mut self, now: Instant, loudness: f32, flag: bool) {
        if flag {
            self.flagged = Some(now);
        }
        if now.saturating_duration_since(self.since) >= SWING_WINDOW {
            (self.since, self.low, self.high) = (now, loudness, loudness);
        }
        self.low = self.low.min(loudness);
        self.high = self.high.max(loudness);
        if self.high - self.low >= if flag { SWING_WITH_FLAG } else { SWING } {
            self.lively = now;
        }
    }

    fn is_noise(&self, now: Instant) -> bool {
        let flagged = self.flagged.is_some_and(|at| now.saturating_duration_since(at) < SWING_WINDOW);
        let after = if flagged { NOISE_AFTER_WITH_FLAG } else { NOISE_AFTER };
        now.saturating_duration_since(self.lively) >= after
    }
}

impl Voice {
    /// Has spoken within [`HOLD`].
    fn speaks(&self, now: Instant) -> bool {
        self.last_voice.is_some_and(|last| now.saturating_duration_since(last) < HOLD)
    }

    /// Loudness as far as places are concerned.
    fn rank(&self, now: Instant) -> f32 {
        match self.place {
            Place::Turn(since) if self.speaks(now) && now.saturating_duration_since(since) < TURN => {
                // Above all: nobody is by a margin louder.
                f32::from(i8::MAX) + RANK_MARGIN
            }
            _ if self.swing.is_noise(now) => 0.0,
            _ if self.speaks(now) => self.loudness.max(VOICE),
            _ => self.loudness,
        }
    }
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
    /// When somebody last got a turn.
    last_turn: Option<Instant>,
    told: Speaking<K>,
}

impl<K: Copy + Ord> Default for Speakers<K> {
    fn default() -> Self {
        Speakers {
            voices: BTreeMap::new(),
            ranking: Vec::new(),
            active: None,
            challenger: None,
            last_turn: None,
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
        let (swing, place) = (Swing::new(now), Place::None);
        self.voices.insert(who, Voice { loudness: 0.0, updated: now, last_voice: None, swing, place });
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

    /// A packet has come with this level in dBov, and the sender's voice flag.
    pub fn heard(&mut self, now: Instant, who: K, level: i8, flag: bool) {
        let Some(voice) = self.voices.get_mut(&who) else { return };
        let loudness = f32::from(127 - level.unsigned_abs().min(127));
        let share = if loudness > voice.loudness { ATTACK } else { RELEASE };
        voice.loudness += (loudness - voice.loudness) * share;
        voice.updated = now;
        voice.swing.handle(now, loudness, flag);
        if voice.loudness >= VOICE && !voice.swing.is_noise(now) {
            voice.last_voice = Some(now);
        }
    }

    /// Everybody but those whom `skip` names, ranked, the loudest first and at most `count`. A place is lost only to who is clearly
    /// louder, at every rank, so that however many are heard, two who are about equally loud do not take turns. Who is silent is
    /// ranked too, so that in a small room everybody has a place before they speak.
    ///
    /// `places`: how many of them are heard. Who speaks on without being among these gets a turn there.
    pub fn loudest(&mut self, now: Instant, count: usize, places: usize, skip: impl Fn(K) -> bool) -> Vec<K> {
        let voices = &self.voices;
        self.ranking.retain(|who| voices.contains_key(who));
        let rank = |who: &K| voices.get(who).map_or(0.0, |voice| voice.rank(now));
        // An insertion sort with a margin: when nothing changes, one comparison for each.
        for place in 1..self.ranking.len() {
            let mut place = place;
            while place > 0 && rank(&self.ranking[place]) > rank(&self.ranking[place - 1]) + RANK_MARGIN {
                self.ranking.swap(place, place - 1);
                place -= 1;
            }
        }
        self.take_turns(now, places, &skip);
        self.ranking.iter().copied().filter(|who| !skip(*who)).take(count).collect()
    }

    /// Gives a place to who has waited longest while speaking, for one who had it long.
    fn take_turns(&mut self, now: Instant, places: usize, skip: &impl Fn(K) -> bool) {
        let (mut longest_heard, mut longest_waiting) = (None::<(Instant, usize)>, None::<(Instant, usize)>);
        let mut ahead = 0;
        for (index, who) in self.ranking.iter().enumerate() {
            let Some(voice) = self.voices.get_mut(who).filter(|_| !skip(*who)) else { continue };
            ahead += 1;
            if ahead <= places {
                let since = match voice.place {
                    Place::Heard { since, .. } | Place::Turn(since) => since,
                    Place::None | Place::Waits(_) => {
                        let waited = match voice.place {
                            Place::Waits(since) => now.saturating_duration_since(since),
                            _ => Duration::ZERO,
                        };
                        voice.place = Place::Heard { since: now, waited };
                        now
                    }
                };
                let long = now.saturating_duration_since(since) >= TURN;
                if long && longest_heard.is_none_or(|(other, _)| since < other) {
                    longest_heard = Some((since, index));
                }
                continue;
            }
            voice.place = match voice.place {
                _ if !voice.speaks(now) => Place::None,
                Place::Waits(since) => Place::Waits(since),
                // A moment among the heard is no turn: the wait goes on where it was.
                Place::Heard { since, waited } if now.saturating_duration_since(since) < TURN => {
                    Place::Waits(now.checked_sub(waited).unwrap_or(now))
                }
                _ => Place::Waits(now),
            };
            if let Place::Waits(since) = voice.place
                && now.saturating_duration_since(since) >= FAIR_AFTER
                && longest_waiting.is_none_or(|(other, _)| since < other)
            {
                longest_waiting = Some((since, index));
            }
        }
        let paused = self.last_turn.is_none_or(|last| now.saturating_duration_since(last) >= BETWEEN_TURNS);
        if let (Some((_, heard)), Some((_, waiting)), true) = (longest_heard, longest_waiting, paused) {
            self.last_turn = Some(now);
            for (index, place) in [(heard, Place::Waits(now)), (waiting, Place::Turn(now))] {
                if let Some(voice) = self.voices.get_mut(&self.ranking[index]) {
                    voice.place = place;
                }
            }
            self.ranking.swap(heard, waiting);
        }
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
            .filter(|(_, voice)| voice.loudness >= VOICE && !voice.swing.is_noise(now))
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
            .filter(|(_, voice)| voice.loudness >= VOICE && !voice.swing.is_noise(now))
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
                speakers.heard(now, who, level.map_or(-90, |(.., level)| *level), true);
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
                speakers.heard(now, who, -40 + louder, true);
            }
            let mut set = speakers.loudest(now, 8, 10, |_| false)[..3].to_vec();
            set.sort_unstable();
            sets.push(set);
        }
        assert_eq!(sets[5..].iter().filter(|set| **set != sets[5]).count(), 0, "{sets:?}");
        let later = start + Duration::from_secs(11);
        for _ in 0..20 {
            speakers.heard(later, 9, -5, true);
        }
        assert!(speakers.loudest(later, 8, 3, |_| false)[..3].contains(&9));
    }

    #[test]
    fn a_fourth_who_begins_to_speak_is_heard() {
        let start = Instant::now();
        let mut speakers = Speakers::default();
        for who in 0..5u8 {
            speakers.add(start, who);
        }
        assert_eq!(speakers.loudest(start, 8, 3, |_| false), [0, 1, 2, 3, 4], "all silent: by name");
        let later = start + Duration::from_secs(3);
        for _ in 0..10 {
            speakers.heard(later, 4, -30, true);
        }
        assert!(speakers.loudest(later, 8, 3, |_| false)[..3].contains(&4));
        assert!(!speakers.loudest(later, 8, 3, |who| who == 4).contains(&4), "skipped");
    }

    #[test]
    fn who_is_gone_is_not_active() {
        let start = Instant::now();
        let mut speakers = Speakers::default();
        speakers.add(start, 1);
        for _ in 0..20 {
            speakers.heard(start, 1, -20, true);
        }
        assert_eq!(speakers.poll(start).and_then(|speaking| speaking.active), Some(1));
        speakers.remove(1);
        assert_eq!(speakers.poll(start), Some(Speaking { levels: vec![], active: None }));
        assert_eq!(speakers.poll(start), None, "told once");
    }

    /// How talk sounds to the meter: syllables, and a pause now and then.
    fn talk(ms: u64, who: u8, dbov: i8) -> i8 {
        let beat = (ms / 20 + u64::from(who) * 7) % 12;
        dbov - i8::try_from(beat % 6).unwrap_or(0) * 3
    }

    /// Who is heard at each tick, when the first `places` of the ranking are.
    fn heard(seconds: u64, places: usize, level: impl Fn(u64, u8) -> (i8, bool)) -> Vec<Vec<u8>> {
        let start = Instant::now();
        let mut speakers = Speakers::default();
        for who in 0..8 {
            speakers.add(start, who);
        }
        let mut heard = Vec::new();
        for ms in (0..seconds * 1000).step_by(20) {
            let now = start + Duration::from_millis(ms);
            for who in 0..8 {
                let (level, flag) = level(ms, who);
                speakers.heard(now, who, level, flag);
            }
            if ms % 200 == 0 {
                speakers.poll(now);
                heard.push(speakers.loudest(now, places, places, |_| false));
            }
        }
        heard
    }

    #[test]
    fn a_quiet_speaker_who_goes_on_gets_a_turn() {
        let heard = heard(60, 3, |ms, who| match who {
            0..=2 => (talk(ms, who, -20), true),
            5 if ms > 3000 => (talk(ms, who, -38), true),
            _ => (-90, false),
        });
        let turns = heard.iter().filter(|heard| heard.contains(&5)).count();
        assert!(!heard[..35].iter().any(|heard| heard.contains(&5)), "not at once");
        assert!(heard[35..50].iter().any(|heard| heard.contains(&5)), "within 7 s");
        assert!(turns > 100, "a third of the minute or so: {turns} of 300");
        let changes = heard.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes < 40, "{changes}");
    }

    #[test]
    fn a_noise_does_not_hold_a_place() {
        for flag in [false, true] {
            let heard = heard(40, 2, |ms, who| match who {
                0 => (-25 - i8::try_from(ms / 20 % 2).unwrap_or(0), flag),
                1 => (talk(ms, who, -30), true),
                // Two short sentences, later.
                2 if (25_000..26_500).contains(&ms) => (talk(ms, who, -40), true),
                _ => (-90, false),
            });
            assert!(heard[5].contains(&0), "it might be a voice");
            assert!(
                heard[128..132].iter().all(|heard| heard.contains(&2) && heard.contains(&1)),
                "{:?}",
                &heard[125..]
            );
        }
    }

    /// The quieter of seven is louder than the rest for a moment whenever a turn ends, and that moment is not its turn.
    #[test]
    fn a_moment_among_the_heard_is_no_turn() {
        let levels = [-27, -26, -38, -43, -27, -25, -16];
        let heard = heard(60, 3, |ms, who| match levels.get(usize::from(who)) {
            Some(level) => (talk(ms, who, *level), true),
            None => (-90, false),
        });
        let turns = heard.iter().filter(|heard| heard.contains(&4)).count();
        assert!(turns >= 50, "10 s of 60 s, of three places for seven: {turns} of 300");
    }

    proptest::proptest! {
        /// Everybody who talks on is heard, however loud the others, and not in snippets.
        #[test]
        fn all_who_talk_are_heard(
            levels in proptest::collection::vec(-45..-15i8, 1..8),
            places in 1..4usize,
        ) {
            let count = u8::try_from(levels.len()).expect("few");
            let heard = heard(60, places, |ms, who| match levels.get(usize::from(who)) {
                Some(level) => (talk(ms, who, *level), true),
                None => (-90, false),
            });
            for who in 0..count {
                let turns = heard.iter().filter(|heard| heard.contains(&who)).count();
                proptest::prop_assert!(turns >= 20, "{} heard in {} of {} ticks", who, turns, heard.len());
            }
            if levels.len() <= places {
                let settled = &heard[30..];
                let all = |heard: &Vec<u8>| (0..count).all(|who| heard.contains(&who));
                proptest::prop_assert!(settled.iter().all(all));
            }
            let changes = heard.windows(2).filter(|pair| {
                pair[0].iter().any(|who| !pair[1].contains(who))
            }).count();
            proptest::prop_assert!(changes <= 60, "{} changes in a minute", changes);
        }
    }
}
