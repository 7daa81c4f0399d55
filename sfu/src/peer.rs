//! One participant's connection: the only file that names the engine, `str0m::Rtc`.
//!
//! A [`Peer`] answers an offer, takes datagrams, gives packets of its publisher's streams, and seals packets for its slots. It hides
//! the engine's habits (see the comments). What leaves for its slots does not go through the engine: see [`crate::egress`].
//!
//! The file is longer than 800 lines because it is the one place that may name the engine, whose every habit is met here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::format::PayloadParams;
use str0m::ice::StunMessage;
use str0m::media::{KeyframeRequestKind, Media, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::rtcp::{ReceptionReport, Rtcp, Twcc};
use str0m::rtp::{Extension, RawPacket, Ssrc, VideoOrientation};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use crate::bandwidth::estimate::Estimator;
use crate::bandwidth::pace::Pacer;
use crate::codec::Codec;
use crate::egress::packet::{ExtensionIds, Packet};
use crate::egress::{self, Egress, Sealed, StreamConfig, Summary};
use crate::extension::{DESCRIPTOR_ID, DescriptorBytes, DescriptorExtension};
use crate::forward::red::FeedbackLoss;
use crate::forward::rewrite::Rewritten;
use crate::io::OfferError;
use crate::limits::SSRCS_PER_PEER;
use crate::media::{Kind, Mid, Rid};
use crate::proof;
use crate::publish::clock::SenderTime;
use crate::sdp::{
    DESCRIPTOR_URI, MediaLine, keep_offered_sound, pair_first_slots, read_offer, without_needless_descriptors,
};

/// Packets of unknown streams that are looked at in a second: a publisher that starts all its layers and their repairs brings ten.
const STRANGERS_PER_SECOND: u32 = 40;
/// How long nothing must have come from a peer's address before a check from another one moves it there. A receiver reports each
/// second or so, and far more often while media flows.
const ROAM_AFTER: Duration = Duration::from_secs(1);
/// Priority of an address that a peer has moved to: above that of any candidate in an offer (RFC 8445, section 5.1.2: type
/// preferences end at 126).
const ROAMED_PRIORITY: u32 = 127 << 24;
/// What a receiver's network is taken to carry before it is known: a stage of middling size and some thumbnails. A slower network is
/// found out within a second; a faster one by the first probes.
const FIRST_ESTIMATE_BITS_PER_SECOND: u64 = 1_000_000;
/// Bytes that a packet has besides its payload: IP, UDP and RTP headers, extensions, SRTP's tag.
pub const PACKET_OVERHEAD: usize = 76;
/// A repair is lost as often as any packet, and is asked for again only a round trip later. So it is sent as often as it takes for all its copies to be
/// lost no more often than this: far away, from this round trip on, asking again takes longer than pictures can wait.
const ALL_COPIES_LOST: f32 = 0.05;
const ALL_COPIES_LOST_FAR: f32 = 0.003;
const FAR: Duration = Duration::from_millis(80);
const MOST_COPIES: u32 = 4;
/// Fewer packets tell nothing of loss.
const LOSS_PACKETS: u64 = 20;
/// Time between two copies: losses come in bursts.
const COPY_INTERVAL: Duration = Duration::from_millis(12);
/// How often a probe is topped up, and with packets of what size: the largest that have no payload.
const FILL_STEP: Duration = Duration::from_millis(4);
const FILL_SOURCES: u8 = 15;
const FILL_BYTES: usize = 12 + 4 * FILL_SOURCES as usize + 16 + egress::TAG + 28;
/// How often loss and round-trip time are read.
const STATS_INTERVAL: Duration = Duration::from_secs(2);

/// What all peers of a node share.
pub struct PeerShared {
    crypto: Arc<CryptoProvider>,
    certificate: DtlsCert,
    candidates: Vec<SocketAddr>,
    /// When the node was made, and Unix time then.
    zero: (Instant, Duration),
}

impl std::fmt::Debug for PeerShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerShared").field("candidates", &self.candidates).finish_non_exhaustive()
    }
}

impl PeerShared {
    /// Makes the certificate of the node.
    pub fn new(candidates: Vec<SocketAddr>, zero: (Instant, Duration)) -> Self {
        let crypto = Arc::new(egress::keys::listening(proof::counting_crypto()));
        let certificate =
            crypto.dtls_provider.generate_certificate().expect("aws-lc-rs can generate certificates");
        PeerShared { crypto, certificate, candidates, zero }
    }

    /// Whether the STUN message in `datagram` is a binding request made with this password
    /// (RFC 8445, section 7.3; RFC 8489, section 9.1).
    fn verifies(&self, message: &StunMessage<'_>, password: &str) -> bool {
        let hmac = self.crypto.sha1_hmac_provider;
        message.verify(password.as_bytes(), |key, payloads| hmac.sha1_hmac(key, payloads))
    }
}

/// The local ufrag that a STUN binding request is for, if the datagram is one.
pub fn stun_local_ufrag(datagram: &[u8]) -> Option<String> {
    let message = StunMessage::parse(datagram).ok()?;
    if !message.is_binding_request() {
        return None;
    }
    message.split_username().map(|(local, _)| local.to_owned())
}

/// A packet of a published stream.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The m-line.
    pub mid: Mid,
    /// The simulcast layer.
    pub rid: Option<Rid>,
    /// The stream.
    pub ssrc: u32,
    /// The publisher's payload type, of what is in it if it is RED.
    pub pt: Pt,
    /// Its codec.
    pub codec: Codec,
    /// The payload is redundant audio (RFC 2198) with that codec in it.
    pub red: bool,
    /// Ticks per second of `rtp_time`.
    pub clock_rate: u32,
    /// Extended sequence number.
    pub seq: u64,
    /// RTP timestamp.
    pub rtp_time: u32,
    /// Marker bit.
    pub marker: bool,
    /// Loudness in dBov (RFC 6464) and the sender's voice flag.
    pub audio_level: Option<(i8, bool)>,
    /// Rotation of the picture (3GPP TS 26.114, CVO).
    orientation: Option<VideoOrientation>,
    /// Dependency descriptor ([`crate::publish::dependency`]).
    pub dependency: Option<Arc<[u8]>>,
    /// The sender's clock, from its last sender report.
    pub report: Option<SenderTime>,
    /// RTP payload.
    pub payload: Arc<[u8]>,
}

impl Incoming {
    /// An earlier packet of the same stream, from this one's redundancy, which holds neither its marker nor its header extensions.
    pub fn rebuilt(&self, seq: u64, rtp_time: u32, payload: Arc<[u8]>) -> Incoming {
        Incoming {
            seq,
            rtp_time,
            payload,
            marker: false,
            audio_level: None,
            orientation: None,
            ..self.clone()
        }
    }
}

/// Something that a peer gives out.
#[derive(Debug)]
pub enum PeerOutput {
    /// Send this.
    Transmit { source: SocketAddr, destination: SocketAddr, contents: Vec<u8> },
    /// ICE and DTLS are up.
    Connected,
    /// ICE hears nothing any more; it may come back.
    Silent,
    /// The other side has closed the connection, or the engine has: it does not come back.
    Closed,
    /// A packet of a published stream.
    Rtp(Incoming),
    /// The receiver asks for a keyframe on this slot.
    KeyframeRequest(Mid),
    /// What the network to the receiver is estimated to carry, in bit/s.
    Estimate(u64),
    /// Loss (0 to 1) and round trip of one direction of one m-line, over the last interval.
    Report { mid: Mid, egress: bool, packets: u64, nacks: u64, loss: Option<f32>, rtt: Option<Duration> },
    /// The other side's last report on a slot: its newest extended sequence number, and how many it has missed so far (24 bits, signed).
    Received { mid: Mid, newest: u64, lost: u64 },
    /// Nothing more to do before this time.
    Timeout(Instant),
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It comes from the peer: SRTP or SRTCP with a right tag, or STUN, which is fed after its MESSAGE-INTEGRITY was verified. Only
    /// this may move or extend anything.
    Proved,
    /// The engine has it, which proves nothing: DTLS. What a finished handshake proves is told by [`PeerOutput::Connected`].
    Accepted,
    /// SRTP or SRTCP that the engine dropped: a wrong tag, or one that had come before.
    Unproved,
    /// Not for this peer.
    NotAccepted,
    /// The engine refused it (forged, damaged); the peer goes on.
    Refused,
}

/// A packet of a stream that is not known, and the streams that were: main, repair, and what they carry.
struct Stranger {
    ssrc: Ssrc,
    known: Vec<(Ssrc, Option<Ssrc>, Mid, Option<Rid>)>,
}

/// The stream of an RTP packet (RFC 3550, section 5.1), if it is none of these. Stream 0 is a browser's probe and carries nothing.
fn unknown_stream(datagram: &[u8], streams: &[(Ssrc, Mid, Option<Rid>)], repairs: &[Ssrc]) -> Option<Ssrc> {
    // RTCP has its packet types in the place of the marker and payload type (RFC 5761, section 4).
    let [128..=191, kind, _, _, _, _, _, _, a, b, c, d, ..] = *datagram else { return None };
    let ssrc = Ssrc::from(u32::from_be_bytes([a, b, c, d]));
    let known = (192..=223).contains(&kind)
        || *ssrc == 0
        || streams.iter().any(|(main, ..)| *main == ssrc)
        || repairs.contains(&ssrc);
    (!known).then_some(ssrc)
}

/// What waits for its turn on a slow network.
enum Waiting {
    /// A packet of a picture, on this stream.
    Packet(usize, Packet),
    /// The repair of a packet, on this stream and with this number.
    Repair(usize, u64),
}

/// A copy of a repair that is to be sent.
struct Copy {
    due: Instant,
    /// Of a packet of this stream, with this number.
    stream: usize,
    seq: u64,
    /// How many more follow it.
    more: u32,
}

/// Where media goes.
#[derive(Debug, Clone, Copy)]
struct Path {
    /// The peer's address.
    remote: SocketAddr,
    /// Ours.
    local: SocketAddr,
    /// When something came from there.
    heard: Instant,
}

/// See the [module](self).
pub struct Peer {
    rtc: Rtc,
    lines: Vec<MediaLine>,
    /// Streams that were seen, so that the engine is not asked for each packet: mutable access to it arms a full poll.
    streams: Vec<(Ssrc, Mid, Option<Rid>)>,
    /// What leaves for its slots.
    egress: Egress,
    closed: bool,
    /// The engine has something to be polled for.
    stirred: bool,
    /// When the engine wants to be woken.
    engine_due: Instant,
    /// Repair streams of `streams`.
    repairs: Vec<Ssrc>,
    /// The packet of an unknown stream that the engine has, until it is seen what it did with it.
    stranger: Option<Stranger>,
    /// When the second began in which this many packets of unknown streams came.
    strangers: (Instant, u32),
    /// Where media goes, from which of our addresses, and when something came from there.
    path: Option<Path>,
    /// The candidate that was made for an address that the peer has moved to.
    roamed: Option<Candidate>,
    pending: VecDeque<PeerOutput>,
    /// What the network to the receiver carries; none for peers that receive no pictures or do not report.
    estimator: Option<Estimator>,
    /// Pictures on their way to a slow network.
    pacer: Pacer<Waiting>,
    /// What feedback has told of loss since it was last taken.
    feedback: FeedbackLoss,
    /// Share of packets to this peer that are lost, of the last seconds.
    loss: f32,
    /// Copies of repairs to be sent, in the order of their time.
    copies: VecDeque<Copy>,
    /// Zero of the receiver's clock in reports; only differences count.
    clock_zero: Instant,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

impl Peer {
    /// Answers an offer.
    pub fn answer(shared: &PeerShared, now: Instant, offer: &str) -> Result<(Peer, String), OfferError> {
        let lines = read_offer(offer)?;
        // Without pictures there is nothing to choose, and without transport-wide feedback nothing to go by.
        let receives_video = lines.iter().any(|line| line.receives && line.kind == Some(Kind::Video));
        let estimates = receives_video && offer.contains(" transport-cc");
        let has_slots = lines.iter().any(is_slot);
        let mut rtc = Rtc::builder()
            .set_crypto_provider(Arc::clone(&shared.crypto))
            .set_dtls_cert(shared.certificate.clone())
            // The server is always reachable at its candidates; the other side does the checks (RFC 8445, section 2.5).
            .set_ice_lite(true)
            .set_rtp_mode(true)
            // The id is the offer's, which the answer keeps.
            .set_extension(DESCRIPTOR_ID, Extension::with_serializer(DESCRIPTOR_URI, DescriptorExtension))
            .clear_codecs()
            .enable_opus(true, true)
            .enable_vp8(true)
            .enable_vp9(true)
            .enable_h264(true)
            .enable_av1(true)
            .set_stats_interval(Some(STATS_INTERVAL))
            // The only way to what receivers report of streams that the engine does not have.
            .enable_raw_packets(has_slots)
            .build(now);
        for address in &shared.candidates {
            let candidate = Candidate::host(*address, Protocol::Udp)
                .map_err(|error| OfferError::Malformed(error.to_string()))?;
            rtc.add_local_candidate(candidate);
        }
        let answer = accept(&mut rtc, offer, &lines)?;
        let egress = take_slots(&mut rtc, &lines, shared.zero);
        let mut peer = Peer {
            rtc,
            lines,
            streams: Vec::new(),
            egress,
            closed: false,
            stirred: true,
            engine_due: now,
            repairs: Vec::new(),
            stranger: None,
            strangers: (now, 0),
            path: None,
            roamed: None,
            pending: VecDeque::new(),
            estimator: estimates.then(|| Estimator::new(FIRST_ESTIMATE_BITS_PER_SECOND)),
            pacer: Pacer::default(),
            feedback: FeedbackLoss::default(),
            loss: 0.0,
            copies: VecDeque::new(),
            clock_zero: now,
        };
        if estimates {
            peer.pending.push_back(PeerOutput::Estimate(FIRST_ESTIMATE_BITS_PER_SECOND));
        }
        Ok((peer, answer))
    }

    /// Answers a new offer on the same m-lines: ICE restart.
    pub fn restart(&mut self, offer: &str) -> Result<String, OfferError> {
        let lines = read_offer(offer)?;
        let same = lines.len() == self.lines.len()
            && lines.iter().zip(&self.lines).all(|(new, old)| (new.mid, new.kind) == (old.mid, old.kind));
        if !same {
            return Err(OfferError::Malformed("the m-lines are not those of the first offer".into()));
        }
        // The answer names the streams that the engine has, and it would make new ones.
        for stream in self.egress.streams() {
            let StreamConfig { mid, ssrc, repair_ssrc, .. } = stream;
            let repair = repair_ssrc.map(Ssrc::from);
            self.rtc.direct_api().declare_stream_tx((*ssrc).into(), repair, *mid, None);
        }
        let answer = accept(&mut self.rtc, offer, &lines);
        for stream in self.egress.streams() {
            self.rtc.direct_api().remove_stream_tx(stream.ssrc.into());
        }
        self.stirred = true;
        answer
    }

    /// The m-lines of the offer.
    pub fn lines(&self) -> &[MediaLine] {
        &self.lines
    }

    /// The slots, in the order of the offer.
    pub fn slots(&self) -> Vec<(Mid, Kind)> {
        self.egress.streams().map(|stream| (stream.mid, stream.kind)).collect()
    }

    /// The name by which STUN requests find this peer.
    pub fn local_ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    /// Whether `datagram` is a STUN binding request for this peer with a valid MESSAGE-INTEGRITY. Only such a request may
    /// connect an address with a peer.
    pub fn verifies_stun(&mut self, shared: &PeerShared, datagram: &[u8]) -> bool {
        let credentials = self.rtc.direct_api().local_ice_credentials();
        StunMessage::parse(datagram).is_ok_and(|message| {
            message.is_binding_request()
                && message.split_username().is_some_and(|(local, _)| local == credentials.ufrag)
                && shared.verifies(&message, &credentials.pass)
        })
    }

    /// Adds a trickled candidate.
    pub fn add_candidate(&mut self, candidate: &str) -> Result<(), OfferError> {
        let text = candidate.trim().trim_start_matches("a=");
        let candidate =
            Candidate::from_sdp_string(text).map_err(|error| OfferError::Malformed(error.to_string()))?;
        self.rtc.add_remote_candidate(candidate);
        self.stirred = true;
        Ok(())
    }

    /// Takes a datagram. To be followed by [`Peer::poll`] until it gives [`PeerOutput::Timeout`], before the next call: the engine holds
    /// one packet only.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        contents: &[u8],
    ) -> Taken {
        self.follow(now, source, contents);
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, contents) else {
            return Taken::NotAccepted;
        };
        let input = Input::Receive(now, receive);
        // The engine does not check the source itself: one ClientHello from an address that ICE never verified would kill
        // a handshake (CVE-2023-51443).
        if !self.rtc.accepts(&input) {
            return Taken::NotAccepted;
        }
        if let Some(ssrc) = unknown_stream(contents, &self.streams, &self.repairs) {
            let second = now.saturating_duration_since(self.strangers.0) >= Duration::from_secs(1);
            self.strangers = if second { (now, 1) } else { (self.strangers.0, self.strangers.1 + 1) };
            if self.strangers.1 > STRANGERS_PER_SECOND {
                return Taken::Refused;
            }
            self.stranger = Some(self.admit(ssrc));
        }
        self.stirred = true;
        let opened = proof::opened();
        // An error is no reason to end the session: a forged plaintext alert causes one in the handshake.
        if self.rtc.handle_input(input).is_err() {
            return Taken::Refused;
        }
        // RFC 7983, section 7.
        match contents.first() {
            Some(20..=63) => return Taken::Accepted,
            Some(128..=191) if proof::opened() == opened => return Taken::Unproved,
            _ => {}
        }
        if let Some(path) = self.path.as_mut().filter(|path| path.remote == source) {
            path.heard = now;
        } else if StunMessage::parse(contents).is_ok_and(|message| message.use_candidate()) {
            self.ask_for_path();
        }
        Taken::Proved
    }

    /// Has the engine send something of no consequence where it would send media now: it does not tell what a check has nominated, and only
    /// what it sends shows it. Receivers know no application of this name (RFC 4585, section 6.4).
    fn ask_for_path(&mut self) {
        let Some(ssrc) = self.egress.streams().next().map(|stream| stream.ssrc) else { return };
        let name: Arc<[u8]> = Arc::from(*b"path");
        self.rtc.direct_api().send_app_specific_feedback(ssrc.into(), ssrc.into(), name);
    }

    /// Notes how things stand before the engine sees a packet of an unknown stream.
    fn admit(&mut self, ssrc: Ssrc) -> Stranger {
        let mut direct = self.rtc.direct_api();
        let known = self.streams.iter().map(|(main, mid, rid)| {
            let repair = direct.stream_rx(main).and_then(|stream| stream.rtx());
            (*main, repair, *mid, *rid)
        });
        Stranger { ssrc, known: known.collect() }
    }

    /// Undoes what an unknown stream did without proof. The engine gives the m-line and layer that a packet names to its stream
    /// before it checks the packet's tag, and refuses the old stream from then on; so one forged packet would silence a publisher.
    fn settle(&mut self, stranger: Stranger) {
        let mut direct = self.rtc.direct_api();
        for (main, repair, mid, rid) in stranger.known {
            // A packet with a valid tag has replaced it: a publisher that has restarted.
            if !self.streams.iter().any(|(known, ..)| *known == main) {
                continue;
            }
            let now = direct.stream_rx(&main).map(|stream| stream.rtx());
            match now {
                None => {
                    direct.remove_stream_rx(stranger.ssrc);
                    direct.expect_stream_rx(main, repair, mid, rid);
                }
                Some(found) if repair.is_some() && found != repair => {
                    direct.expect_stream_rx(main, repair, mid, rid);
                }
                Some(found) => {
                    if found == Some(stranger.ssrc) && self.repairs.len() < SSRCS_PER_PEER {
                        self.repairs.push(stranger.ssrc);
                    }
                }
            }
        }
    }

    /// Moves to the address of a check that nominates it, when the old one is silent: a NAT has forgotten the peer, or it has changed
    /// networks. Checks reach a peer only after their MESSAGE-INTEGRITY was verified. The engine would stay with the old pair
    /// until it times out, because it prefers the priority of a candidate that was in the offer.
    fn follow(&mut self, now: Instant, source: SocketAddr, contents: &[u8]) {
        let silent =
            |path: &Path| path.remote != source && now.saturating_duration_since(path.heard) >= ROAM_AFTER;
        if !self.path.as_ref().is_some_and(silent) {
            return;
        }
        if !StunMessage::parse(contents).is_ok_and(|message| message.use_candidate()) {
            return;
        }
        // The engine takes a priority from a line of SDP only.
        let line = format!("candidate:1 1 udp {ROAMED_PRIORITY} {} {} typ host", source.ip(), source.port());
        let Ok(candidate) = Candidate::from_sdp_string(&line) else { return };
        if let Some(old) = self.roamed.replace(candidate.clone()) {
            self.rtc.direct_api().invalidate_candidate(&old);
        }
        self.rtc.add_remote_candidate(candidate);
    }

    /// Lets time pass; also needed after [`Peer::write`].
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(Copy { stream, seq, more, .. }) = self.copies.pop_front_if(|copy| copy.due <= now) {
            self.repair(now, stream, seq, more);
        }
        while let Some(waiting) = self.pacer.poll(now) {
            match waiting {
                Waiting::Packet(stream, packet) => self.send(now, stream, packet, true),
                Waiting::Repair(stream, seq) => self.repair(now, stream, seq, self.repair_copies(now) - 1),
            }
        }
        if let Some(report) = self.egress.poll_report(now) {
            self.transmit(now, Some(Sealed { datagram: report, transport: None }));
        }
        for summary in self.egress.poll_summary(now) {
            self.sum_up(summary);
        }
        if self.engine_due <= now {
            // As above: what went wrong shows in `is_alive`, which `poll` looks at.
            let _ = self.rtc.handle_input(Input::Timeout(now));
            self.stirred = true;
        }
    }

    /// Gives something out.
    pub fn poll(&mut self, now: Instant) -> PeerOutput {
        loop {
            if let Some(output) = self.pending.pop_front() {
                return output;
            }
            if !self.rtc.is_alive() && !self.closed {
                self.closed = true;
                return PeerOutput::Closed;
            }
            if !self.stirred {
                return PeerOutput::Timeout(self.next_timeout(now));
            }
            let output = self.rtc.poll_output();
            if let Some(agreed) = egress::keys::take() {
                self.egress.agreed(&agreed);
            }
            match output {
                Ok(Output::Timeout(at)) => match self.stranger.take() {
                    Some(stranger) => self.settle(stranger),
                    None => {
                        self.engine_due = at;
                        self.stirred = false;
                    }
                },
                Ok(Output::Transmit(transmit)) => {
                    // Answers to checks go wherever these came from; the rest goes along the path.
                    let along = transmit.contents.first().is_some_and(|first| *first >= 20);
                    if along && self.path.is_none_or(|path| path.remote != transmit.destination) {
                        let (remote, local) = (transmit.destination, transmit.source);
                        self.path = Some(Path { remote, local, heard: now });
                    }
                    return PeerOutput::Transmit {
                        source: transmit.source,
                        destination: transmit.destination,
                        contents: transmit.contents.into(),
                    };
                }
                Ok(Output::Event(event)) => {
                    if let Some(output) = self.translate(now, event) {
                        return output;
                    }
                }
                // A failed timer of the handshake: the engine has closed itself, which the next turn sees; should it not have,
                // the next timeout goes on.
                Err(_) if self.rtc.is_alive() => {
                    self.engine_due = now + Duration::from_millis(100);
                    self.stirred = false;
                }
                Err(_) => {}
            }
        }
    }

    /// Sends a repair, with so many more copies of it to follow.
    fn repair(&mut self, now: Instant, stream: usize, seq: u64, more: u32) {
        let sealed = self.egress.repair(now, stream, seq);
        if sealed.is_some() && more > 0 {
            self.copies.push_back(Copy { due: now + COPY_INTERVAL, stream, seq, more: more - 1 });
        }
        self.transmit(now, sealed);
    }

    /// How often a repair is sent. Into a queue that is full, more would only be lost with it.
    fn repair_copies(&self, now: Instant) -> u32 {
        if self.estimator.as_ref().is_none_or(|estimator| estimator.is_congested(now)) {
            return 1;
        }
        let far = self.egress.round_trip().is_some_and(|trip| trip >= FAR);
        let most = if far { ALL_COPIES_LOST_FAR } else { ALL_COPIES_LOST };
        let mut copies = 1;
        let mut all_lost = self.loss;
        while all_lost > most && copies < MOST_COPIES {
            copies += 1;
            all_lost *= self.loss;
        }
        copies
    }

    fn next_timeout(&self, now: Instant) -> Instant {
        let estimator = self.estimator.as_ref().and_then(|estimator| {
            if estimator.is_probing() { Some(now + FILL_STEP) } else { estimator.timeout() }
        });
        let copy = self.copies.front().map(|copy| copy.due);
        let others = [estimator, copy, self.pacer.timeout(), self.egress.timeout()];
        others.into_iter().flatten().fold(self.engine_due, Instant::min)
    }

    fn translate(&mut self, now: Instant, event: Event) -> Option<PeerOutput> {
        match event {
            Event::Connected => Some(PeerOutput::Connected),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => Some(PeerOutput::Silent),
            Event::Closed => Some(PeerOutput::Closed),
            Event::RtpPacket(packet) => self.translate_rtp(packet).map(PeerOutput::Rtp),
            Event::RawPacket(raw) => {
                if let RawPacket::RtcpRx(report) = *raw {
                    self.handle_report(now, report);
                }
                None
            }
            Event::MediaIngressStats(stats) => Some(PeerOutput::Report {
                mid: stats.mid,
                egress: false,
                packets: stats.packets,
                nacks: stats.nacks,
                loss: stats.loss,
                rtt: stats.rtt,
            }),
            _ => None,
        }
    }

    /// Something that the receiver reports. The engine takes it too, but knows nothing of the slots' streams.
    fn handle_report(&mut self, now: Instant, report: Rtcp) {
        match report {
            Rtcp::Twcc(feedback) => self.handle_feedback(now, feedback),
            Rtcp::Nack(nack) => {
                let missed = nack.reports.iter().flat_map(|entry| {
                    let following = (0..16).filter(|bit| entry.blp & (1 << bit) != 0);
                    std::iter::once(entry.pid).chain(following.map(|bit| entry.pid.wrapping_add(bit + 1)))
                });
                for missing in self.egress.miss(now, *nack.ssrc, missed) {
                    let bytes = missing.bytes + PACKET_OVERHEAD;
                    self.pacer.push_repair(bytes, Waiting::Repair(missing.stream, missing.seq));
                    self.engine_due = self.engine_due.min(now);
                }
            }
            Rtcp::Pli(request) => self.note_keyframe_request(*request.ssrc),
            Rtcp::Fir(request) => {
                for entry in &request.reports {
                    self.note_keyframe_request(*entry.ssrc);
                }
            }
            Rtcp::ReceiverReport(report) => {
                report.reports.iter().for_each(|block| self.egress.reported(now, &block_of(block)));
            }
            Rtcp::SenderReport(report) => {
                report.reports.iter().for_each(|block| self.egress.reported(now, &block_of(block)));
            }
            Rtcp::Remb(remb) if self.estimator.is_none() => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a float becomes the nearest whole number of bit/s, and nonsense 0"
                )]
                self.pending.push_back(PeerOutput::Estimate(remb.bitrate as u64));
            }
            _ => {}
        }
    }

    fn note_keyframe_request(&mut self, ssrc: u32) {
        self.pending.extend(self.egress.mid_of(ssrc).map(PeerOutput::KeyframeRequest));
    }

    /// Lets the estimator know what has arrived.
    fn handle_feedback(&mut self, now: Instant, report: Twcc) {
        let Some(estimator) = self.estimator.as_mut() else { return };
        let zero = self.clock_zero;
        let base = u64::from(report.base_seq);
        let feedback = &mut self.feedback;
        feedback.begin(report.feedback_count, report.base_seq);
        let packets = report.into_iter(zero, base.into()).map(|(number, _, arrival)| {
            feedback.packet(low_16(*number), arrival.is_some());
            (low_16(*number), arrival.map(|arrival| arrival.saturating_duration_since(zero)))
        });
        let changed = estimator.feedback(now, packets);
        let estimate = estimator.estimate();
        if changed {
            self.pacer.estimated(estimate);
            self.pending.push_back(PeerOutput::Estimate(estimate));
        }
    }

    fn sum_up(&mut self, summary: Summary) {
        let Summary { mid, packets, nacks, loss, rtt, received } = summary;
        self.pending.extend(received.map(|(newest, lost)| PeerOutput::Received { mid, newest, lost }));
        self.pending.push_back(PeerOutput::Report { mid, egress: true, packets, nacks, loss, rtt });
    }

    /// Packets to this peer that feedback has told of since the last call, and the lost ones of them. Feedback comes many times a
    /// second, and knows only of what was sent.
    pub fn take_feedback(&mut self) -> (u64, u64) {
        let (told, lost) = (std::mem::take(&mut self.feedback.told), std::mem::take(&mut self.feedback.lost));
        self.note_loss(told, lost);
        (told, lost)
    }

    fn note_loss(&mut self, told: u64, lost: u64) {
        if told >= LOSS_PACKETS {
            #[expect(clippy::cast_precision_loss, reason = "packets of a second")]
            let share = lost as f32 / told as f32;
            self.loss = (self.loss + share) / 2.0;
        }
    }

    /// How many bytes of filling should leave now, for a probe; to be followed by [`Peer::fill`].
    pub fn poll_fill(&mut self, now: Instant) -> usize {
        self.estimator.as_mut().map_or(0, |estimator| estimator.poll_fill(now))
    }

    /// Writes a packet of filling into a slot that carries nothing; gives its size. Receivers take a packet without payload for
    /// padding; the list of contributing sources (RFC 3550, section 5.1) makes it larger.
    pub fn fill(&mut self, now: Instant, captured: Instant, mid: Mid, seq: u64, rtp_time: u32) -> usize {
        let Some(pt) = self.prime_pt(mid, Kind::Video) else { return usize::MAX };
        let Some(stream) = self.egress.stream_of(mid) else { return usize::MAX };
        let packet = Packet { sources: FILL_SOURCES, ..Packet::empty(*pt, seq, rtp_time, captured) };
        self.send(now, stream, packet, false);
        FILL_BYTES
    }

    fn translate_rtp(&mut self, packet: str0m::rtp::RtpPacket) -> Option<Incoming> {
        let ssrc = packet.header.ssrc;
        let (mid, rid) = self.stream_of(ssrc)?;
        // In RTP mode the engine leaves RED as it came.
        let pt = packet.header.payload_type;
        let params = self.params(pt).or_else(|| self.params_of_red(pt))?;
        let codec = codec_of(&params)?;
        let exts = &packet.header.ext_vals;
        let report = packet.last_sender_info.map(|info| SenderTime {
            ntp: info.ntp_time,
            // Timestamps are modulo 2^32; the engine extends them.
            rtp_time: low_32(info.rtp_time.numer()),
        });
        Some(Incoming {
            mid,
            rid,
            ssrc: *ssrc,
            pt: params.pt(),
            codec,
            red: params.pt() != pt,
            clock_rate: params.spec().clock_rate.get(),
            seq: *packet.seq_no,
            rtp_time: packet.header.timestamp,
            marker: packet.header.marker,
            audio_level: exts.audio_level.map(|level| (level, exts.voice_activity.unwrap_or(false))),
            orientation: exts.video_orientation,
            dependency: exts.user_values.get::<DescriptorBytes>().map(|bytes| Arc::clone(&bytes.0)),
            report,
            payload: packet.payload,
        })
    }

    /// The m-line and layer of a stream.
    fn stream_of(&mut self, ssrc: Ssrc) -> Option<(Mid, Option<Rid>)> {
        if let Some((_, mid, rid)) = self.streams.iter().find(|(known, ..)| *known == ssrc) {
            return Some((*mid, *rid));
        }
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_rx(&ssrc)?;
        let (mid, rid) = (stream.mid(), stream.rid());
        // A layer that has changed its SSRC takes the place of the old one.
        let before = self.streams.len();
        self.streams.retain(|(_, other_mid, other_rid)| (*other_mid, *other_rid) != (mid, rid));
        if self.streams.len() < before {
            // Its repairs come from another stream now; those of the others are known again with their next packet.
            self.repairs.clear();
        }
        if self.streams.len() >= SSRCS_PER_PEER {
            direct.remove_stream_rx(ssrc);
            return None;
        }
        self.streams.push((ssrc, mid, rid));
        Some((mid, rid))
    }

    /// What a payload type of this peer means.
    pub fn params(&self, pt: Pt) -> Option<PayloadParams> {
        self.rtc.codec_config().params().iter().find(|params| params.pt() == pt).copied()
    }

    /// What is in this peer's RED packets of a payload type.
    fn params_of_red(&self, pt: Pt) -> Option<PayloadParams> {
        self.rtc.codec_config().params().iter().find(|params| params.red() == Some(pt)).copied()
    }

    /// The payload type for RED on a slot, if its m-line was offered with it.
    pub fn red_of(&self, mid: Mid) -> Option<Pt> {
        let offered = self.lines.iter().find(|line| line.mid == mid)?.red?;
        self.rtc.codec_config().params().iter().filter_map(PayloadParams::red).find(|pt| **pt == offered)
    }

    /// This peer's payload type for what another peer sends.
    pub fn match_params(&self, params: PayloadParams) -> Option<Pt> {
        self.rtc.codec_config().match_params(params).map(PayloadParams::pt)
    }

    /// Primes a slot, see [`crate::forward::rewrite::Rewriter::prime`].
    pub fn prime(&mut self, now: Instant, mid: Mid, kind: Kind, seq: u64, rtp_time: u32) {
        let Some(pt) = self.prime_pt(mid, kind) else { return };
        let Some(stream) = self.egress.stream_of(mid) else { return };
        self.send(now, stream, Packet::empty(*pt, seq, rtp_time, now), false);
    }

    /// A payload type of a slot for packets without payload.
    fn prime_pt(&self, mid: Mid, kind: Kind) -> Option<Pt> {
        let wanted = match kind {
            Kind::Audio => Codec::Opus,
            Kind::Video => Codec::Vp8,
        };
        let listed: Vec<Pt> =
            self.rtc.media(mid).map(|media| media.remote_pts().to_vec()).unwrap_or_default();
        let usable = |params: &&PayloadParams| listed.contains(&params.pt());
        let params = self.rtc.codec_config().params();
        params
            .iter()
            .filter(usable)
            .find(|params| codec_of(params) == Some(wanted))
            .or_else(|| params.iter().find(|params| usable(params) && codec_of(params).is_some()))
            .map(PayloadParams::pt)
    }

    /// Writes a packet into a slot; on a slow network faces leave before pages. Several may be written before [`Peer::handle_timeout`] and [`Peer::poll`].
    #[expect(clippy::too_many_arguments, reason = "what the packet was, what it becomes, and where it goes")]
    pub fn write(
        &mut self,
        now: Instant,
        mid: Mid,
        pt: Pt,
        is_face: bool,
        incoming: &Incoming,
        rewritten: Rewritten,
        captured: Instant,
    ) {
        let Some(stream) = self.egress.stream_of(mid) else { return };
        let level = |(level, voice): (i8, bool)| level.unsigned_abs() & 0x7f | if voice { 0x80 } else { 0 };
        let packet = Packet {
            pt: *pt,
            seq: rewritten.seq,
            rtp_time: rewritten.rtp_time,
            captured,
            marker: rewritten.marker,
            audio_level: incoming.audio_level.map(level),
            orientation: incoming.orientation.map(|orientation| orientation as u8),
            dependency: rewritten.dependency,
            sources: 0,
            head: rewritten.head,
            payload: rewritten.payload,
        };
        if incoming.codec == Codec::Opus {
            self.send(now, stream, packet, false);
        } else {
            let bytes = packet.payload.len() + PACKET_OVERHEAD;
            self.pacer.push(bytes, is_face, Waiting::Packet(stream, packet));
        }
    }

    /// Nothing that was sent on a slot is sent again.
    pub fn forget_sent(&mut self, mid: Mid) {
        self.egress.forget(mid);
    }

    /// What still waits to leave on a slot leaves without what it shows: its source may not be seen any more.
    pub fn blank(&mut self, mid: Mid) {
        let Some(stream) = self.egress.stream_of(mid) else { return };
        for waiting in self.pacer.waiting_mut() {
            match waiting {
                Waiting::Packet(slot, packet) if *slot == stream => packet.blank(),
                _ => {}
            }
        }
    }

    fn send(&mut self, now: Instant, stream: usize, packet: Packet, keep: bool) {
        let sealed = self.egress.send(now, stream, packet, keep);
        self.transmit(now, sealed);
    }

    /// Sends a sealed packet along the path. Before there is one there is nothing to send.
    fn transmit(&mut self, now: Instant, sealed: Option<Sealed>) {
        let (Some(sealed), Some(path)) = (sealed, self.path) else { return };
        if let (Some(estimator), Some(number)) = (self.estimator.as_mut(), sealed.transport) {
            estimator.sent(now, number, sealed.datagram.len());
        }
        let (source, destination) = (path.local, path.remote);
        self.pending.push_back(PeerOutput::Transmit { source, destination, contents: sealed.datagram });
    }

    /// Has the estimator find out whether the network carries this much, in bit/s.
    pub fn aim_estimator(&mut self, desired: u64) {
        if let Some(estimator) = self.estimator.as_mut() {
            estimator.desire(desired);
        }
    }

    /// Asks this publisher for a keyframe of one layer.
    pub fn request_keyframe(&mut self, now: Instant, mid: Mid, rid: Option<Rid>) {
        if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(mid, rid) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
            // It leaves with the engine's next turn, which is now.
            self.engine_due = self.engine_due.min(now);
        }
    }

    /// Tells the other side that the connection is over; what [`Peer::poll`] gives then is the farewell.
    pub fn close(&mut self) {
        // Fails only when it is closed already.
        let _ = self.rtc.close();
        self.stirred = true;
    }
}

fn accept(rtc: &mut Rtc, text: &str, lines: &[MediaLine]) -> Result<String, OfferError> {
    let malformed = |error: &dyn std::fmt::Display| OfferError::Malformed(error.to_string());
    let offer = SdpOffer::from_sdp_string(&without_needless_descriptors(&pair_first_slots(text, lines)))
        .map_err(|error| malformed(&error))?;
    let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| malformed(&error))?;
    Ok(keep_offered_sound(text, &answer.to_sdp_string()))
}

/// Whether an m-line of the offer is a slot: the participant only receives on it.
fn is_slot(line: &MediaLine) -> bool {
    line.receives && !line.sends
}

/// Takes the streams of the slots from the engine, once its answer has named them. It would report them as if nothing were sent, and what is
/// sealed for them with its keys must be sealed in one place ([`crate::egress`]).
fn take_slots(rtc: &mut Rtc, lines: &[MediaLine], zero: (Instant, Duration)) -> Egress {
    let mut streams = Vec::new();
    for line in lines.iter().filter(|line| is_slot(line)) {
        let Some(kind) = line.kind else { continue };
        let mut direct = rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(line.mid, None) else { continue };
        let (ssrc, repair) = (stream.ssrc(), stream.rtx());
        direct.remove_stream_tx(ssrc);
        let Some(media) = rtc.media(line.mid) else { continue };
        streams.push(StreamConfig {
            mid: line.mid,
            kind,
            ssrc: *ssrc,
            repair_ssrc: repair.map(|ssrc| *ssrc),
            ids: extension_ids(media),
            cname: media.cname().to_owned(),
        });
    }
    let params = rtc.codec_config().params();
    let repairs = params.iter().filter_map(|params| Some((*params.pt(), *params.resend()?)));
    Egress::new(streams, repairs.collect::<Vec<_>>(), zero)
}

/// Ids of the header extensions that packets are sent with.
fn extension_ids(media: &Media) -> ExtensionIds {
    let known = media.remote_extmap();
    let id = |extension| known.id_of(extension).unwrap_or(0);
    let descriptor = known.iter().find(|(_, extension)| extension.as_uri() == DESCRIPTOR_URI);
    ExtensionIds {
        mid: id(Extension::RtpMid),
        transport: id(Extension::TransportSequenceNumber),
        sent_at: id(Extension::AbsoluteSendTime),
        audio_level: id(Extension::AudioLevel),
        orientation: id(Extension::VideoOrientation),
        dependency: descriptor.map_or(0, |(id, _)| id),
    }
}

fn block_of(report: &ReceptionReport) -> egress::Block {
    egress::Block {
        ssrc: *report.ssrc,
        fraction: report.fraction_lost,
        lost: report.packets_lost,
        newest: report.max_seq,
        last_report: report.last_sr_time,
        delay: report.last_sr_delay,
    }
}

/// The codec of a payload type, if it is one that is forwarded.
pub fn codec_of(params: &PayloadParams) -> Option<Codec> {
    use str0m::format::Codec as Engine;
    match params.spec().codec {
        Engine::Opus => Some(Codec::Opus),
        Engine::Vp8 => Some(Codec::Vp8),
        Engine::Vp9 => Some(Codec::Vp9),
        Engine::H264 => Some(Codec::H264),
        Engine::Av1 => Some(Codec::Av1),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are wanted")]
fn low_16(extended: u64) -> u16 {
    extended as u16
}

#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are wanted")]
fn low_32(extended: u64) -> u32 {
    extended as u32
}
