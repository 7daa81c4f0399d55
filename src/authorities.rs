//! Who may vouch for the servers that this one asks over TLS.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Where systems keep the certificates of the authorities that they know.
const FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Those that this system knows; `SSL_CERT_FILE` names others, as with OpenSSL.
pub fn known() -> RootCertStore {
    let named = std::env::var("SSL_CERT_FILE").ok();
    let files = named.iter().map(String::as_str).chain(FILES.into_iter().filter(|_| named.is_none()));
    let mut store = RootCertStore::empty();
    for file in files {
        if let Ok(certificates) = CertificateDer::pem_file_iter(file) {
            store.add_parsable_certificates(certificates.flatten());
        }
    }
    store
}

/// Those of a file in PEM.
///
/// # Errors
/// When it cannot be read, or has none.
pub fn of_file(path: &Path) -> Result<RootCertStore, pem::Error> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates);
    if store.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(store) }
}

/// Connects to servers for which one of `roots` vouches.
///
/// # Errors
/// When the cryptography cannot be had.
pub fn connector(roots: RootCertStore) -> Result<TlsConnector, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
