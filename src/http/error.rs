//! Errors as `{"error": {"code", "message"}}`.

use axum::Json;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use signaling::message::{ErrorCode, ErrorReply};

use super::audited::Code;
use crate::classrooms::code_name;

/// A refusal with its status.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    code: String,
    message: String,
}

impl Failure {
    /// A refusal. The codes are those of the protocol, where one fits.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Failure { status, code: code.to_owned(), message: message.into() }
    }

    /// 400
    pub fn bad_request(message: impl Into<String>) -> Self {
        ErrorReply::new(ErrorCode::BadRequest, message).into()
    }

    /// 401
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        ErrorReply::new(ErrorCode::Unauthenticated, message).into()
    }
}

impl From<ErrorReply> for Failure {
    fn from(error: ErrorReply) -> Self {
        let status = match error.code {
            ErrorCode::Unauthenticated | ErrorCode::TokenExpired => StatusCode::UNAUTHORIZED,
            ErrorCode::Forbidden | ErrorCode::RoomLocked | ErrorCode::Removed => StatusCode::FORBIDDEN,
            ErrorCode::BadRequest | ErrorCode::UnsupportedVersion => StatusCode::BAD_REQUEST,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::NotFound | ErrorCode::SessionUnknown | ErrorCode::NotJoined => StatusCode::NOT_FOUND,
            ErrorCode::OfferRefused => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::Conflict | ErrorCode::AlreadyJoined => StatusCode::CONFLICT,
            ErrorCode::RoomFull | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure { status, code: code_name(error.code), message: error.message }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": {"code": self.code, "message": self.message}}));
        let mut response = (self.status, body).into_response();
        response.extensions_mut().insert(Code(self.code));
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 6750, section 3
            headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("2"));
        }
        response
    }
}

/// The library's own refusals (a body that is too long or not text, a path that is not UTF-8) are plain text; they get the
/// shape of all others.
pub fn in_json(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_text = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !is_text || !response.status().is_client_error() {
        return response;
    }
    let error = match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ErrorReply::new(ErrorCode::TooLarge, "the body is too long"),
        _ => ErrorReply::new(ErrorCode::BadRequest, "the request cannot be read"),
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(json!({"error": error}).to_string()))
}

/// 408
pub fn timeout() -> Response {
    Failure::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long").into_response()
}

/// For paths that do not exist.
pub async fn not_found() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this address")
}

/// For methods that a path does not have.
pub async fn method_not_allowed() -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "this address does not take that method",
    )
}
