//! For tests.

use serde_json::{Value, json};

use crate::manifest::Manifest;

/// A manifest of a recording that began on 26 November 2026 at 18:00.
pub(super) fn manifest(duration_ms: u64, tracks: Vec<Value>) -> Manifest {
    let manifest = json!({"version": 1, "id": "r", "room": "knots", "title": "Knots", "lesson": "l", "state": "final",
        "began": "2026-11-26T18:00:00.500Z", "durationMs": duration_ms, "tracks": tracks, "pauses": [],
        "timeline": "timeline.ndjson", "timelineBytes": 1});
    serde_json::from_value(manifest).expect("as above")
}
