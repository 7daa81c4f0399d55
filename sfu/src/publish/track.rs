//! A participant's track: its layers, and who receives it.

use std::time::{Duration, Instant};

use crate::forward::select::wanted_layer;
use crate::io::SenderLimit;
use crate::media::{Audience, Mid, Rid, Rung, Source, Target};
use crate::publish::keyframe::KeyframeRequests;
use crate::publish::rate::RateMeter;
use crate::publish::red::Unpacker;

/// A layer without a packet for this long is not live: the browser has stopped it (little bandwidth, small source). A shared
/// screen that stands still sends a frame each second or so.
pub const LAYER_IDLE: Duration = Duration::from_millis(1500);

/// How long a layer that was asked for may take to come: the request has to reach the publisher, and its encoder to start.
pub const WAKE_PATIENCE: Duration = Duration::from_secs(3);

/// What a camera's layers usually take, smallest first, in bit/s, until they are measured: what Lectern's own client sends.
const USUAL_CAMERA: [u64; 3] = [150_000, 500_000, 1_700_000];
/// What a shared screen usually takes.
const USUAL_SCREEN: [u64; 2] = [450_000, 1_500_000];
/// A screen that is drawn smaller than this share of its width is a thumbnail: nobody reads it.
const THUMBNAIL: f64 = 0.34;

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
    pub fn ladder(&self, now: Instant, shown: (u16, u16)) -> Vec<Rung> {
        let wanted = self.wanted_layer(shown);
        let rung = |(index, layer): (usize, &Layer)| Rung {
            target: Target::whole(u8::try_from(index).expect("at most three layers")),
            bits_per_second: layer
                .rate
                .bits_per_second(now)
                .or(layer.last_rate)
                .unwrap_or(self.usual_rate(index)),
            size: layer.size,
        };
        let available = self.layers.iter().enumerate().filter(|(_, layer)| self.is_available(now, layer));
        let (fitting, better): (Vec<_>, Vec<_>) = available.partition(|(index, _)| *index <= wanted);
        if fitting.is_empty() {
            return better.into_iter().take(1).map(rung).collect();
        }
        fitting.into_iter().map(rung).collect()
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
    /// What it takes.
    pub rate: RateMeter,
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
    pub fn note_rate(&mut self, now: Instant, rtp_time: u32, keyframe: bool, bytes: usize) {
        if keyframe {
            self.keyframe_time = Some(rtp_time);
        }
        let is_key = self.keyframe_time == Some(rtp_time);
        self.rate.add(now, if is_key { 0 } else { bytes });
    }

    /// Its packets have stopped.
    pub fn silence(&mut self) {
        self.live = false;
        self.rate.stop();
    }

    /// Another stream has taken this layer's place.
    pub fn restart(&mut self, ssrc: u32) {
        self.ssrc = Some(ssrc);
        self.newest_seq = None;
        self.size = None;
    }
}
