//! Recordings in a bucket, by the protocol of S3. Names there are those on the disk, behind a prefix: `<id>/manifest.json` and so on. Beside
//! them are tombstones, `tombstones/<id>.json`.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::aws::AmazonS3Builder;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
};
use recording::tombstone::Tombstone;

use crate::config::Secret;

/// Where tombstones are. No recording is called so: their ids are random.
const TOMBSTONES: &str = "tombstones";
/// Longest manifest or tombstone that is read whole.
const SMALL_BYTES: u64 = 64 << 20;

/// Which bucket.
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// Its name.
    pub bucket: String,
    /// Where the protocol is spoken; Amazon's own address for the region when nothing is said.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Name of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// Before all names.
    pub prefix: String,
    /// Whether the bucket stands in the path of a URL, or in the host.
    pub path_style: bool,
    /// How long a finished recording stays on the disk once it is in the bucket, in days.
    pub local_days: u64,
}

/// What a bucket must be able to do.
pub(super) trait Objects: ObjectStore + MultipartStore {}
impl<T: ObjectStore + MultipartStore> Objects for T {}

/// An open bucket. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    objects: Arc<dyn Objects>,
    prefix: Path,
}

pub(super) type Result<T> = std::result::Result<T, object_store::Error>;

impl Bucket {
    /// Prepares requests; sends none. It belongs to the runtime that first uses it.
    pub fn open(config: &BucketConfig, patience: Duration) -> Result<Self> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(&config.access_key)
            .with_secret_access_key(config.secret_key.expose())
            .with_virtual_hosted_style_request(!config.path_style)
            // A server in the school's own network may have no TLS; whoever gives such an address has said so.
            .with_client_options(ClientOptions::new().with_allow_http(true).with_connect_timeout(patience))
            .with_retry(RetryConfig {
                backoff: BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() },
                max_retries: 3,
                retry_timeout: patience,
            });
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(Bucket { objects: Arc::new(builder.build()?), prefix: Path::parse(&config.prefix)? })
    }

    #[cfg(test)]
    pub fn of(objects: Arc<dyn Objects>) -> Self {
        Bucket { objects, prefix: Path::from("school/lectern") }
    }

    /// Where a file of a recording is.
    pub fn path(&self, id: &str, name: &str) -> Path {
        self.prefix.clone().join(id).join(name)
    }

    /// Where a file is that is of no recording.
    pub fn beside(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }

    /// Writes a small file.
    pub async fn put(&self, path: &Path, bytes: Vec<u8>) -> Result<()> {
        self.objects.put(path, PutPayload::from(bytes)).await.map(|_| ())
    }

    /// Reads a small file; none when there is none.
    pub async fn get(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        // Not by a range, which an empty file refuses.
        match self.objects.get_opts(path, GetOptions::default()).await {
            Ok(found) if found.meta.size > SMALL_BYTES => Err(object_store::Error::Generic {
                store: "recordings",
                source: format!("{path} has {} bytes", found.meta.size).into(),
            }),
            Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A part of a file, or all of it, piece by piece.
    pub async fn read(
        &self,
        path: &Path,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Vec<u8>>>> {
        let options = GetOptions { range: range.map(Into::into), ..GetOptions::default() };
        let pieces = self.objects.get_opts(path, options).await?.into_stream();
        Ok(pieces.map_ok(|piece| piece.to_vec()).boxed())
    }

    /// How long a file is.
    pub async fn bytes(&self, path: &Path) -> Result<u64> {
        Ok(self.objects.head(path).await?.size)
    }

    /// The BLAKE3 of what is there, and how many bytes it has.
    pub async fn digest(&self, path: &Path) -> Result<(String, u64)> {
        let mut pieces = self.read(path, None).await?;
        let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
        while let Some(piece) = pieces.try_next().await? {
            bytes += piece.len() as u64;
            hasher.update(&piece);
        }
        Ok((hasher.finalize().to_hex().to_string(), bytes))
    }

    /// Begins a file in parts; gives its upload's id.
    pub async fn begin(&self, path: &Path) -> Result<String> {
        self.objects.create_multipart(path).await
    }

    /// Writes a part; gives its name. Parts count from 0.
    pub async fn put_part(&self, path: &Path, upload: &str, part: usize, bytes: Vec<u8>) -> Result<String> {
        let part = self.objects.put_part(path, &upload.to_owned(), part, PutPayload::from(bytes)).await?;
        Ok(part.content_id)
    }

    /// Makes a file of its parts.
    pub async fn complete(&self, path: &Path, upload: &str, parts: &[String]) -> Result<()> {
        let parts = parts.iter().map(|part| PartId { content_id: part.clone() }).collect();
        self.objects.complete_multipart(path, &upload.to_owned(), parts).await.map(|_| ())
    }

    /// Gives an upload up.
    pub async fn abort(&self, path: &Path, upload: &str) -> Result<()> {
        self.objects.abort_multipart(path, &upload.to_owned()).await
    }

    /// Removes a file, if it is there.
    pub async fn delete(&self, path: &Path) -> Result<()> {
        match self.objects.delete(path).await {
            Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Ids of the recordings of which something is there.
    pub async fn ids(&self) -> Result<Vec<String>> {
        let found = self.objects.list_with_delimiter(Some(&self.prefix)).await?;
        let names = found.common_prefixes.iter().filter_map(|path| Some(path.filename()?.to_owned()));
        Ok(names.filter(|name| name != TOMBSTONES).collect())
    }

    /// Whether a file that is of no recording is there, by the request that finds all recordings.
    pub async fn has_beside(&self, path: &Path) -> Result<bool> {
        let found = self.objects.list_with_delimiter(Some(&self.prefix)).await?;
        Ok(found.objects.iter().any(|meta| meta.location == *path))
    }

    /// Writes a tombstone.
    pub async fn bury(&self, tombstone: &Tombstone) -> Result<()> {
        let path = self.path(TOMBSTONES, &format!("{}.json", tombstone.id));
        let body = serde_json::to_vec(tombstone)
            .map_err(|error| object_store::Error::Generic { store: "tombstone", source: error.into() })?;
        self.put(&path, body).await
    }

    /// The tombstones that are not known yet, and can be read.
    pub async fn tombstones(&self, is_known: impl Fn(&str) -> bool) -> Result<Vec<Tombstone>> {
        let mut names = self.objects.list(Some(&self.prefix.clone().join(TOMBSTONES)));
        let mut found = Vec::new();
        while let Some(meta) = names.try_next().await? {
            let id = meta.location.filename().and_then(|name| name.strip_suffix(".json"));
            if id.is_none_or(&is_known) {
                continue;
            }
            let Some(body) = self.get(&meta.location).await? else { continue };
            match serde_json::from_slice(&body) {
                Ok(tombstone) => found.push(tombstone),
                Err(error) => {
                    tracing::error!(path = %meta.location, %error, "a tombstone in the bucket is damaged")
                }
            }
        }
        Ok(found)
    }

    /// Removes all of a recording, its manifest last.
    pub async fn purge(&self, id: &str) -> Result<()> {
        let manifest = self.path(id, super::files::MANIFEST_FILE);
        let names = self.objects.list(Some(&self.prefix.clone().join(id)));
        let names: Vec<Path> = names.map_ok(|meta| meta.location).try_collect().await?;
        let all = names
            .iter()
            .filter(|name| **name != manifest)
            .chain(names.iter().filter(|name| **name == manifest));
        for name in all {
            self.delete(name).await?;
        }
        Ok(())
    }
}
