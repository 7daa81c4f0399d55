//! What is said about how long one recording is kept: `keep.json` in its folder. It is a file of its own, because the recorder writes
//! the manifest anew as long as a recording is made.

use std::io;
use std::path::Path;

use recording::retention::Keep;
use serde::{Deserialize, Serialize};
use signaling::time::Timestamp;

/// The name of the file.
pub(super) const KEEP_FILE: &str = "keep.json";
const FOREVER: &str = "forever";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeepFile {
    keep_until: String,
}

/// As text: `forever`, or RFC 3339 in UTC.
pub fn to_text(keep: Keep) -> String {
    match keep {
        Keep::Forever => FOREVER.to_owned(),
        Keep::Until(until_ms) => Timestamp(until_ms).to_string(),
    }
}

/// The other way; nothing for other texts.
pub fn parse(text: &str) -> Option<Keep> {
    match text {
        FOREVER => Some(Keep::Forever),
        time => time.parse().ok().map(|Timestamp(until_ms)| Keep::Until(until_ms)),
    }
}

/// What the folder of a recording says; nothing when it says nothing.
///
/// # Errors
/// When the file cannot be read or understood: what somebody has said is not forgotten because of that.
pub(super) fn read(folder: &Path) -> io::Result<Option<Keep>> {
    let file = match std::fs::read(folder.join(KEEP_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let file: KeepFile = serde_json::from_slice(&file)?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{KEEP_FILE} is damaged"));
    parse(&file.keep_until).ok_or_else(damaged).map(Some)
}

/// Writes it into the folder of a recording, or removes it.
pub(super) fn write(folder: &Path, keep: Option<Keep>) -> io::Result<()> {
    let path = folder.join(KEEP_FILE);
    match keep {
        Some(keep) => {
            let file = serde_json::to_vec(&KeepFile { keep_until: to_text(keep) })?;
            crate::secrets::write_private(&path, &file)?;
        }
        None => match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        },
    }
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_not_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        for keep in [Some(Keep::Forever), Some(Keep::Until(1_795_253_400_007)), None, None] {
            write(folder.path(), keep).unwrap();
            assert_eq!(read(folder.path()).unwrap(), keep);
        }
        std::fs::write(folder.path().join(KEEP_FILE), r#"{"keepUntil": "next week"}"#).unwrap();
        assert!(read(folder.path()).is_err());
        for text in ["", "Forever", "2026-11-26"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
