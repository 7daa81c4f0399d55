use std::io::Write;

use futures_util::TryStreamExt;
use object_store::memory::InMemory;
use recording::retention::Rule;
use recording::tombstone::{Reason, Tombstone};

use super::super::catalogue::{Query, SqliteCatalogue};
use super::super::files::write_manifest;
use super::super::finish::add_digests;
use super::super::remote::Remote;
use super::super::seal::{Folder, Keys};
use super::*;
use crate::metrics::Metrics;

/// A server's disk, and a bucket that may have others.
struct World {
    folder: tempfile::TempDir,
    upload: Upload,
}

impl World {
    fn new(bucket: &Bucket, local_days: u64) -> Self {
        World::with(bucket, local_days, Keys::default())
    }

    fn with(bucket: &Bucket, local_days: u64, keys: Keys) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Arc::new(SqliteCatalogue::open(&folder.path().join("recordings.db")).unwrap());
        let metrics = Arc::new(Metrics::new(Vec::new()));
        let recordings = folder.path().join("recordings");
        let archive = Archive::open(recordings, Rule::default(), catalogue, metrics, None, keys).unwrap();
        World { folder, upload: Upload { archive: Arc::new(archive), bucket: bucket.clone(), local_days } }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("recordings").join(path)
    }

    /// A finished recording with a picture track of so many bytes.
    fn made(&self, id: &str, bytes: u64) -> Vec<u8> {
        let picture: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect();
        let folder = Folder::begin(&self.at(id), id, &self.upload.archive.keys).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let mut draft = folder.draft(name, ".draft").unwrap();
            draft.write_all(bytes).unwrap();
            draft.place().unwrap();
        };
        write("v-1.webm", &picture);
        let chat = serde_json::json!({"kind": "chat", "text": "trefoil"});
        let kind = recording::timeline::EntryKind::Lesson { event: chat };
        let timeline = recording::timeline::write(&recording::timeline::Entry { at_ms: 1, kind });
        write("timeline.ndjson", timeline.as_bytes());
        let manifest = serde_json::json!({"version": 1, "id": id, "room": "5b", "title": "Knots", "lesson": "l", "state": "final",
            "began": "2026-11-21T09:00:00.000Z", "durationMs": 7000, "pauses": [], "timeline": "timeline.ndjson",
            "timelineBytes": timeline.len(),
            "tracks": [{"track": 1, "file": "v-1.webm", "participant": "p", "name": "P", "source": "camera",
                "codec": "vp8", "offsetMs": 0, "durationMs": 5, "bytes": bytes, "clockFit": []}]});
        write_manifest(&folder, &serde_json::from_value(manifest).unwrap()).unwrap();
        assert!(add_digests(&folder));
        self.upload.archive.put(id);
        picture
    }

    fn found(&self, text: &str) -> Vec<String> {
        let query = Query { text: Some(text.into()), limit: 10, ..Query::default() };
        let listed = self.upload.archive.list(&query).unwrap();
        listed.into_iter().map(|listed| listed.summary.id).collect()
    }

    async fn in_bucket(&self, id: &str, name: &str) -> Option<Vec<u8>> {
        let bucket = &self.upload.bucket;
        bucket.get(&bucket.path(id, name)).await.unwrap()
    }
}

fn bucket() -> Bucket {
    Bucket::of(Arc::new(InMemory::new()))
}

const NOW: Timestamp = Timestamp(1_795_253_400_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn what_is_in_the_bucket_leaves_the_disk_and_is_found_from_an_empty_one() {
    let bucket = bucket();
    let world = World::new(&bucket, 2);
    let picture = world.made("a", 20 << 20);
    world.upload.archive.set_keep("a", Some(recording::retention::Keep::Forever)).unwrap();
    world.upload.settle("a", NOW).await.unwrap();
    assert!(world.at("a/v-1.webm").exists());
    world.upload.settle("a", NOW.plus(DAY)).await.unwrap();
    assert!(world.at("a/v-1.webm").exists());
    let hold = world.upload.archive.in_use.hold("a");
    world.upload.settle("a", NOW.plus(2 * DAY)).await.unwrap();
    assert!(world.at("a/v-1.webm").exists(), "an export reads it");
    drop(hold);
    world.upload.settle("a", NOW.plus(2 * DAY)).await.unwrap();
    assert!(!world.at("a/v-1.webm").exists() && world.at("a/manifest.json").exists());
    assert_eq!(world.in_bucket("a", "v-1.webm").await.unwrap(), picture);
    assert_eq!(world.found("trefoil"), ["a"]);
    // Nothing is missing, and nothing is sent again.
    let sent = world.upload.archive.metrics.recording_upload_bytes.get();
    world.upload.settle("a", NOW.plus(3 * DAY)).await.unwrap();
    assert_eq!(world.upload.archive.metrics.recording_upload_bytes.get(), sent);

    // A server with an empty disk.
    let other = World::new(&bucket, 0);
    assert_eq!(other.upload.compare().await.unwrap(), BTreeSet::new());
    assert_eq!(other.found("trefoil"), ["a"]);
    assert_eq!(other.upload.archive.manifest("a"), world.upload.archive.manifest("a"));
    let listed = other.upload.archive.get("a").unwrap().unwrap();
    assert_eq!(listed.summary.keep_until.as_deref(), Some("forever"));
    assert!(!other.at("a/v-1.webm").exists());
    let scrub =
        super::super::Scrub { folder: other.at(""), keys: Keys::default(), has_server: false, repair: false };
    assert_eq!(scrub.look("a").problems, []);

    // Back for an export, which holds it; then it leaves again. What is damaged there does not come.
    let hold = other.upload.archive.in_use.hold("a");
    let bring = async || super::super::bring::bring_back(&other.upload.archive, &bucket, "a").await;
    assert_eq!(bring().await.unwrap(), 1);
    assert_eq!(std::fs::read(other.at("a/v-1.webm")).unwrap(), picture);
    assert_eq!(bring().await.unwrap(), 0);
    other.upload.settle("a", clock::wall()).await.unwrap();
    assert!(other.at("a/v-1.webm").exists());
    drop(hold);
    other.upload.settle("a", clock::wall()).await.unwrap();
    assert!(!other.at("a/v-1.webm").exists());
    bucket.put(&bucket.path("a", "v-1.webm"), b"damaged".to_vec()).await.unwrap();
    assert!(matches!(bring().await, Err(UploadError::Differs(_))));
    assert!(std::fs::read_dir(other.at("a")).unwrap().count() == 4, "no draft stays");

    // What is said later comes there too, and goes.
    other.upload.archive.set_keep("a", None).unwrap();
    other.upload.settle("a", NOW).await.unwrap();
    assert_eq!(other.in_bucket("a", KEEP_FILE).await, None);
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_cut_off() {
    let bucket = bucket();
    let world = World::new(&bucket, 9);
    let picture = world.made("a", 20 << 20);
    let blake3 = blake3::hash(&picture).to_hex().to_string();
    let path = bucket.path("a", "v-1.webm");
    let upload = bucket.begin(&path).await.unwrap();
    let first = bucket.put_part(&path, &upload, 0, picture[..8 << 20].to_vec()).await.unwrap();
    let sending = Sending { name: "v-1.webm".into(), blake3, upload, parts: vec![first] };
    Stored { sending: Some(sending.clone()), ..Stored::default() }.write(&world.at("a")).unwrap();
    // Were the first part read again from the disk, the bucket would have something else.
    let mut file = picture.clone();
    file[..8 << 20].fill(0);
    std::fs::write(world.at("a/v-1.webm"), file).unwrap();
    world.upload.settle("a", NOW).await.unwrap();
    assert_eq!(world.in_bucket("a", "v-1.webm").await.unwrap(), picture);
    let stored = Stored::read(&world.at("a"));
    assert!(stored.sending.is_none() && stored.done == Some(NOW));

    // An upload that the bucket has forgotten, and one of another content.
    world.made("b", 9 << 20);
    for blake3 in [sending.blake3.clone(), "of another".to_owned()] {
        let gone = Sending { upload: "77".into(), blake3, ..sending.clone() };
        Stored { sending: Some(gone), ..Stored::default() }.write(&world.at("b")).unwrap();
        while let Err(error) = world.upload.settle("b", NOW).await {
            assert!(matches!(error, UploadError::Bucket(_)), "{error}");
            let mut stored = Stored::read(&world.at("b"));
            stored.sending = None;
            stored.write(&world.at("b")).unwrap();
        }
        assert_eq!(world.in_bucket("b", "v-1.webm").await.unwrap().len(), 9 << 20);
    }
}

/// A file that is damaged on the way, or was before, does not leave the disk.
#[tokio::test]
async fn what_is_not_in_the_bucket_as_it_was_stays() {
    let world = World::new(&bucket(), 0);
    world.made("a", 1000);
    std::fs::write(world.at("a/v-1.webm"), vec![0; 1000]).unwrap();
    let refused = world.upload.settle("a", NOW).await;
    assert!(matches!(refused, Err(UploadError::Differs(_))), "{refused:?}");
    assert!(world.at("a/v-1.webm").exists());
    assert_eq!(world.in_bucket("a", MANIFEST_FILE).await, None, "without its manifest it is no recording");
    let other = World::new(&world.upload.bucket, 0);
    other.upload.compare().await.unwrap();
    assert!(!other.at("a").exists());
}

#[tokio::test]
async fn what_was_removed_leaves_the_bucket_and_every_other_disk() {
    let bucket = bucket();
    let (world, other) = (World::new(&bucket, 0), World::new(&bucket, 0));
    for id in ["a", "b"] {
        world.made(id, 1000);
        world.upload.settle(id, NOW).await.unwrap();
    }
    other.upload.compare().await.unwrap();
    assert!(other.at("a").exists());
    world.upload.archive.remove("a", NOW, Reason::Asked).unwrap();
    world.upload.settle("a", NOW).await.unwrap();
    assert_eq!(bucket.ids().await.unwrap(), ["b"]);
    let tombstone = Tombstone { id: "a".into(), at: NOW.to_string(), reason: Reason::Asked };
    assert_eq!(bucket.tombstones(|_| false).await.unwrap(), [tombstone]);
    assert_eq!(bucket.tombstones(|id| id == "a").await.unwrap(), []);
    other.upload.compare().await.unwrap();
    assert!(!other.at("a").exists() && other.at("b").exists());
    assert_eq!(other.found("trefoil"), ["b"]);

    // Laid back into the bucket from a copy: it goes again, and nobody takes it over.
    for name in ["manifest.json", "v-1.webm"] {
        let body = world.in_bucket("b", name).await.unwrap();
        bucket.put(&bucket.path("a", name), body).await.unwrap();
    }
    let due = other.upload.compare().await.unwrap();
    assert!(due.contains("a") && !other.at("a").exists());
    other.upload.settle("a", NOW).await.unwrap();
    assert_eq!(bucket.ids().await.unwrap(), ["b"]);
}

/// Whoever can write into the bucket cannot write into this machine.
#[tokio::test]
async fn names_from_the_bucket_lead_nowhere_else() {
    for name in
        ["../../escaped", "/tmp/escaped", ".hidden", "manifest.json", "", "a/b", "..", "timeline.ndjson\0"]
    {
        let bucket = bucket();
        let world = World::new(&bucket, 0);
        let other = World::new(&bucket, 0);
        other.made("a", 10);
        other.upload.settle("a", NOW).await.unwrap();
        let text = String::from_utf8(other.in_bucket("a", "manifest.json").await.unwrap()).unwrap();
        let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        manifest["timeline"] = name.into();
        let path = bucket.path("a", "manifest.json");
        bucket.put(&path, manifest.to_string().into_bytes()).await.unwrap();
        let error = world.upload.fetch("a").await.unwrap_err();
        assert!(matches!(error, UploadError::Damaged(_)), "{name:?}: {error}");
        assert!(!world.at("a").exists());
        // The others still come.
        other.made("b", 10);
        other.upload.settle("b", NOW).await.unwrap();
        world.upload.compare().await.unwrap();
        assert!(world.at("b/manifest.json").exists() && !world.at("a").exists(), "{name:?}");
    }
}

/// Of sealed recordings the bucket has nothing in the clear, and with the keys it is enough.
#[tokio::test]
async fn a_bucket_and_the_keys_are_enough_and_neither_alone_is() {
    let bucket = bucket();
    let keys = Keys::of(&[1]);
    let world = World::with(&bucket, 0, keys.clone());
    let picture = world.made("a", 20 << 20);
    world.upload.settle("a", NOW).await.unwrap();
    assert!(!world.at("a/v-1.webm").exists() && world.at("a/key.json").exists());
    for name in ["v-1.webm", "timeline.ndjson", MANIFEST_FILE, KEY_FILE] {
        let body = world.in_bucket("a", name).await.unwrap();
        for word in [&b"trefoil"[..], b"Knots", &picture[1000..1016]] {
            assert!(!body.windows(word.len()).any(|part| part == word), "{name}");
        }
    }

    let without = World::new(&bucket, 0);
    without.upload.compare().await.unwrap();
    assert!(!without.at("a").exists());
    let other = World::with(&bucket, 0, keys);
    other.upload.compare().await.unwrap();
    assert_eq!(other.found("trefoil"), ["a"]);
    assert_eq!(other.upload.archive.manifest("a"), world.upload.archive.manifest("a"));
    // Nothing of it is sent again.
    other.upload.settle("a", NOW).await.unwrap();
    assert_eq!(other.upload.archive.metrics.recording_upload_bytes.get(), 0);

    // Watched from there, in parts.
    let folder = other.upload.archive.open_folder("a").unwrap();
    let remote = Remote::new(bucket.clone());
    for (from, to) in
        [(0, 20 << 20), (0, 1), (65_535, 65_537), (9_999_999, 12_345_678), ((20 << 20) - 1, 20 << 20)]
    {
        let part = remote.read("a", "v-1.webm", folder.key(), from as u64..to as u64).await.unwrap();
        let part: Vec<Vec<u8>> = part.try_collect().await.unwrap();
        assert!(part.concat() == picture[from..to], "{from} to {to}");
    }
    assert!(remote.read("a", "v-1.webm", folder.key(), 0..(20 << 20) + 1).await.is_err());
    // Damage there is an error, and no picture.
    let path = bucket.path("a", "v-1.webm");
    let mut body = other.in_bucket("a", "v-1.webm").await.unwrap();
    body[5_000_000] ^= 1;
    bucket.put(&path, body.clone()).await.unwrap();
    let read = async |remote: &Remote, part| -> Result<Vec<Vec<u8>>, UploadError> {
        remote.read("a", "v-1.webm", folder.key(), part).await?.try_collect().await
    };
    assert!(read(&remote, 4_900_000..5_100_000).await.is_err());
    assert!(read(&remote, 0..4_000_000).await.is_ok());
    body.truncate(10_000_000);
    bucket.put(&path, body).await.unwrap();
    assert!(read(&Remote::new(bucket.clone()), 0..20 << 20).await.is_err());

    // Back on the disk, as an export wants it.
    let bucket = &world.upload.bucket;
    bucket.put(&path, b"damaged".to_vec()).await.unwrap();
    let brought = super::super::bring::bring_back(&other.upload.archive, bucket, "a").await;
    assert!(matches!(brought, Err(UploadError::Differs(_))));
}
