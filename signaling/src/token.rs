//! Tokens: who may enter which room, as whom. A JWT (RFC 7519), HS256 only; see `docs/protocol.md`, Token.
//!
//! Time is an argument: `exp` and `nbf` are tested here, against the time that is given and without leeway, because
//! one server both signs and verifies; the library's own clock is not used.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};

use crate::lesson::{Preset, RoomSettings};
use crate::message::ErrorCode;
use crate::permission::Role;
use crate::time::Timestamp;

/// The audience of every token (`aud`, RFC 7519, section 4.1.3).
pub const AUDIENCE: &str = "lectern";
/// Least length of the secret, in bytes: as long as the hash (RFC 7518, section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// Longest token that is looked at, in bytes. The longest possible claims, escaped and in base64, have about 6 KiB.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest room name, in bytes.
pub const ROOM_BYTES_MAX: usize = 64;
/// Longest identity, in bytes.
pub const IDENTITY_BYTES_MAX: usize = 128;
/// Longest shown name, in bytes (HARDENING, default limits).
pub const NAME_BYTES_MAX: usize = 128;
/// Longest title of a lesson, in bytes.
pub const TITLE_BYTES_MAX: usize = 256;
/// Largest budget of a participant for a lesson, in MB: above what any lesson takes, and its bytes fit into 64 bits.
pub const BUDGET_MEGABYTES_MAX: u32 = 100_000;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The room: 1 to 64 of `A-Za-z0-9_-`.
    pub room: String,
    /// Unique in the room: 1 to 128 bytes without control characters.
    pub identity: String,
    /// Shown to others: at most 128 bytes without control characters.
    pub name: String,
    /// What the participant is in the class.
    pub role: Role,
    /// From this second since 1970 on the token is no longer valid (`exp`).
    #[serde(rename = "exp")]
    pub expires_at_secs: u64,
    /// Before this second since 1970 the token is not valid yet (`nbf`).
    #[serde(rename = "nbf", default, skip_serializing_if = "Option::is_none")]
    pub not_before_secs: Option<u64>,
    /// The kind of class, when this token opens the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The title of the lesson, when this token opens the room: at most 256 bytes without control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the participant may use in the lesson, in MB (10^6 bytes, both directions): 1 to [`BUDGET_MEGABYTES_MAX`].
    #[serde(rename = "budgetMegabytes", default, skip_serializing_if = "Option::is_none")]
    pub budget_megabytes: Option<u32>,
}

/// Claims that were signed by this server, for its audience, and in time: only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    claims: Claims,
}

/// Why a token is refused, or cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is too long")]
    TooLong,
    /// Not a JWT, or a claim is missing, of the wrong type, or unknown as a value.
    #[error("the token is malformed")]
    Malformed,
    /// Not HS256.
    #[error("the token is not signed with HS256")]
    Algorithm,
    /// Signed with another secret, or altered.
    #[error("the signature of the token is wrong")]
    Signature,
    /// For another audience than [`AUDIENCE`].
    #[error("the token is for another audience")]
    Audience,
    /// For another room.
    #[error("the token is for another room")]
    Room,
    /// Its time is over.
    #[error("the token's time is over")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet")]
    NotYet,
    /// A claim is out of its limits.
    #[error("the {0} in the token is too long, empty, out of range, or has characters that it may not have")]
    Claim(&'static str),
}

impl TokenError {
    /// What a client is told: no more than that its token is too old, or that it is none.
    pub fn code(self) -> ErrorCode {
        match self {
            TokenError::Expired => ErrorCode::TokenExpired,
            _ => ErrorCode::Unauthenticated,
        }
    }
}

/// The claims with their audience, as they stand in the token.
#[derive(Serialize)]
struct Signed<'a> {
    aud: &'static str,
    #[serde(flatten)]
    claims: &'a Claims,
}

/// Makes a token. The secret should have [`SECRET_BYTES_MIN`] random bytes or more.
///
/// # Errors
/// [`TokenError::Claim`] for claims that [`verify`] would refuse.
pub fn sign(secret: &[u8], claims: &Claims) -> Result<String, TokenError> {
    check(claims)?;
    let signed = Signed { aud: AUDIENCE, claims };
    let key = EncodingKey::from_secret(secret);
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &signed, &key)
        .expect("claims are plain strings and numbers, and HMAC takes a secret of any length"))
}

/// Tests a token against the secret and the time.
///
/// # Errors
/// Why it is refused; [`TokenError::code`] is what the client is told.
pub fn verify(secret: &[u8], token: &str, now: Timestamp) -> Result<VerifiedToken, TokenError> {
    let claims: Claims = decode(secret, token, AUDIENCE)?;
    check(&claims)?;
    let now_secs = now.as_secs();
    if now_secs >= claims.expires_at_secs {
        return Err(TokenError::Expired);
    }
    if claims.not_before_secs.is_some_and(|begin| now_secs < begin) {
        return Err(TokenError::NotYet);
    }
    Ok(VerifiedToken { claims })
}

/// What this server has signed for an audience; times and limits are the caller's to test.
pub(crate) fn decode<C: serde::de::DeserializeOwned>(
    secret: &[u8],
    token: &str,
    audience: &str,
) -> Result<C, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLong);
    }
    let mut validation = Validation::new(Algorithm::HS256);
    // The types of `exp` and `nbf` are held by the claims, their values are tested against the given time: the
    // library would read the clock, and takes `exp` as a string for no `exp` (CVE-2026-25537, fixed in 10.3).
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.set_required_spec_claims(&["exp", "aud"]);
    validation.set_audience(&[audience]);
    let token = jsonwebtoken::decode::<C>(token, &DecodingKey::from_secret(secret), &validation).map_err(
        |error| match error.kind() {
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::Algorithm,
            ErrorKind::InvalidAudience => TokenError::Audience,
            _ => TokenError::Malformed,
        },
    )?;
    // An extension that is marked as critical and not understood (RFC 7515, section 4.1.11); none is understood here.
    if token.header.crit.is_some() {
        return Err(TokenError::Malformed);
    }
    Ok(token.claims)
}

/// The limits of each claim.
fn check(claims: &Claims) -> Result<(), TokenError> {
    if !is_room_name(&claims.room) {
        return Err(TokenError::Claim("room"));
    }
    if claims.identity.is_empty() || !is_plain(&claims.identity, IDENTITY_BYTES_MAX) {
        return Err(TokenError::Claim("identity"));
    }
    if !is_plain(&claims.name, NAME_BYTES_MAX) {
        return Err(TokenError::Claim("name"));
    }
    if claims.title.as_ref().is_some_and(|title| !is_plain(title, TITLE_BYTES_MAX)) {
        return Err(TokenError::Claim("title"));
    }
    if claims.budget_megabytes.is_some_and(|budget| !is_budget(budget)) {
        return Err(TokenError::Claim("budgetMegabytes"));
    }
    Ok(())
}

/// Whether this may be a budget, in MB.
pub(crate) fn is_budget(megabytes: u32) -> bool {
    (1..=BUDGET_MEGABYTES_MAX).contains(&megabytes)
}

/// Whether a text is short enough and on one line.
pub(crate) fn is_plain(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && !text.chars().any(char::is_control)
}

/// Whether this may be the name of a room: 1 to 64 of `A-Za-z0-9_-`.
pub fn is_room_name(name: &str) -> bool {
    (1..=ROOM_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

impl VerifiedToken {
    /// The room that it opens.
    pub fn room(&self) -> &str {
        &self.claims.room
    }

    /// Tests that it is for this room.
    ///
    /// # Errors
    /// [`TokenError::Room`] if it is not.
    pub fn check_room(&self, room: &str) -> Result<(), TokenError> {
        if self.claims.room == room { Ok(()) } else { Err(TokenError::Room) }
    }

    /// Who.
    pub fn identity(&self) -> &str {
        &self.claims.identity
    }

    /// The name to show.
    pub fn name(&self) -> &str {
        &self.claims.name
    }

    /// The role to begin with.
    pub fn role(&self) -> Role {
        self.claims.role
    }

    /// From then on it is no longer valid.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp(self.claims.expires_at_secs.saturating_mul(1000))
    }

    /// What the participant may use in a lesson, in MB.
    pub fn budget_megabytes(&self) -> Option<u32> {
        self.claims.budget_megabytes
    }

    /// The settings of a room that this token opens.
    pub fn room_settings(&self) -> RoomSettings {
        let title = self.claims.title.clone().unwrap_or_default();
        RoomSettings::from_preset(self.claims.preset.unwrap_or_default(), title)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: Timestamp = Timestamp(1_795_253_400_500);

    fn claims() -> Claims {
        Claims {
            room: "algebra-1".into(),
            identity: "s-1".into(),
            name: "Ada".into(),
            role: Role::Student,
            expires_at_secs: NOW.as_secs() + 60,
            not_before_secs: None,
            preset: Some(Preset::Lecture),
            title: Some("Algebra 二".into()),
            budget_megabytes: Some(500),
        }
    }

    /// Signs any header and payload, as an attacker who knows the secret (or another server) could.
    fn forge(header: &Value, payload: &Value) -> String {
        let part = |value: &Value| base64url(value.to_string().as_bytes());
        let message = format!("{}.{}", part(header), part(payload));
        let key = EncodingKey::from_secret(SECRET);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    fn base64url(bytes: &[u8]) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let word = chunk.iter().fold(0usize, |word, byte| word << 8 | usize::from(*byte))
                << (8 * (3 - chunk.len()));
            for place in 0..=chunk.len() {
                text.push(char::from(ALPHABET[word >> (18 - 6 * place) & 63]));
            }
        }
        text
    }

    fn payload() -> Value {
        json!({ "aud": "lectern", "room": "r", "identity": "i", "name": "n", "role": "teacher",
            "exp": NOW.as_secs() + 60 })
    }

    fn hs256() -> Value {
        json!({ "alg": "HS256", "typ": "JWT" })
    }

    #[test]
    fn a_signed_token_verifies() {
        let token = sign(SECRET, &claims()).unwrap();
        let verified = verify(SECRET, &token, NOW).unwrap();
        assert_eq!(verified.claims, claims());
        assert_eq!(verified.check_room("algebra-1"), Ok(()));
        assert_eq!(verified.check_room("algebra-2"), Err(TokenError::Room));
        assert_eq!(verified.room_settings().max_participants, 500);
        assert_eq!(verify(SECRET, &forge(&hs256(), &payload()), NOW).unwrap().role(), Role::Teacher);
    }

    #[test]
    fn another_secret_or_an_altered_token_is_refused() {
        let token = sign(SECRET, &claims()).unwrap();
        assert_eq!(verify(b"another secret, of good length!!", &token, NOW), Err(TokenError::Signature));
        let student = forge(&hs256(), &payload());
        let (message, signature) = student.rsplit_once('.').unwrap();
        let header = message.split_once('.').unwrap().0;
        let mut raised = payload();
        raised["identity"] = "victim".into();
        let altered = format!("{header}.{}.{signature}", base64url(raised.to_string().as_bytes()));
        assert_eq!(verify(SECRET, &altered, NOW), Err(TokenError::Signature));
    }

    /// HARDENING 26.
    #[test]
    fn no_algorithm_but_hs256() {
        for alg in ["none", "None", "NONE", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", ""] {
            let header = json!({ "alg": alg, "typ": "JWT" });
            let token = forge(&header, &payload());
            assert!(verify(SECRET, &token, NOW).is_err(), "{alg}");
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            assert!(verify(SECRET, &unsigned, NOW).is_err(), "{alg} without a signature");
        }
        assert!(verify(SECRET, &forge(&json!({ "typ": "JWT" }), &payload()), NOW).is_err());
        let critical = json!({ "alg": "HS256", "crit": ["b64"], "b64": true });
        assert_eq!(verify(SECRET, &forge(&critical, &payload()), NOW), Err(TokenError::Malformed));
    }

    /// HARDENING 26: CVE-2026-25537 among them.
    #[test]
    fn claims_of_the_wrong_type_or_missing_are_refused() {
        for (claim, value) in [
            ("exp", json!((NOW.as_secs() + 60).to_string())),
            ("exp", json!("9999999999")),
            ("exp", json!(null)),
            ("exp", json!(-1)),
            ("exp", json!([NOW.as_secs() + 60])),
            ("exp", json!({})),
            ("exp", json!(1e300)),
            ("exp", Value::Null),
            ("nbf", json!("0")),
            ("nbf", json!("soon")),
            ("aud", Value::Null),
            ("aud", json!(7)),
            ("aud", json!("lectern2")),
            ("aud", json!(["other"])),
            ("aud", json!([])),
            ("room", json!({ "$ne": null })),
            ("identity", Value::Null),
            ("name", json!(["n"])),
            ("role", json!("admin")),
            ("role", json!("Teacher")),
            ("preset", json!("party")),
            ("budgetMegabytes", json!("500")),
            ("budgetMegabytes", json!(-1)),
            ("budgetMegabytes", json!(0.5)),
            ("budgetMegabytes", json!(4_294_967_296_u64)),
        ] {
            let mut payload = payload();
            payload[claim] = value.clone();
            assert!(verify(SECRET, &forge(&hs256(), &payload), NOW).is_err(), "{claim}: {value}");
        }
        for claim in ["exp", "aud", "room", "identity", "name", "role"] {
            let mut payload = payload();
            payload.as_object_mut().unwrap().remove(claim);
            assert!(verify(SECRET, &forge(&hs256(), &payload), NOW).is_err(), "without {claim}");
        }
    }

    #[test]
    fn time_is_the_given_time_without_leeway() {
        let mut claims = claims();
        claims.not_before_secs = Some(NOW.as_secs());
        let token = sign(SECRET, &claims).unwrap();
        let at = |secs: u64| verify(SECRET, &token, Timestamp(secs * 1000)).err();
        assert_eq!(at(NOW.as_secs() - 1), Some(TokenError::NotYet));
        assert_eq!(at(NOW.as_secs()), None);
        assert_eq!(at(NOW.as_secs() + 59), None);
        assert_eq!(at(NOW.as_secs() + 60), Some(TokenError::Expired));
        assert_eq!(TokenError::Expired.code(), ErrorCode::TokenExpired);
        assert_eq!(TokenError::NotYet.code(), ErrorCode::Unauthenticated);
    }

    #[test]
    fn limits_hold_when_signing_and_when_verifying() {
        for (claim, value) in [
            ("room", String::new()),
            ("room", "r".repeat(65)),
            ("room", "a/b".into()),
            ("room", "ü".into()),
            ("identity", String::new()),
            ("identity", "i".repeat(129)),
            ("identity", "a\u{0}b".into()),
            ("name", "n".repeat(129)),
            ("name", "a\nb".into()),
            ("title", "t".repeat(257)),
        ] {
            let mut bad = claims();
            match claim {
                "room" => bad.room = value.clone(),
                "identity" => bad.identity = value.clone(),
                "name" => bad.name = value.clone(),
                _ => bad.title = Some(value.clone()),
            }
            assert_eq!(sign(SECRET, &bad), Err(TokenError::Claim(claim)), "{value}");
            let mut payload = payload();
            payload[claim] = value.into();
            assert_eq!(verify(SECRET, &forge(&hs256(), &payload), NOW), Err(TokenError::Claim(claim)));
        }
        for budget in [0, BUDGET_MEGABYTES_MAX + 1] {
            let bad = Claims { budget_megabytes: Some(budget), ..claims() };
            assert_eq!(sign(SECRET, &bad), Err(TokenError::Claim("budgetMegabytes")));
            let mut payload = payload();
            payload["budgetMegabytes"] = budget.into();
            let refused = verify(SECRET, &forge(&hs256(), &payload), NOW);
            assert_eq!(refused, Err(TokenError::Claim("budgetMegabytes")));
        }
        let mut longest = claims();
        longest.budget_megabytes = Some(BUDGET_MEGABYTES_MAX);
        longest.room = "r".repeat(64);
        longest.identity = "\"".repeat(128);
        longest.name = "\"".repeat(128);
        longest.title = Some("\"".repeat(256));
        let token = sign(SECRET, &longest).unwrap();
        assert!(verify(SECRET, &token, NOW).is_ok());
        assert_eq!(verify(SECRET, &"a".repeat(TOKEN_BYTES_MAX + 1), NOW), Err(TokenError::TooLong));
        for text in ["", ".", "..", "...", "a.b.c", "\u{0}", "é.é.é"] {
            assert!(verify(SECRET, text, NOW).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_refused_and_does_no_harm(text in "\\PC{0,200}") {
            proptest::prop_assert!(verify(SECRET, &text, NOW).is_err());
        }

        #[test]
        fn any_changed_byte_is_refused(place in 0usize..200, byte in 0u8..128) {
            let token = sign(SECRET, &claims()).unwrap();
            let mut bytes = token.clone().into_bytes();
            let place = place % bytes.len();
            proptest::prop_assume!(bytes[place] != byte);
            bytes[place] = byte;
            let altered = String::from_utf8(bytes).unwrap();
            proptest::prop_assert!(verify(SECRET, &altered, NOW).is_err());
        }
    }
}
