//! Headers that every answer has.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// Script only from here, and none inside the page: a name or chat message with a script in it stays text (HARDENING, 32).
/// `connect-src` comes after it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     media-src 'self' blob:; worker-src 'self' blob:; frame-ancestors 'self'; base-uri 'none'; form-action 'self'; \
     object-src 'none'; connect-src 'self'";
/// Only what a class needs, and not for frames of others.
const PERMISSIONS_POLICY: &str = "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), \
     autoplay=(self), screen-wake-lock=(self), picture-in-picture=(self), speaker-selection=(self), geolocation=(), \
     payment=(), usb=(), serial=(), midi=(), accelerometer=(), gyroscope=(), magnetometer=()";

/// Adds them, where a handler has not set its own.
pub async fn add(request: Request, next: Next) -> Response {
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
    let policy = named.map(|host| format!("{CONTENT_SECURITY_POLICY} ws://{host} wss://{host}"));
    policy
        .and_then(|policy| HeaderValue::from_str(&policy).ok())
        .unwrap_or(HeaderValue::from_static(CONTENT_SECURITY_POLICY))
}
