//! One participant's connection: the only module that names the engine, `str0m::Rtc`.
//!
//! A [`Peer`] answers an offer, takes datagrams, gives packets of its publisher's streams, and seals packets for its slots. It hides
//! the engine's habits (see the comments). What leaves for its slots does not go through the engine: see [`crate::egress`].

mod slots;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::format::PayloadParams;
use str0m::ice::StunMessage;
use str0m::media::{KeyframeRequestKind, Pt};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::{Extension, RawPacket, Ssrc, VideoOrientation};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use crate::bandwidth::estimate::Estimator;
use crate::bandwidth::pace::Pacer;
use crate::codec::Codec;
use crate::colour::ColourSpace;
use crate::demux::Family;
use crate::egress::{self, Egress, Sealed, StreamConfig};
use crate::extension::{COLOUR_ID, ColourExtension, DESCRIPTOR_ID, DescriptorBytes, DescriptorExtension};
use crate::forward::red::FeedbackLoss;
use crate::io::{Datagram, OfferError, SenderTime, Transport};
use crate::limits::SSRCS_PER_PEER;
use crate::media::{Kind, Mid, Rid};
use crate::proof;
use crate::sdp::{COLOUR_URI_OF_ENGINE, DESCRIPTOR_URI, MediaLine, from_engine, read_offer, to_engine};
use slots::{Copy, FILL_STEP, Waiting, is_slot, take_slots};

/// Packets of unknown streams that are looked at in a second: a publisher that starts all its layers and their repairs brings ten.
const STRANGERS_PER_SECOND: u32 = 40;
/// How long nothing must have come from a peer's address before a check from another one moves it there. A receiver reports each
/// second or so, and far more often while media flows.
const ROAM_AFTER: Duration = Duration::from_secs(1);
/// What was on its way for so long before another way was taken is lost: longer than the pauses of a sender that is not.
const LOST_AFTER: Duration = Duration::from_millis(300);
/// Priority of an address that a peer has moved to: above that of any candidate in an offer (RFC 8445, section 5.1.2: type
/// preferences end at 126).
const ROAMED_PRIORITY: u32 = 127 << 24;
/// What a receiver's network is taken to carry before it is known: a stage of middling size and some thumbnails. A slower network is
/// found out within a second; a faster one by the first probes.
const FIRST_ESTIMATE_BITS_PER_SECOND: u64 = 1_000_000;
/// Bytes that a packet has besides its payload: IP, UDP and RTP headers, extensions, SRTP's tag.
pub const PACKET_OVERHEAD: usize = 76;
/// How often loss and round-trip time are read.
const STATS_INTERVAL: Duration = Duration::from_secs(2);

/// What all peers of a node share.
pub struct PeerShared {
    crypto: Arc<CryptoProvider>,
    certificate: DtlsCert,
    candidates: Vec<Candidate>,
    /// When the node was made, and Unix time then.
    zero: (Instant, Duration),
}

impl std::fmt::Debug for PeerShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerShared").field("candidates", &self.candidates).finish_non_exhaustive()
    }
}

impl PeerShared {
    /// Makes the certificate of the node, which is reached at these addresses by UDP and by TCP.
    pub fn new(udp: &[SocketAddr], tcp: &[SocketAddr], zero: (Instant, Duration)) -> Self {
        let udp = udp.iter().map(|address| Candidate::builder().udp().host(*address).build());
        let passive = |address: &SocketAddr| {
            Candidate::builder().tcp().host(*address).tcptype(TcpType::Passive).build()
        };
        // The engine refuses unspecified addresses, which reach nobody.
        let candidates = udp.chain(tcp.iter().map(passive)).flatten().collect();
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
    /// What its numbers mean as colours, with the last packet of a keyframe.
    pub colour: Option<ColourSpace>,
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
            colour: None,
            ..self.clone()
        }
    }
}

/// Something that a peer gives out.
#[derive(Debug)]
pub enum PeerOutput {
    /// Send this.
    Transmit { path: Path, contents: Vec<u8> },
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
    /// Media goes another way than before, after a silence in which what was sent either way was lost.
    Moved,
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

/// Where a datagram goes, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// What carries it.
    pub transport: Transport,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
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
    /// ICE hears nothing, and nothing has proved since that somebody is there: nothing may be sent (RFC 7675, section 5.1).
    silent: bool,
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
    /// Where media goes, and when something came from there.
    path: Option<(Path, Instant)>,
    /// Where a check came from while the path was silent, and when something came from there last: media goes there until the path is
    /// heard again, or is another.
    detour: Option<(Path, Instant)>,
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
            // The ids are the offer's, which the answer keeps.
            .set_extension(DESCRIPTOR_ID, Extension::with_serializer(DESCRIPTOR_URI, DescriptorExtension))
            .set_extension(COLOUR_ID, Extension::with_serializer(COLOUR_URI_OF_ENGINE, ColourExtension))
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
        for candidate in &shared.candidates {
            rtc.add_local_candidate(candidate.clone());
        }
        let answer = accept(&mut rtc, offer, &lines)?;
        let egress = take_slots(&mut rtc, &lines, shared.zero);
        let mut peer = Peer {
            rtc,
            lines,
            streams: Vec::new(),
            egress,
            closed: false,
            silent: false,
            stirred: true,
            engine_due: now,
            repairs: Vec::new(),
            stranger: None,
            strangers: (now, 0),
            path: None,
            detour: None,
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
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) -> Taken {
        let Datagram { transport, source, destination, contents } = datagram;
        self.follow(now, datagram);
        let Ok(receive) = Receive::new(protocol(transport), source, destination, contents) else {
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
        self.silent = false;
        match self.path.as_mut() {
            Some((path, heard)) if (path.transport, path.remote) == (transport, source) => {
                *heard = now;
                self.detour = None;
            }
            Some((_, heard)) if Family::of(contents) == Family::Stun => {
                let is_silent = now.saturating_duration_since(*heard) >= ROAM_AFTER;
                if StunMessage::parse(contents).is_ok_and(|message| message.use_candidate()) {
                    self.ask_for_path();
                }
                if is_silent {
                    self.take_detour(now, Path { transport, local: destination, remote: source });
                }
            }
            _ => match self.detour.as_mut() {
                Some((path, heard)) if (path.transport, path.remote) == (transport, source) => *heard = now,
                _ => {}
            },
        }
        Taken::Proved
    }

    /// Sends media where a check has come from, because nothing comes along the path any more. A browser that loses its way uses
    /// another at once, and says that it is to be used (USE-CANDIDATE) with its next check, seconds later.
    fn take_detour(&mut self, now: Instant, way: Path) {
        match self.detour.as_mut() {
            Some((path, heard)) if *path == way => {
                *heard = now;
                return;
            }
            // Checks come on all ways; one that works is good enough.
            Some((_, heard)) if now.saturating_duration_since(*heard) < ROAM_AFTER => return,
            _ => {}
        }
        self.detour = Some((way, now));
        self.note_move();
    }

    /// What was sent into the void is lost, and of it either side would learn in a second or two.
    fn note_move(&mut self) {
        let pictures = self.egress.streams().filter(|stream| stream.kind == Kind::Video);
        self.pending.extend(pictures.map(|stream| PeerOutput::KeyframeRequest(stream.mid)));
        self.pending.push_back(PeerOutput::Moved);
    }

    /// Has the engine send something of no consequence where it would send media now: it does not tell what a check has nominated, and only
    /// what it sends shows it. Receivers know no application of this name (RFC 4585, section 6.4).
    fn ask_for_path(&mut self) {
        let ssrc = self.egress.foreign_ssrc();
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
    fn follow(&mut self, now: Instant, datagram: Datagram<'_>) {
        let Datagram { transport, source, contents, .. } = datagram;
        let silent = |(path, heard): (Path, Instant)| {
            (path.transport, path.remote) != (transport, source)
                && now.saturating_duration_since(heard) >= ROAM_AFTER
        };
        if !self.path.is_some_and(silent) {
            return;
        }
        if !StunMessage::parse(contents).is_ok_and(|message| message.use_candidate()) {
            return;
        }
        // The engine takes a priority from a line of SDP only.
        let (proto, kind) = match transport {
            Transport::Udp => ("udp", ""),
            Transport::Tcp => ("tcp", " tcptype active"),
        };
        let (ip, port) = (source.ip(), source.port());
        let line = format!("candidate:1 1 {proto} {ROAMED_PRIORITY} {ip} {port} typ host{kind}");
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
                    let transport =
                        if transmit.proto == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
                    let path = Path { transport, local: transmit.source, remote: transmit.destination };
                    if along && self.path.is_none_or(|(known, _)| known != path) {
                        let is_lost = |(_, heard)| now.saturating_duration_since(heard) >= LOST_AFTER;
                        let was_lost = self.path.is_some_and(is_lost);
                        let is_known = self.detour.is_some_and(|(way, _)| way == path);
                        self.path = Some((path, now));
                        self.detour = None;
                        if was_lost && !is_known {
                            self.note_move();
                        }
                    }
                    let way = self.detour.filter(|_| along).map_or(path, |(way, _)| way);
                    return PeerOutput::Transmit { path: way, contents: transmit.contents.into() };
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

    fn next_timeout(&self, now: Instant) -> Instant {
        let estimator = self.estimator.as_ref().and_then(|estimator| {
            if estimator.is_probing() { Some(now + FILL_STEP) } else { estimator.timeout() }
        });
        let copy = self.copies.front().map(|copy| copy.due);
        let others = [estimator, copy, self.pacer.timeout(now), self.egress.timeout()];
        others.into_iter().flatten().fold(self.engine_due, Instant::min)
    }

    fn translate(&mut self, now: Instant, event: Event) -> Option<PeerOutput> {
        match event {
            Event::Connected => Some(PeerOutput::Connected),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                self.silent = true;
                Some(PeerOutput::Silent)
            }
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
            colour: exts.user_values.get::<ColourSpace>().copied(),
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
    let offer = SdpOffer::from_sdp_string(&to_engine(text, lines)).map_err(|error| malformed(&error))?;
    let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| malformed(&error))?;
    Ok(from_engine(text, &answer.to_sdp_string()))
}

fn protocol(transport: Transport) -> Protocol {
    match transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
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
