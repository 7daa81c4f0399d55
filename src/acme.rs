//! Certificates for public names from an authority (ACME, RFC 8555): got, kept in the data folder, and renewed in time.
//!
//! The authority asks at the names' port 443 for a certificate that only who has the account can make (TLS-ALPN-01, RFC 8737);
//! [`Shown`] has it for the time of the question, beside the one that everybody else sees.

mod ask;
mod keep;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

use self::ask::Https;
use self::keep::{Folder, Kept, KeptAccount};
pub use self::keep::{Trouble, trouble};
use crate::config::Settings;
use crate::{authorities, clock};

/// The protocol in which the authority asks (RFC 8737, section 6.2).
pub const PROTOCOL: &[u8] = b"acme-tls/1";

/// How long one attempt may take: an authority asks from several places, one after the other.
const ATTEMPT: Duration = Duration::from_secs(300);
/// How long the authority is asked for a result, first after a quarter of a second, then less and less often.
const POLLING: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));
/// Pauses after failures. Let's Encrypt refuses an account that fails for a name five times in an hour, and lets it try again each
/// 12 minutes.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(20 * 60),
    Duration::from_secs(2 * 3600),
];
/// Sleeping machines' timers stand still; the clock is looked at as often as this.
const LOOK: Duration = Duration::from_secs(600);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The authority cannot be asked, or says no.
    #[error("{directory}: {}", words(.source))]
    Authority {
        /// Its URL.
        directory: String,
        /// What it says.
        source: instant_acme::Error,
    },
    /// The authority did not find this server at a name.
    #[error("{name}: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What it says.
        reason: String,
    },
    /// It does not ask in a way that this server can answer.
    #[error("the authority offers no TLS-ALPN-01 for {name}")]
    NoChallenge {
        /// The name.
        name: String,
    },
    /// What it gave is no certificate, or not for the key.
    #[error("what the authority gave cannot be used: {0}")]
    Unusable(String),
    /// What it gave is over, or will be soon.
    #[error("the new certificate is due for renewal by this machine's clock")]
    Clock,
    /// It took too long.
    #[error("no certificate within {} minutes", ATTEMPT.as_secs() / 60)]
    Slow,
    /// The data folder.
    #[error("data_dir: {0}")]
    Folder(#[from] std::io::Error),
    /// `acme_ca_file`.
    #[error("acme_ca_file: {}: {reason}", .path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: pem::Error,
    },
    /// No cryptography.
    #[error("acme_domains: {0}")]
    Crypto(rustls::Error),
}

/// The library calls every refusal "API error".
fn words(error: &instant_acme::Error) -> String {
    match error {
        instant_acme::Error::Api(problem) => problem_words(problem),
        other => other.to_string(),
    }
}

fn problem_words(problem: &instant_acme::Problem) -> String {
    let words = problem.to_string();
    words.strip_prefix("API error: ").unwrap_or(&words).to_owned()
}

impl AcmeError {
    /// What helps.
    fn advice(&self, has_authorities: bool) -> String {
        match self {
            AcmeError::Authority { source: instant_acme::Error::Api(problem), .. } => {
                match problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()) {
                    Some("rateLimited") => "the authority limits how often it is asked; nothing to do but wait".into(),
                    Some("rejectedIdentifier") => "correct acme_domains: the authority gives nothing for that name".into(),
                    Some("externalAccountRequired") => "choose an authority in acme_directory that takes unknown accounts".into(),
                    _ => "look at acme_domains, acme_email and acme_directory".into(),
                }
            }
            AcmeError::Authority { .. } if !has_authorities => {
                "install ca-certificates: this system knows no authorities; or name a certificate in acme_ca_file".into()
            }
            AcmeError::Authority { .. } => {
                "look at acme_directory, and whether this machine reaches it (outgoing TCP 443, DNS); a private authority needs acme_ca_file".into()
            }
            AcmeError::Name { name, .. } => format!(
                "{name} must lead to this machine (look at its DNS records, IPv6 too), and TCP port 443 there to http_listen, from everywhere"
            ),
            AcmeError::NoChallenge { .. } => "choose another authority in acme_directory, or use tls_cert and tls_key".into(),
            AcmeError::Unusable(_) | AcmeError::Crypto(_) => "choose another authority in acme_directory".into(),
            AcmeError::Clock => "set this machine's clock, and keep it by NTP".into(),
            AcmeError::Slow => "nothing to do: the authority is asked again".into(),
            AcmeError::Folder(_) => "give the user of the server the right to write there, and look at its disk".into(),
            AcmeError::CaFile { .. } => "correct acme_ca_file".into(),
        }
    }
}

/// What connections are shown. Nothing before the first certificate is there.
#[derive(Default)]
pub struct Shown {
    certificate: RwLock<Option<Arc<CertifiedKey>>>,
    answers: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl Shown {
    /// To everybody.
    pub fn certificate(&self) -> Option<Arc<CertifiedKey>> {
        self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// To the authority that asks for this name.
    pub fn answer(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(&name.to_ascii_lowercase()).cloned()
    }

    fn show(&self, certificate: CertifiedKey) {
        *self.certificate.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certificate));
    }

    fn prepare(&self, name: &str, answer: CertifiedKey) {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(name.to_ascii_lowercase(), Arc::new(answer));
    }
}

/// Takes the answers away when the authority has asked, or has not.
struct Asked<'a>(&'a Shown);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.answers.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// See the [module](self).
#[derive(Clone)]
pub struct Acme {
    names: Vec<String>,
    email: Option<String>,
    directory: String,
    folder: Folder,
    connector: TlsConnector,
    has_authorities: bool,
    provider: Arc<CryptoProvider>,
    shown: Arc<Shown>,
    /// When the certificate that was kept is due for renewal, in seconds since 1970.
    due_secs: Option<u64>,
}

impl Acme {
    /// With the certificate of last time, if there is one for the same names from the same authority. Asks nobody yet.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(settings: &Settings, provider: Arc<CryptoProvider>) -> Result<Self, AcmeError> {
        let roots = match &settings.acme_ca_file {
            Some(path) => authorities::of_file(path)
                .map_err(|reason| AcmeError::CaFile { path: path.clone(), reason })?,
            None => authorities::known(),
        };
        let has_authorities = !roots.is_empty();
        let mut names: Vec<String> =
            settings.acme_domains.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.dedup();
        let mut acme = Acme {
            names,
            email: settings.acme_email.clone(),
            directory: settings.acme_directory.clone(),
            folder: Folder::new(&settings.data_dir),
            connector: authorities::connector(roots).map_err(AcmeError::Crypto)?,
            has_authorities,
            provider,
            shown: Arc::default(),
            due_secs: None,
        };
        let kept = acme.folder.certificate();
        if let Some(kept) = kept.filter(|kept| kept.names == acme.names && kept.directory == acme.directory) {
            match acme.read(&kept) {
                Ok((certificate, life)) => {
                    acme.due_secs = Some(life.due_secs());
                    acme.shown.show(certificate);
                }
                Err(error) => tracing::warn!(%error, "the kept certificate is not used"),
            }
        }
        Ok(acme)
    }

    /// What connections are shown.
    pub fn shown(&self) -> Arc<Shown> {
        self.shown.clone()
    }

    /// Gets the certificate, and renews it when two thirds of its life are over, for ever.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let now = clock::wall().as_secs();
            if let Some(due) = self.due_secs.filter(|due| *due > now) {
                tokio::time::sleep(Duration::from_secs(due - now).min(LOOK)).await;
                continue;
            }
            let names = self.names.join(", ");
            let attempt = tokio::time::timeout(ATTEMPT, self.obtain()).await;
            match attempt.unwrap_or(Err(AcmeError::Slow)) {
                Ok(life) => {
                    failures = 0;
                    self.due_secs = Some(life.due_secs());
                    let days = life.ends_secs.saturating_sub(now) / (24 * 3600);
                    tracing::info!(%names, days, "a new certificate");
                    self.folder.forget_trouble();
                }
                Err(error) => {
                    let pause = PAUSES[failures.min(PAUSES.len() - 1)];
                    failures += 1;
                    let advice = error.advice(self.has_authorities);
                    tracing::error!(
                        %names, %error, %advice, again_in_seconds = pause.as_secs(),
                        "no certificate could be got"
                    );
                    self.folder.note_trouble(&Trouble {
                        reason: error.to_string(),
                        advice,
                        at_secs: clock::wall().as_secs(),
                    });
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Gets, shows and keeps a certificate.
    async fn obtain(&self) -> Result<Life, AcmeError> {
        let account = self.account().await?;
        let kept = match self.order(&account).await {
            // It has been deleted there, or the authority has begun anew.
            Err(error) if is_unknown_account(&error) => {
                self.folder.forget_account()?;
                self.order(&self.account().await?).await?
            }
            result => result?,
        };
        let (certificate, life) = self.read(&kept)?;
        if life.due_secs() <= clock::wall().as_secs() {
            return Err(AcmeError::Clock);
        }
        // One that cannot be kept is good all the same, until the server ends.
        self.shown.show(certificate);
        self.folder.keep_certificate(&kept)?;
        Ok(life)
    }

    /// The account of last time, or a new one.
    async fn account(&self) -> Result<Account, AcmeError> {
        let builder = || Account::builder_with_http(Box::new(Https::new(self.connector.clone())));
        let contacts: Vec<String> = self.email.iter().map(|email| format!("mailto:{email}")).collect();
        let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
        let kept = self.folder.account().filter(|kept| kept.directory == self.directory);
        if let Some(KeptAccount { credentials, email, .. }) = kept {
            let account =
                builder().from_credentials(credentials).await.map_err(|source| self.authority(source))?;
            if email == self.email {
                return Ok(account);
            }
            match account.update_contacts(&contacts).await {
                Ok(()) => {
                    self.folder.change_email(self.email.as_deref())?;
                    return Ok(account);
                }
                Err(source) if is_unknown(&source) => {}
                Err(source) => return Err(self.authority(source)),
            }
        }
        let wish =
            NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
        let created = builder().create(&wish, self.directory.clone(), None).await;
        let (account, credentials) = created.map_err(|source| self.authority(source))?;
        self.folder.keep_account(&KeptAccount {
            directory: self.directory.clone(),
            email: self.email.clone(),
            credentials,
        })?;
        Ok(account)
    }

    async fn order(&self, account: &Account) -> Result<Kept, AcmeError> {
        let authority = |source| self.authority(source);
        let names: Vec<Identifier> = self.names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await.map_err(authority)?;
        let _asked = Asked(&self.shown);
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(authority)?;
            // Some remember for a while that they have asked.
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(AcmeError::NoChallenge { name });
            };
            let answer = answer(&name, challenge.key_authorization().digest().as_ref(), &self.provider)?;
            self.shown.prepare(&name, answer);
            challenge.set_ready().await.map_err(authority)?;
        }
        match order.poll_ready(&POLLING).await {
            Ok(OrderStatus::Ready) => {}
            result => return Err(self.refusal(&mut order, result.err()).await),
        }
        let key = order.finalize().await.map_err(authority)?;
        let chain = order.poll_certificate(&POLLING).await.map_err(authority)?;
        Ok(Kept { directory: self.directory.clone(), names: self.names.clone(), chain, key })
    }

    /// Why an order does not become ready: what the authority says of the names tells more than what it says of the order.
    async fn refusal(&self, order: &mut Order, error: Option<instant_acme::Error>) -> AcmeError {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let name = authorization.identifier().to_string();
            let Ok(state) = authorization.refresh().await else { continue };
            if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
                return AcmeError::Name { name, reason: problem_words(problem) };
            }
        }
        self.authority(error.unwrap_or(instant_acme::Error::Str("a reason; the order is not valid")))
    }

    fn authority(&self, source: instant_acme::Error) -> AcmeError {
        AcmeError::Authority { directory: self.directory.clone(), source }
    }

    fn read(&self, kept: &Kept) -> Result<(CertifiedKey, Life), AcmeError> {
        let wrong = |error: &dyn fmt::Display| AcmeError::Unusable(error.to_string());
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(kept.chain.as_bytes()).collect();
        let chain = chain.map_err(|error| wrong(&error))?;
        let first = chain.first().ok_or_else(|| wrong(&"it is empty"))?;
        let life = life(first).ok_or_else(|| wrong(&"it is no certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(kept.key.as_bytes()).map_err(|error| wrong(&error))?;
        let key = CertifiedKey::from_der(chain, key, &self.provider).map_err(|error| wrong(&error))?;
        Ok((key, life))
    }
}

fn is_unknown(error: &instant_acme::Error) -> bool {
    matches!(error, instant_acme::Error::Api(problem)
        if problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":accountDoesNotExist")))
}

fn is_unknown_account(error: &AcmeError) -> bool {
    matches!(error, AcmeError::Authority { source, .. } if is_unknown(source))
}

/// When a certificate begins and ends, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    begins_secs: u64,
    ends_secs: u64,
}

impl Life {
    /// When a third of it is left.
    fn due_secs(self) -> u64 {
        self.ends_secs - self.ends_secs.saturating_sub(self.begins_secs) / 3
    }
}

fn life(certificate: &CertificateDer<'_>) -> Option<Life> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let seconds = |timestamp: i64| u64::try_from(timestamp).ok();
    let validity = parsed.validity();
    Some(Life {
        begins_secs: seconds(validity.not_before.timestamp())?,
        ends_secs: seconds(validity.not_after.timestamp())?,
    })
}

/// The certificate that the authority wants to see (RFC 8737, section 3): for the name, with the digest of what it asks for.
fn answer(name: &str, digest: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, AcmeError> {
    let wrong = |error: rcgen::Error| AcmeError::Unusable(error.to_string());
    let key = rcgen::KeyPair::generate().map_err(wrong)?;
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).map_err(wrong)?;
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(wrong)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // `from_der` tests a pair, and does not know the extension.
    let key = provider.key_provider.load_private_key(key).map_err(AcmeError::Crypto)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

#[cfg(test)]
#[path = "acme_test.rs"]
mod tests;
