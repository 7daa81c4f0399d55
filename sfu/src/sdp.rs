//! What must be known of an offer before the engine sees it: its shape, its limits, and where its slots are.
//!
//! This is no SDP parser; the engine has one. It reads the few lines that decide how an offer is treated, and refuses what would cost too
//! much or contradicts itself (RFC 8866, RFC 8829, RFC 8853 for simulcast).

use std::collections::BTreeMap;

use str0m::media::{Mid, Rid};

use crate::io::OfferError;
use crate::limits::{OFFER_BYTES, OFFER_M_LINES};
use crate::media::{Kind, Source};

/// An m-line of an offer, from the offerer's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaLine {
    /// Its name.
    pub mid: Mid,
    /// Sound or picture; `None` for a data channel.
    pub kind: Option<Kind>,
    /// The offerer sends on it.
    pub sends: bool,
    /// The offerer receives on it.
    pub receives: bool,
    /// Simulcast layers it sends, in the order of the offer: smallest first.
    pub rids: Vec<Rid>,
    /// Sound: its payload type for redundant audio (RFC 2198), if it has one.
    pub red: Option<u8>,
}

/// The dependency descriptor's name in SDP (AV1 RTP specification, appendix A.1).
pub const DESCRIPTOR_URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// The colour space's name in SDP.
const COLOUR_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/color-space";
/// The same for the engine, which knows the other name, and has nothing to read it with.
pub const COLOUR_URI_OF_ENGINE: &str = "urn:x-lectern:color-space";

/// Most simulcast layers of a track.
pub const MAX_LAYERS: usize = 3;

/// Reads the m-lines of an offer, within the limits.
pub fn read_offer(offer: &str) -> Result<Vec<MediaLine>, OfferError> {
    if offer.len() > OFFER_BYTES {
        return Err(OfferError::TooLong);
    }
    let mut lines = Vec::new();
    let mut sections = offer.split("\nm=");
    let session = sections.next().unwrap_or_default();
    if !session.starts_with("v=0") {
        return Err(OfferError::Malformed("it does not begin with v=0".into()));
    }
    for section in sections {
        if lines.len() == OFFER_M_LINES {
            return Err(OfferError::TooManyMedia);
        }
        let line = read_section(section)?;
        if lines.iter().any(|other: &MediaLine| other.mid == line.mid) {
            return Err(OfferError::DuplicateMid);
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(OfferError::Malformed("it has no m-line".into()));
    }
    Ok(lines)
}

fn read_section(section: &str) -> Result<MediaLine, OfferError> {
    let mut lines = section.lines().map(str::trim_end);
    let first = lines.next().unwrap_or_default();
    let kind = match first.split(' ').next() {
        Some("audio") => Some(Kind::Audio),
        Some("video") => Some(Kind::Video),
        Some("application") => None,
        _ => return Err(OfferError::Malformed("an m-line is neither audio, video nor application".into())),
    };
    let mut mid = None;
    // RFC 8866, section 6.7: without an attribute the direction is sendrecv.
    let (mut sends, mut receives) = (true, true);
    let mut rids = Vec::new();
    let mut red = None;
    let mut apt = BTreeMap::new();
    for line in lines {
        let Some(attribute) = line.strip_prefix("a=") else { continue };
        match attribute {
            "sendonly" => (sends, receives) = (true, false),
            "recvonly" => (sends, receives) = (false, true),
            "sendrecv" => (sends, receives) = (true, true),
            "inactive" => (sends, receives) = (false, false),
            _ => {}
        }
        if let Some(name) = attribute.strip_prefix("mid:") {
            if name.is_empty() || name.len() > 16 || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(OfferError::Malformed("a mid is not 1 to 16 letters and digits".into()));
            }
            mid = Some(Mid::from(name));
        } else if let Some(layers) = attribute.strip_prefix("simulcast:send ") {
            rids = layers
                .split(' ')
                .next()
                .unwrap_or_default()
                .split(';')
                // Alternatives (`1,2`) and paused layers (`~1`), RFC 8853, section 5.1: the first alternative counts.
                .filter_map(|layer| layer.split(',').next())
                .map(|rid| Rid::from(rid.trim_start_matches('~')))
                .collect();
            if rids.len() > MAX_LAYERS {
                return Err(OfferError::Malformed("more than three simulcast layers".into()));
            }
        } else if let Some(map) = attribute.strip_prefix("rtpmap:") {
            let named = map.split_once(' ').filter(|(_, name)| name.to_ascii_lowercase().starts_with("red/"));
            red = named.and_then(|(payload_type, _)| payload_type.parse().ok()).or(red);
        } else if let Some(format) = attribute.strip_prefix("fmtp:") {
            check_apt(format, first, &mut apt)?;
        }
    }
    let mid = mid.ok_or_else(|| OfferError::Malformed("an m-line has no mid".into()))?;
    let red = red.filter(|_| kind == Some(Kind::Audio));
    Ok(MediaLine { mid, kind, sends, receives, rids, red })
}

/// RFC 4588, section 8.1: `apt` says which payload type an RTX payload type repairs; one, and one of this m-line.
fn check_apt<'a>(
    format: &'a str,
    m_line: &str,
    seen: &mut BTreeMap<&'a str, &'a str>,
) -> Result<(), OfferError> {
    let Some((payload_type, parameters)) = format.split_once(' ') else { return Ok(()) };
    let Some(apt) = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("apt=")) else {
        return Ok(());
    };
    let of_this_line = m_line.split(' ').skip(3).any(|listed| listed == apt);
    let conflict = seen.insert(payload_type, apt).is_some_and(|other| other != apt);
    if !of_this_line || conflict || apt == payload_type {
        return Err(OfferError::Malformed(format!(
            "payload type {payload_type} repairs {apt}, which cannot be"
        )));
    }
    Ok(())
}

/// Which sending m-line carries which source: as the client says, or, when it says nothing (WHIP), the first audio
/// m-line the microphone and the first video m-line the camera.
pub fn map_sources(lines: &[MediaLine], said: &[(Mid, Source)]) -> Result<Vec<(Mid, Source)>, OfferError> {
    if said.is_empty() {
        let first = |kind, source| {
            lines.iter().find(|line| line.sends && line.kind == Some(kind)).map(|line| (line.mid, source))
        };
        return Ok(first(Kind::Audio, Source::Microphone)
            .into_iter()
            .chain(first(Kind::Video, Source::Camera))
            .collect());
    }
    for (index, (mid, source)) in said.iter().enumerate() {
        let fits =
            lines.iter().any(|line| line.mid == *mid && line.sends && line.kind == Some(source.kind()));
        let twice = said[..index].iter().any(|(other_mid, other)| other_mid == mid || other == source);
        if !fits || twice {
            return Err(OfferError::SourceMismatch(mid.to_string()));
        }
    }
    Ok(said.to_vec())
}

/// An offer as the engine is to see it.
pub fn to_engine(offer: &str, lines: &[MediaLine]) -> String {
    without_needless_descriptors(&pair_first_slots(offer, lines)).replace(COLOUR_URI, COLOUR_URI_OF_ENGINE)
}

/// The engine's answer as whoever made the offer is to see it.
pub fn from_engine(offer: &str, answer: &str) -> String {
    keep_offered_sound(offer, &answer.replace(COLOUR_URI_OF_ENGINE, COLOUR_URI))
}

/// Puts the first audio slot and the first video slot into one MediaStream, so that the browser keeps lips and voice together.
///
/// The engine mirrors the `msid` of the offer's m-line into its answer, or takes a random one (RFC 8830).
fn pair_first_slots(offer: &str, lines: &[MediaLine]) -> String {
    let mut paired = String::with_capacity(offer.len() + 128);
    let mut line_index = None::<usize>;
    let mut done = [false; 2];
    for text in offer.split_inclusive('\n') {
        if text.starts_with("m=") {
            line_index = Some(line_index.map_or(0, |index| index + 1));
        }
        paired.push_str(text);
        let Some(line) = line_index.and_then(|index| lines.get(index)) else { continue };
        let slot = line.receives && !line.sends;
        if text.trim_end() != "a=recvonly" || !slot {
            continue;
        }
        let Some(kind) = line.kind else { continue };
        let (done, track) = match kind {
            Kind::Audio => (&mut done[0], "first-audio"),
            Kind::Video => (&mut done[1], "first-video"),
        };
        if !*done {
            *done = true;
            paired.push_str("a=msid:first-slots ");
            paired.push_str(track);
            paired.push_str("\r\n");
        }
    }
    paired
}

/// Makes the sound of an answer name only formats that its m-line of the offer has, in the order of the offer (RFC 3264, section 6.1).
///
/// The engine negotiates RED once for a connection and puts it before Opus on every m-line, and a browser whose answer has RED
/// first sends RED: with this, who offers decides where. m-lines of an answer are those of the offer, in its order.
fn keep_offered_sound(offer: &str, answer: &str) -> String {
    fn sections(sdp: &str) -> Vec<&str> {
        let starts = sdp.match_indices("\nm=").map(|(at, _)| at + 1).chain([sdp.len()]);
        starts.scan(0, |from, to| Some(&sdp[std::mem::replace(from, to)..to])).collect()
    }
    let mut kept = String::with_capacity(answer.len());
    for (offered, answered) in sections(offer).into_iter().zip(sections(answer)) {
        if !answered.starts_with("m=audio") {
            kept.push_str(answered);
            continue;
        }
        let formats = |section: &'_ str| -> Vec<String> {
            let first = section.lines().next().unwrap_or_default();
            first.split(' ').skip(3).map(str::to_owned).collect()
        };
        let (offered, before) = (formats(offered), formats(answered));
        let after: Vec<String> = offered.into_iter().filter(|format| before.contains(format)).collect();
        for (number, line) in answered.split_inclusive('\n').enumerate() {
            if number == 0 && !after.is_empty() {
                let head: Vec<&str> = line.split(' ').take(3).collect();
                kept.push_str(&format!("{} {}\r\n", head.join(" "), after.join(" ")));
                continue;
            }
            let format =
                ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().find_map(|name| line.strip_prefix(name));
            let format = format.and_then(|rest| rest.split([' ', '\r', '\n']).next());
            let dropped = format.is_some_and(|format| {
                before.iter().any(|other| other == format) && !after.iter().any(|other| other == format)
            });
            if !dropped || after.is_empty() {
                kept.push_str(line);
            }
        }
    }
    kept
}

/// Takes the dependency descriptor out of sending m-lines that do not send AV1 or H264 first. VP8 and VP9 tell their layers in the payload,
/// where every receiver reads them; a browser that may write the descriptor leaves the picture ids out of VP8's.
fn without_needless_descriptors(offer: &str) -> String {
    let mut out = String::with_capacity(offer.len());
    for section in split_sections(offer) {
        let needed = section.contains("a=recvonly") || matches!(first_codec(section), Some("AV1" | "H264"));
        for line in section.split_inclusive('\n') {
            if needed || !(line.starts_with("a=extmap:") && line.contains(DESCRIPTOR_URI)) {
                out.push_str(line);
            }
        }
    }
    out
}

/// The session's part and the m-lines of an offer, each with its line break.
fn split_sections(offer: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = offer.match_indices("\nm=").map(|(at, _)| at + 1).collect();
    starts.push(offer.len());
    let mut from = 0;
    starts.into_iter().map(|until| &offer[std::mem::replace(&mut from, until)..until]).collect()
}

/// The codec of the m-line's first payload type.
fn first_codec(section: &str) -> Option<&str> {
    let first = section.lines().next()?.split(' ').nth(3)?.trim_end();
    section.lines().find_map(|line| {
        let (payload_type, format) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        (payload_type == first).then(|| format.split('/').next()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=fmtp:97 apt=96\r\na=rid:q send\r\na=simulcast:send q;h;~f\r\na=sendonly\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:2\r\na=recvonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:3\r\na=recvonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:4\r\na=recvonly\r\n";

    #[test]
    fn reads_the_slot_model() {
        let lines = read_offer(OFFER).expect("fine");
        let directions: Vec<_> = lines.iter().map(|line| (line.sends, line.receives)).collect();
        assert_eq!(directions, [(true, false), (true, false), (false, true), (false, true), (false, true)]);
        assert_eq!(lines[1].rids, ["q", "h", "f"].map(Rid::from));
        let sources = map_sources(&lines, &[]).expect("WHIP");
        assert_eq!(sources, [(Mid::from("0"), Source::Microphone), (Mid::from("1"), Source::Camera)]);
        let paired = pair_first_slots(OFFER, &lines);
        assert_eq!(paired.matches("a=msid:first-slots").count(), 2);
        assert!(paired.contains("a=mid:3\r\na=recvonly\r\na=msid:first-slots first-video"));
        assert!(!paired.contains("a=mid:4\r\na=recvonly\r\na=msid"));
    }

    /// The engine knows the name that an offer gives the colour space, and has nothing to read it with.
    #[test]
    fn colours_have_another_name_for_the_engine() {
        assert_eq!(str0m::rtp::Extension::ColorSpace.as_uri(), COLOUR_URI);
        let offer = format!("{OFFER}a=extmap:8 {COLOUR_URI}\r\n");
        let seen = to_engine(&offer, &read_offer(&offer).expect("fine"));
        assert!(seen.contains("a=extmap:8 urn:x-lectern:color-space\r\n") && !seen.contains(COLOUR_URI));
        let answer = from_engine(&offer, &seen);
        assert!(answer.contains(&format!("a=extmap:8 {COLOUR_URI}\r\n")) && !answer.contains("x-lectern"));
    }

    #[test]
    fn descriptors_stay_where_they_are_needed() {
        let extmap = format!("a=extmap:5 {DESCRIPTOR_URI}\r\n");
        let m_line = |mid: u8, direction: &str, codec: &str| {
            format!(
                "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:{mid}\r\n{extmap}a={direction}\r\n\
                 a=rtpmap:97 rtx/90000\r\na=rtpmap:96 {codec}/90000\r\n"
            )
        };
        let lines = [
            m_line(0, "sendonly", "VP8"),
            m_line(1, "sendonly", "AV1"),
            m_line(2, "sendonly", "VP9"),
            m_line(3, "recvonly", "VP8"),
            m_line(4, "sendonly", "H264"),
        ];
        let offer = format!("v=0\r\ns=-\r\n{}", lines.concat());
        let left = without_needless_descriptors(&offer);
        let kept: Vec<bool> = left.split("\nm=").skip(1).map(|line| line.contains("extmap:5")).collect();
        assert_eq!(kept, [false, true, false, true, true]);
        assert_eq!(left.replace(&extmap, ""), offer.replace(&extmap, ""), "nothing else has changed");
    }

    #[test]
    fn refuses_what_cannot_be() {
        let refused = |from: &str, to: &str| read_offer(&OFFER.replace(from, to)).expect_err("refused");
        assert_eq!(refused("a=mid:4", "a=mid:3"), OfferError::DuplicateMid);
        assert!(matches!(refused("apt=96", "apt=99"), OfferError::Malformed(_)));
        assert!(matches!(refused("apt=96", "apt=96\r\na=fmtp:97 apt=97"), OfferError::Malformed(_)));
        assert!(matches!(refused("q;h;~f", "q;h;f;g"), OfferError::Malformed(_)));
        assert!(matches!(refused("a=mid:0\r\n", ""), OfferError::Malformed(_)));
        assert!(matches!(refused("v=0", "v=1"), OfferError::Malformed(_)));
        assert_eq!(read_offer(&"x".repeat(OFFER_BYTES + 1)), Err(OfferError::TooLong));
        let many = format!(
            "v=0\r\n{}",
            (0..1000).map(|i| format!("m=audio 9 X 1\r\na=mid:{i}\r\n")).collect::<String>()
        );
        assert_eq!(read_offer(&many), Err(OfferError::TooManyMedia));
        let lines = read_offer(OFFER).expect("fine");
        let mismatch = |mid: &str, source| map_sources(&lines, &[(Mid::from(mid), source)]).is_err();
        assert!(mismatch("0", Source::Camera), "other kind");
        assert!(mismatch("3", Source::Camera), "does not send");
        assert!(mismatch("9", Source::Camera), "not there");
        assert!(!mismatch("1", Source::Screen));
    }

    #[test]
    fn an_answer_has_the_formats_that_were_offered_in_their_order() {
        let line = |formats: &str, red: bool| {
            let red = if red { "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n" } else { "" };
            format!("m=audio 9 UDP/TLS/RTP/SAVPF {formats}\r\na=mid:x\r\na=rtpmap:111 opus/48000/2\r\n{red}")
        };
        let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n";
        let head = "v=0\r\ns=-\r\n";
        let offer =
            [head, &line("111 63 0", true), &line("111", false), video, &line("63 111", true)].concat();
        let answer =
            [head, &line("63 111", true), &line("63 111", true), video, &line("63 111", true)].concat();
        let expected =
            [head, &line("111 63", true), &line("111", false), video, &line("63 111", true)].concat();
        assert_eq!(keep_offered_sound(&offer, &answer), expected);
        assert_eq!(
            keep_offered_sound(&offer.replace("111 63 0", "5"), &answer).matches("63 111").count(),
            2 + 2
        );
        let with_mid = |line: String| line.replace("a=mid:x", "a=mid:1");
        let lines = read_offer(&[head, &with_mid(line("111 63", true))].concat()).expect("fine");
        assert_eq!(lines[0].red, Some(63));
        assert_eq!(read_offer(&[head, &with_mid(line("111", false))].concat()).expect("fine")[0].red, None);
    }
}
