//! The client's handling of `str0m::Rtc`; everything here is about one engine's habits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::media::{Kind, Mid, Rid, Source};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::Codec as EngineCodec;
use str0m::ice::{StunMessage, TransId};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Pt, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{
    Extension, ExtensionSerializer, ExtensionValues, RedDecoder, RedEncoder, RedundantBlock, RtpPacket,
    RtpWrite,
};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use super::encoder::{AudioEncoder, Line, Numbers, Outgoing, VideoEncoder, VideoShape};
use super::forge::{self, Forge};
use super::{Client, ClientConfig, ClientCounters, ClientEvent, ClientSlot, ClientTransmit, Red, far};
use crate::codec::{DEPENDENCY_URI, Stamp, parse};
use crate::decoder::{SlotDecoder, SlotPacket};
use crate::rng::Rng;

/// What a sender keeps for repairs: Chromium keeps 600 packets or so.
const RTX_CACHE_PACKETS: usize = 1000;
const RTX_CACHE_AGE: Duration = Duration::from_secs(3);

/// A dependency descriptor on its way through the engine.
#[derive(Debug)]
struct DependencyBytes(Arc<[u8]>);

#[derive(Debug)]
struct DependencyExtension;

impl ExtensionSerializer for DependencyExtension {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(DependencyBytes(bytes)) = values.user_values.get() else { return 0 };
        buf[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(DependencyBytes(buf.into()));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        values.user_values.get::<DependencyBytes>().is_some_and(|bytes| bytes.0.len() > 16)
    }
}

/// A colour space on its way through the engine.
#[derive(Debug)]
struct ColourBytes([u8; 4]);

#[derive(Debug)]
struct ColourExtension;

impl ExtensionSerializer for ColourExtension {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(ColourBytes(bytes)) = values.user_values.get() else { return 0 };
        buf[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        let whole = <[u8; 4]>::try_from(buf).map(ColourBytes);
        whole.map(|colour| values.user_values.set(colour)).is_ok()
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}

/// The engine knows the extension's name, and has nothing to read it with: to the engine it has another.
const COLOUR_URIS: [&str; 2] =
    ["http://www.webrtc.org/experiments/rtp-hdrext/color-space", "urn:x-sim:color-space"];

fn engine_codec(codec: Codec) -> EngineCodec {
    match codec {
        Codec::Opus => EngineCodec::Opus,
        Codec::Vp8 => EngineCodec::Vp8,
        Codec::Vp9 => EngineCodec::Vp9,
        Codec::H264 => EngineCodec::H264,
        Codec::Av1 => EngineCodec::Av1,
    }
}

fn our_codec(codec: EngineCodec) -> Option<Codec> {
    match codec {
        EngineCodec::Opus => Some(Codec::Opus),
        EngineCodec::Vp8 => Some(Codec::Vp8),
        EngineCodec::Vp9 => Some(Codec::Vp9),
        EngineCodec::H264 => Some(Codec::H264),
        EngineCodec::Av1 => Some(Codec::Av1),
        _ => None,
    }
}

pub(super) fn build(config: ClientConfig, now: Instant) -> Client {
    let mut settings = Rtc::builder()
        .set_rtp_mode(true)
        .set_extension(14, Extension::with_serializer(DEPENDENCY_URI, DependencyExtension))
        .set_extension(9, Extension::with_serializer(COLOUR_URIS[1], ColourExtension))
        .clear_codecs()
        .enable_opus(true, config.red != Red::Unknown);
    for codec in &config.codecs {
        settings = match codec {
            Codec::Vp8 => settings.enable_vp8(true),
            Codec::Vp9 => settings.enable_vp9(true),
            Codec::H264 => settings.enable_h264(true),
            Codec::Av1 => settings.enable_av1(true),
            Codec::Opus => settings,
        };
    }
    if config.forges {
        settings = settings.set_crypto_provider(Arc::new(forge::listening()));
    }
    if let Some(certificate) = &config.certificate {
        settings = settings.set_dtls_cert(certificate.clone());
    }
    let mut rtc = settings.build(now);
    rtc.add_local_candidate(host(config.local));

    let mut changes = rtc.sdp_api();
    let send_mids: Vec<Mid> = config
        .sends
        .iter()
        .map(|line| {
            let simulcast = (!line.rids.is_empty()).then(|| {
                let mut simulcast = Simulcast::new();
                for rid in &line.rids {
                    simulcast.add_send_layer(SimulcastLayer::new(rid));
                }
                simulcast
            });
            changes.add_media(media_kind(line.source.kind()), Direction::SendOnly, None, None, simulcast)
        })
        .collect();
    let kinds = std::iter::repeat_n(Kind::Audio, config.audio_slots)
        .chain(std::iter::repeat_n(Kind::Video, config.video_slots));
    let slots = kinds
        .map(|kind| ClientSlot {
            mid: changes.add_media(media_kind(kind), Direction::RecvOnly, None, None, None),
            decoder: SlotDecoder::new(kind),
        })
        .collect();
    let (offer, pending) = changes.apply().expect("the offer has at least one m-line");

    Client {
        config,
        rtc,
        pending: Some(pending),
        offer: offer.to_sdp_string().replace(COLOUR_URIS[1], COLOUR_URIS[0]),
        send_mids,
        slots,
        slot_of_ssrc: BTreeMap::new(),
        video: Vec::new(),
        audio: Vec::new(),
        numbers: HashMap::new(),
        connected: false,
        started: now,
        engine_timeout: now,
        transmits: VecDeque::new(),
        events: VecDeque::new(),
        last_sound: HashMap::new(),
        red_of: HashMap::new(),
        counters: ClientCounters::default(),
        last_error: None,
        server: (String::new(), String::new()),
        forge: Forge::default(),
    }
}

fn host(address: SocketAddr) -> Candidate {
    Candidate::host(address, "udp").expect("a client's address is a plain one")
}

fn media_kind(kind: Kind) -> MediaKind {
    match kind {
        Kind::Audio => MediaKind::Audio,
        Kind::Video => MediaKind::Video,
    }
}

pub(super) fn accept(client: &mut Client, pending: SdpPendingOffer, answer: &str) -> Result<(), String> {
    let (ufrag, password) = credentials(answer).ok_or("an answer without credentials for ICE")?;
    client.server = (ufrag.to_owned(), password.to_owned());
    let answer = SdpAnswer::from_sdp_string(&answer.replace(COLOUR_URIS[0], COLOUR_URIS[1]))
        .map_err(|error| error.to_string())?;
    client.rtc.sdp_api().accept_answer(pending, answer).map_err(|error| error.to_string())?;
    for (mid, line) in client.send_mids.iter().zip(&client.config.sends) {
        let rids: Vec<Option<Rid>> = match &line.rids[..] {
            [] => vec![None],
            rids => rids.iter().map(|rid| Some(Rid::from(*rid))).collect(),
        };
        for rid in rids {
            // str0m drops all queued repairs once they pass 15 % of what is sent; browsers do not.
            if let Some(stream) = client.rtc.direct_api().stream_tx_by_mid(*mid, rid)
                && line.source.kind() == Kind::Video
            {
                stream.set_rtx_cache(RTX_CACHE_PACKETS, RTX_CACHE_AGE, None);
            }
        }
    }
    Ok(())
}

pub(super) fn feed(
    client: &mut Client,
    now: Instant,
    source: SocketAddr,
    destination: SocketAddr,
    contents: &[u8],
) {
    let Ok(receive) = Receive::new(Protocol::Udp, source, destination, contents) else {
        client.counters.datagrams_refused += 1;
        return;
    };
    let input = Input::Receive(now, receive);
    if !client.rtc.accepts(&input) {
        client.counters.datagrams_refused += 1;
        return;
    }
    if let Err(error) = client.rtc.handle_input(input) {
        client.note_error(&error);
    }
}

pub(super) fn drain(client: &mut Client, now: Instant) {
    loop {
        let output = client.rtc.poll_output();
        if client.config.forges {
            client.forge.listen();
        }
        match output {
            Ok(Output::Timeout(at)) => {
                client.engine_timeout = at;
                return;
            }
            Ok(Output::Transmit(transmit)) => {
                client.counters.datagrams_out += 1;
                client.transmits.push_back(ClientTransmit {
                    source: transmit.source,
                    destination: transmit.destination,
                    contents: transmit.contents.to_vec(),
                });
            }
            Ok(Output::Event(event)) => handle_event(client, now, event),
            Err(error) => {
                client.note_error(&error);
                client.engine_timeout = far(now);
                return;
            }
        }
    }
}

fn handle_event(client: &mut Client, now: Instant, event: Event) {
    match event {
        Event::Connected => {
            client.connected = true;
            client.events.push_back(ClientEvent::Connected);
        }
        Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
            client.events.push_back(ClientEvent::Disconnected);
        }
        Event::Closed => {
            client.connected = false;
            client.events.push_back(ClientEvent::Closed);
        }
        Event::KeyframeRequest(request) => {
            for encoder in &mut client.video {
                let line = encoder.line();
                if line.mid == request.mid && line.rid == request.rid {
                    encoder.request_keyframe();
                    let (source, layer) = (encoder.source(), encoder.layer());
                    client.events.push_back(ClientEvent::KeyframeRequest { source, layer });
                }
            }
        }
        Event::RtpPacket(packet) => handle_rtp(client, now, packet),
        _ => {}
    }
}

fn handle_rtp(client: &mut Client, now: Instant, packet: RtpPacket) {
    let ssrc = *packet.header.ssrc;
    // The direct API arms a full poll on each mutable use, so the m-line of an SSRC is looked up once.
    let slot = match client.slot_of_ssrc.get(&ssrc) {
        Some(slot) => *slot,
        None => {
            let mid = client.rtc.direct_api().stream_rx(&packet.header.ssrc).map(|stream| stream.mid());
            let slot = mid.and_then(|mid| client.slot_index(mid));
            client.slot_of_ssrc.insert(ssrc, slot);
            slot
        }
    };
    let Some(slot) = slot else {
        client.counters.rtp_astray += 1;
        return;
    };
    client.counters.rtp_in += 1;
    if client.config.forges {
        client.forge.note(ssrc, *packet.seq_no);
    }
    let pt = packet.header.payload_type;
    let params =
        client.rtc.codec_config().find(|params| params.pt() == pt || params.red() == Some(pt)).copied();
    let is_red = params.is_some_and(|params| params.red() == Some(pt));
    let (payload, redundant) = if is_red { open_red(&packet) } else { (packet.payload.clone(), Vec::new()) };
    let codec = params.and_then(|params| our_codec(params.spec().codec));
    if client.config.trace_packets
        && let Some(parsed) = codec.and_then(|codec| parse(codec, &payload).ok())
    {
        client.events.push_back(ClientEvent::Packet { slot, stamp: parsed.stamp, seq: *packet.seq_no });
    }
    let decoder = &mut client.slots[slot].decoder;
    decoder.handle_packet(
        now,
        SlotPacket {
            ssrc,
            seq: *packet.seq_no,
            rtp_time: packet.header.timestamp,
            marker: packet.header.marker,
            codec,
            dependency: packet
                .header
                .ext_vals
                .user_values
                .get::<DependencyBytes>()
                .map(|bytes| Arc::clone(&bytes.0)),
            colour: packet.header.ext_vals.user_values.get::<ColourBytes>().map(|bytes| bytes.0),
            payload,
            redundant,
        },
    );
    client.events.extend(decoder.poll_decoded().map(|frame| ClientEvent::Frame { slot, frame }));
}

/// A redundant block of sound: how many ticks older than its packet, and its payload.
type Older = (u32, Vec<u8>);

/// The primary of a packet of redundant audio, and its older blocks with their timestamps. What cannot be read stays as it is, and is no Opus.
fn open_red(packet: &RtpPacket) -> (Arc<[u8]>, Vec<Older>) {
    let Ok(mut blocks) = RedDecoder::decode(&packet.payload) else {
        return (packet.payload.clone(), Vec::new());
    };
    let primary = blocks.pop().map_or(&[][..], |block| block.payload);
    let older = blocks
        .iter()
        .map(|block| (packet.header.timestamp.wrapping_sub(block.timestamp_offset), block.payload.to_vec()));
    (primary.into(), older.collect())
}

/// Sends the frames that are due.
pub(super) fn send_due(client: &mut Client, now: Instant) {
    let mut due = Vec::new();
    for encoder in &mut client.video {
        encoder.poll(now, &mut due);
    }
    for encoder in &mut client.audio {
        encoder.poll(now, &mut due);
    }
    for packet in due {
        write(client, now, packet);
    }
}

fn write(client: &mut Client, now: Instant, mut packet: Outgoing) {
    if let Some(red) = client.red_of.get(&packet.pt) {
        // As libwebrtc does by default: the packet before goes with each.
        let sound = (packet.rtp_time, packet.payload.clone());
        let before = client.last_sound.insert(packet.mid, sound).map(|(rtp_time, payload)| RedundantBlock {
            pt: *packet.pt,
            timestamp_offset: packet.rtp_time.wrapping_sub(rtp_time),
            payload,
        });
        packet.payload = RedEncoder::encode(*packet.pt, &packet.payload, before.as_slice());
        packet.pt = *red;
    }
    let mut direct = client.rtc.direct_api();
    let Some(stream) = direct.stream_tx_by_mid(packet.mid, packet.rid) else {
        // The server's answer did not take this m-line or layer.
        return;
    };
    client.counters.rtp_out += 1;
    client.forge.mangle(&mut packet);
    let mut extensions = ExtensionValues {
        audio_level: packet.level_dbov,
        voice_activity: packet.level_dbov.map(|level| level > -60),
        ..ExtensionValues::default()
    };
    if let Some(bytes) = packet.dependency {
        extensions.user_values.set(DependencyBytes(bytes.into()));
    }
    if let Some(bytes) = packet.colour {
        extensions.user_values.set(ColourBytes(bytes));
    }
    stream.write_rtp(
        RtpWrite::new(packet.pt, packet.seq.into(), packet.rtp_time, now, packet.payload)
            .marker(packet.marker)
            .ext_vals(extensions)
            .nackable(packet.level_dbov.is_none()),
    );
    // One mutation, one drain: the engine's contract.
    client.run(now);
}

pub(super) fn start_encoders(
    client: &mut Client,
    now: Instant,
    source: Source,
    codec: Codec,
    shapes: &[VideoShape],
) {
    let index = client
        .config
        .sends
        .iter()
        .position(|line| line.source == source)
        .unwrap_or_else(|| panic!("no m-line for {source:?}"));
    let mid = client.send_mids[index];
    let pt = payload_type(client, mid, codec).unwrap_or_else(|| panic!("{codec:?} was not negotiated"));
    // The encoders' numbers follow from who they are, so that a run repeats, and differ between two publications.
    let lifetime = client.started.elapsed_until(now);
    let mut rng = Rng::new(u64::from(client.config.identity) << 8 | source.index() as u64).fork(lifetime);
    let stamp = |layer: u8| Stamp {
        publisher: client.config.identity,
        source,
        layer,
        codec,
        // A new publication is a new encoder; 16 bits of the time in 100 ms tell it from the one before.
        generation: (lifetime / 100) as u16,
        frame: 0,
        depends_on: None,
        spatial: 0,
        spatial_layers: 1,
        on_below: false,
        part: 0,
        parts: 1,
    };
    match source.kind() {
        Kind::Audio => {
            let line = Line { mid, rid: None, pt };
            let red = (client.config.red == Red::Sends)
                .then(|| client.rtc.codec_config().find(|params| params.pt() == pt)?.red())
                .flatten();
            client.last_sound.remove(&mid);
            if let Some(red) = red {
                client.red_of.insert(pt, red);
            }
            let numbers = numbers(client, &line, &mut rng, now);
            client.audio.push(AudioEncoder::new(line, stamp(0), numbers, rng, now));
        }
        Kind::Video => {
            let rids: Vec<Option<Rid>> = match &client.config.sends[index].rids[..] {
                [] => vec![None],
                rids => rids.iter().map(|rid| Some(Rid::from(*rid))).collect(),
            };
            // Without simulcast a camera sends its largest picture.
            let shapes =
                if rids.len() < shapes.len() { &shapes[shapes.len() - rids.len()..] } else { shapes };
            for (layer, (rid, shape)) in rids.into_iter().zip(shapes).enumerate() {
                let layer = layer as u8;
                let line = Line { mid, rid, pt };
                let mut rng = rng.fork(u64::from(layer));
                let numbers = numbers(client, &line, &mut rng, now);
                let encoder = VideoEncoder::new(line, stamp(layer), *shape, numbers, rng, now);
                client.video.push(encoder);
            }
        }
    }
}

/// The numbers that the m-line stopped at, or its first.
fn numbers(client: &Client, line: &Line, rng: &mut Rng, now: Instant) -> Numbers {
    client.numbers.get(&(line.mid, line.rid)).copied().unwrap_or_else(|| Numbers::draw(rng, now))
}

/// The payload type under which both sides know the codec; for H.264 one that allows FU-A.
fn payload_type(client: &Client, mid: Mid, codec: Codec) -> Option<Pt> {
    let media = client.rtc.media(mid)?;
    let fits = |params: &&str0m::format::PayloadParams| {
        params.spec().codec == engine_codec(codec)
            && media.remote_pts().contains(&params.pt())
            && (codec != Codec::H264 || params.spec().format.packetization_mode == Some(1))
    };
    client.rtc.codec_config().params().iter().find(fits).map(|params| params.pt())
}

pub(super) fn restart_source(client: &mut Client, now: Instant, source: Source) {
    let mut lines = Vec::new();
    for encoder in client.video.iter_mut().filter(|e| e.source() == source) {
        encoder.restart(now);
        lines.push(encoder.line());
    }
    for encoder in client.audio.iter_mut().filter(|e| e.source() == source) {
        encoder.restart(now);
        lines.push(encoder.line());
    }
    for line in lines {
        let mut direct = client.rtc.direct_api();
        let (ssrc, rtx) = (direct.new_ssrc(), direct.new_ssrc());
        let has_rtx =
            direct.stream_tx_by_mid(line.mid, line.rid).is_some_and(|stream| stream.rtx().is_some());
        direct.reset_stream_tx(line.mid, line.rid, ssrc, has_rtx.then_some(rtx));
    }
}

pub(super) fn request_keyframe(rtc: &mut Rtc, mid: Mid, kind: KeyframeRequestKind) -> bool {
    let mut direct = rtc.direct_api();
    let stream = direct.stream_rx_by_mid(mid, None);
    stream.map(|stream| stream.request_keyframe(kind)).is_some()
}

/// The first `a=ice-ufrag` and `a=ice-pwd` (RFC 8839, section 5.4).
fn credentials(sdp: &str) -> Option<(&str, &str)> {
    let of = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    of("a=ice-ufrag:").zip(of("a=ice-pwd:"))
}

/// A check of the server that proves who asks and nominates nothing, as browsers send them on all ways (RFC 8445, section 7.2.4).
pub(super) fn check(client: &Client) -> Vec<u8> {
    let (server, password) = &client.server;
    let own = credentials(&client.offer).map_or("", |(ufrag, _)| ufrag);
    let username = format!("{server}:{own}");
    let message = StunMessage::binding_request(&username, TransId::new(), true, 1, 100, false);
    let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let mut bytes = vec![0; 200];
    let length = message
        .to_bytes(Some(password.as_bytes()), &mut bytes, |key, payloads| hmac.sha1_hmac(key, payloads))
        .expect("a check has a hundred bytes or so");
    bytes.truncate(length);
    bytes
}

pub(super) fn restart_ice(client: &mut Client, local: Option<SocketAddr>) {
    if let Some(local) = local {
        let old = host(client.config.local);
        client.rtc.direct_api().invalidate_candidate(&old);
        client.rtc.add_local_candidate(host(local));
        client.config.local = local;
    }
    let mut changes = client.rtc.sdp_api();
    changes.ice_restart(true);
    let (offer, pending) = changes.apply().expect("an ICE restart needs an offer");
    client.offer = offer.to_sdp_string().replace(COLOUR_URIS[1], COLOUR_URIS[0]);
    client.pending = Some(pending);
}

/// Milliseconds between two instants, as a number for seeds.
trait ElapsedUntil {
    fn elapsed_until(self, later: Instant) -> u64;
}

impl ElapsedUntil for Instant {
    fn elapsed_until(self, later: Instant) -> u64 {
        u64::try_from(later.saturating_duration_since(self).as_millis()).unwrap_or(u64::MAX)
    }
}
