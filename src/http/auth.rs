//! Who asks.

use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use signaling::message::{ErrorCode, ErrorReply};
use signaling::replay;
use signaling::role::Role;
use signaling::token::{self, VerifiedToken};
use subtle::ConstantTimeEq;

use super::App;
use super::audited::Trail;
use super::error::Failure;
use super::listen::Peer;
use crate::audit::Actor;
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
        let given = bearer(&parts.headers).ok_or_else(no_key)?;
        check_key(app, parts, given)
    }
}

fn no_key() -> Failure {
    Failure::unauthenticated("this needs `Authorization: Bearer` with the API key")
}

fn check_key(app: &App, parts: &Parts, given: &str) -> Result<Operator, Failure> {
    let address = parts.extensions.get::<Peer>().map(|peer| peer.address.ip());
    let now = Instant::now();
    // Before the key is tested: who may not try must not learn whether it was right.
    if address.is_some_and(|address| !app.guesses.may(address, now)) {
        return Err(ErrorReply::new(ErrorCode::RateLimited, "too many wrong keys; wait a minute").into());
    }
    if bool::from(given.as_bytes().ct_eq(app.secrets.api_key.expose().as_bytes())) {
        seen(parts, Actor::ApiKey);
        return Ok(Operator);
    }
    if let Some(trail) = parts.extensions.get::<Trail>() {
        trail.wrong_key();
    }
    if let Some(address) = address {
        app.guesses.count(address, now);
    }
    Err(no_key())
}

/// For the audit.
fn seen(parts: &Parts, actor: Actor) {
    if let Some(trail) = parts.extensions.get::<Trail>() {
        trail.seen(actor);
    }
}

/// Who asks for recordings: by `Authorization: Bearer` with any of these, or by `token` in the query, as a `<video>` can, with all but
/// the API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewer {
    /// Has the API key.
    Operator,
    /// Leads classes in this room.
    Staff {
        /// The room.
        room: String,
        /// May remove recordings.
        is_teacher: bool,
    },
    /// Has a link to this recording.
    Link(String),
}

impl FromRequestParts<App> for Viewer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        #[derive(serde::Deserialize)]
        struct WithToken {
            token: Option<String>,
        }
        let query = axum::extract::Query::<WithToken>::try_from_uri(&parts.uri).ok();
        let in_query = query.and_then(|query| query.0.token);
        let in_header = bearer(&parts.headers).map(str::to_owned);
        let refused =
            || Failure::unauthenticated("this needs a link's token, a teacher's token or the API key");
        let given = in_header.as_ref().or(in_query.as_ref()).ok_or_else(refused)?;
        let refuse =
            |error: token::TokenError| Failure::from(ErrorReply::new(error.code(), error.to_string()));
        let (secret, now) = (app.secrets.token_secret.expose().as_bytes(), clock::wall());
        match replay::verify(secret, given, now) {
            Ok(recording) => {
                seen(parts, Actor::Link);
                return Ok(Viewer::Link(recording));
            }
            Err(error @ token::TokenError::Expired) => return Err(refuse(error)),
            Err(_) => {}
        }
        let verified = token::verify(secret, given, now);
        if let Ok(token) = &verified {
            seen(parts, Actor::Participant(token.identity().to_owned()));
        }
        match verified {
            Ok(token) if token.role().is_staff() => {
                Ok(Viewer::Staff { room: token.room().to_owned(), is_teacher: token.role() == Role::Teacher })
            }
            Ok(_) => Err(ErrorReply::new(ErrorCode::Forbidden, "this token is for the class alone").into()),
            Err(error @ token::TokenError::Expired) => Err(refuse(error)),
            Err(_) if in_header.is_some() => check_key(app, parts, given).map(|_| Viewer::Operator),
            Err(_) => Err(refused()),
        }
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
