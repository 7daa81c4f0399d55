//! Tells which media datagrams proved to come from who they say.
//!
//! The engine drops SRTP and SRTCP with a wrong tag without a word, and most of what it takes gives no event either (reports,
//! padding, repairs of what had come). Its ciphers know: one that opens a packet has checked the packet's tag, or (with
//! AES-CM and SHA-1) is only asked after the engine has. So the engine gets ciphers that count.
//!
//! The count is of the thread, because the engine's ciphers know no peer. One thread drives a node, so the difference of two
//! readings around one call of the engine is what that call did.

use std::cell::Cell;

use str0m::config::CryptoProvider;
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

thread_local! {
    static OPENED: Cell<u64> = const { Cell::new(0) };
}

/// How many SRTP and SRTCP packets the engines of this thread have opened, since it began.
pub fn opened() -> u64 {
    OPENED.get()
}

fn count<T>(outcome: Result<T, CryptoError>) -> Result<T, CryptoError> {
    if outcome.is_ok() {
        OPENED.set(OPENED.get().wrapping_add(1));
    }
    outcome
}

/// The engine's cryptography, with ciphers that count.
pub fn counting_crypto() -> CryptoProvider {
    CryptoProvider { srtp_provider: &Counting, ..str0m::crypto::from_feature_flags() }
}

fn engine() -> &'static dyn SrtpProvider {
    str0m::crypto::from_feature_flags().srtp_provider
}

/// Makes the engine's own ciphers, each in a [`Counted`].
#[derive(Debug)]
struct Counting;

#[derive(Debug)]
struct Counted<C: ?Sized>(Box<C>);

impl SrtpProvider for Counting {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Counting
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Counting
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Counting
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        engine().srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        engine().srtp_aes_256_ecb_round(key, input, output);
    }
}

impl SupportedAes128CmSha1_80 for Counting {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(Counted(engine().aes_128_cm_sha1_80().create_cipher(key, encrypt)))
    }
}

impl SupportedAeadAes128Gcm for Counting {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Counted(engine().aead_aes_128_gcm().create_cipher(key, encrypt)))
    }
}

impl SupportedAeadAes256Gcm for Counting {
    fn create_cipher(&self, key: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Counted(engine().aead_aes_256_gcm().create_cipher(key, encrypt)))
    }
}

impl Aes128CmSha1_80Cipher for Counted<dyn Aes128CmSha1_80Cipher> {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.0.encrypt(iv, input, output)
    }

    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        count(self.0.decrypt(iv, input, output))
    }
}

impl AeadAes128GcmCipher for Counted<dyn AeadAes128GcmCipher> {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.0.encrypt(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        count(self.0.decrypt(iv, aads, input, output))
    }
}

impl AeadAes256GcmCipher for Counted<dyn AeadAes256GcmCipher> {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.0.encrypt(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        count(self.0.decrypt(iv, aads, input, output))
    }
}
