//! Files that are in the bucket alone, read in parts. Of a sealed one the index is fetched first, and kept: a browser asks for a file in hundreds
//! of parts.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};

use super::bucket::Bucket;
use super::seal::{DataKey, Mapped, Sparse, Stream};
use super::upload::UploadError;

/// So much of a file's end is fetched at first, where its patches and the index are, and at least so much at once of what is missing then.
const FETCH_BYTES: (u64, u64) = (256 << 10, 64 << 10);
/// Most indexes that are kept. That of a file of two hours is about 300 KB.
const KEPT: usize = 64;

/// A bucket that is read from.
#[derive(Debug)]
pub(super) struct Remote {
    pub bucket: Bucket,
    maps: Mutex<HashMap<(String, String), Arc<Mapped>>>,
}

/// What a file has, piece by piece.
pub type Pieces = BoxStream<'static, Result<Vec<u8>, UploadError>>;

impl Remote {
    pub fn new(bucket: Bucket) -> Self {
        Remote { bucket, maps: Mutex::default() }
    }

    /// A part of a file, as it was before it was sealed with this key, if it was.
    pub async fn read(
        &self,
        id: &str,
        name: &str,
        key: Option<&DataKey>,
        part: Range<u64>,
    ) -> Result<Pieces, UploadError> {
        let path = self.bucket.path(id, name);
        let Some(key) = key else {
            return Ok(self.bucket.read(&path, Some(part)).await?.map_err(UploadError::from).boxed());
        };
        let file = self.map(id, name, key).await?;
        let damaged = || UploadError::Differs(format!("{id}/{name}"));
        let mut plain = Stream::new(file, part).ok_or_else(damaged)?;
        let sealed = self.bucket.read(&path, Some(plain.needs())).await?.map_err(UploadError::from);
        Ok(sealed
            .and_then(move |piece| std::future::ready(plain.take(&piece).map_err(UploadError::from)))
            .boxed())
    }

    /// The map of a sealed file. It never changes once it is in the bucket.
    async fn map(&self, id: &str, name: &str, key: &DataKey) -> Result<Arc<Mapped>, UploadError> {
        let kept = || self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        let of = (id.to_owned(), name.to_owned());
        if let Some(map) = kept().get(&of) {
            return Ok(map.clone());
        }
        let path = self.bucket.path(id, name);
        let bytes = self.bucket.bytes(&path).await?;
        let (mut parts, mut missing) = (Sparse::default(), bytes.saturating_sub(FETCH_BYTES.0)..bytes);
        let map = loop {
            let part = missing.start..missing.end.max(missing.start + FETCH_BYTES.1).min(bytes);
            let pieces: Vec<Vec<u8>> = self.bucket.read(&path, Some(part)).await?.try_collect().await?;
            parts.add(missing.start, pieces.concat());
            match parts.map(bytes, key, name) {
                Ok(map) => break map,
                Err(error) => match Sparse::needs(&error) {
                    // What was there a moment ago is there no more.
                    Some(needs) if needs == missing || needs.end > bytes => {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                    }
                    Some(needs) => missing = needs,
                    None => return Err(error.into()),
                },
            }
        };
        let map = map.ok_or_else(|| UploadError::Differs(format!("{id}/{name}")))?;
        let mut kept = kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(of, map.clone());
        Ok(map)
    }
}
