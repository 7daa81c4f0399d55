//! What is kept in the data folder from one start to the next, readable for its owner alone.

use std::io;
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::secrets;

/// A certificate, with what it was asked for: other settings want another.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    /// URL of the authority's directory.
    pub directory: String,
    /// In order.
    pub names: Vec<String>,
    /// In PEM.
    pub chain: String,
    /// In PEM.
    pub key: String,
}

/// An account at an authority.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAccount {
    /// URL of the authority's directory.
    pub directory: String,
    /// As the authority knows it.
    pub email: Option<String>,
    /// Its key and name.
    pub credentials: AccountCredentials,
}

/// Why there was no certificate when it was last tried, for `lectern doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What went wrong.
    pub reason: String,
    /// What helps.
    pub advice: String,
    /// When, in seconds since 1970.
    pub at_secs: u64,
}

/// The trouble of a server with this data folder, if it had some and no success since.
pub fn trouble(data_dir: &Path) -> Option<Trouble> {
    read(&Folder::new(data_dir).trouble)
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    certificate: PathBuf,
    account: PathBuf,
    trouble: PathBuf,
}

impl Folder {
    pub fn new(data_dir: &Path) -> Self {
        Folder {
            certificate: data_dir.join("acme-certificate.json"),
            account: data_dir.join("acme-account.json"),
            trouble: data_dir.join("acme-trouble.json"),
        }
    }

    pub fn certificate(&self) -> Option<Kept> {
        read(&self.certificate)
    }

    pub fn keep_certificate(&self, kept: &Kept) -> io::Result<()> {
        write(&self.certificate, kept)
    }

    pub fn account(&self) -> Option<KeptAccount> {
        read(&self.account)
    }

    pub fn keep_account(&self, kept: &KeptAccount) -> io::Result<()> {
        write(&self.account, kept)
    }

    pub fn change_email(&self, email: Option<&str>) -> io::Result<()> {
        match self.account() {
            Some(kept) => self.keep_account(&KeptAccount { email: email.map(str::to_owned), ..kept }),
            None => Ok(()),
        }
    }

    pub fn forget_account(&self) -> io::Result<()> {
        std::fs::remove_file(&self.account)
    }

    /// A note that cannot be written is missed by the doctor alone; the log has it.
    pub fn note_trouble(&self, trouble: &Trouble) {
        if let Err(error) = write(&self.trouble, trouble) {
            tracing::warn!(%error, "the reason could not be noted");
        }
    }

    pub fn forget_trouble(&self) {
        // Mostly there is none.
        let _ = std::fs::remove_file(&self.trouble);
    }
}

/// What is not there or damaged is made anew.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = std::fs::read(path).ok()?;
    let read = serde_json::from_slice(&text);
    if let Err(error) = &read {
        tracing::warn!(path = %path.display(), %error, "a damaged file is not used");
    }
    read.ok()
}

fn write(path: &Path, contents: &impl Serialize) -> io::Result<()> {
    secrets::write_private(path, &serde_json::to_vec(contents)?)
}
