//! Tells other systems what becomes of recordings, and throws old events away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use recording::manifest::State;
use recording::tombstone::Tombstone;

use crate::clock;
use crate::events::{EventStream, EventsError, NewEvent, What};
use crate::export::{Ended, OnEnd};
use crate::record::{Catalogue, CatalogueError, Entry, Query, RecordingSummary, Recordings};

/// How often old events are looked for.
const PRUNE: Duration = Duration::from_secs(3600);

/// A catalogue whose changes are told. The start puts every recording into it again, so what a crash kept from being told is told then.
pub(super) struct Telling<C> {
    catalogue: C,
    events: EventStream,
}

impl<C: Catalogue> Telling<C> {
    pub fn new(catalogue: C, events: EventStream) -> Self {
        Telling { catalogue, events }
    }
}

impl<C: Catalogue> Catalogue for Telling<C> {
    fn put(&self, entry: &Entry<'_>) -> Result<(), CatalogueError> {
        self.catalogue.put(entry)?;
        let manifest = entry.manifest;
        // Recordings of a time in which nothing was told are no news.
        let is_news = manifest.began >= self.events.created_at().to_string();
        if manifest.state == State::Live || !is_news {
            return Ok(());
        }
        let event = NewEvent {
            at: clock::wall(),
            room: Some(manifest.room.clone()),
            lesson: Some(manifest.lesson.clone()),
            what: What::RecordingReady {
                recording: manifest.id.clone(),
                duration_ms: manifest.duration_ms,
                is_whole: manifest.state == State::Final,
            },
        };
        warn(self.events.tell_ready(&manifest.id, &manifest.room, &manifest.lesson, &event));
        Ok(())
    }

    fn bury(&self, tombstone: &Tombstone) -> Result<(), CatalogueError> {
        self.catalogue.bury(tombstone)?;
        warn(self.events.tell_deleted(&tombstone.id, clock::wall()));
        Ok(())
    }

    fn tombstones(&self) -> Result<Vec<Tombstone>, CatalogueError> {
        self.catalogue.tombstones()
    }

    fn keep_only(&self, ids: &BTreeSet<String>) -> Result<(), CatalogueError> {
        self.catalogue.keep_only(ids)?;
        warn(self.events.tell_deleted_but(ids, clock::wall()));
        Ok(())
    }

    fn get(&self, id: &str) -> Result<Option<RecordingSummary>, CatalogueError> {
        self.catalogue.get(id)
    }

    fn list(&self, query: &Query) -> Result<Vec<RecordingSummary>, CatalogueError> {
        self.catalogue.list(query)
    }
}

/// Tells of exports that have ended.
pub(super) fn of_exports(events: EventStream, recordings: Recordings) -> OnEnd {
    Arc::new(move |ended: Ended| {
        let (recording, export) = (ended.recording.clone(), ended.kind.name().to_owned());
        let manifest = recordings.manifest(&recording);
        let event = NewEvent {
            at: clock::wall(),
            room: manifest.as_ref().map(|manifest| manifest.room.clone()),
            lesson: manifest.as_ref().map(|manifest| manifest.lesson.clone()),
            what: match ended.is_done {
                true => What::ExportFinished { export, recording },
                false => What::ExportFailed { export, recording },
            },
        };
        if let Err(error) = events.tell(&event) {
            tracing::error!(recording = ended.recording, %error, "that an export has ended is not told");
        }
    })
}

fn warn(told: Result<(), EventsError>) {
    if let Err(error) = told {
        tracing::error!(%error, "what became of a recording is told at the next start");
    }
}

/// Removes old events, at the start and each hour.
pub(super) async fn keep_short(events: EventStream) {
    loop {
        let stream = events.clone();
        let pruned = tokio::task::spawn_blocking(move || stream.prune(clock::wall())).await;
        if let Ok(Err(error)) = pruned {
            tracing::error!(%error, "old events are still there");
        }
        tokio::time::sleep(PRUNE).await;
    }
}
