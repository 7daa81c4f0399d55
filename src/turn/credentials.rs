//! Time-limited TURN credentials. Pure: the time is an argument.
//!
//! The username is `expiry:name`, the password the base64 of HMAC-SHA1 of the username under a shared secret
//! (draft-uberti-behave-turn-rest-00, section 2.2; coturn's `use-auth-secret`). So whoever has the secret can test a credential
//! without having made it: this server's own relay, or a farm of coturn.
//!
//! The name is not the identity, which would travel in the clear and stand in coturn's log: it is a keyed digest of room and
//! identity, which tells two participants apart and nothing else.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// A username and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// `expiry:name`, the expiry in seconds since 1970.
    pub username: String,
    /// For the long-term mechanism of STUN (RFC 8489, section 9.2).
    pub password: String,
}

/// Begins the names of tests before class. The digests of participants' names have no dot.
const CHECK: &str = "check.";

/// Why a username is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is not `expiry:name`.
    Malformed,
    /// Its time is over.
    Expired,
}

/// Bytes of the digest in a name: enough that no two participants meet by accident.
const NAME_BYTES: usize = 12;

/// A credential for a participant of a room, good until `expires_secs` (since 1970).
pub fn issue(secret: &[u8], room: &str, identity: &str, expires_secs: u64) -> Credential {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    // Neither a room's name nor an identity has a NUL in it, so no two pairs are alike.
    let digest = hmac::sign(&key, format!("turn\0{room}\0{identity}").as_bytes());
    let name = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..NAME_BYTES]);
    let username = format!("{expires_secs}:{name}");
    let password = password(secret, &username);
    Credential { username, password }
}

/// A credential for a test before class, which anybody may make: the relay gives it less ([`check_ends`]).
pub fn issue_check(secret: &[u8], id: &str, expires_secs: u64) -> Credential {
    let username = format!("{expires_secs}:{CHECK}{id}");
    let password = password(secret, &username);
    Credential { username, password }
}

/// For the username of a test before class: when all that it has ends (seconds since 1970). Nothing for a participant's.
pub fn check_ends(username: &str) -> Option<u64> {
    let (expiry, name) = username.split_once(':')?;
    name.starts_with(CHECK).then(|| expiry.parse().ok())?
}

/// The password that belongs to a username.
pub fn password(secret: &[u8], username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

/// Tests the form and the time of a username. Whether it is ours, the message's integrity under [`password`] tells.
///
/// # Errors
/// When it cannot be one of ours, or no longer is.
pub fn check(username: &str, now_secs: u64) -> Result<(), Refused> {
    let (expiry, name) = username.split_once(':').ok_or(Refused::Malformed)?;
    // Digits alone: Rust would also take a plus sign, and a username must have one spelling.
    if name.is_empty() || !expiry.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refused::Malformed);
    }
    let expiry: u64 = expiry.parse().map_err(|_| Refused::Malformed)?;
    if now_secs < expiry { Ok(()) } else { Err(Refused::Expired) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector comes from `printf 1700000000:ada | openssl dgst -sha1 -hmac north -binary | base64`, which is what coturn
    /// computes.
    #[test]
    fn the_password_is_what_coturn_expects() {
        assert_eq!(password(b"north", "1700000000:ada"), "ndZ88ryT1whVxdkcRLepT9D1MpM=");
    }

    #[test]
    fn a_credential_names_nobody_and_belongs_to_one_room() {
        let one = issue(b"secret", "algebra", "ada@example.org", 1000);
        assert!(!one.username.contains("ada") && one.username.starts_with("1000:"), "{}", one.username);
        assert_eq!(one.password, password(b"secret", &one.username));
        let other_room = issue(b"secret", "physics", "ada@example.org", 1000);
        assert_ne!(one.username, other_room.username);
        let other_secret = issue(b"other", "algebra", "ada@example.org", 1000);
        assert_ne!(one.password, other_secret.password);
    }

    #[test]
    fn a_test_before_class_is_told_from_a_participant() {
        let check = issue_check(b"secret", "0f", 1000);
        assert_eq!(check.username, "1000:check.0f");
        assert_eq!(check_ends(&check.username), Some(1000));
        assert_eq!(check_ends(&issue(b"secret", "check.", "check.", 1000).username), None);
        assert_eq!(check_ends("check.0f"), None);
    }

    #[test]
    fn a_credential_ends_when_it_says() {
        assert_eq!(check("1000:ada", 999), Ok(()));
        assert_eq!(check("1000:ada", 1000), Err(Refused::Expired));
        for wrong in [
            "",
            "ada",
            ":ada",
            "1000:",
            "1000",
            "+1000:ada",
            "-1:ada",
            "1e9:ada",
            " 1000:ada",
            "99999999999999999999:a",
        ] {
            assert_eq!(check(wrong, 0), Err(Refused::Malformed), "{wrong}");
        }
    }
}
