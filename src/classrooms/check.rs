//! The room of a test before class: media alone, without name, lesson or log, for one peer who may send nothing to anybody.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sfu::id::{PeerId, RoomId};
use sfu::io::{AddPeer, Command, Event, OfferError, PeerPolicy};
use signaling::message::{ErrorCode, ErrorReply, IceServer};
use tokio::sync::mpsc;

use super::{Classrooms, MEDIA_EVENTS, Shared, load, lock};

/// See the [module](self). It ends when it is dropped.
pub struct CheckRoom {
    shared: Arc<Shared>,
    id: RoomId,
    worker: usize,
    /// Held while an offer is answered: one after the other.
    state: tokio::sync::Mutex<State>,
}

struct State {
    events: mpsc::Receiver<Event>,
    offers: u32,
    peer: Option<PeerId>,
}

/// Offers of one test: a few ways, each twice, and again over the best.
const OFFERS: u32 = 16;

impl Classrooms {
    /// Opens a room that no token can name: rooms of classes are found by name, and this one has none.
    ///
    /// # Errors
    /// When the server ends, or has no worker for it.
    pub fn open_check(&self) -> Result<CheckRoom, ErrorReply> {
        let unavailable = |message: &str| Err(ErrorReply::new(ErrorCode::Unavailable, message));
        let shared = &self.shared;
        if self.is_closing() {
            return unavailable("the server is shutting down");
        }
        let Some(worker) = load::choose(&shared.workers) else {
            return unavailable("this server has no strength for a test");
        };
        let id = RoomId(shared.count());
        let (media, events) = mpsc::channel(MEDIA_EVENTS);
        lock(&shared.media).insert(id, media);
        let state = tokio::sync::Mutex::new(State { events, offers: 0, peer: None });
        let room = CheckRoom { shared: shared.clone(), id, worker, state };
        match shared.workers[worker].handle.send(Command::OpenRoom { room: id }) {
            Ok(()) => Ok(room),
            Err(gone) => unavailable(&gone.to_string()),
        }
    }

    /// What a test before class gets of the relay; see [`crate::turn::IceServers::issue_check`].
    pub fn ice_servers_of_check(&self, id: &str, expires_secs: u64) -> Vec<IceServer> {
        self.shared.ice_servers.issue_check(id, expires_secs)
    }
}

impl CheckRoom {
    /// Answers an offer; its peer takes the place of the one before.
    ///
    /// # Errors
    /// When the offer cannot be answered, or was one too many.
    pub async fn answer(&self, offer: String, within: Duration) -> Result<String, ErrorReply> {
        let mut state = self.state.lock().await;
        if state.offers == OFFERS {
            return Err(ErrorReply::new(
                ErrorCode::RateLimited,
                "this test has had its offers; begin another",
            ));
        }
        state.offers += 1;
        // The room's number in front, as everywhere.
        let peer = PeerId(self.id.0 << 24 | u64::from(state.offers));
        let before = state.peer.replace(peer);
        let remove = before.map(|peer| Command::RemovePeer { peer });
        let add = AddPeer {
            room: self.id,
            peer,
            offer,
            sources: Vec::new(),
            // Nobody: nothing that it sends is forwarded.
            policy: PeerPolicy::default(),
        };
        let worker = &self.shared.workers[self.worker].handle;
        for command in remove.into_iter().chain([Command::AddPeer(Box::new(add))]) {
            worker.send(command).map_err(|gone| ErrorReply::new(ErrorCode::Unavailable, gone.to_string()))?;
        }
        let answered = async {
            while let Some(event) = state.events.recv().await {
                match event {
                    Event::Answered { peer: of, answer, .. } if of == peer => return Ok(answer),
                    Event::Refused { peer: of, error, .. } if of == peer => return Err(refusal(&error)),
                    // How the connection does, its client sees.
                    _ => {}
                }
            }
            Err(silence())
        };
        tokio::time::timeout(within, answered).await.unwrap_or_else(|_| Err(silence()))
    }
}

impl Drop for CheckRoom {
    fn drop(&mut self) {
        let worker = &self.shared.workers[self.worker];
        // A worker that is gone has no rooms.
        let _ = worker.handle.send(Command::CloseRoom { room: self.id });
        worker.rooms.fetch_sub(1, Relaxed);
        lock(&self.shared.media).remove(&self.id);
    }
}

fn silence() -> ErrorReply {
    ErrorReply::new(ErrorCode::Unavailable, "the media worker does not answer")
}

fn refusal(error: &OfferError) -> ErrorReply {
    let code = match error {
        OfferError::TooLong => ErrorCode::TooLarge,
        OfferError::Busy | OfferError::NoRoom => ErrorCode::Unavailable,
        _ => ErrorCode::OfferRefused,
    };
    ErrorReply::new(code, error.to_string())
}
