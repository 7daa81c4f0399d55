//! `Lectern-Signature`: what proves to a receiver that an event comes from this server, and when it was sent.

use aws_lc_rs::hmac;

/// The header.
pub const HEADER: &str = "lectern-signature";

/// Its value for a body that is sent at this second: `t=<Unix seconds>,v1=<HMAC-SHA256 of "t.body", in hexadecimal>` (RFC 2104, FIPS 180-4).
pub fn sign(secret: &hmac::Key, unix_seconds: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(secret);
    context.update(format!("{unix_seconds}.").as_bytes());
    context.update(body);
    let hex: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={unix_seconds},v1={hex}")
}

/// The key of a secret.
pub fn key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `printf '%s' '1795253400.{"a":1}' | openssl dgst -sha256 -hmac secret-of-at-least-thirty-two-by`.
    #[test]
    fn is_what_openssl_says() {
        let secret = key(b"secret-of-at-least-thirty-two-by");
        assert_eq!(
            sign(&secret, 1_795_253_400, br#"{"a":1}"#),
            "t=1795253400,v1=30b3ba2155355664168fdd934b8df8b4c619b74e1ab407e3a39e3313f3580bb0"
        );
    }
}
