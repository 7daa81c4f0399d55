//! Headers that every answer has.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The one script that is inside of the pages, there when nothing else has come (`web/app/vite.config.ts` puts it there as it is).
const BOOT: &[u8] = include_bytes!("../../web/app/boot.js");
/// Script only from here, and none inside the page but that one: a name or chat message with a script in it stays text (HARDENING, 32).
/// `connect-src` comes last, for what is added to it.
static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let boot = BASE64_STANDARD.encode(digest(&SHA256, BOOT));
    format!(
        "default-src 'self'; script-src 'self' 'sha256-{boot}'; style-src 'self'; img-src 'self' data: blob:; \
         media-src 'self' blob:; worker-src 'self' blob:; frame-ancestors 'self'; base-uri 'none'; form-action 'self'; \
         object-src 'none'; connect-src 'self'"
    )
});
/// Only what a class needs, and not for frames of others.
const PERMISSIONS_POLICY: &str = "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), \
     autoplay=(self), screen-wake-lock=(self), picture-in-picture=(self), speaker-selection=(self), geolocation=(), \
     payment=(), usb=(), serial=(), midi=(), accelerometer=(), gyroscope=(), magnetometer=()";

/// What `Strict-Transport-Security` says; nothing where browsers may come as they like.
#[derive(Debug, Clone)]
pub struct Hsts(Option<HeaderValue>);

impl Hsts {
    /// How long browsers come by HTTPS alone when nothing is set.
    const USUAL: Duration = Duration::from_secs(30 * 24 * 3600);

    /// For a server with TLS under this URL, whose certificate others vouch for or not.
    pub fn new(seconds: Option<u64>, is_vouched: bool, public_url: &str) -> Self {
        // Another port of the name may be somebody else's, who has no TLS (RFC 6797, section 8.3: the port is kept).
        let host = public_url.strip_prefix("https://").unwrap_or_default();
        let is_alone = !host.is_empty() && !host.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let usual = if is_vouched && is_alone { Self::USUAL.as_secs() } else { 0 };
        let seconds = seconds.unwrap_or(usual);
        let value = (seconds > 0).then(|| HeaderValue::from_str(&format!("max-age={seconds}")));
        // Digits and letters alone.
        Hsts(value.and_then(Result::ok))
    }

    /// For a server without TLS (RFC 6797, section 7.2).
    pub fn none() -> Self {
        Hsts(None)
    }
}

/// Adds them, where a handler has not set its own.
pub async fn add(State(Hsts(hsts)): State<Hsts>, request: Request, next: Next) -> Response {
    let policy = content_security_policy(host(request.headers()));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Room names stand in paths.
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.extend(hsts.map(|hsts| (header::STRICT_TRANSPORT_SECURITY, hsts)));
    response
}

/// The host that was asked, if it looks like one.
pub fn host(headers: &HeaderMap) -> Option<&str> {
    let is_name =
        |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    headers.get(header::HOST)?.to_str().ok().filter(|host| !host.is_empty()).filter(is_name)
}

/// Pages send to their own host only, whatever gets into them. `'self'` covers WebSockets too in Content Security
/// Policy Level 3; for browsers before it the host is named, unless it is an address of IPv6, for which a policy has no
/// words.
fn content_security_policy(host: Option<&str>) -> HeaderValue {
    let named = host.filter(|host| !host.contains(['[', ']']));
    let more = named.map(|host| format!(" ws://{host} wss://{host}")).unwrap_or_default();
    let policy = format!("{}{more}", *CONTENT_SECURITY_POLICY);
    HeaderValue::try_from(policy).expect("a host of letters, digits and a few marks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_come_by_https_alone_where_that_harms_nobody() {
        let says = |seconds, is_vouched, url: &str| {
            Hsts::new(seconds, is_vouched, url).0.map(|value| value.to_str().unwrap().to_owned())
        };
        let usual = Some("max-age=2592000".to_owned());
        assert_eq!(says(None, true, "https://class.example.org"), usual);
        // Something else may be at the name's other ports.
        assert_eq!(says(None, true, "https://class.example.org:8443"), None);
        assert_eq!(says(None, true, "https://[2001:db8::1]:8443"), None);
        assert_eq!(says(None, true, "http://class.example.org"), None);
        assert_eq!(says(None, false, "https://class.example.org"), None);
        assert_eq!(says(Some(0), true, "https://class.example.org"), None);
        assert_eq!(says(Some(60), false, "https://class.example.org:8443"), Some("max-age=60".into()));
    }
}
