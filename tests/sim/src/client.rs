//! A participant's media side: an own str0m engine that offers like a browser, sends synthetic media, and looks at its slots
//! with a [decoder's eyes](crate::decoder).
//!
//! # Driving it
//!
//! A [`Client`] has no socket and no clock, so the simulated world and tests over real UDP use the same one:
//! 1. [`Client::new`], then [`Client::offer`] and [`Client::sources`] go to the server, its answer to [`Client::handle_answer`];
//! 2. each datagram that arrives goes to [`Client::handle_datagram`]; at [`Client::poll_timeout`], call [`Client::handle_timeout`];
//! 3. after each of these (and of any verb such as [`Client::publish`]) send all that [`Client::poll_transmit`] gives, and take
//!    [`Client::poll_event`] until it is empty.
//!
//! ```no_run
//! # use std::{net::UdpSocket, time::Instant};
//! # use sfu::{codec::Codec, media::Source};
//! # use sim::client::{Client, ClientConfig, ClientEvent};
//! let socket = UdpSocket::bind("127.0.0.1:0")?;
//! let local = socket.local_addr()?;
//! let mut client = Client::new(ClientConfig::new(1, local), Instant::now());
//! let offer = client.offer();
//! # let answer_from_the_server = |_: String| String::new();
//! client.handle_answer(Instant::now(), &answer_from_the_server(offer)).expect("an answer to our offer");
//! client.publish(Instant::now(), Source::Camera, Codec::Vp8);
//! let mut buffer = [0; 2000];
//! loop {
//!     while let Some(out) = client.poll_transmit() {
//!         socket.send_to(&out.contents, out.destination)?;
//!     }
//!     while let Some(event) = client.poll_event() {
//!         if let ClientEvent::Frame { slot, frame } = event {
//!             println!("slot {slot} shows {:?}", frame.stamp);
//!         }
//!     }
//!     let wait = client.poll_timeout().saturating_duration_since(Instant::now());
//!     socket.set_read_timeout(Some(wait.max(std::time::Duration::from_millis(1))))?;
//!     match socket.recv_from(&mut buffer) {
//!         Ok((len, from)) => client.handle_datagram(Instant::now(), from, local, &buffer[..len]),
//!         Err(_) => client.handle_timeout(Instant::now()),
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

mod encoder;
mod engine;
mod forge;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::media::{Kind, Mid, Rid, Source};
use str0m::Rtc;
use str0m::change::SdpPendingOffer;
use str0m::config::DtlsCert;
use str0m::media::{KeyframeRequestKind, Pt};

use crate::codec::Stamp;
use crate::decoder::{DecodedFrame, SlotDecoder};

pub use encoder::VideoShape;
use encoder::{AudioEncoder, Numbers, VideoEncoder};
use forge::Forge;
pub use forge::Mangle;

/// A sending m-line of the offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendLine {
    /// What it is for.
    pub source: Source,
    /// RIDs of its simulcast layers, smallest picture first; empty without simulcast.
    pub rids: Vec<&'static str>,
}

/// What a client does with redundant audio (RFC 2198).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Red {
    /// It does not know it, as Firefox.
    Unknown,
    /// It offers it and sends plain Opus.
    Receives,
    /// It sends each packet of sound again with the next one, too.
    Sends,
}

/// What a client offers and who it is.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Its number, put into every packet that it sends ([`Stamp::publisher`]).
    pub identity: u32,
    /// Its address: the one host candidate of the offer.
    pub local: SocketAddr,
    /// Sending m-lines, first in the offer.
    pub sends: Vec<SendLine>,
    /// Receiving audio m-lines, next in the offer.
    pub audio_slots: usize,
    /// Receiving video m-lines, last in the offer.
    pub video_slots: usize,
    /// Redundant audio.
    pub red: Red,
    /// Video codecs, preferred first. Opus is always offered.
    pub codecs: Vec<Codec>,
    /// A certificate that many clients share, to save making one each.
    pub certificate: Option<DtlsCert>,
    /// Also report each media packet that arrives, as [`ClientEvent::Packet`].
    pub trace_packets: bool,
    /// It can send what no engine would: [`Client::seal_rtcp`].
    pub forges: bool,
}

impl ClientConfig {
    /// The slot model's offer (DESIGN.md): microphone, camera in three layers, screen and its sound; 3 audio and 9 video slots.
    pub fn new(identity: u32, local: SocketAddr) -> Self {
        let line = |source, rids: &[&'static str]| SendLine { source, rids: rids.to_vec() };
        ClientConfig {
            identity,
            local,
            sends: vec![
                line(Source::Microphone, &[]),
                line(Source::Camera, &["q", "h", "f"]),
                line(Source::Screen, &[]),
                line(Source::ScreenAudio, &[]),
            ],
            audio_slots: 3,
            video_slots: 9,
            red: Red::Receives,
            codecs: vec![Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1],
            certificate: None,
            trace_packets: false,
            forges: false,
        }
    }

    /// A viewer that sends nothing: the slots alone.
    pub fn viewer(identity: u32, local: SocketAddr) -> Self {
        ClientConfig { sends: Vec::new(), ..ClientConfig::new(identity, local) }
    }

    /// A WHIP publisher: one microphone, one camera without simulcast, no slots.
    pub fn whip(identity: u32, local: SocketAddr) -> Self {
        let line = |source| SendLine { source, rids: Vec::new() };
        ClientConfig {
            sends: vec![line(Source::Microphone), line(Source::Camera)],
            audio_slots: 0,
            video_slots: 0,
            ..ClientConfig::new(identity, local)
        }
    }

    /// A WHEP player: one audio and one video slot.
    pub fn whep(identity: u32, local: SocketAddr) -> Self {
        ClientConfig { audio_slots: 1, video_slots: 1, ..ClientConfig::viewer(identity, local) }
    }
}

/// What happens to a client.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientEvent {
    /// ICE and DTLS are done.
    Connected,
    /// ICE lost the server.
    Disconnected,
    /// The server closed the connection.
    Closed,
    /// The server wants a keyframe of a source that this client sends.
    KeyframeRequest {
        /// Which.
        source: Source,
        /// Simulcast layer, 0 the smallest.
        layer: u8,
    },
    /// A slot decoded a frame, or played a packet of sound.
    Frame {
        /// Position in [`Client::slots`].
        slot: usize,
        /// The frame.
        frame: DecodedFrame,
    },
    /// A media packet arrived (only with [`ClientConfig::trace_packets`]).
    Packet {
        /// Position in [`Client::slots`].
        slot: usize,
        /// Whose it is.
        stamp: Stamp,
        /// Its sequence number in the slot's stream, extended over rollovers.
        seq: u64,
    },
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTransmit {
    /// From the local candidate.
    pub source: SocketAddr,
    /// To the server.
    pub destination: SocketAddr,
    /// The datagram.
    pub contents: Vec<u8>,
}

/// Why an answer was not taken.
#[derive(Debug)]
pub enum AnswerError {
    /// There is no open offer.
    NoOffer,
    /// str0m does not take it.
    Sdp(String),
}

/// A receiving m-line.
#[derive(Debug)]
pub struct ClientSlot {
    /// Its mid.
    pub mid: Mid,
    /// What it sees.
    pub decoder: SlotDecoder,
}

/// What a client counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientCounters {
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Datagrams that the engine did not accept.
    pub datagrams_refused: u64,
    /// RTP packets received on slots.
    pub rtp_in: u64,
    /// RTP packets on m-lines that are no slots: always a fault of the server.
    pub rtp_astray: u64,
    /// RTP packets sent.
    pub rtp_out: u64,
    /// Errors of the engine.
    pub errors: u64,
}

/// See the [module](self).
pub struct Client {
    config: ClientConfig,
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    offer: String,
    send_mids: Vec<Mid>,
    slots: Vec<ClientSlot>,
    slot_of_ssrc: BTreeMap<u32, Option<usize>>,
    video: Vec<VideoEncoder>,
    audio: Vec<AudioEncoder>,
    /// Where streams that are not sent now stopped.
    numbers: HashMap<(Mid, Option<Rid>), Numbers>,
    connected: bool,
    started: Instant,
    engine_timeout: Instant,
    transmits: VecDeque<ClientTransmit>,
    events: VecDeque<ClientEvent>,
    /// The last packet of sound of each m-line, sent as RED.
    last_sound: HashMap<Mid, (u32, Vec<u8>)>,
    /// Payload types of RED for those of Opus that are sent with it.
    red_of: HashMap<Pt, Pt>,
    counters: ClientCounters,
    last_error: Option<String>,
    /// The server's name and password in checks, from its last answer.
    server: (String, String),
    forge: Forge,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("identity", &self.config.identity).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with its offer made.
    pub fn new(config: ClientConfig, now: Instant) -> Self {
        engine::build(config, now)
    }

    /// The SDP offer: of the join, or of the last [`Self::restart_ice`].
    pub fn offer(&self) -> String {
        self.offer.clone()
    }

    /// Which sending m-line is for which source.
    pub fn sources(&self) -> Vec<(Mid, Source)> {
        self.send_mids.iter().zip(&self.config.sends).map(|(mid, line)| (*mid, line.source)).collect()
    }

    /// Takes the server's answer.
    ///
    /// # Errors
    /// If it is no answer to the last offer.
    pub fn handle_answer(&mut self, now: Instant, answer: &str) -> Result<(), AnswerError> {
        let pending = self.pending.take().ok_or(AnswerError::NoOffer)?;
        engine::accept(self, pending, answer).map_err(AnswerError::Sdp)?;
        self.run(now);
        Ok(())
    }

    /// Takes a datagram that came from `source` to `destination` (this client's local candidate).
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        contents: &[u8],
    ) {
        self.counters.datagrams_in += 1;
        engine::feed(self, now, source, destination, contents);
        self.drain(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.connected {
            engine::send_due(self, now);
        }
        for (slot, held) in self.slots.iter_mut().enumerate() {
            held.decoder.handle_timeout(now);
            self.events.extend(held.decoder.poll_decoded().map(|frame| ClientEvent::Frame { slot, frame }));
        }
        self.run(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<ClientTransmit> {
        self.transmits.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let sending = self.connected.then_some(());
        let video = sending.into_iter().flat_map(|()| self.video.iter().map(VideoEncoder::next_at));
        let audio = sending.into_iter().flat_map(|()| self.audio.iter().map(AudioEncoder::next_at));
        let slots = self.slots.iter().filter_map(|slot| slot.decoder.poll_timeout());
        video.chain(audio).chain(slots).fold(self.engine_timeout, Instant::min)
    }

    /// Starts to send a source, all layers, from a keyframe on. A source that is sent already starts anew.
    ///
    /// This is `replaceTrack`; the server hears of it by signalling.
    pub fn publish(&mut self, now: Instant, source: Source, codec: Codec) {
        self.publish_with(now, source, codec, &VideoShape::usual(source));
    }

    /// The same with pictures of the given shapes, one per layer; ignored for sound.
    ///
    /// # Panics
    /// If the source has no m-line, or the codec was not negotiated.
    pub fn publish_with(&mut self, now: Instant, source: Source, codec: Codec, shapes: &[VideoShape]) {
        self.unpublish(source);
        engine::start_encoders(self, now, source, codec, shapes);
        self.run(now);
    }

    /// Stops to send a source.
    pub fn unpublish(&mut self, source: Source) {
        let video = self.video.iter().filter(|e| e.source() == source).map(|e| (e.line(), e.numbers()));
        let audio = self.audio.iter().filter(|e| e.source() == source).map(|e| (e.line(), e.numbers()));
        for (line, numbers) in video.chain(audio) {
            self.numbers.insert((line.mid, line.rid), numbers);
        }
        self.video.retain(|encoder| encoder.source() != source);
        self.audio.retain(|encoder| encoder.source() != source);
    }

    /// Starts or stops single layers of a source, as a browser does for CPU or bandwidth.
    pub fn set_layer_active(&mut self, now: Instant, source: Source, layer: u8, active: bool) {
        for encoder in self.video.iter_mut().filter(|e| e.source() == source && e.layer() == layer) {
            encoder.set_active(now, active);
        }
    }

    /// Restarts the encoders of a source as another device or page would: new SSRCs, sequence numbers, timestamps, picture
    /// ids, and frames from 0.
    pub fn restart_source(&mut self, now: Instant, source: Source) {
        engine::restart_source(self, now, source);
        self.run(now);
    }

    /// How loud a source of sound is from now on, in dBov: 0 the loudest, −127 silence.
    pub fn set_level(&mut self, source: Source, level_dbov: i8) {
        for encoder in self.audio.iter_mut().filter(|e| e.source() == source) {
            encoder.set_level(level_dbov);
        }
    }

    /// Has a source of sound send next to nothing while it is silent (RFC 7587, section 3.1.3), as browsers do where that is agreed.
    pub fn set_dtx(&mut self, source: Source, dtx: bool) {
        for encoder in self.audio.iter_mut().filter(|e| e.source() == source) {
            encoder.set_dtx(dtx);
        }
    }

    /// Asks for a keyframe on a slot, as a decoder in need would, whatever state it is in. True if the engine has something
    /// to ask (a packet has arrived on that slot).
    pub fn request_keyframe(&mut self, now: Instant, slot: usize, kind: KeyframeRequestKind) -> bool {
        let mid = self.slots[slot].mid;
        let asked = engine::request_keyframe(&mut self.rtc, mid, kind);
        self.run(now);
        asked
    }

    /// A check of the server that proves who asks and nominates nothing, to be sent from anywhere.
    pub fn check(&self) -> Vec<u8> {
        engine::check(self)
    }

    /// Makes an offer for an ICE restart ([`Self::offer`]); with `local`, from a new address.
    pub fn restart_ice(&mut self, now: Instant, local: Option<SocketAddr>) {
        engine::restart_ice(self, local);
        self.run(now);
    }

    /// Ends the connection as a page that is left does: with RTCP BYE and a DTLS alert.
    pub fn close(&mut self, now: Instant) {
        self.connected = false;
        if let Err(error) = self.rtc.close() {
            self.note_error(&error);
        }
        self.run(now);
    }

    /// The receiving m-lines, in the order of the offer: audio, then video.
    pub fn slots(&self) -> &[ClientSlot] {
        &self.slots
    }

    /// The position of a slot in [`Self::slots`].
    pub fn slot_index(&self, mid: Mid) -> Option<usize> {
        self.slots.iter().position(|slot| slot.mid == mid)
    }

    /// Positions of the slots of a kind.
    pub fn slots_of(&self, kind: Kind) -> std::ops::Range<usize> {
        match kind {
            Kind::Audio => 0..self.config.audio_slots,
            Kind::Video => self.config.audio_slots..self.slots.len(),
        }
    }

    /// Its number.
    pub fn identity(&self) -> u32 {
        self.config.identity
    }

    /// Its local candidate.
    pub fn local(&self) -> SocketAddr {
        self.config.local
    }

    /// Whether ICE and DTLS are up.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// What it has counted.
    pub fn counters(&self) -> ClientCounters {
        self.counters
    }

    /// The last error of the engine, for a failing test's message.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// How many frames a layer has sent since it was published.
    pub fn frames_sent(&self, source: Source, layer: u8) -> u32 {
        let video = self.video.iter().find(|e| e.source() == source && e.layer() == layer);
        let audio = self.audio.iter().find(|e| e.source() == source);
        video.map(VideoEncoder::frames).or(audio.map(AudioEncoder::frames)).unwrap_or(0)
    }

    /// Lets the engine see `now`, then takes what it gives.
    fn run(&mut self, now: Instant) {
        if let Err(error) = self.rtc.handle_input(str0m::Input::Timeout(now)) {
            self.note_error(&error);
        }
        self.drain(now);
    }

    /// Takes what the engine gives; answers a decoder's wish for a keyframe in the same turn.
    fn drain(&mut self, now: Instant) {
        loop {
            engine::drain(self, now);
            let wishing =
                self.slots.iter_mut().filter_map(|s| s.decoder.poll_keyframe_request().then_some(s.mid));
            let mids: Vec<Mid> = wishing.collect();
            if mids.is_empty() {
                return;
            }
            for mid in mids {
                engine::request_keyframe(&mut self.rtc, mid, KeyframeRequestKind::Pli);
            }
            if let Err(error) = self.rtc.handle_input(str0m::Input::Timeout(now)) {
                self.note_error(&error);
            }
        }
    }

    fn note_error(&mut self, error: &str0m::RtcError) {
        self.counters.errors += 1;
        self.last_error = Some(error.to_string());
    }
}

/// A time that does not come within any test.
fn far(now: Instant) -> Instant {
    now + Duration::from_secs(365 * 24 * 3600)
}
