//! Links to recordings: a JWT that lets its bearer watch one recording until it expires. It opens no room, and a room's token opens no
//! recording by being one.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::token::{TokenError, decode};

/// The audience of these tokens (`aud`, RFC 7519, section 4.1.3).
pub const AUDIENCE: &str = "lectern-replay";

#[derive(Serialize, Deserialize)]
struct Claims {
    aud: String,
    /// The recording.
    recording: String,
    /// Seconds since 1970.
    exp: u64,
}

/// Makes a token for a recording.
pub fn sign(secret: &[u8], recording: &str, expires_at_secs: u64) -> String {
    let claims = Claims { aud: AUDIENCE.into(), recording: recording.into(), exp: expires_at_secs };
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))
        .expect("claims are plain strings and numbers, and HMAC takes a secret of any length")
}

/// The recording that a token lets watch.
///
/// # Errors
/// Why it is refused.
pub fn verify(secret: &[u8], token: &str, now: Timestamp) -> Result<String, TokenError> {
    let claims: Claims = decode(secret, token, AUDIENCE)?;
    if now.as_secs() >= claims.exp { Err(TokenError::Expired) } else { Ok(claims.recording) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::Role;
    use crate::token;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: Timestamp = Timestamp(1_795_253_400_500);

    #[test]
    fn it_opens_its_recording_until_it_expires() {
        let signed = sign(SECRET, "ab-12", NOW.as_secs() + 10);
        assert_eq!(verify(SECRET, &signed, NOW), Ok("ab-12".to_owned()));
        let later = Timestamp(NOW.0 + 10_000);
        assert_eq!(verify(SECRET, &signed, later), Err(TokenError::Expired));
        let other = verify(b"another secret, as long as the first", &signed, NOW);
        assert_eq!(other, Err(TokenError::Signature));
    }

    #[test]
    fn rooms_and_recordings_have_tokens_of_their_own() {
        let signed = sign(SECRET, "ab-12", NOW.as_secs() + 10);
        assert!(token::verify(SECRET, &signed, NOW).is_err());
        let claims = token::Claims {
            room: "ab-12".into(),
            identity: "t".into(),
            name: "T".into(),
            role: Role::Teacher,
            expires_at_secs: NOW.as_secs() + 10,
            not_before_secs: None,
            preset: None,
            title: None,
            budget_megabytes: None,
        };
        let room = token::sign(SECRET, &claims).expect("good claims");
        assert!(verify(SECRET, &room, NOW).is_err());
        // Also of claims that would do for both.
        let both = Claims { aud: token::AUDIENCE.into(), recording: "ab-12".into(), exp: NOW.as_secs() + 10 };
        let both =
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &both, &EncodingKey::from_secret(SECRET))
                .expect("plain claims");
        assert_eq!(verify(SECRET, &both, NOW), Err(TokenError::Audience));
    }
}
