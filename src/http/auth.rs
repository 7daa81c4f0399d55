//! Who asks.

use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use signaling::message::{ErrorCode, ErrorReply};
use signaling::token::{self, VerifiedToken};
use subtle::ConstantTimeEq;

use super::App;
use super::error::Failure;
use super::listen::Peer;
use crate::clock;

/// The credential of `Authorization: Bearer …` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, credential) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(credential.trim())
}

/// A request with the API key. Refused with 401, in the same time for every wrong key of the same length, and with 429 when its
/// address has sent too many wrong ones.
#[derive(Debug)]
pub struct Operator;

impl FromRequestParts<App> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let refused = || Failure::unauthenticated("this needs `Authorization: Bearer` with the API key");
        let given = bearer(&parts.headers).ok_or_else(refused)?;
        let address = parts.extensions.get::<Peer>().map(|peer| peer.address.ip());
        let now = Instant::now();
        // Before the key is tested: who may not try must not learn whether it was right.
        if address.is_some_and(|address| !app.guesses.may(address, now)) {
            return Err(ErrorReply::new(ErrorCode::RateLimited, "too many wrong keys; wait a minute").into());
        }
        if bool::from(given.as_bytes().ct_eq(app.secrets.api_key.expose().as_bytes())) {
            return Ok(Operator);
        }
        if let Some(address) = address {
            app.guesses.count(address, now);
        }
        Err(refused())
    }
}

/// Tests a participant's token for a room.
///
/// # Errors
/// 401, also for a token of another room (HARDENING, 26).
pub fn check_token(app: &App, headers: &HeaderMap, room: &str) -> Result<VerifiedToken, Failure> {
    let Some(given) = bearer(headers) else {
        return Err(Failure::unauthenticated("this needs `Authorization: Bearer` with a token"));
    };
    let refuse = |error: token::TokenError| Failure::from(ErrorReply::new(error.code(), error.to_string()));
    let verified =
        token::verify(app.secrets.token_secret.expose().as_bytes(), given, clock::wall()).map_err(refuse)?;
    verified.check_room(room).map_err(refuse)?;
    Ok(verified)
}
