//! What goes into the media machine and what comes out of it.
//!
//! [`Command`]s come from the lesson, [`Input`]s from the network and the clock; [`Output`]s are datagrams to send,
//! [`Event`]s for the lesson, packets for a recorder, and the time at which the machine wants to be woken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::id::{PeerId, RoomId};
use crate::media::{Audience, Kind, Mid, Source};

/// An order from the lesson machine. A command about a room or peer that does not exist is ignored: it was on its
/// way when the room or peer went.
#[derive(Debug, Clone)]
pub enum Command {
    /// Makes an empty room.
    OpenRoom {
        /// Its id, not used before.
        room: RoomId,
    },
    /// Ends a room and every peer in it.
    CloseRoom {
        /// The room.
        room: RoomId,
    },
    /// Brings a peer into a room. Answered by [`Event::Answered`] or [`Event::Refused`].
    AddPeer(Box<AddPeer>),
    /// A new offer on an existing peer with the same m-lines: ICE restart after a network change. Answered by
    /// [`Event::Answered`] or [`Event::Refused`]; a refusal leaves the peer as it was.
    RestartPeer {
        /// The peer.
        peer: PeerId,
        /// SDP offer.
        offer: String,
    },
    /// A remote ICE candidate that was trickled, as in an `a=candidate:` line (with or without the `a=`).
    AddCandidate {
        /// The peer.
        peer: PeerId,
        /// `candidate:…`
        candidate: String,
    },
    /// Ends a peer. There is no event for it.
    RemovePeer {
        /// The peer.
        peer: PeerId,
    },
    /// Replaces what a peer may send, and what it sees and hears, from now on.
    SetPolicy {
        /// The peer.
        peer: PeerId,
        /// The new policy.
        policy: PeerPolicy,
    },
    /// The participant says that it sends this source now. Packets of a source that is not published are dropped.
    Publish {
        /// The peer.
        peer: PeerId,
        /// The source.
        source: Source,
    },
    /// The participant has stopped this source.
    Unpublish {
        /// The peer.
        peer: PeerId,
        /// The source.
        source: Source,
    },
    /// Mutes (nothing of the source is forwarded) or unmutes a published source.
    SetMuted {
        /// The peer.
        peer: PeerId,
        /// The source.
        source: Source,
        /// Whether it is muted.
        muted: bool,
    },
    /// The pictures that a peer shows now, most important first; those beyond its video slots are left out.
    View {
        /// The viewing peer.
        peer: PeerId,
        /// The pictures, each at most once.
        pictures: Vec<Picture>,
    },
    /// Limits the pictures that a peer receives (data saver, sound only). What it costs is told with [`Reason::Policy`].
    SetReceiveLimit {
        /// The peer.
        peer: PeerId,
        /// All pictures together; 0 for none at all, `None` for as much as the network carries. Sound is not counted.
        video_bits_per_second: Option<u64>,
    },
    /// What a publisher says that it suffers from: it is asked for less, and viewers are told why.
    SetSenderLimit {
        /// The publisher.
        peer: PeerId,
        /// Which of its tracks.
        source: Source,
        /// What holds it back, or nothing any more.
        limit: Option<SenderLimit>,
    },
    /// Hands the room's packets to a recorder ([`Output::Record`]) from now on, or no longer.
    Record {
        /// The room.
        room: RoomId,
        /// The recorder's class: it gets the tracks whose audience meets it. Nobody's ends it.
        audience: Audience,
    },
    /// The recorder cannot go on with a layer before its next keyframe.
    RecordKeyframe {
        /// The publisher.
        peer: PeerId,
        /// Which of its tracks.
        source: Source,
        /// Simulcast layer, 0 the smallest.
        layer: u8,
    },
}

/// A peer to be, see [`Command::AddPeer`].
#[derive(Debug, Clone)]
pub struct AddPeer {
    /// Its room.
    pub room: RoomId,
    /// Its id, not used before.
    pub peer: PeerId,
    /// SDP offer: `sendonly` m-lines for what it may send one day, `recvonly` m-lines as slots. Also takes the plain
    /// offers of WHIP (`sendonly`) and WHEP (`recvonly`) clients.
    pub offer: String,
    /// Which sending m-line carries which source. When empty (WHIP), the first sending audio m-line is the microphone
    /// and the first video m-line the camera.
    pub sources: Vec<(Mid, Source)>,
    /// What it may send and see.
    pub policy: PeerPolicy,
}

/// What a peer may do with media. Computed by the lesson machine from its one permission table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerPolicy {
    /// The class of the peer, tested against the audience of each track. Usually one bit.
    pub class: Audience,
    /// For each source (by [`Source::index`]), who may see or hear it; [`Audience::NOBODY`] means that the peer may not
    /// send it at all.
    pub publish: [Audience; Source::ALL.len()],
    /// Its microphone always has an audio slot, loud or not (the teacher; whoever has the floor).
    pub always_heard: bool,
    /// How its pictures stand in line when a viewer's network does not carry all.
    pub importance: Importance,
}

/// Whose face comes first when a network does not carry all; shared screens come before any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Importance {
    /// Whoever leads the lesson.
    Teacher,
    /// Who was given the floor.
    CalledOn,
    /// All others, in the order of the viewer's own list.
    #[default]
    Other,
}

/// A picture that a viewer shows, see [`Command::View`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Whose track.
    pub publisher: PeerId,
    /// Which of its tracks.
    pub source: Source,
    /// Width at which it is drawn, in device pixels.
    pub width_px: u16,
    /// Height at which it is drawn, in device pixels.
    pub height_px: u16,
}

/// What the media machine tells the lesson machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The answer to [`Command::AddPeer`] or [`Command::RestartPeer`].
    Answered {
        /// The room.
        room: RoomId,
        /// The peer.
        peer: PeerId,
        /// SDP answer, with the node's candidates.
        answer: String,
        /// The receiving m-lines of the peer, in the order of the offer.
        slots: Vec<(Mid, Kind)>,
    },
    /// The offer was refused; a new peer does not exist.
    Refused {
        /// The room.
        room: RoomId,
        /// The peer.
        peer: PeerId,
        /// Why.
        error: OfferError,
    },
    /// ICE and DTLS are up: media flows. Sent again when a lost connection comes back.
    Connected {
        /// The room.
        room: RoomId,
        /// The peer.
        peer: PeerId,
    },
    /// The connection went silent. The peer stays until it is removed, and may come back.
    Disconnected {
        /// The room.
        room: RoomId,
        /// The peer.
        peer: PeerId,
    },
    /// What some slots of a peer carry has changed.
    Slots {
        /// The room.
        room: RoomId,
        /// The viewing peer.
        peer: PeerId,
        /// Only the slots that changed.
        slots: Vec<SlotChange>,
    },
    /// Who speaks, at most five times a second, only when it has changed.
    Speakers {
        /// The room.
        room: RoomId,
        /// Those who are heard now, loudest first, with a smoothed level.
        levels: Vec<(PeerId, AudioLevel)>,
        /// The active speaker, with hysteresis; stays through pauses.
        active: Option<PeerId>,
    },
    /// How good the connection of some peers is, each second, only those that changed.
    Quality {
        /// The room.
        room: RoomId,
        /// The peers.
        peers: Vec<(PeerId, Quality)>,
    },
    /// Which simulcast layers of a publisher's track somebody needs: it should stop the others, which saves its network and
    /// processor. Until told, all are needed.
    Encodings {
        /// The room.
        room: RoomId,
        /// The publisher.
        peer: PeerId,
        /// Which of its tracks.
        source: Source,
        /// For each layer, smallest picture first, whether it is needed. One entry for a track without simulcast.
        active: Vec<bool>,
    },
    /// How some of the pictures in a peer's view do, only those that changed. Until told, a picture is
    /// [`Shown::Full`].
    Pictures {
        /// The room.
        room: RoomId,
        /// The viewing peer.
        peer: PeerId,
        /// The pictures.
        pictures: Vec<PictureState>,
    },
    /// What connections have carried so far, each 5 s, only those that carried something since.
    Traffic {
        /// The room.
        room: RoomId,
        /// The peers.
        peers: Vec<(PeerId, Traffic)>,
    },
}

impl Event {
    /// The room it is about.
    pub fn room(&self) -> RoomId {
        match *self {
            Event::Answered { room, .. }
            | Event::Refused { room, .. }
            | Event::Connected { room, .. }
            | Event::Disconnected { room, .. }
            | Event::Slots { room, .. }
            | Event::Speakers { room, .. }
            | Event::Quality { room, .. }
            | Event::Encodings { room, .. }
            | Event::Pictures { room, .. }
            | Event::Traffic { room, .. } => room,
        }
    }
}

/// What a slot carries from now on, see [`Event::Slots`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotChange {
    /// The m-line of the viewer.
    pub mid: Mid,
    /// Whose track it is, or nothing.
    pub carries: Option<(PeerId, Source)>,
}

/// Loudness in dBov: 0 is the loudest, −127 silence (RFC 6464, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AudioLevel(pub i8);

/// How a connection does, from loss and round-trip time over the last seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// Under 3 % loss and under 300 ms round trip.
    Good,
    /// Under 10 % loss and under 600 ms round trip.
    Fair,
    /// Worse.
    Poor,
    /// Nothing arrives.
    Lost,
}

/// What holds a publisher back, see [`Command::SetSenderLimit`]; browsers tell it as `qualityLimitationReason` (WebRTC statistics,
/// section 8.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SenderLimit {
    /// Its processor.
    Cpu,
    /// Its network.
    Bandwidth,
}

/// How a viewer gets a picture, and why not better, see [`Event::Pictures`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureState {
    /// Whose.
    pub publisher: PeerId,
    /// Which of its tracks.
    pub source: Source,
    /// How much of what the viewer asked for.
    pub shown: Shown,
    /// Why not all; always there unless `shown` is [`Shown::Full`].
    pub reason: Option<Reason>,
    /// Width and height that are sent, in pixels, where known.
    pub size: Option<(u16, u16)>,
}

/// How much of a picture a viewer gets, of what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// As sharp and smooth as it is drawn.
    Full,
    /// Less sharp, or fewer pictures a second.
    Reduced,
    /// Nothing for now.
    Paused,
}

/// Why a viewer gets less than it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The viewer's network does not carry more.
    Bandwidth,
    /// The sender's processor does not keep up.
    SenderCpu,
    /// The sender's network does not carry more.
    SenderBandwidth,
    /// The sender does not send a better one (a small camera, no simulcast).
    LayerMissing,
    /// The viewer, or who runs the room, has limited it (data saver, sound only, budget used up).
    Policy,
    /// The viewer has fewer slots than pictures, or does not show it.
    Hidden,
}

/// See [`Event::Traffic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes of datagrams to the peer since it was added.
    pub sent_bytes: u64,
    /// Bytes of datagrams from the peer since it was added.
    pub received_bytes: u64,
    /// What the network to the peer is estimated to carry, in bit/s, once that is known.
    pub estimate_bits_per_second: Option<u64>,
}

/// Why an offer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// Longer than [`crate::limits::OFFER_BYTES`].
    #[error("the offer is too long")]
    TooLong,
    /// More m-lines than [`crate::limits::OFFER_M_LINES`].
    #[error("the offer has too many m-lines")]
    TooManyMedia,
    /// Two m-lines with one mid.
    #[error("the offer names a mid twice")]
    DuplicateMid,
    /// Not SDP, or not one that WebRTC can answer.
    #[error("the offer cannot be understood: {0}")]
    Malformed(String),
    /// A source names an m-line that the offer does not have, that does not send, or that is of the other kind.
    #[error("the source does not fit the m-line {0}")]
    SourceMismatch(String),
    /// No codec in common on an m-line that is in use.
    #[error("no codec in common")]
    NoCodec,
    /// This node has as many unfinished handshakes as it takes ([`crate::limits::HALF_OPEN_PEERS`]).
    #[error("too many connections are being set up")]
    Busy,
    /// The room does not exist (any more).
    #[error("no such room")]
    NoRoom,
}

/// Something for [`crate::Node::handle`].
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram from the network.
    Datagram(Datagram<'a>),
    /// An order from the lesson.
    Command(Command),
    /// The time of the last [`Output::Timeout`] has come.
    Timeout,
}

/// What carries datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// A TCP connection (RFC 6544), each datagram a frame of RFC 4571. The shell keeps connections and frames; here an
    /// address is all that is left of a connection.
    Tcp,
}

/// A datagram that came in.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// What it came by.
    pub transport: Transport,
    /// Who sent it.
    pub source: SocketAddr,
    /// The local candidate that it was sent to; never the wildcard address.
    pub destination: SocketAddr,
    /// What it holds.
    pub contents: &'a [u8],
}

/// Something from [`crate::Node::poll_output`].
#[derive(Debug)]
pub enum Output {
    /// Send this datagram.
    Transmit(Transmit),
    /// Tell the lesson.
    Event(Event),
    /// Hand this packet to the recorder of the room.
    Record(RecordedPacket),
    /// Nothing to do before this time, unless something comes in.
    Timeout(Instant),
}

/// A datagram to send.
#[derive(Debug)]
pub struct Transmit {
    /// What it goes by.
    pub transport: Transport,
    /// The local candidate to send from.
    pub source: SocketAddr,
    /// Where to.
    pub destination: SocketAddr,
    /// The whole datagram.
    pub contents: Vec<u8>,
    /// Whether it carries media of another peer (for the forwarding-latency histogram).
    pub forwarded: bool,
}

/// A sender report's relation between an RTP timestamp and the sender's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SenderTime {
    /// The sender's wall clock, from the NTP timestamp.
    pub ntp: SystemTime,
    /// The RTP timestamp at that time.
    pub rtp_time: u32,
}

/// One RTP packet of a published track, as it came from the publisher; sound without redundancy.
#[derive(Debug, Clone)]
pub struct RecordedPacket {
    /// The room.
    pub room: RoomId,
    /// The publisher.
    pub publisher: PeerId,
    /// Which of its tracks.
    pub source: Source,
    /// Codec of the payload.
    pub codec: crate::codec::Codec,
    /// Simulcast layer, 0 the smallest.
    pub layer: u8,
    /// The stream; another one begins when the publisher has begun anew, also in its sequence numbers and timestamps.
    pub ssrc: u32,
    /// When it arrived.
    pub arrival: Instant,
    /// Sequence number, extended over rollovers.
    pub seq: u64,
    /// RTP timestamp (RFC 3550, section 5.1).
    pub rtp_time: u32,
    /// Ticks per second of `rtp_time`.
    pub clock_rate: u32,
    /// The sender's clock, from the stream's last sender report.
    pub report: Option<SenderTime>,
    /// Marker bit.
    pub marker: bool,
    /// How loud it is, in dBov: 0 the loudest, -127 silence (RFC 6464); none when the sender does not say.
    pub level_dbov: Option<i8>,
    /// What its numbers mean as colours, with the last packet of a keyframe; none when the sender does not say.
    pub colour: Option<crate::colour::ColourSpace>,
    /// Payload, shared with the subscribers.
    pub payload: Arc<[u8]>,
}
