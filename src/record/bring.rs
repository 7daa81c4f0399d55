//! Brings the files of a recording back from the bucket onto the disk, for what needs them all there, such as an export.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use futures_util::TryStreamExt;

use super::archive::Archive;
use super::bucket::Bucket;
use super::upload::{UploadError, digests};

/// Fetches what of a recording has left the disk. Gives how many files that were. Whoever needs them holds the recording meanwhile: else
/// they leave again when it is time.
pub(super) async fn bring_back(archive: &Archive, bucket: &Bucket, id: &str) -> Result<usize, UploadError> {
    let missing = || UploadError::Disk(io::Error::from(io::ErrorKind::NotFound));
    let folder = archive.path(id).ok_or_else(missing)?;
    let manifest = archive.manifest(id).ok_or_else(missing)?;
    let mut brought = 0;
    for (name, blake3) in digests(&manifest) {
        if let Some(blake3) = blake3.filter(|_| !folder.join(name).exists()) {
            bring(bucket, id, &folder, name, blake3).await?;
            brought += 1;
        }
    }
    Ok(brought)
}

/// Fetches a file piece by piece, and holds it against its BLAKE3 before it gets its name.
async fn bring(
    bucket: &Bucket,
    id: &str,
    folder: &Path,
    name: &str,
    blake3: &str,
) -> Result<(), UploadError> {
    let mut pieces = bucket.read(&bucket.path(id, name), None).await?;
    // Two that bring the same file write the same, and each its own draft.
    let draft = folder.join(format!(".{name}.{}", crate::secrets::random_hex::<8>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let mut hasher = blake3::Hasher::new();
    let fetched = async {
        while let Some(piece) = pieces.try_next().await? {
            hasher.update(&piece);
            file.write_all(&piece)?;
        }
        if hasher.finalize().to_hex().as_str() != blake3 {
            return Err(UploadError::Differs(format!("{id}/{name}")));
        }
        file.sync_data()?;
        Ok(std::fs::rename(&draft, folder.join(name))?)
    };
    let fetched = fetched.await;
    if fetched.is_err() {
        // Nothing half made stays; that it cannot be removed changes nothing.
        let _ = std::fs::remove_file(&draft);
    }
    fetched
}
