//! Keys: the master keys of the settings' file, the key of a recording in its folder, and those of its files, which follow from it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use serde::{Deserialize, Serialize};

use super::{Damaged, Locked};
use crate::secrets::{random, random_hex, replace, write_private};

/// The name of the file with a recording's key.
pub(in crate::record) const KEY_FILE: &str = "key.json";
/// The version of `key.json` that is written here.
const VERSION: u32 = 1;
/// Bytes of a key.
const KEY_BYTES: usize = 32;
pub(super) const NONCE_BYTES: usize = 12;
pub(super) const TAG_BYTES: usize = 16;
/// Bytes that make each file's key its own, at its beginning.
pub(super) const SALT_BYTES: usize = 16;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read, or is not there.
    #[error("recording_key_file: {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner and its group have rights to it.
    #[error(
        "recording_key_file: {} has mode {mode:04o}, which gives rights to others than its owner and its group: chmod 600, or 640 where the server reads it as one of the group",
        .path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line is no key.
    #[error("recording_key_file: {}, line {line}: a key is 64 hexadecimal digits", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        line: usize,
    },
    /// No line is a key.
    #[error("recording_key_file: {} has no key; `lectern recordings new-key` makes one", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The master keys: the first seals new recordings, all of them open. Clones are the same.
#[derive(Clone, Default)]
pub struct Keys(Arc<Vec<Master>>);

struct Master {
    /// The first eight bytes of its BLAKE3, in hexadecimal.
    id: String,
    key: LessSafeKey,
}

impl Keys {
    /// Those of the file, if there is one; without, recordings are not sealed.
    ///
    /// # Errors
    /// When there is one that cannot be used.
    pub fn load(path: Option<&Path>) -> Result<Self, KeysError> {
        let Some(path) = path else { return Ok(Keys::default()) };
        let failed = |source| KeysError::Io { path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o7777;
        // Its group may be the server's own.
        if mode & 0o007 != 0 {
            return Err(KeysError::Open { path: path.to_owned(), mode });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let mut masters = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let wrong = || KeysError::Line { path: path.to_owned(), line: index + 1 };
            masters.push(Master::of(&from_hex(line).ok_or_else(wrong)?).ok_or_else(wrong)?);
        }
        if masters.is_empty() {
            return Err(KeysError::Empty { path: path.to_owned() });
        }
        Ok(Keys(Arc::new(masters)))
    }

    /// One key for each of these bytes.
    #[cfg(test)]
    pub fn of(keys: &[u8]) -> Self {
        let master = |byte: &u8| Master::of(&[*byte; KEY_BYTES]).unwrap();
        Keys(Arc::new(keys.iter().map(master).collect()))
    }

    /// Whether new recordings are sealed.
    pub fn seal(&self) -> bool {
        !self.0.is_empty()
    }

    /// The id of the key that seals new recordings.
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(|master| master.id.as_str())
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|master| &master.id)).finish()
    }
}

impl Master {
    fn of(bytes: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).ok().filter(|_| bytes.len() == KEY_BYTES)?;
        let id = to_hex(&blake3::hash(bytes).as_bytes()[..8]);
        Some(Master { id, key: LessSafeKey::new(key) })
    }
}

/// Makes a master key. With a file it is put before those that are there, so that it seals what is new, and nothing is given back; without, it is
/// given. A file that is there keeps its owner, group and mode; a new one is for its owner alone.
///
/// # Errors
/// When the file cannot be read, written or kept its owner's, or is not one of keys.
pub fn new_key(file: Option<&Path>) -> Result<Option<String>, KeysError> {
    let key = random_hex::<KEY_BYTES>();
    let Some(path) = file else { return Ok(Some(key)) };
    let failed = |source| KeysError::Io { path: path.to_owned(), source };
    let others = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => {
            let text = read.map_err(failed)?;
            // Nothing is written over that is something else.
            match Keys::load(Some(path)) {
                Ok(_) | Err(KeysError::Empty { .. }) => text,
                Err(error) => return Err(error),
            }
        }
    };
    let made = crate::clock::wall();
    let text =
        format!("# Made by Lectern on {made}. Without it, what it has sealed is lost.\n{key}\n{others}");
    replace(path, text.as_bytes()).map_err(failed)?;
    Ok(None)
}

/// `key.json` in the folder of a sealed recording: what can be known of it without a master key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyFile {
    version: u32,
    /// The id of the master key that wraps the recording's.
    pub key: String,
    /// The recording's key: a nonce, what is encrypted, and its tag, in hexadecimal.
    wrapped: String,
    /// BLAKE3 of tracks and mix as they lie there, by name, once it is finished.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blake3: BTreeMap<String, String>,
}

impl KeyFile {
    /// A new key for a recording; none when recordings are not sealed.
    pub fn make(id: &str, keys: &Keys) -> Option<(Self, DataKey)> {
        let data = DataKey(random());
        let (key, wrapped) = wrap(id, &data, keys)?;
        Some((KeyFile { version: VERSION, key, wrapped, blake3: BTreeMap::new() }, data))
    }

    /// The file of a folder; none when the recording is not sealed.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(folder.join(KEY_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => KeyFile::parse(&read?).map(Some),
        }
    }

    /// The file of these bytes.
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        let file: KeyFile = serde_json::from_slice(bytes)?;
        if file.version == VERSION { Ok(file) } else { Err(Damaged::Key.into()) }
    }

    /// Writes it into a folder.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        write_private(&folder.join(KEY_FILE), &serde_json::to_vec_pretty(self)?)?;
        // The name is safe when its folder is.
        std::fs::File::open(folder)?.sync_all()
    }

    /// The key of the recording with this id.
    pub fn unwrap(&self, id: &str, keys: &Keys) -> io::Result<DataKey> {
        let master = keys.0.iter().find(|master| master.id == self.key);
        let master = master.ok_or_else(|| Locked { key: self.key.clone() })?;
        let mut bytes = from_hex(&self.wrapped).ok_or(Damaged::Key)?;
        let (nonce, sealed) = bytes.split_first_chunk_mut().ok_or(Damaged::Key)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = master.key.open_in_place(nonce, Aad::from(context(id)), sealed);
        let opened = opened.map_err(|_| Damaged::Key)?;
        Ok(DataKey(<[u8; KEY_BYTES]>::try_from(&*opened).map_err(|_| Damaged::Key)?))
    }

    /// Wraps the key anew with the first master key. Whether that changes anything.
    pub fn rewrap(&mut self, id: &str, keys: &Keys) -> io::Result<bool> {
        let data = self.unwrap(id, keys)?;
        if keys.first() == Some(&self.key) {
            return Ok(false);
        }
        (self.key, self.wrapped) = wrap(id, &data, keys).ok_or(Damaged::Key)?;
        Ok(true)
    }
}

fn wrap(id: &str, data: &DataKey, keys: &Keys) -> Option<(String, String)> {
    let master = keys.0.first()?;
    let nonce = random::<NONCE_BYTES>();
    let mut sealed = data.0.to_vec();
    seal(&master.key, nonce, context(id).as_bytes(), &mut sealed);
    Some((master.id.clone(), to_hex(&nonce) + &to_hex(&sealed)))
}

/// A wrapped key is that of one recording and opens no other's.
fn context(id: &str) -> String {
    format!("lectern recording key 1 {id}")
}

/// The key of a recording.
#[derive(Clone)]
pub struct DataKey([u8; KEY_BYTES]);

impl DataKey {
    /// The key of one of its files: of another name, or another salt, it is another key.
    pub(super) fn of_file(&self, name: &str, salt: &[u8; SALT_BYTES]) -> FileKey {
        let secret = Salt::new(HKDF_SHA256, salt).extract(&self.0);
        let info = [b"lectern sealed file 1 ".as_slice(), name.as_bytes()];
        // RFC 5869, section 2.3: up to 255 times the length of a hash; this is one.
        let key = secret.expand(&info, &AES_256_GCM).expect("32 bytes can be had");
        FileKey(LessSafeKey::new(UnboundKey::from(key)))
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(…)")
    }
}

/// The key of one file. Nonces are random: 2^32 records of a key are fine (NIST SP 800-38D, section 8.3).
#[derive(Debug)]
pub struct FileKey(LessSafeKey);

impl FileKey {
    /// Encrypts in place, and appends the tag. Gives the nonce.
    pub fn seal(&self, context: &[u8], bytes: &mut Vec<u8>) -> [u8; NONCE_BYTES] {
        let nonce = random();
        seal(&self.0, nonce, context, bytes);
        nonce
    }

    /// Decrypts what is followed by its tag; nothing when it is not what was sealed.
    pub fn open(&self, nonce: [u8; NONCE_BYTES], context: &[u8], mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let len = self.0.open_in_place(nonce, Aad::from(context), &mut bytes).ok()?.len();
        bytes.truncate(len);
        Some(bytes)
    }
}

fn seal(key: &LessSafeKey, nonce: [u8; NONCE_BYTES], context: &[u8], bytes: &mut Vec<u8>) {
    let nonce = Nonce::assume_unique_for_key(nonce);
    // It fails beyond 64 GiB (NIST SP 800-38D, section 5.2.1.1), and nothing here is nearly as long.
    key.seal_in_place_append_tag(nonce, Aad::from(context), bytes).expect("short enough");
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, text: &str, mode: u32) -> PathBuf {
        let path = folder.join("keys");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_file_of_keys_is_read_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = ("0".repeat(64), "aB".repeat(32));
        let text = format!("# ours\n\n{one} # of 2026\n  {two}\n");
        let path = file(folder.path(), &text, 0o640);
        let keys = Keys::load(Some(&path)).unwrap();
        assert_eq!(keys.0.len(), 2);
        assert_eq!(keys.first(), Some(&blake3::hash(&[0; 32]).to_hex().as_str()[..16]));
        assert!(!format!("{keys:?}").contains("abab"));
        assert!(!Keys::load(None).unwrap().seal());
        let refused = |text: &str, mode| Keys::load(Some(&file(folder.path(), text, mode))).unwrap_err();
        for mode in [0o604, 0o644, 0o602, 0o601] {
            let error = refused(&text, mode);
            assert!(matches!(error, KeysError::Open { .. }), "{mode:o}");
            let said = error.to_string();
            assert!(said.contains(&format!("{mode:04o}")) && said.contains("chmod 600, or 640"), "{said}");
        }
        for mode in [0o400, 0o600, 0o440, 0o640, 0o660] {
            assert!(Keys::load(Some(&file(folder.path(), &text, mode))).is_ok(), "{mode:o}");
        }
        assert!(matches!(refused("# none\n", 0o600), KeysError::Empty { .. }));
        for wrong in [&one[1..], &one[2..], &format!("{one}00"), "g0", &format!("{}é", &one[2..])] {
            let error = refused(&format!("{two}\n{wrong}\n"), 0o600);
            assert!(matches!(error, KeysError::Line { line: 2, .. }), "{wrong}: {error}");
        }
        let missing = Keys::load(Some(&folder.path().join("none"))).unwrap_err();
        assert!(missing.to_string().contains("recording_key_file"), "{missing}");
    }

    #[test]
    fn a_new_key_comes_first_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        new_key(Some(&path)).unwrap();
        let first = Keys::load(Some(&path)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (mut key, data) = KeyFile::make("r", &first).unwrap();
        new_key(Some(&path)).unwrap();
        let both = Keys::load(Some(&path)).unwrap();
        assert_eq!((both.0.len(), &both.0[1].id), (2, &first.0[0].id));
        assert_eq!(key.unwrap("r", &both).unwrap().0, data.0);
        assert!(key.rewrap("r", &both).unwrap() && !key.rewrap("r", &both).unwrap());
        assert_eq!(key.unwrap("r", &both).unwrap().0, data.0);
        // The older one alone opens it no more, and it opens no other recording.
        let error = key.unwrap("r", &first).unwrap_err();
        assert_eq!(super::super::locked(&error).map(|locked| &locked.key), Some(&both.0[0].id));
        let error = key.unwrap("q", &both).unwrap_err();
        assert_eq!((error.kind(), super::super::locked(&error)), (io::ErrorKind::InvalidData, None));
        std::fs::write(&path, "something else").unwrap();
        assert!(new_key(Some(&path)).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else");
        assert_eq!(new_key(None).unwrap().map(|key| key.len()), Some(64));
    }

    #[test]
    fn a_file_that_is_there_stays_whose_it_is() {
        use std::os::unix::fs::{MetadataExt as _, chown, symlink};
        let folder = tempfile::tempdir().unwrap();
        let text = format!("{}\n", "0".repeat(64));
        for mode in [0o600, 0o640, 0o440] {
            let path = file(folder.path(), &text, mode);
            // Whoever is not root can give nothing away.
            let owner = rustix::process::geteuid().is_root().then_some((4711, 4712));
            if let Some((user, group)) = owner {
                chown(&path, Some(user), Some(group)).unwrap();
            }
            let before = std::fs::metadata(&path).unwrap();
            // Also when the settings name it by a link.
            let link = folder.path().join("link");
            symlink("keys", &link).unwrap();
            new_key(Some(&link)).unwrap();
            let after = std::fs::metadata(&path).unwrap();
            assert_eq!(after.mode(), before.mode(), "{mode:o}");
            assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
            assert!(link.is_symlink() && Keys::load(Some(&path)).unwrap().0.len() == 2);
            std::fs::remove_file(&link).unwrap();
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no draft is left behind");
    }
}
