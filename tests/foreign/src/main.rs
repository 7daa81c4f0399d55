//! `webrtc-client '{"url", "token", "mode": "whip" | "whep", "film"}'`: publishes a film (`tests/e2e/python/film.py`) or plays what a room
//! has, with the webrtc crate. Prints ten times a second what it is and gets, as `tests/e2e/lib/foreign.mjs` reads it, and ends when its
//! standard input is closed.

mod http;
mod packets;

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use packets::Packets;
use rtc::media::Sample;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use webrtc::media_stream::MediaStreamTrack;
use webrtc::media_stream::Track;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_sample::TrackLocalStaticSample;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry,
    register_default_interceptors,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit, RtpSender};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 15);
const SOUND: Duration = Duration::from_millis(20);
/// Longest time for anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
struct Options {
    url: String,
    token: String,
    mode: String,
    film: String,
}

/// Encoded frames and packets in base64.
#[derive(Deserialize)]
struct Film {
    video: Vec<String>,
    audio: Vec<String>,
}

/// What has come so far.
#[derive(Default)]
struct Received {
    video: Packets,
    audio: Packets,
}

#[derive(Clone)]
struct Events {
    gathered: watch::Sender<bool>,
    state: watch::Sender<RTCPeerConnectionState>,
    received: Arc<Mutex<Received>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let received = Arc::clone(&self.received);
        tokio::spawn(async move {
            let video = track.kind().await == RtpCodecKind::Video;
            while let Some(event) = track.poll().await {
                let TrackRemoteEvent::OnRtpPacket(packet) = event else { continue };
                let mut received = received.lock().expect("nobody panics with it");
                let header = &packet.header;
                let packets = if video { &mut received.video } else { &mut received.audio };
                packets.take(
                    header.sequence_number,
                    header.payload_type,
                    header.marker,
                    &packet.payload,
                    video,
                );
            }
        });
    }
}

fn codec(kind: RtpCodecKind) -> RTCRtpCodecParameters {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let (mime_type, clock_rate, channels, payload_type, rtcp_feedback) = match kind {
        RtpCodecKind::Video => {
            (MIME_TYPE_VP8, 90_000, 0, 96, vec![feedback("nack", ""), feedback("nack", "pli")])
        }
        _ => (MIME_TYPE_OPUS, 48_000, 2, 111, vec![]),
    };
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime_type.to_owned(),
            clock_rate,
            channels,
            sdp_fmtp_line: String::new(),
            rtcp_feedback,
        },
        payload_type,
    }
}

/// RTX (RFC 4588) for the video codec.
fn repairs() -> RTCRtpCodecParameters {
    let video = codec(RtpCodecKind::Video);
    let sdp_fmtp_line = format!("apt={}", video.payload_type);
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_RTX.to_owned(),
        sdp_fmtp_line,
        rtcp_feedback: vec![],
        ..video.rtp_codec
    };
    RTCRtpCodecParameters { rtp_codec, payload_type: video.payload_type + 1 }
}

fn track(kind: RtpCodecKind, ssrc: u32) -> Outcome<Arc<TrackLocalStaticSample>> {
    let name = |what: &str| format!("{what}-{kind}");
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
        codec: codec(kind).rtp_codec,
        ..Default::default()
    };
    let described =
        MediaStreamTrack::new("film".to_owned(), name("track"), name("label"), kind, vec![encoding]);
    Ok(Arc::new(TrackLocalStaticSample::new(Instant::now(), described)?))
}

/// Sends what was encoded, again and again, each after its time.
async fn play(
    encoded: Vec<Vec<u8>>,
    every: Duration,
    track: Arc<TrackLocalStaticSample>,
    sender: Arc<dyn RtpSender>,
) -> Outcome<()> {
    let ssrc = *track.ssrcs().await.first().ok_or("the track has an SSRC")?;
    let codecs = sender.get_parameters().await?.rtp_parameters.codecs;
    let payload_type = codecs.first().ok_or("a codec was agreed on")?.payload_type;
    let mut ticks = tokio::time::interval(every);
    for data in encoded.iter().cycle() {
        ticks.tick().await;
        let sample = Sample { data: data.clone().into(), duration: every, ..Sample::new(Instant::now()) };
        track.sample_writer(ssrc, payload_type).write_sample(&sample).await?;
    }
    Ok(())
}

async fn reaches<T>(told: &mut watch::Receiver<T>, what: &str, test: impl Fn(&T) -> bool) -> Outcome<()> {
    tokio::time::timeout(PATIENCE, told.wait_for(|value| test(value)))
        .await
        .map_err(|_| what.to_owned())??;
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let options = std::env::args().next_back().ok_or("no options")?;
    let options: Options = serde_json::from_str(&options)?;

    let mut engine = MediaEngine::default();
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        engine.register_codec(codec(kind), kind)?;
    }
    // What was lost comes by this alone.
    engine.register_codec(repairs(), RtpCodecKind::Video)?;
    let interceptors = register_default_interceptors(Registry::new(), &mut engine)?;
    let (gathered, mut gathering) = watch::channel(false);
    let (state, mut states) = watch::channel(RTCPeerConnectionState::New);
    let events = Events { gathered, state, received: Arc::default() };
    let connection = PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_media_engine(engine)
        .with_interceptor_registry(interceptors)
        .with_handler(Arc::new(events.clone()))
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .build()
        .await?;

    let mut plays = Vec::new();
    if options.mode == "whip" {
        let film: Film = serde_json::from_slice(&std::fs::read(&options.film)?)?;
        for (kind, ssrc, every, encoded) in [
            (RtpCodecKind::Audio, 0x1001, SOUND, film.audio),
            (RtpCodecKind::Video, 0x1002, FRAME, film.video),
        ] {
            let encoded = encoded.iter().map(|one| STANDARD.decode(one)).collect::<Result<Vec<_>, _>>()?;
            let track = track(kind, ssrc)?;
            let sender = connection.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await?;
            plays.push((encoded, every, track, sender));
        }
    } else {
        for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Recvonly,
                ..Default::default()
            };
            connection.add_transceiver_from_kind(kind, Some(init)).await?;
        }
    }

    let offer = connection.create_offer(None).await?;
    connection.set_local_description(offer).await?;
    reaches(&mut gathering, "candidates are gathered", |complete| *complete).await?;
    let offer = connection.local_description().await.ok_or("there is a local description")?;
    let (host, path) =
        options.url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or("an http URL")?;
    let (head, answer) = http::request(host, "POST", &format!("/{path}"), &options.token, &offer.sdp).await?;
    let location = http::header(&head, "location").ok_or("there is a Location")?.to_owned();
    connection.set_remote_description(RTCSessionDescription::answer(answer)?).await?;
    reaches(&mut states, "the connection is up", |state| *state == RTCPeerConnectionState::Connected).await?;

    for (encoded, every, track, sender) in plays {
        tokio::spawn(async move {
            if let Err(error) = play(encoded, every, track, sender).await {
                eprintln!("{error}");
            }
        });
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut input = tokio::io::stdin();
    let mut byte = [0];
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let received = events.received.lock().expect("nobody panics with it");
                let state = states.borrow().to_string();
                println!("{}", json!({"state": state, "video": received.video, "audio": received.audio}));
            }
            read = input.read(&mut byte) => {
                if read? == 0 {
                    break;
                }
            }
        }
    }
    http::request(host, "DELETE", &location, &options.token, "").await?;
    connection.close().await?;
    Ok(())
}
