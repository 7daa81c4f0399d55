//! TLS of the HTTP port: certificates from files, which are read again when they change, from an authority (`acme.rs`), or one that
//! signs itself for a network without a public name.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

use crate::acme::{self, Acme, AcmeError, Shown};
use crate::clock;
use crate::config::Settings;
use crate::secrets;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// Life of a certificate that signs itself: the longest that all systems take.
const LIFE: Duration = Duration::from_secs(397 * 24 * 3600);
/// So long before its end it is made anew.
const RENEWAL: Duration = Duration::from_secs(30 * 24 * 3600);
/// What clients may ask for: pages, and the relay (RFC 7443), which its first bytes tell from pages.
const PROTOCOLS: [&[u8]; 2] = [b"http/1.1", b"stun.turn"];

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Half of a pair.
    #[error("tls_cert and tls_key belong together: set both or neither")]
    Half,
    /// Two ways at once.
    #[error("{0}: {1} is set too; choose one")]
    Both(&'static str, &'static str),
    /// A file cannot be read, or holds something else.
    #[error("{key}: {}: {reason}", .path.display())]
    File {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key does not belong to the certificate, or is of a kind that is not known.
    #[error("tls_key: {0}")]
    Key(rustls::Error),
    /// No certificate could be made.
    #[error("tls_self_signed: {0}")]
    Make(String),
    /// No authority can be asked.
    #[error(transparent)]
    Acme(#[from] AcmeError),
}

/// What speaks TLS.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    source: Source,
    is_self_signed: bool,
}

/// Where the certificate comes from.
#[derive(Clone)]
enum Source {
    Files(Arc<Certificate>),
    Authority(Box<Acme>),
}

impl Tls {
    /// Whether the settings want it.
    pub fn is_wanted(settings: &Settings) -> bool {
        settings.tls_cert.is_some() || settings.tls_self_signed || !settings.acme_domains.is_empty()
    }

    /// As the settings want it; nothing when they want none. `ips` are the addresses at which clients come.
    ///
    /// # Errors
    /// When what they want cannot be had.
    pub fn load(settings: &Settings, ips: &[IpAddr]) -> Result<Option<Self>, TlsError> {
        if !settings.acme_domains.is_empty() {
            let others = [
                ("tls_cert", settings.tls_cert.is_some()),
                ("tls_key", settings.tls_key.is_some()),
                ("tls_self_signed", settings.tls_self_signed),
            ];
            return match others.into_iter().find(|(_, is_set)| *is_set) {
                Some((key, _)) => Err(TlsError::Both("acme_domains", key)),
                None => Self::from_authority(settings).map(Some),
            };
        }
        let (files, is_self_signed) = match (&settings.tls_cert, &settings.tls_key) {
            (Some(_), Some(_)) if settings.tls_self_signed => {
                return Err(TlsError::Both("tls_self_signed", "tls_cert"));
            }
            (Some(cert), Some(key)) => (Files { cert: cert.clone(), key: key.clone() }, false),
            (None, None) if settings.tls_self_signed => (self_signed(&settings.data_dir, ips)?, true),
            (None, None) => return Ok(None),
            _ => return Err(TlsError::Half),
        };
        let provider = Arc::new(default_provider());
        let seen = files.changed();
        let key = files.read(&provider)?;
        let certificate = Arc::new(Certificate {
            current: RwLock::new(Arc::new(key)),
            files,
            provider: provider.clone(),
            seen,
        });
        let acceptor = acceptor(provider, certificate.clone(), &[])?;
        Ok(Some(Tls { acceptor, source: Source::Files(certificate), is_self_signed }))
    }

    fn from_authority(settings: &Settings) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let acme = Acme::new(settings, provider.clone())?;
        let certificate = Arc::new(FromAuthority(acme.shown()));
        // Last, so that nobody else comes to speak it.
        let acceptor = acceptor(provider, certificate, &[acme::PROTOCOL])?;
        Ok(Tls { acceptor, source: Source::Authority(Box::new(acme)), is_self_signed: false })
    }

    /// Does the handshakes.
    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Whether nobody but itself vouches for the certificate: browsers ask their users about it, once.
    pub fn is_self_signed(&self) -> bool {
        self.is_self_signed
    }

    /// The certificate, without those who vouch for it. Nothing while an authority has not given one.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        let key = match &self.source {
            Source::Files(certificate) => Some(certificate.current()),
            Source::Authority(acme) => acme.shown().certificate(),
        };
        key?.cert.first().cloned()
    }

    /// SHA-256 of the certificate, as browsers show it: `AB:CD:…`.
    pub fn fingerprint(&self) -> String {
        let certificate = self.certificate();
        let digest = digest(&SHA256, certificate.as_deref().unwrap_or_default());
        let bytes: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }

    /// Keeps the certificate good, for ever: reads the files again whenever they change (a pair that cannot be used leaves the old
    /// one), or has the authority renew it.
    pub async fn keep_good(self) {
        match self.source {
            Source::Files(certificate) => {
                let mut seen = certificate.seen;
                loop {
                    tokio::time::sleep(LOOK).await;
                    certificate.look(&mut seen);
                }
            }
            Source::Authority(acme) => acme.run().await,
        }
    }
}

/// `others` are spoken besides what all speak.
fn acceptor(
    provider: Arc<CryptoProvider>,
    certificate: Arc<dyn ResolvesServerCert>,
    others: &[&[u8]],
) -> Result<TlsAcceptor, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Key)?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = PROTOCOLS.iter().chain(others).map(|protocol| protocol.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What is shown to clients.
#[derive(Debug)]
struct Certificate {
    current: RwLock<Arc<CertifiedKey>>,
    files: Files,
    provider: Arc<CryptoProvider>,
    /// When the files had changed last when they were read first.
    seen: Changed,
}

impl Certificate {
    /// Reads the files if they have changed since `seen`.
    fn look(&self, seen: &mut Changed) {
        let now = self.files.changed();
        if now == *seen {
            return;
        }
        match self.files.read(&self.provider) {
            Ok(key) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!("the certificate has been read again");
                *seen = now;
            }
            // Perhaps half of it is written; it is looked at again.
            Err(error) => tracing::warn!(%error, "the changed certificate is not used"),
        }
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// What is shown to clients, and to the authority.
#[derive(Debug)]
struct FromAuthority(Arc<Shown>);

impl ResolvesServerCert for FromAuthority {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // The authority offers this and nothing else (RFC 8737, section 3).
        let asks = hello.alpn().is_some_and(|mut offered| offered.all(|protocol| protocol == acme::PROTOCOL));
        match hello.server_name() {
            Some(name) if asks => self.0.answer(name),
            _ => self.0.certificate(),
        }
    }
}

/// When certificate and key have changed.
type Changed = [Option<SystemTime>; 2];

/// PEM files of a chain and its key.
#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn changed(&self) -> Changed {
        [&self.cert, &self.key]
            .map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
    }

    fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let wrong = |key, path: &Path, reason: String| TlsError::File { key, path: path.to_owned(), reason };
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_file_iter(&self.cert).and_then(Iterator::collect);
        let chain = chain.map_err(|error| wrong("tls_cert", &self.cert, error.to_string()))?;
        if chain.is_empty() {
            return Err(wrong("tls_cert", &self.cert, "no certificate in PEM is in it".into()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| wrong("tls_key", &self.key, error.to_string()))?;
        // Also tests that the two belong together.
        CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Key)
    }
}

/// What is known of a certificate that was made here.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Made {
    names: Vec<String>,
    expires_at_secs: u64,
}

/// The certificate that signs itself: the one in the data folder as long as it is good for these addresses, so that who has once
/// accepted it is not asked again.
fn self_signed(folder: &Path, ips: &[IpAddr]) -> Result<Files, TlsError> {
    let failed = |error: &dyn std::fmt::Display| TlsError::Make(error.to_string());
    let files = Files { cert: folder.join("tls-self-signed.crt"), key: folder.join("tls-self-signed.key") };
    let note = folder.join("tls-self-signed.json");
    let mut names: Vec<String> =
        std::iter::once("localhost".to_owned()).chain(ips.iter().map(IpAddr::to_string)).collect();
    names.sort_unstable();
    let now = clock::wall().as_secs();
    let known: Option<Made> = std::fs::read(&note).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let is_good = |made: &Made| made.names == names && made.expires_at_secs > now + RENEWAL.as_secs();
    if known.is_some_and(|made| is_good(&made)) && files.changed().iter().all(Option::is_some) {
        return Ok(files);
    }
    let key = rcgen::KeyPair::generate().map_err(|error| failed(&error))?;
    let mut params = rcgen::CertificateParams::new(names.clone()).map_err(|error| failed(&error))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Lectern");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let begin = SystemTime::now();
    // Clocks of others may be behind.
    params.not_before = (begin - Duration::from_secs(24 * 3600)).into();
    params.not_after = (begin + LIFE).into();
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    let write = |path: &Path, text: &str| secrets::write_private(path, text.as_bytes());
    let made = Made { names, expires_at_secs: now + LIFE.as_secs() };
    let written = write(&files.key, &key.serialize_pem())
        .and_then(|()| write(&files.cert, &certificate.pem()))
        .and_then(|()| serde_json::to_vec(&made).map_err(io::Error::from))
        // Last: it says that the others are whole.
        .and_then(|note_text| secrets::write_private(&note, &note_text));
    written.map_err(|error| failed(&error))?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path) -> Settings {
        Settings { data_dir: folder.to_owned(), tls_self_signed: true, ..Settings::default() }
    }

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split(' ').map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn a_certificate_that_signs_itself_stays_the_same_while_the_addresses_do() {
        let folder = tempfile::tempdir().unwrap();
        let load = |list: &str| Tls::load(&settings(folder.path()), &ips(list)).unwrap().unwrap();
        let first = load("192.0.2.1 ::1");
        assert!(first.is_self_signed());
        assert_eq!(first.fingerprint().len(), 32 * 3 - 1);
        assert_eq!(load("::1 192.0.2.1").fingerprint(), first.fingerprint());
        let other = load("192.0.2.2").fingerprint();
        assert_ne!(other, first.fingerprint());
        std::fs::remove_file(folder.path().join("tls-self-signed.key")).unwrap();
        assert_ne!(load("192.0.2.2").fingerprint(), other, "a lost key is made anew, with its certificate");
        use std::os::unix::fs::PermissionsExt;
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("tls-self-signed.key") & 0o777, 0o600);
    }

    #[test]
    fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::load(&settings(folder.path()), &ips("192.0.2.1")).unwrap().unwrap();
        let Source::Files(certificate) = &tls.source else { panic!("it is from files") };
        let (files, first) = (&certificate.files, tls.fingerprint());
        let mut seen = certificate.seen;
        certificate.look(&mut seen);
        assert_eq!(tls.fingerprint(), first);
        // A renewal writes one file after the other.
        let other = tempfile::tempdir().unwrap();
        let renewed = self_signed(other.path(), &ips("192.0.2.1")).unwrap();
        std::fs::copy(&renewed.cert, &files.cert).unwrap();
        certificate.look(&mut seen);
        assert_eq!(tls.fingerprint(), first, "not without its key");
        std::fs::copy(&renewed.key, &files.key).unwrap();
        certificate.look(&mut seen);
        assert_ne!(tls.fingerprint(), first);
        std::fs::remove_file(&files.cert).unwrap();
        let renewed = tls.fingerprint();
        certificate.look(&mut seen);
        assert_eq!(tls.fingerprint(), renewed);
    }

    #[test]
    fn files_that_do_not_fit_are_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let made = self_signed(folder.path(), &ips("192.0.2.1")).unwrap();
        let with = |cert: &Path, key: &Path| {
            let settings = Settings {
                tls_cert: Some(cert.to_owned()),
                tls_key: Some(key.to_owned()),
                data_dir: folder.path().to_owned(),
                ..Settings::default()
            };
            Tls::load(&settings, &[]).map(|tls| tls.is_some()).map_err(|error| error.to_string())
        };
        assert_eq!(with(&made.cert, &made.key), Ok(true));
        let missing = folder.path().join("missing.pem");
        assert!(with(&missing, &made.key).unwrap_err().starts_with("tls_cert: "));
        assert!(with(&made.cert, &missing).unwrap_err().starts_with("tls_key: "));
        assert!(with(&made.key, &made.key).unwrap_err().contains("no certificate in PEM"));
        let other = tempfile::tempdir().unwrap();
        let other = self_signed(other.path(), &[]).unwrap();
        assert!(with(&made.cert, &other.key).unwrap_err().starts_with("tls_key: "), "not of one pair");
        let half = Settings { tls_cert: Some(made.cert.clone()), ..Settings::default() };
        assert!(matches!(Tls::load(&half, &[]), Err(TlsError::Half)));
        let both = Settings { tls_cert: Some(made.cert), tls_key: Some(made.key), ..settings(folder.path()) };
        let both = Tls::load(&both, &[]).err().unwrap().to_string();
        assert_eq!(both, "tls_self_signed: tls_cert is set too; choose one");
        assert!(Tls::load(&Settings::default(), &[]).unwrap().is_none());
    }

    #[test]
    fn an_authority_goes_with_no_other_way() {
        let acme = || Settings { acme_domains: vec!["class.example.org".into()], ..Settings::default() };
        let error = |settings: &Settings| Tls::load(settings, &[]).err().unwrap().to_string();
        for (key, settings) in [
            (
                "tls_cert",
                Settings { tls_cert: Some("a.pem".into()), tls_key: Some("a.key".into()), ..acme() },
            ),
            ("tls_key", Settings { tls_key: Some("a.key".into()), ..acme() }),
            ("tls_self_signed", Settings { tls_self_signed: true, ..acme() }),
        ] {
            assert_eq!(error(&settings), format!("acme_domains: {key} is set too; choose one"));
        }
        let folder = tempfile::tempdir().unwrap();
        let missing = Settings { acme_ca_file: Some(folder.path().join("ca.pem")), ..acme() };
        assert!(error(&missing).starts_with("acme_ca_file: "));
    }
}
