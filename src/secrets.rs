//! Secrets that the server needs and the operator did not give: made once at random, and kept in the data folder.

use std::fs::{DirBuilder, File as OpenFile, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Secret, Settings};

/// The API key and the secret that signs tokens.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// For `Authorization: Bearer` of the HTTP API.
    pub api_key: Secret,
    /// Signs tokens.
    pub token_secret: Secret,
}

/// Why there are no secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file or its folder cannot be read or made.
    #[error("data_dir: cannot use {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what this server wrote.
    #[error("data_dir: {} is damaged: {reason}; remove it to get new secrets (all tokens become invalid)", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    api_key: String,
    token_secret: String,
}

impl Secrets {
    /// Where those are kept that the settings do not have.
    pub fn path(settings: &Settings) -> PathBuf {
        settings.data_dir.join("secrets.toml")
    }

    /// The secrets of the settings; what is missing there comes from `secrets.toml` in the data folder, which is made when
    /// it does not exist.
    ///
    /// # Errors
    /// When the file is needed and cannot be read or made.
    pub fn load(settings: &Settings) -> Result<Self, SecretsError> {
        if let (Some(api_key), Some(token_secret)) = (&settings.api_key, &settings.token_secret) {
            return Ok(Secrets { api_key: api_key.clone(), token_secret: token_secret.clone() });
        }
        let path = Secrets::path(settings);
        let text = read_or_make(&settings.data_dir, &path)
            .map_err(|source| SecretsError::Io { path: path.clone(), source })?;
        let damaged = |reason: String| SecretsError::Damaged { path: path.clone(), reason };
        let file: File = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        if file.api_key.len() < 32 || file.token_secret.len() < signaling::token::SECRET_BYTES_MIN {
            return Err(damaged("a secret is too short".into()));
        }
        Ok(Secrets {
            api_key: settings.api_key.clone().unwrap_or_else(|| Secret::new(file.api_key)),
            token_secret: settings.token_secret.clone().unwrap_or_else(|| Secret::new(file.token_secret)),
        })
    }
}

/// Makes the data folder when it is missing, for its owner alone: lessons are in it too.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn read_or_make(folder: &Path, path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    make_folder(folder)?;
    let text = format!(
        "# Made by Lectern. Whoever knows these may do everything.\napi_key = \"{}\"\ntoken_secret = \"{}\"\n",
        random_hex::<32>(),
        random_hex::<32>()
    );
    // Whole or not at all, and never instead of one that another process made in the meantime: a link fails then.
    let draft = folder.join(format!(".secrets.{}", random_hex::<8>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::read_to_string(path),
    }
}

/// Writes a file for its owner alone, whole or not at all, instead of the one that is there.
pub fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    place(path, contents, |_| Ok(()))
}

/// As [`write_private`]; a file that is there, or that a link leads to, keeps its owner, group and mode.
///
/// # Errors
/// Also when that owner cannot be kept; nothing has changed then.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let path = match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return write_private(path, contents),
        path => path?,
    };
    let before = std::fs::metadata(&path)?;
    place(&path, contents, |draft| {
        let made = draft.metadata()?;
        if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
            fchown(draft, Some(before.uid()), Some(before.gid()))?;
        }
        draft.set_permissions(before.permissions())
    })
}

fn place(path: &Path, contents: &[u8], prepare: impl FnOnce(&OpenFile) -> io::Result<()>) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", random_hex::<8>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    // It is what it is to be before there is anything in it.
    let prepared = prepare(&file);
    let written = prepared.and_then(|()| file.write_all(contents)).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| std::fs::rename(&draft, path));
    if placed.is_err() {
        // Nothing half made stays behind; that it cannot be removed changes nothing.
        let _ = std::fs::remove_file(&draft);
    }
    placed
}

/// So many random bytes.
pub fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    // The system's source does not fail once the machine has booted; without it nothing here would be safe.
    getrandom::fill(&mut bytes).expect("the system gives random numbers");
    bytes
}

/// So many random bytes, in hexadecimal.
pub fn random_hex<const BYTES: usize>() -> String {
    random::<BYTES>().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("lectern-secrets-{name}-{}", std::process::id()))
    }

    #[test]
    fn made_once_and_readable_by_the_owner_only() {
        let settings = Settings { data_dir: folder("once").join("deep"), ..Settings::default() };
        let first = Secrets::load(&settings).unwrap();
        let again = Secrets::load(&settings).unwrap();
        assert_eq!((&first.api_key, &first.token_secret), (&again.api_key, &again.token_secret));
        assert_ne!(first.api_key, first.token_secret);
        let mode = std::fs::metadata(&settings.data_dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "what was said in a class is not for everybody on the machine");
        let path = settings.data_dir.join("secrets.toml");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&settings.data_dir).unwrap().count(), 1, "no draft is left behind");

        let given = Settings { api_key: Some(Secret::new("given-key")), ..settings.clone() };
        let mixed = Secrets::load(&given).unwrap();
        assert_eq!(mixed.api_key.expose(), "given-key");
        assert_eq!(mixed.token_secret, first.token_secret);

        std::fs::write(&path, "api_key = 'x'\ntoken_secret = 'y'").unwrap();
        assert!(matches!(Secrets::load(&settings), Err(SecretsError::Damaged { .. })));
        std::fs::remove_dir_all(folder("once")).unwrap();
    }

    #[test]
    fn many_at_once_agree() {
        let settings = Settings { data_dir: folder("race"), ..Settings::default() };
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let settings = settings.clone();
                std::thread::spawn(move || Secrets::load(&settings).unwrap().token_secret)
            })
            .collect();
        let secrets: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
        std::fs::remove_dir_all(folder("race")).unwrap();
    }
}
