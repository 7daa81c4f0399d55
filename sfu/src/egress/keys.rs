//! The keys that a DTLS handshake agrees on, taken where the engine takes them, and what SRTP makes of them.
//!
//! The engine keeps the keys to itself. But its cryptography is given to it, so the DTLS among that can be one that tells:
//! [`listening`] is the engine's own with an ear on its outcome. It leaves the keys with the thread, because the provider knows no peer;
//! one thread drives a node, and who drives a peer takes them right after ([`take`]).

use std::cell::RefCell;
use std::time::Instant;

use str0m::config::CryptoProvider;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
    SrtpProfile,
};
use str0m::crypto::{CryptoError, SrtpProvider};

thread_local! {
    static AGREED: RefCell<Option<Agreed>> = const { RefCell::new(None) };
}

/// What a handshake has agreed on.
pub struct Agreed {
    /// How packets are sealed.
    pub profile: SrtpProfile,
    /// Keying material (RFC 5764, section 4.2): keys of client and server, then their salts.
    material: Vec<u8>,
    /// This side was the DTLS client.
    is_client: bool,
}

impl std::fmt::Debug for Agreed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the keys.
        f.debug_struct("Agreed").field("profile", &self.profile).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Agreed {
    /// As the server of a handshake.
    pub fn for_test(profile: SrtpProfile, material: Vec<u8>) -> Self {
        Agreed { profile, material, is_client: false }
    }
}

/// What the last handshake of this thread has agreed on, once.
pub fn take() -> Option<Agreed> {
    AGREED.take()
}

/// The same cryptography with a DTLS that tells what it agrees on.
pub fn listening(engine: CryptoProvider) -> CryptoProvider {
    CryptoProvider { dtls_provider: &Listening, ..engine }
}

fn engine() -> &'static dyn DtlsProvider {
    str0m::crypto::from_feature_flags().dtls_provider
}

#[derive(Debug)]
struct Listening;

impl DtlsProvider for Listening {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        engine().generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        Ok(Box::new(Overheard(engine().new_dtls(cert, now, version, mtu)?)))
    }
}

#[derive(Debug)]
struct Overheard(Box<dyn DtlsInstance>);

impl DtlsInstance for Overheard {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let is_client = self.0.is_active();
        let output = self.0.poll_output(buf);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            let agreed = Agreed { profile: *profile, material: material.to_vec(), is_client };
            AGREED.set(Some(agreed));
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}

/// What a session key is for (RFC 3711, section 4.3.1).
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub enum Label {
    /// Encrypts RTP.
    Rtp = 0,
    /// Authenticates RTP.
    RtpAuthentication = 1,
    /// Salts the nonces of RTP.
    RtpSalt = 2,
    /// Encrypts RTCP.
    Rtcp = 3,
    /// Authenticates RTCP.
    RtcpAuthentication = 4,
    /// Salts the nonces of RTCP.
    RtcpSalt = 5,
}

/// The master key with which this side seals, and its salt.
pub struct Master<const KEY: usize, const SALT: usize> {
    key: [u8; KEY],
    salt: [u8; SALT],
}

impl<const KEY: usize, const SALT: usize> Master<KEY, SALT> {
    /// This side's half of what was agreed on; `None` if that has another length.
    pub fn of(agreed: &Agreed) -> Option<Self> {
        if agreed.material.len() != 2 * (KEY + SALT) {
            return None;
        }
        let (keys, salts) = agreed.material.split_at(2 * KEY);
        let half = usize::from(!agreed.is_client);
        Some(Master {
            key: keys[half * KEY..][..KEY].try_into().ok()?,
            salt: salts[half * SALT..][..SALT].try_into().ok()?,
        })
    }

    /// A session key of `N` bytes (RFC 3711, section 4.3; RFC 7714, section 11: a salt of 12 bytes is filled with zeros).
    pub fn derive<const N: usize>(&self, crypto: &dyn SrtpProvider, label: Label) -> [u8; N] {
        let mut input = [0; 16];
        input[..SALT].copy_from_slice(&self.salt);
        input[7] ^= label as u8;
        let mut key = [0; N];
        for (round, part) in (0u16..).zip(key.chunks_mut(16)) {
            input[14..].copy_from_slice(&round.to_be_bytes());
            // Some ciphers want room for a second block.
            let mut block = [0; 32];
            if KEY == 32 {
                crypto.srtp_aes_256_ecb_round(&self.key, &input, &mut block);
            } else {
                crypto.srtp_aes_128_ecb_round(&self.key, &input, &mut block);
            }
            part.copy_from_slice(&block[..part.len()]);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let mut bytes = [0; N];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let text = std::str::from_utf8(pair).expect("digits");
            *byte = u8::from_str_radix(text, 16).expect("hex");
        }
        bytes
    }

    /// RFC 3711, appendix B.3.
    #[test]
    fn keys_are_those_of_the_standard() {
        let master = Master::<16, 14> {
            key: bytes("E1F97A0D3E018BE0D64FA32C06DE4139"),
            salt: bytes("0EC675AD498AFEEBB6960B3AABE6"),
        };
        let crypto = str0m::crypto::from_feature_flags().srtp_provider;
        assert_eq!(master.derive::<16>(crypto, Label::Rtp), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(master.derive::<14>(crypto, Label::RtpSalt), bytes("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            master.derive::<20>(crypto, Label::RtpAuthentication),
            bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }

    #[test]
    fn each_side_takes_its_half() {
        let material: Vec<u8> =
            [[1; 16], [2; 16]].concat().into_iter().chain([[3; 12], [4; 12]].concat()).collect();
        let agreed = |is_client| Agreed {
            profile: SrtpProfile::AEAD_AES_128_GCM,
            material: material.clone(),
            is_client,
        };
        let client = Master::<16, 12>::of(&agreed(true)).expect("right length");
        let server = Master::<16, 12>::of(&agreed(false)).expect("right length");
        assert_eq!((client.key, client.salt), ([1; 16], [3; 12]));
        assert_eq!((server.key, server.salt), ([2; 16], [4; 12]));
        assert!(Master::<32, 12>::of(&agreed(true)).is_none());
    }
}
