//! Fragments of SDP for trickle ICE and ICE restarts over HTTP (RFC 8840, section 9; RFC 9725, section 4.3).

use std::fmt::Write;

/// What a client's fragment says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fragment {
    /// `ice-ufrag` of the first m-line or of the session.
    pub ufrag: Option<String>,
    /// `ice-pwd` likewise.
    pub pwd: Option<String>,
    /// `candidate:…`, without `a=`. With BUNDLE all belong to the one transport.
    pub candidates: Vec<String>,
}

/// Most candidates in a fragment: a client has a few for each of its addresses.
const CANDIDATES: usize = 64;
/// Lengths of RFC 8839, section 5.4.
const UFRAG: std::ops::RangeInclusive<usize> = 4..=256;
const PWD: std::ops::RangeInclusive<usize> = 22..=256;

/// Why a fragment is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFragment {
    /// A line that is not `x=…`.
    #[error("the fragment has a line that is not SDP")]
    NotSdp,
    /// Wrong length or characters, or only one of the two.
    #[error("the fragment's ice-ufrag and ice-pwd are not valid")]
    Credentials,
    /// More than [`CANDIDATES`].
    #[error("the fragment has too many candidates")]
    TooMany,
}

fn lines(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.split('\n').map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty())
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    /// See [`BadFragment`].
    pub fn parse(text: &str) -> Result<Self, BadFragment> {
        let mut fragment = Fragment::default();
        for line in lines(text) {
            if line.as_bytes().get(1) != Some(&b'=') || !line.is_ascii() {
                return Err(BadFragment::NotSdp);
            }
            if let Some(ufrag) = line.strip_prefix("a=ice-ufrag:") {
                fragment.ufrag.get_or_insert_with(|| ufrag.to_owned());
            } else if let Some(pwd) = line.strip_prefix("a=ice-pwd:") {
                fragment.pwd.get_or_insert_with(|| pwd.to_owned());
            } else if line.starts_with("a=candidate:") {
                fragment.candidates.push(line[2..].to_owned());
            }
        }
        let is_ice = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
        };
        let fits = match (&fragment.ufrag, &fragment.pwd) {
            (Some(ufrag), Some(pwd)) => {
                UFRAG.contains(&ufrag.len()) && PWD.contains(&pwd.len()) && is_ice(ufrag) && is_ice(pwd)
            }
            (None, None) => true,
            _ => false,
        };
        if !fits {
            return Err(BadFragment::Credentials);
        }
        if fragment.candidates.len() > CANDIDATES {
            return Err(BadFragment::TooMany);
        }
        Ok(fragment)
    }
}

/// The `ice-ufrag` that a description has.
pub fn ufrag(sdp: &str) -> Option<&str> {
    lines(sdp).find_map(|line| line.strip_prefix("a=ice-ufrag:"))
}

/// The whole offer that a restart stands for: the last one, with the new credentials and candidates in place of the old.
pub fn restarted(offer: &str, ufrag: &str, pwd: &str, candidates: &[String]) -> String {
    let mut sdp = String::with_capacity(offer.len() + 64 * candidates.len());
    let mut media = 0;
    let mut add = |line: &str| {
        sdp.push_str(line);
        sdp.push_str("\r\n");
    };
    for line in lines(offer) {
        if line.starts_with("a=candidate:") || line == "a=end-of-candidates" {
            continue;
        }
        if line.starts_with("m=") {
            media += 1;
            // At the end of the first m-section, which carries the transport of the bundle.
            if media == 2 {
                candidates.iter().for_each(|candidate| add(&format!("a={candidate}")));
            }
        }
        if line.starts_with("a=ice-ufrag:") {
            add(&format!("a=ice-ufrag:{ufrag}"));
        } else if line.starts_with("a=ice-pwd:") {
            add(&format!("a=ice-pwd:{pwd}"));
        } else {
            add(line);
        }
    }
    if media == 1 {
        candidates.iter().for_each(|candidate| add(&format!("a={candidate}")));
    }
    sdp
}

/// The server's fragment for the answer to a restart: credentials and candidates of the first m-line (RFC 9725, section 4.3.3).
pub fn of_answer(answer: &str) -> String {
    let mut fragment = String::new();
    let mut add = |line: &str| writeln!(fragment, "{line}\r").expect("writing to a string does not fail");
    let session = lines(answer).take_while(|line| !line.starts_with("m="));
    for line in session.filter(|line| line.starts_with("a=ice-") || line.starts_with("a=group:BUNDLE")) {
        add(line);
    }
    let first = lines(answer).skip_while(|line| !line.starts_with("m="));
    let first = first.enumerate().take_while(|(index, line)| *index == 0 || !line.starts_with("m="));
    for (_, line) in first {
        let wanted = ["m=", "a=mid:", "a=ice-", "a=candidate:", "a=end-of-candidates"];
        if wanted.iter().any(|prefix| line.starts_with(prefix)) {
            add(line);
        }
    }
    fragment
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "abcdefghijklmnopqrstuv";

    #[test]
    fn the_fragment_of_the_rfc_is_read() {
        let text = format!(
            "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:{PASSWORD}\r\n\
             a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\na=end-of-candidates\r\n"
        );
        let fragment = Fragment::parse(&text).unwrap();
        assert_eq!((fragment.ufrag.as_deref(), fragment.pwd.as_deref()), (Some("EsAw"), Some(PASSWORD)));
        assert_eq!(
            fragment.candidates,
            ["candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0"]
        );
    }

    #[test]
    fn bad_fragments_are_refused() {
        for (text, error) in [
            ("hello".to_owned(), BadFragment::NotSdp),
            ("a=ice-ufrag:abcd".to_owned(), BadFragment::Credentials),
            (format!("a=ice-ufrag:ab\na=ice-pwd:{PASSWORD}"), BadFragment::Credentials),
            (format!("a=ice-ufrag:ab cd\na=ice-pwd:{PASSWORD}"), BadFragment::Credentials),
            ("a=candidate:1\n".repeat(65), BadFragment::TooMany),
        ] {
            assert_eq!(Fragment::parse(&text), Err(error), "{text}");
        }
        assert_eq!(Fragment::parse(""), Ok(Fragment::default()));
    }

    #[test]
    fn a_restart_changes_credentials_and_candidates_only() {
        let offer = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 X 111\r\na=mid:0\r\na=ice-ufrag:old1\r\na=ice-pwd:oldoldoldoldoldoldold\r\n\
                     a=candidate:1 old\r\na=end-of-candidates\r\nm=video 9 X 96\r\na=mid:1\r\na=ice-ufrag:old1\r\na=ice-pwd:oldoldoldoldoldoldold\r\n";
        let new = restarted(offer, "new1", PASSWORD, &["candidate:2 new".into()]);
        let wanted = format!(
            "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 X 111\r\na=mid:0\r\na=ice-ufrag:new1\r\na=ice-pwd:{PASSWORD}\r\na=candidate:2 new\r\n\
             m=video 9 X 96\r\na=mid:1\r\na=ice-ufrag:new1\r\na=ice-pwd:{PASSWORD}\r\n"
        );
        assert_eq!(new, wanted);
        assert_eq!(ufrag(&new), Some("new1"));
        let one = restarted("m=audio 9 X 111\na=mid:0\n", "new1", PASSWORD, &["candidate:2 new".into()]);
        assert_eq!(one, "m=audio 9 X 111\r\na=mid:0\r\na=candidate:2 new\r\n");
    }

    #[test]
    fn the_answers_fragment_is_its_transport() {
        let answer = "v=0\r\ns=-\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\nm=audio 9 X 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:srv1\r\n\
                      a=ice-pwd:x\r\na=candidate:3 c\r\nm=video 9 X 96\r\na=mid:1\r\na=ice-ufrag:srv1\r\n";
        assert_eq!(
            of_answer(answer),
            "a=group:BUNDLE 0 1\r\na=ice-lite\r\nm=audio 9 X 111\r\na=mid:0\r\na=ice-ufrag:srv1\r\na=ice-pwd:x\r\na=candidate:3 c\r\n"
        );
    }
}
