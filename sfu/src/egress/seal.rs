//! Seals RTP and RTCP (RFC 3711; RFC 7714 for AES-GCM) with the keys of a handshake.
//!
//! The engine seals with the same keys: its RTCP, and RTP where it sends any. A nonce of AES-GCM must never come twice under one key, and is made
//! of stream and number, so nothing may be sealed here for a stream (as sender of RTCP: also for a reporter) that the engine has.

use str0m::crypto::dtls::SrtpProfile;
use str0m::crypto::{
    AeadAes128Gcm, AeadAes128GcmCipher, AeadAes256Gcm, AeadAes256GcmCipher, Aes128CmSha1_80,
    Aes128CmSha1_80Cipher, CryptoProvider, Sha1HmacProvider,
};

use super::keys::{Agreed, Label, Master};

/// Bytes that sealing adds to RTP at most: the tag of AES-GCM.
pub const TAG: usize = AeadAes128Gcm::TAG_LEN;
/// The engine's AES-CM wants this much room after what it encrypts.
const CM_ROOM: usize = 15;
/// The header of RTCP, which stays readable.
const RTCP_HEADER: usize = 8;
/// "This packet is encrypted", before its number (RFC 3711, section 3.4).
const ENCRYPTED: u32 = 0x8000_0000;

/// How one kind of packet is sealed.
#[derive(Debug)]
enum Cipher {
    Gcm128 { cipher: Box<dyn AeadAes128GcmCipher>, salt: [u8; 12] },
    Gcm256 { cipher: Box<dyn AeadAes256GcmCipher>, salt: [u8; 12] },
    Cm { cipher: Box<dyn Aes128CmSha1_80Cipher>, key: [u8; 20], salt: [u8; 14] },
}

/// See the [module](self).
#[derive(Debug)]
pub struct Sealer {
    rtp: Cipher,
    rtcp: Cipher,
    hmac: &'static dyn Sha1HmacProvider,
    next_rtcp: u32,
}

impl Sealer {
    /// What seals with these keys; `None` for a profile that no engine of ours agrees on.
    pub fn new(agreed: &Agreed) -> Option<Self> {
        let CryptoProvider { srtp_provider: crypto, sha1_hmac_provider: hmac, .. } =
            str0m::crypto::from_feature_flags();
        let cipher = |key, authentication, salt| {
            Some(match agreed.profile {
                SrtpProfile::AEAD_AES_128_GCM => {
                    let master = Master::<16, 12>::of(agreed)?;
                    let cipher = crypto.aead_aes_128_gcm().create_cipher(master.derive(crypto, key), true);
                    Cipher::Gcm128 { cipher, salt: master.derive(crypto, salt) }
                }
                SrtpProfile::AEAD_AES_256_GCM => {
                    let master = Master::<32, 12>::of(agreed)?;
                    let cipher = crypto.aead_aes_256_gcm().create_cipher(master.derive(crypto, key), true);
                    Cipher::Gcm256 { cipher, salt: master.derive(crypto, salt) }
                }
                SrtpProfile::AES128_CM_SHA1_80 => {
                    let master = Master::<16, 14>::of(agreed)?;
                    let cipher = crypto.aes_128_cm_sha1_80().create_cipher(master.derive(crypto, key), true);
                    Cipher::Cm {
                        cipher,
                        key: master.derive(crypto, authentication),
                        salt: master.derive(crypto, salt),
                    }
                }
                _ => return None,
            })
        };
        Some(Sealer {
            rtp: cipher(Label::Rtp, Label::RtpAuthentication, Label::RtpSalt)?,
            rtcp: cipher(Label::Rtcp, Label::RtcpAuthentication, Label::RtcpSalt)?,
            hmac,
            next_rtcp: 0,
        })
    }

    /// Goes on with this number of RTCP: of two that seal with the same keys, each needs numbers of its own.
    pub fn number_rtcp_from(&mut self, number: u32) {
        self.next_rtcp = number & !ENCRYPTED;
    }

    /// Seals an RTP packet whose header has `header` bytes. `seq` is its sequence number with its rollovers. `None` if the cipher refuses, which it
    /// has no reason to.
    pub fn rtp(&mut self, ssrc: u32, seq: u64, header: usize, plain: &[u8]) -> Option<Vec<u8>> {
        let (aad, body) = plain.split_at(header);
        let rollovers = u32::try_from(seq >> 16).ok()?;
        let low = u16::try_from(seq & 0xffff).ok()?;
        let mut sealed = Vec::with_capacity(plain.len() + TAG);
        sealed.extend_from_slice(aad);
        sealed.resize(plain.len() + TAG, 0);
        match &mut self.rtp {
            Cipher::Gcm128 { cipher, salt } => {
                let nonce = AeadAes128Gcm::rtp_iv(*salt, ssrc, rollovers, low);
                cipher.encrypt(&nonce, aad, body, &mut sealed[header..]).ok()?;
            }
            Cipher::Gcm256 { cipher, salt } => {
                let nonce = AeadAes256Gcm::rtp_iv(*salt, ssrc, rollovers, low);
                cipher.encrypt(&nonce, aad, body, &mut sealed[header..]).ok()?;
            }
            Cipher::Cm { cipher, key, salt } => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, seq);
                cipher.encrypt(&iv, body, &mut sealed[header..]).ok()?;
                let hmac = self.hmac;
                let sum = |key: &[u8], parts: &[&[u8]]| hmac.sha1_hmac(key, parts);
                Aes128CmSha1_80::rtp_hmac(sum, key, &mut sealed, seq, plain.len());
                sealed.truncate(plain.len() + Aes128CmSha1_80::HMAC_TAG_LEN);
            }
        }
        Some(sealed)
    }

    /// Seals a compound RTCP packet; its first part names the sender.
    pub fn rtcp(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let (header, body) = plain.split_at_checked(RTCP_HEADER)?;
        let ssrc = u32::from_be_bytes(header[4..].try_into().ok()?);
        let number = self.next_rtcp;
        self.next_rtcp = (number + 1) & !ENCRYPTED;
        let trailer = (ENCRYPTED | number).to_be_bytes();
        let mut aad = [0; AeadAes128Gcm::RTCP_AAD_LEN];
        aad[..RTCP_HEADER].copy_from_slice(header);
        aad[RTCP_HEADER..].copy_from_slice(&trailer);
        let mut sealed = Vec::with_capacity(plain.len() + TAG + trailer.len());
        sealed.extend_from_slice(header);
        match &mut self.rtcp {
            Cipher::Gcm128 { cipher, salt } => {
                sealed.resize(plain.len() + TAG, 0);
                let nonce = AeadAes128Gcm::rtcp_iv(*salt, ssrc, number);
                cipher.encrypt(&nonce, &aad, body, &mut sealed[RTCP_HEADER..]).ok()?;
                sealed.extend_from_slice(&trailer);
            }
            Cipher::Gcm256 { cipher, salt } => {
                sealed.resize(plain.len() + TAG, 0);
                let nonce = AeadAes256Gcm::rtcp_iv(*salt, ssrc, number);
                cipher.encrypt(&nonce, &aad, body, &mut sealed[RTCP_HEADER..]).ok()?;
                sealed.extend_from_slice(&trailer);
            }
            Cipher::Cm { cipher, key, salt } => {
                sealed.resize(plain.len() + CM_ROOM, 0);
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, number.into());
                cipher.encrypt(&iv, body, &mut sealed[RTCP_HEADER..]).ok()?;
                sealed.truncate(plain.len());
                sealed.extend_from_slice(&trailer);
                let signed = sealed.len();
                sealed.resize(signed + Aes128CmSha1_80::HMAC_TAG_LEN, 0);
                let hmac = self.hmac;
                let sum = |key: &[u8], parts: &[&[u8]]| hmac.sha1_hmac(key, parts);
                Aes128CmSha1_80::rtcp_hmac(sum, key, &mut sealed, signed);
            }
        }
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: u32 = 0x0102_0304;
    /// Beyond a rollover.
    const SEQ: u64 = (3 << 16) | 7;
    const PROFILES: [(SrtpProfile, usize, usize); 3] = [
        (SrtpProfile::AEAD_AES_128_GCM, 16, 12),
        (SrtpProfile::AEAD_AES_256_GCM, 32, 12),
        (SrtpProfile::AES128_CM_SHA1_80, 16, 14),
    ];

    fn agreed(profile: SrtpProfile, key: usize, salt: usize) -> Agreed {
        let material = (0..2 * (key + salt)).map(|index| u8::try_from(index).expect("few")).collect();
        Agreed::for_test(profile, material)
    }

    /// What a receiver makes of it, by the standards: `None` if a tag is wrong.
    fn open_rtp(agreed: &Agreed, sealed: &[u8], header: usize) -> Option<Vec<u8>> {
        let crypto = str0m::crypto::from_feature_flags();
        let srtp = crypto.srtp_provider;
        let (aad, body) = sealed.split_at(header);
        let mut plain = vec![0; body.len() + CM_ROOM];
        if agreed.profile == SrtpProfile::AES128_CM_SHA1_80 {
            let master = Master::<16, 14>::of(agreed)?;
            let (signed, tag) = sealed.split_at(sealed.len() - 10);
            let key: [u8; 20] = master.derive(srtp, Label::RtpAuthentication);
            let rollovers = 3u32.to_be_bytes();
            if crypto.sha1_hmac_provider.sha1_hmac(&key, &[signed, &rollovers])[..10] != *tag {
                return None;
            }
            let iv = Aes128CmSha1_80::rtp_iv(master.derive(srtp, Label::RtpSalt), SSRC, SEQ);
            let mut cipher = srtp.aes_128_cm_sha1_80().create_cipher(master.derive(srtp, Label::Rtp), false);
            cipher.decrypt(&iv, &body[..body.len() - 10], &mut plain).ok()?;
            plain.truncate(body.len() - 10);
            return Some(plain);
        }
        let opened = if agreed.profile == SrtpProfile::AEAD_AES_128_GCM {
            let master = Master::<16, 12>::of(agreed)?;
            let nonce = AeadAes128Gcm::rtp_iv(master.derive(srtp, Label::RtpSalt), SSRC, 3, 7);
            let mut cipher = srtp.aead_aes_128_gcm().create_cipher(master.derive(srtp, Label::Rtp), false);
            cipher.decrypt(&nonce, &[aad], body, &mut plain).ok()?
        } else {
            let master = Master::<32, 12>::of(agreed)?;
            let nonce = AeadAes256Gcm::rtp_iv(master.derive(srtp, Label::RtpSalt), SSRC, 3, 7);
            let mut cipher = srtp.aead_aes_256_gcm().create_cipher(master.derive(srtp, Label::Rtp), false);
            cipher.decrypt(&nonce, &[aad], body, &mut plain).ok()?
        };
        plain.truncate(opened);
        Some(plain)
    }

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does() {
        for (profile, key, salt) in PROFILES {
            let agreed = agreed(profile, key, salt);
            let mut sealer = Sealer::new(&agreed).expect("known");
            for length in [0, 1, 15, 16, 17, 1_200] {
                let mut plain = vec![9; 12 + length];
                plain[..4].copy_from_slice(&[0x80, 96, 0, 7]);
                plain[8..12].copy_from_slice(&SSRC.to_be_bytes());
                let mut sealed = sealer.rtp(SSRC, SEQ, 12, &plain).expect("sealed");
                assert_eq!(sealed[..12], plain[..12]);
                assert_eq!(open_rtp(&agreed, &sealed, 12).as_deref(), Some(&plain[12..]), "{profile:?}");
                sealed[3] ^= 1;
                assert_eq!(open_rtp(&agreed, &sealed, 12), None, "{profile:?}: the header is signed");
            }
        }
    }

    #[test]
    fn reports_are_numbered_and_signed() {
        for (profile, key, salt) in PROFILES {
            let mut sealer = Sealer::new(&agreed(profile, key, salt)).expect("known");
            let mut plain = vec![5; 28];
            plain[..8].copy_from_slice(&[0x80, 200, 0, 6, 1, 2, 3, 4]);
            let sealed = [0, 1].map(|_| sealer.rtcp(&plain).expect("sealed"));
            let trailer = |sealed: &[u8]| {
                let end =
                    if profile == SrtpProfile::AES128_CM_SHA1_80 { sealed.len() - 10 } else { sealed.len() };
                u32::from_be_bytes(sealed[end - 4..end].try_into().expect("four"))
            };
            assert_eq!([trailer(&sealed[0]), trailer(&sealed[1])], [0x8000_0000, 0x8000_0001]);
            assert_eq!(sealed[0][..8], plain[..8]);
            assert_ne!(sealed[0][8..28], plain[8..]);
            assert_ne!(sealed[0][8..28], sealed[1][8..28], "{profile:?}: a nonce for each");
            let tag = if profile == SrtpProfile::AES128_CM_SHA1_80 { 10 } else { 16 };
            assert_eq!(sealed[0].len(), 28 + 4 + tag);
        }
        assert!(Sealer::new(&agreed(SrtpProfile::AEAD_AES_128_GCM, 32, 12)).is_none(), "not its length");
    }
}
