//! `thumbnail`, and the operator's wall of small pictures: who looks at the room, and what participants' pages have sent meanwhile.
//!
//! Pages send pictures only while somebody looks, and everybody in the room is told as long as somebody does. Each look lasts for [`LOOK`] after it
//! was last asked for. The pictures are the last ones of each track, in memory alone; one goes when its track is muted or ends, when
//! its page takes it back or sends no other for [`FRESH`], and all go when nobody looks any more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sfu::media::Source;

use super::deadlines::Deadline;
use super::rate::THUMBNAILS;
use super::{Classroom, Member, refusal};
use crate::jpeg::{JpegError, SmallJpeg};
use crate::message::{Answer, ErrorCode, ErrorReply, Notice};
use crate::time::{Now, Timestamp};

/// How long a look lasts after it was last asked for: three times as long as the console waits between two.
pub const LOOK: Duration = Duration::from_secs(15);
/// A page sends a picture each 5 s. When three did not come the last one shows nothing that is.
const FRESH: Duration = Duration::from_secs(18);
/// Most pictures that are kept: 3 MiB. A wall of more has no tiles that anybody could look at.
pub const THUMBNAILS_MAX: usize = 256;

/// Who looks, and what there is to see.
#[derive(Debug, Default)]
pub(super) struct Wall {
    /// When each look ends, by whose it is.
    lookers: BTreeMap<String, Instant>,
    pictures: BTreeMap<(String, Source), Picture>,
    count: u64,
}

#[derive(Debug)]
struct Picture {
    id: u64,
    at: Timestamp,
    came: Instant,
    jpeg: SmallJpeg,
}

/// A small picture of the wall, without the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// Names this picture; the next one of the same track has another.
    pub id: u64,
    /// Whose.
    pub participant: String,
    /// [`Source::Camera`] or [`Source::Screen`].
    pub source: Source,
    /// When it came.
    pub at: Timestamp,
    /// The picture.
    pub jpeg: SmallJpeg,
}

impl Classroom {
    /// Somebody looks at the wall of this room: from now on for [`LOOK`]. Gives whether that is a new look of theirs.
    pub fn handle_look(&mut self, now: Now, looker: &str) -> bool {
        if self.ended {
            return false;
        }
        self.wall.lookers.retain(|_, until| *until > now.instant);
        let until = now.instant + LOOK;
        let is_new = self.wall.lookers.insert(looker.to_owned(), until).is_none();
        let is_first = !self.is_looked_at();
        self.deadlines.set(Deadline::Look, until);
        if is_first {
            self.tell_all_looks(true);
        }
        self.forget_stale_thumbnails(now);
        self.settle(now);
        is_new
    }

    /// What there is to see, by participant.
    pub fn thumbnails(&self) -> impl Iterator<Item = Thumbnail> {
        self.wall.pictures.iter().map(|((participant, source), picture)| Thumbnail {
            id: picture.id,
            participant: participant.clone(),
            source: *source,
            at: picture.at,
            jpeg: picture.jpeg.clone(),
        })
    }

    /// Whether anybody looks.
    pub fn is_looked_at(&self) -> bool {
        self.deadlines.is_set(&Deadline::Look)
    }

    /// `thumbnail`
    pub(super) fn thumbnail(
        &mut self,
        now: Now,
        identity: &str,
        source: Source,
        jpeg: Option<&str>,
    ) -> Result<Answer, ErrorReply> {
        if !matches!(source, Source::Camera | Source::Screen) {
            return Err(refusal(ErrorCode::BadRequest, "thumbnails are of cameras and screens"));
        }
        let key = (identity.to_owned(), source);
        let Some(jpeg) = jpeg else {
            self.wall.pictures.remove(&key);
            return Ok(Answer::Done {});
        };
        if !self.is_looked_at() {
            return Err(refusal(ErrorCode::Conflict, "nobody looks at this room"));
        }
        match self.track_muted(identity, source) {
            None => return Err(refusal(ErrorCode::NotFound, "this source is not published")),
            Some(true) => return Err(refusal(ErrorCode::Conflict, "this source is muted")),
            Some(false) => {}
        }
        let member = self.members.get_mut(identity).expect("a request comes from a member");
        if !member.thumbnails.take(THUMBNAILS, now.instant) {
            return Err(refusal(ErrorCode::RateLimited, "too many thumbnails; one in 5 s is enough"));
        }
        let jpeg = SmallJpeg::from_base64(jpeg).map_err(|error| match error {
            JpegError::TooLarge => refusal(ErrorCode::TooLarge, error.to_string()),
            JpegError::NotBase64 | JpegError::NotJpeg => refusal(ErrorCode::BadRequest, error.to_string()),
        })?;
        if self.wall.pictures.len() >= THUMBNAILS_MAX && !self.wall.pictures.contains_key(&key) {
            return Err(refusal(ErrorCode::Unavailable, "the wall has no place for another picture"));
        }
        self.wall.count += 1;
        let picture = Picture { id: self.wall.count, at: now.wall, came: now.instant, jpeg };
        self.wall.pictures.insert(key, picture);
        Ok(Answer::Done {})
    }

    /// Nobody looks any more.
    pub(super) fn end_looks(&mut self) {
        self.wall.lookers.clear();
        self.wall.pictures.clear();
        self.tell_all_looks(false);
    }

    /// The room has ended; there is nobody to tell.
    pub(super) fn clear_wall(&mut self) {
        self.wall = Wall::default();
    }

    /// Tracks have changed: pictures of those that are muted or gone go.
    pub(super) fn forget_unsent_thumbnails(&mut self) {
        let state = &self.state;
        self.wall.pictures.retain(|(identity, source), _| {
            let track = state.participants.get(identity).and_then(|state| state.tracks.get(source));
            track.is_some_and(|track| !track.muted)
        });
    }

    fn forget_stale_thumbnails(&mut self, now: Now) {
        self.wall.pictures.retain(|_, picture| now.instant - picture.came < FRESH);
    }

    /// After a join or a resume, before which a client takes it that nobody looks.
    pub(super) fn tell_looks(&mut self, identity: &str) {
        if self.is_looked_at() {
            self.notify(self.listener(identity).into_iter().collect(), Notice::Thumbnails { wanted: true });
        }
    }

    fn tell_all_looks(&mut self, wanted: bool) {
        let connections = self.members.values().filter_map(Member::listener).collect();
        self.notify(connections, Notice::Thumbnails { wanted });
    }
}
