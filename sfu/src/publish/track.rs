//! A participant's track: its layers, and who receives it.

use std::time::{Duration, Instant};

use crate::io::SenderLimit;
use crate::media::{Audience, Mid, Rid, Source};
use crate::publish::keyframe::KeyframeRequests;

/// A layer without a packet for this long is not live: the browser has stopped it (little bandwidth, small source). A shared
/// screen that stands still sends a frame each second or so.
pub const LAYER_IDLE: Duration = Duration::from_millis(1500);

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

    /// Another stream has taken this layer's place.
    pub fn restart(&mut self, ssrc: u32) {
        self.ssrc = Some(ssrc);
        self.newest_seq = None;
        self.size = None;
    }
}
