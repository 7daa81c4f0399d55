//! A participant's track: its layers, and who receives it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::codec::Codec;
use crate::io::SenderLimit;
use crate::media::{Audience, Mid, Rid, Rung, Source, Target};
use crate::publish::dependency::{Dependency, Described, Structure};
use crate::publish::keyframe::KeyframeRequests;
use crate::publish::layers::{SPATIAL_LAYERS, Standing};
use crate::publish::rate::{LevelRates, RateMeter};
use crate::publish::red::Unpacker;
use crate::publish::size::wanted_layer;

/// A layer without a packet for this long is not live: the browser has stopped it (little bandwidth, small source). A shared
/// screen that stands still sends a frame each second or so.
pub const LAYER_IDLE: Duration = Duration::from_millis(1500);

/// How long a layer that was asked for may take to come: the request has to reach the publisher, and its encoder to start.
pub const WAKE_PATIENCE: Duration = Duration::from_secs(3);

/// What a camera's layers usually take, smallest first, in bit/s, until they are measured: what Lectern's own client sends.
const USUAL_CAMERA: [u64; 3] = [150_000, 500_000, 1_700_000];
/// What a shared screen usually takes.
const USUAL_SCREEN: [u64; 2] = [450_000, 1_500_000];
/// What a screen's least rung is reckoned at, at most, and a better layer at least, in bit/s.
const PAGE_LEAST: u64 = 300_000;
const PAGE_BETTER: u64 = 1_000_000;
/// A screen that is drawn smaller than this share of its width is a thumbnail: nobody reads it.
const THUMBNAIL: f64 = 0.34;

/// A temporal step is worth a rung when it costs this many percent more than the one below.
const STEP_PERCENT: u64 = 12;

/// A slot of another participant that receives a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscriber {
    /// The receiving member of the room.
    pub member: usize,
    /// Its slot.
    pub slot: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Track {
    /// Its m-line.
    pub mid: Mid,
    /// What it is.
    pub source: Source,
    /// The participant says that it sends it.
    pub published: bool,
    /// Nothing is forwarded although it is published.
    pub muted: bool,
    /// What the participant says that holds it back.
    pub sender_limit: Option<SenderLimit>,
    /// Who may receive it; nobody when it may not be sent.
    pub audience: Audience,
    /// Smallest first; one without a name when it is no simulcast.
    pub layers: Vec<Layer>,
    /// Who receives it.
    pub subscribers: Vec<Subscriber>,
    /// Sound: what has come, when it comes with redundancy.
    pub unpacker: Unpacker,
}

impl Track {
    /// A track that is not published yet.
    pub fn new(mid: Mid, source: Source, rids: &[Rid], audience: Audience) -> Self {
        let layers = if rids.is_empty() {
            vec![Layer::default()]
        } else {
            rids.iter().map(|rid| Layer { rid: Some(*rid), ..Layer::default() }).collect()
        };
        Track {
            mid,
            source,
            published: false,
            muted: false,
            sender_limit: None,
            audience,
            layers,
            subscribers: Vec::new(),
            unpacker: Unpacker::default(),
        }
    }

    /// Whether it may be received by anybody now.
    pub fn is_open(&self) -> bool {
        self.published && !self.muted && self.audience != Audience::NOBODY
    }

    /// Which layer a packet with this rid is of.
    pub fn layer_of(&self, rid: Option<Rid>) -> Option<usize> {
        // A browser that offered simulcast may send one stream without rid.
        match rid {
            Some(_) => self.layers.iter().position(|layer| layer.rid == rid),
            None => Some(0),
        }
    }

    /// Whether a layer can be had: it is sent, or would be if it was asked for.
    fn is_available(&self, now: Instant, layer: &Layer) -> bool {
        layer.live
            || layer.asleep
            || layer.asked_at.is_none_or(|asked| now.saturating_duration_since(asked) < WAKE_PATIENCE)
    }

    /// The largest layer below one that is not sent which is.
    pub fn stand_in(&self, layer: usize) -> Option<usize> {
        let below = self.layers.get(..=layer).filter(|layers| !layers[layer].live)?;
        below.iter().rposition(|layer| layer.live)
    }

    /// The layer that is worth showing at this size (width and height in pixels), whether it is sent or not.
    pub fn wanted_layer(&self, shown: (u16, u16)) -> usize {
        let top = self.layers.len() - 1;
        match self.source {
            Source::Screen | Source::Desktop => {
                // Its layers have one size and differ in pictures a second.
                let width = self.layers.iter().rev().find_map(|layer| layer.size).map(|(width, _)| width);
                let small = width.is_some_and(|width| f64::from(shown.0) < f64::from(width) * THUMBNAIL);
                if small { 0 } else { top }
            }
            _ => wanted_layer(self.layers.len(), self.full_size(), shown),
        }
    }

    /// The qualities that can be had, cheapest first, up to the one that is worth showing at this size; if none of those, the next better.
    ///
    /// Each picture (a simulcast layer, or a spatial layer of one) is a rung. Where its temporal layers are known there are rungs between,
    /// few, because each is a change that somebody sees. A face gets a smaller picture before it gets jerky: its temporal layers make a
    /// last resort below the smallest picture, and one step at half the pictures a second below the largest, which costs
    /// most. A screen is read: all steps of its largest picture come before a smaller one.
    pub fn ladder(&self, now: Instant, shown: (u16, u16)) -> Vec<Rung> {
        let wanted = self.wanted_layer(shown);
        let available = self.layers.iter().enumerate().filter(|(_, layer)| self.is_available(now, layer));
        let (fitting, better): (Vec<_>, Vec<_>) = available.partition(|(index, _)| *index <= wanted);
        let chosen =
            if fitting.is_empty() { better.into_iter().take(1).collect::<Vec<_>>() } else { fitting };
        let mut pictures: Vec<PictureRates> = Vec::with_capacity(chosen.len());
        for (index, layer) in chosen {
            let of_layer = layer.pictures(now, index, self.usual_rate(index));
            let worth = self.worth_showing(&of_layer, shown);
            pictures.extend(of_layer.into_iter().take(worth));
        }
        let mut rungs = Vec::with_capacity(pictures.len() + 3);
        let top = pictures.len().saturating_sub(1);
        for (at, picture) in pictures.iter().enumerate() {
            let steps = picture.rates.len() - 1;
            let first = match self.source {
                _ if at == 0 => 0,
                Source::Screen | Source::Desktop if at == top => 0,
                _ if at == top => steps.saturating_sub(1),
                _ => steps,
            };
            let below = at.checked_sub(1).map_or(0, |below| pictures[below].full_rate());
            let full = picture.full_rate();
            let mut last = below;
            for (temporal, rate) in (0u8..).zip(&picture.rates).skip(first).take(steps - first) {
                if rate.saturating_mul(100) >= last.saturating_mul(100 + STEP_PERCENT)
                    && full.saturating_mul(100) >= rate.saturating_mul(100 + STEP_PERCENT)
                {
                    let target = Target { temporal, ..picture.target };
                    rungs.push(Rung { target, bits_per_second: *rate, size: picture.size });
                    last = *rate;
                }
            }
            rungs.push(Rung { target: picture.target, bits_per_second: full, size: picture.size });
        }
        if matches!(self.source, Source::Screen | Source::Desktop) && self.layers.len() > 1 {
            for (at, rung) in rungs.iter_mut().enumerate() {
                rung.bits_per_second = page_rate(at, *rung);
            }
        }
        rungs
    }

    /// How many of a stream's spatial layers, from the smallest on, are worth sending at this size.
    fn worth_showing(&self, pictures: &[PictureRates], shown: (u16, u16)) -> usize {
        let full = pictures.last().and_then(|picture| picture.size);
        match self.source {
            Source::Screen | Source::Desktop => pictures.len(),
            _ => wanted_layer(pictures.len(), full, shown) + 1,
        }
    }

    fn usual_rate(&self, layer: usize) -> u64 {
        let usual: &[u64] = match self.source {
            Source::Screen | Source::Desktop => &USUAL_SCREEN,
            _ => &USUAL_CAMERA,
        };
        // A single stream is one of middling size until it is measured.
        let index = if self.layers.len() == 1 { 1 } else { layer };
        usual[index.min(usual.len() - 1)]
    }

    /// Size of the largest layer's picture, as far as it is known.
    pub fn full_size(&self) -> Option<(u16, u16)> {
        let top = self.layers.len() - 1;
        self.layers.iter().enumerate().rev().find_map(|(index, layer)| {
            let (width, height) = layer.size?;
            let scale = 1u16 << (top - index);
            Some((width.saturating_mul(scale), height.saturating_mul(scale)))
        })
    }

    /// Takes a slot out of the subscribers.
    pub fn unsubscribe(&mut self, subscriber: Subscriber) {
        self.subscribers.retain(|other| *other != subscriber);
    }
}

/// What a rung of a screen is reckoned at. A screen that stands still takes next to nothing, and its next page a hundred kilobytes at once: by
/// what was measured it would go up to its better layer between two pages, and flood the network with each.
fn page_rate(at: usize, rung: Rung) -> u64 {
    match (at, rung.target.layer) {
        // The last that is given up: a page that takes two seconds is still a page.
        (0, _) => rung.bits_per_second.min(PAGE_LEAST),
        (_, 0) => rung.bits_per_second,
        // Fewer pictures a second of the better layer: half of the way, and never as dear as all of it.
        _ if rung.target.temporal != u8::MAX => {
            rung.bits_per_second.max(PAGE_BETTER / 2 + u64::from(rung.target.temporal))
        }
        _ => rung.bits_per_second.max(PAGE_BETTER),
    }
}

/// One picture of a track: a simulcast layer, or a spatial layer with those below it.
#[derive(Debug)]
struct PictureRates {
    /// With all its temporal layers.
    target: Target,
    size: Option<(u16, u16)>,
    /// In bit/s, up to each temporal layer; at least one.
    rates: Vec<u64>,
}

impl PictureRates {
    fn full_rate(&self) -> u64 {
        self.rates.last().copied().unwrap_or(0)
    }
}

/// One simulcast layer.
#[derive(Debug, Default)]
pub struct Layer {
    /// Its name.
    pub rid: Option<Rid>,
    /// Its stream now.
    pub ssrc: Option<u32>,
    /// When its last packet came.
    pub last_packet: Option<Instant>,
    /// Packets come.
    pub live: bool,
    /// Who asks for keyframes, merged.
    pub keyframes: KeyframeRequests,
    /// Picture size, from its last keyframe.
    pub size: Option<(u16, u16)>,
    /// Sizes of its spatial layers' pictures, where there are several.
    pub spatial_sizes: [Option<(u16, u16)>; SPATIAL_LAYERS],
    /// What its dependency descriptors refer to.
    structure: Option<Arc<Structure>>,
    /// What it takes.
    pub rate: RateMeter,
    /// What its spatial and temporal layers take.
    pub levels: LevelRates,
    /// RTP timestamp of its last keyframe.
    keyframe_time: Option<u32>,
    /// What it took when it was last measured, in bit/s.
    pub last_rate: Option<u64>,
    /// The publisher was told that nobody needs it.
    pub asleep: bool,
    /// When the publisher was asked for it: at its publication, and when it is woken.
    pub asked_at: Option<Instant>,
    /// Since when nobody needs it.
    pub idle_since: Option<Instant>,
    /// Newest extended sequence number.
    newest_seq: Option<u64>,
}

/// What a packet's sequence number says, see [`Layer::note_seq`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeqStep {
    /// This many packets before it have not arrived (yet).
    Gap(u64),
    /// It fills a gap.
    Late,
}

impl Layer {
    /// Notes a packet's extended sequence number.
    pub fn note_seq(&mut self, seq: u64) -> SeqStep {
        let newest = self.newest_seq.unwrap_or(seq.wrapping_sub(1));
        if seq <= newest && self.newest_seq.is_some() {
            return SeqStep::Late;
        }
        self.newest_seq = Some(seq);
        SeqStep::Gap(seq.wrapping_sub(newest).saturating_sub(1))
    }

    /// Counts a packet into what the layer takes. A keyframe counts as a frame like others: it is rare, and when somebody who joins has
    /// caused one, it must not look as if the layer had become dear.
    pub fn note_rate(
        &mut self,
        now: Instant,
        rtp_time: u32,
        keyframe: bool,
        standing: &Standing,
        bytes: usize,
    ) {
        if keyframe {
            self.keyframe_time = Some(rtp_time);
        }
        let is_key = self.keyframe_time == Some(rtp_time);
        let bytes = if is_key { 0 } else { bytes };
        self.rate.add(now, bytes);
        self.levels.add(now, standing.spatial, standing.temporal, bytes);
    }

    /// Where a packet stands in this stream, and what its dependency descriptor says. VP8 and VP9 say it in their payloads.
    pub fn stand(
        &mut self,
        codec: Codec,
        payload: &[u8],
        descriptor: Option<&Arc<[u8]>>,
    ) -> (Standing, Option<Described>) {
        let described = match codec {
            Codec::H264 | Codec::Av1 => descriptor.and_then(|bytes| self.describe(bytes)),
            Codec::Opus | Codec::Vp8 | Codec::Vp9 => None,
        };
        let standing =
            described.as_ref().map(|described| described.dependency.standing(&described.structure));
        (standing.unwrap_or_else(|| Standing::of_payload(codec, payload)), described)
    }

    fn describe(&mut self, bytes: &Arc<[u8]>) -> Option<Described> {
        let dependency = Dependency::parse(bytes, self.structure.as_ref())?;
        if let Some(attached) = &dependency.attached {
            self.structure = Some(Arc::clone(attached));
        }
        let structure = self.structure.clone()?;
        Some(Described { bytes: Arc::clone(bytes), dependency, structure })
    }

    /// Takes the picture sizes of a keyframe, one for each spatial layer; says whether the largest has changed.
    pub fn note_sizes(&mut self, sizes: &[(u16, u16)]) -> bool {
        let Some(largest) = sizes.last() else { return false };
        self.spatial_sizes = std::array::from_fn(|spatial| sizes.get(spatial).copied());
        self.size.replace(*largest) != Some(*largest)
    }

    /// Remembers what it takes now, for the time when it does not send.
    pub fn remember_rates(&mut self, now: Instant) {
        self.last_rate = self.rate.bits_per_second(now).or(self.last_rate);
        self.levels.look(now, LAYER_IDLE);
    }

    /// Its pictures, smallest first; one when its structure is not known (yet). `usual` is what it takes until it is measured.
    fn pictures(&self, now: Instant, index: usize, usual: u64) -> Vec<PictureRates> {
        let whole = Target::whole(u8::try_from(index).expect("at most three layers"));
        let rate = self.rate.bits_per_second(now).or(self.last_rate).unwrap_or(usual);
        let mut levels = self.levels.cumulative(now);
        let Some((_, top)) = levels.pop() else {
            return vec![PictureRates { target: whole, size: self.size, rates: vec![rate] }];
        };
        let size = |spatial: u8| self.spatial_sizes[usize::from(spatial).min(SPATIAL_LAYERS - 1)];
        let lower = levels.into_iter().map(|(spatial, rates)| PictureRates {
            target: Target { spatial, ..whole },
            size: size(spatial),
            rates,
        });
        let top = PictureRates { target: whole, size: self.size, rates: top };
        lower.chain([top]).collect()
    }

    /// Its packets have stopped.
    pub fn silence(&mut self) {
        self.live = false;
        self.rate.stop();
        self.levels.stop();
    }

    /// Another stream has taken this layer's place.
    pub fn restart(&mut self, ssrc: u32) {
        self.ssrc = Some(ssrc);
        self.newest_seq = None;
        self.size = None;
        self.spatial_sizes = [None; SPATIAL_LAYERS];
        self.structure = None;
        self.levels.stop();
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start from any instant")]
mod tests {
    use super::*;

    /// A track whose layers have sent four seconds of 25 pictures a second in three temporal layers, each layer four times what the one
    /// below takes.
    fn track(source: Source, rids: &[&str], spatial_layers: u8) -> (Track, Instant) {
        let rids: Vec<Rid> = rids.iter().map(|rid| Rid::from(*rid)).collect();
        let mut track = Track::new(Mid::from("1"), source, &rids, Audience::EVERYBODY);
        let start = Instant::now();
        for (index, layer) in track.layers.iter_mut().enumerate() {
            layer.live = true;
            layer.size = Some((320 << index, 180 << index));
            if spatial_layers > 1 {
                layer.note_sizes(&[(320, 180), (640, 360), (1280, 720)]);
            }
            for picture in 0..100u32 {
                for spatial in 0..spatial_layers {
                    let temporal = [0, 2, 1, 2][picture as usize % 4];
                    let standing = Standing { spatial, temporal, ..Standing::default() };
                    let at = start + Duration::from_millis(u64::from(picture) * 40);
                    layer.note_rate(at, picture, false, &standing, 600 << (2 * index) << (2 * spatial));
                }
            }
        }
        (track, start + Duration::from_secs(4))
    }

    fn targets(track: &Track, now: Instant, shown: (u16, u16)) -> Vec<Target> {
        let ladder = track.ladder(now, shown);
        assert!(
            ladder.windows(2).all(|pair| pair[0].bits_per_second < pair[1].bits_per_second),
            "{ladder:?}"
        );
        assert!(ladder.windows(2).all(|pair| pair[0].target < pair[1].target), "{ladder:?}");
        ladder.iter().map(|rung| rung.target).collect()
    }

    fn at(layer: u8, temporal: u8) -> Target {
        Target { temporal, ..Target::whole(layer) }
    }

    #[test]
    fn a_face_gets_smaller_before_it_gets_jerky() {
        let (track, now) = track(Source::Camera, &["q", "h", "f"], 1);
        let all = [at(0, 0), at(0, 1), Target::whole(0), Target::whole(1), at(2, 1), Target::whole(2)];
        assert_eq!(targets(&track, now, (1280, 720)), all);
        assert_eq!(targets(&track, now, (320, 180)), all[..3]);
        let rates: Vec<u64> =
            track.ladder(now, (1280, 720)).iter().map(|rung| rung.bits_per_second / 1000).collect();
        for (found, expected) in rates.into_iter().zip([30, 60, 120, 480, 960, 1920]) {
            assert!(found.abs_diff(expected) * 10 < expected, "{found} kbit/s for {expected}");
        }
    }

    #[test]
    fn spatial_layers_of_one_stream_are_pictures_too() {
        let (track, now) = track(Source::Camera, &[], 3);
        let up_to = |spatial, temporal| Target { spatial, temporal, ..Target::whole(0) };
        let all =
            [up_to(0, 0), up_to(0, 1), up_to(0, u8::MAX), up_to(1, u8::MAX), at(0, 1), Target::whole(0)];
        assert_eq!(targets(&track, now, (1280, 720)), all);
        assert_eq!(targets(&track, now, (320, 180)), all[..3]);
        let sizes: Vec<_> = track.ladder(now, (1280, 720)).iter().map(|rung| rung.size).collect();
        assert_eq!((sizes[2], sizes[3], sizes[5]), (Some((320, 180)), Some((640, 360)), Some((1280, 720))));
    }

    #[test]
    fn a_screen_gets_jerky_before_it_gets_smaller() {
        let (track, now) = track(Source::Screen, &["l", "h"], 1);
        let all = [at(0, 0), at(0, 1), Target::whole(0), at(1, 1), Target::whole(1)];
        // A quarter of the larger one's pictures costs no less than all of the smaller one: it is left out.
        assert_eq!(targets(&track, now, (1280, 720)), all);
    }
}
