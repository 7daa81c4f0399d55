//! Who asks.

use axum::http::{HeaderMap, header};
use signaling::token::{self, VerifiedToken};
use subtle::ConstantTimeEq;

use super::App;
use super::error::Failure;
use crate::clock;

/// The credential of `Authorization: Bearer …` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, credential) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(credential.trim())
}

/// Tests the API key.
///
/// # Errors
/// 401, in the same time for every wrong key of the same length.
pub fn check_api_key(app: &App, headers: &HeaderMap) -> Result<(), Failure> {
    let key = app.secrets.api_key.expose().as_bytes();
    let given = bearer(headers).unwrap_or_default().as_bytes();
    if bool::from(given.ct_eq(key)) {
        Ok(())
    } else {
        Err(Failure::unauthenticated("this needs `Authorization: Bearer` with the API key"))
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
    let refuse = |error: token::TokenError| {
        Failure::from(signaling::message::ErrorReply::new(error.code(), error.to_string()))
    };
    let verified =
        token::verify(app.secrets.token_secret.expose().as_bytes(), given, clock::wall()).map_err(refuse)?;
    verified.check_room(room).map_err(refuse)?;
    Ok(verified)
}
