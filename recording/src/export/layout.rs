//! Who is seen when, and where.

use std::collections::BTreeMap;

use sfu::media::{Kind as MediaKind, Source};

use super::class::Class;
use super::clock::Way;
use super::{Kind, is_screen};
use crate::manifest::{Manifest, Track};

/// Who speaks for less does not come onto the stage: a cough, a word of assent.
const STEADY_MS: u64 = 3_000;
/// A layout stays for so long at least: less cannot be looked at. What goes meanwhile stands still.
const SCENE_MS: u64 = 480;
/// Most faces beside the stage.
const FACES: usize = 5;
/// Most screens at once.
const SCREENS: usize = 4;
/// The column of faces, and one of them with the edge around it.
const COLUMN: u32 = 256;
const FACE_HEIGHT: u32 = 144;
const EDGE: u32 = 4;

/// A place on the canvas, in pixels, all even.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// A picture at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// Index in the manifest.
    pub track: usize,
    pub place: Place,
}

/// What is seen from a time to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scene {
    pub from_ms: u64,
    pub to_ms: u64,
    pub pictures: Vec<Placed>,
}

/// The scenes of the whole recording, one behind the other, cut at frames.
pub(super) fn scenes(
    kind: Kind,
    manifest: &Manifest,
    class: &Class,
    canvas: (u32, u32),
    frame_ms: u64,
) -> Vec<Scene> {
    let cast = Cast::of(manifest, class);
    let changes = cast.changes(frame_ms);
    let end = manifest.duration_ms.div_ceil(frame_ms).max(1) * frame_ms;
    let mut scenes: Vec<Scene> = Vec::new();
    let mut at = 0;
    while at < end {
        let next = changes[changes.partition_point(|change| *change <= at)..].first();
        let to_ms = next.map_or(end, |next| (*next).max(at + SCENE_MS)).min(end);
        let pictures = match kind {
            Kind::Screen => cast.screens_at(at, Place { x: 0, y: 0, width: canvas.0, height: canvas.1 }),
            _ => cast.composed_at(at, canvas),
        };
        match scenes.last_mut().filter(|last| last.pictures == pictures) {
            Some(last) => last.to_ms = to_ms,
            None => scenes.push(Scene { from_ms: at, to_ms, pictures }),
        }
        at = to_ms;
    }
    scenes
}

struct Cast<'a> {
    manifest: &'a Manifest,
    class: &'a Class,
    /// When each track of the manifest is on air, in milliseconds of the class; nothing for sound.
    on_air: Vec<Option<(u64, u64)>>,
    /// Who has begun to speak, and went on.
    speakers: Vec<(u64, &'a str)>,
    mutes: BTreeMap<(&'a str, Source), Vec<(u64, bool)>>,
}

impl<'a> Cast<'a> {
    fn of(manifest: &'a Manifest, class: &'a Class) -> Self {
        let mut speakers: Vec<(u64, &str)> = Vec::new();
        let ends = class.speakers.iter().skip(1).map(|next| next.0).chain([manifest.duration_ms]);
        for ((from, who), to) in class.speakers.iter().zip(ends) {
            let goes_on = speakers.last().is_some_and(|last| last.1 == who);
            if !goes_on && to.saturating_sub(*from) >= STEADY_MS {
                speakers.push((*from, who));
            }
        }
        let mut mutes = BTreeMap::<_, Vec<_>>::new();
        for (at, who, source, muted) in &class.mutes {
            mutes.entry((who.as_str(), *source)).or_default().push((*at, *muted));
        }
        let on_air = manifest.tracks.iter().map(|track| {
            let is_picture = track.source.kind() == MediaKind::Video && track.duration_ms > 0;
            is_picture.then(|| on_air(track))
        });
        Cast { manifest, class, on_air: on_air.collect(), speakers, mutes }
    }

    /// Times at which something may change, in order, brought up to frames.
    fn changes(&self, frame_ms: u64) -> Vec<u64> {
        let air = self.on_air.iter().flatten().flat_map(|(from, to)| [*from, *to]);
        let pauses = self.manifest.pauses.iter().flat_map(|(from, to)| [*from, *to]);
        let speakers = self.speakers.iter().map(|speaker| speaker.0);
        let mutes = self.class.mutes.iter().map(|mute| mute.0);
        let leads = self.class.leads.iter().map(|lead| lead.0);
        let all = air.chain(pauses).chain(speakers).chain(mutes).chain(leads);
        let mut all: Vec<u64> = all.map(|at| at.div_ceil(frame_ms) * frame_ms).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Tracks that show something, in the order in which they began. A publisher has one of each source: of two that overlap the later holds.
    fn open_at(&self, at: u64, is_wanted: impl Fn(&Track) -> bool) -> Vec<usize> {
        if self.manifest.pauses.iter().any(|(from, to)| (*from..*to).contains(&at)) {
            return Vec::new();
        }
        let mut open = BTreeMap::<(&str, Source), usize>::new();
        for (index, track) in self.manifest.tracks.iter().enumerate() {
            let is_on_air = self.on_air[index].is_some_and(|(from, to)| from <= at && at < to);
            if is_on_air && is_wanted(track) && !self.is_muted(track, at) {
                let key = (track.participant.as_str(), track.source);
                let other = open.entry(key).or_insert(index);
                if self.on_air[*other] <= self.on_air[index] {
                    *other = index;
                }
            }
        }
        let mut open: Vec<usize> = open.into_values().collect();
        open.sort_by_key(|index| (self.on_air[*index], *index));
        open
    }

    fn is_muted(&self, track: &Track, at: u64) -> bool {
        let Some(mutes) = self.mutes.get(&(track.participant.as_str(), track.source)) else { return false };
        let next = mutes.partition_point(|mute| mute.0 <= at);
        next.checked_sub(1).is_some_and(|last| mutes[last].1)
    }

    fn leads(&self, track: &Track, at: u64) -> bool {
        let before = self.class.leads.iter().take_while(|lead| lead.0 <= at);
        before.filter(|lead| lead.1 == track.participant).last().is_some_and(|lead| lead.2)
    }

    fn screens_at(&self, at: u64, place: Place) -> Vec<Placed> {
        let mut open = self.open_at(at, is_screen);
        open.truncate(SCREENS);
        let places = grid(place, open.len());
        open.into_iter().zip(places).map(|(track, place)| Placed { track, place }).collect()
    }

    fn composed_at(&self, at: u64, canvas: (u32, u32)) -> Vec<Placed> {
        let whole = Place { x: 0, y: 0, width: canvas.0, height: canvas.1 };
        let beside = Place { width: canvas.0 - COLUMN, ..whole };
        let track = |index: usize| &self.manifest.tracks[index];
        let mut faces = self.open_at(at, |track| track.source == Source::Camera);
        let next = self.speakers.partition_point(|speaker| speaker.0 <= at);
        let spoke = |index: &usize| {
            let who = track(*index).participant.as_str();
            self.speakers[..next].iter().rev().position(|speaker| speaker.1 == who).unwrap_or(usize::MAX)
        };
        let lead = faces.iter().copied().find(|index| self.leads(track(*index), at));
        let speaker = faces.iter().copied().filter(|index| spoke(index) < usize::MAX).min_by_key(spoke);
        // Those who matter most, then in an order that stays.
        let choose = |faces: &mut Vec<usize>| {
            faces.sort_by_key(|index| (!self.leads(track(*index), at), spoke(index), *index));
            faces.truncate(FACES);
            faces.sort_by_key(|index| (!self.leads(track(*index), at), self.on_air[*index], *index));
        };
        let mut placed = self.screens_at(at, beside);
        if placed.is_empty() {
            let stage = match self.class.is_lecture {
                true => lead.or(speaker),
                false => speaker.or(lead),
            };
            let Some(stage) = stage.or(faces.first().copied()) else { return Vec::new() };
            faces.retain(|index| *index != stage);
            choose(&mut faces);
            let place = if faces.is_empty() { whole } else { inset(beside) };
            placed.push(Placed { track: stage, place });
        } else {
            choose(&mut faces);
            if faces.is_empty() {
                placed = self.screens_at(at, whole);
            }
        }
        for (face, row) in faces.into_iter().zip(0..) {
            let (x, y) = (canvas.0 - COLUMN, row * FACE_HEIGHT);
            let place = inset(Place { x, y, width: COLUMN, height: FACE_HEIGHT });
            placed.push(Placed { track: face, place });
        }
        placed
    }
}

fn on_air(track: &Track) -> (u64, u64) {
    let way = Way::of(track);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times of a recording, made not negative"
    )]
    let class_ms = |file_ms: u64| way.class_ms(file_ms as f64).max(0.0) as u64;
    (class_ms(0), class_ms(track.duration_ms))
}

fn inset(place: Place) -> Place {
    Place {
        x: place.x + EDGE,
        y: place.y + EDGE,
        width: place.width - 2 * EDGE,
        height: place.height - 2 * EDGE,
    }
}

/// One fills the place; more share it in rows.
fn grid(place: Place, count: usize) -> Vec<Place> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    if count <= 1 {
        return vec![place; count as usize];
    }
    let columns = (1..).find(|columns| columns * columns >= count).unwrap_or(count);
    let rows = count.div_ceil(columns);
    let (width, height) = (place.width / columns / 2 * 2, place.height / rows / 2 * 2);
    let cell = |index: u32| Place {
        x: place.x + index % columns * width,
        y: place.y + index / columns * height,
        width,
        height,
    };
    (0..count).map(|index| inset(cell(index))).collect()
}

#[cfg(test)]
#[path = "layout_test.rs"]
mod tests;
