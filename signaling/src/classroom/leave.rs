//! All ways out of the room.

use sfu::io::Command;

use super::deadlines::Deadline;
use super::{Classroom, JoinKind, ReducedPictures, refusal};
use crate::io::{ConnectionId, Output, RecorderOrder, RequestId};
use crate::lesson::{EventKind, LeaveReason, RecordingEnd};
use crate::message::{Answer, EndReason, ErrorCode, ErrorReply, Notice};
use crate::permission::Permission;
use crate::time::Now;

impl Classroom {
    /// A connection was lost. Its session is kept for [`super::ClassroomConfig::resume_grace`], or as long as its media goes on, but
    /// no longer than [`super::ClassroomConfig::media_grace`].
    pub fn handle_gone(&mut self, now: Now, connection: ConnectionId) {
        let Some(entry) = self.connections.remove(&connection) else { return };
        if let Some(peer) = entry.joining {
            self.abandon_join(peer, refusal(ErrorCode::Unavailable, "the connection was lost"));
        }
        if let Some(identity) = entry.member {
            let member = self.members.get_mut(&identity).expect("a connection names a member until it goes");
            if member.kind == JoinKind::Client {
                member.connection = None;
                let is_heard = member.media.as_ref().is_some_and(|media| media.connected == Some(true));
                let grace = if is_heard { self.config.media_grace } else { self.config.resume_grace };
                self.give_up_restart(&identity);
                self.deadlines.set(Deadline::Resume(identity), now.instant + grace);
            } else {
                // A WHIP or WHEP resource that was deleted does not come back.
                self.depart(now, &identity, LeaveReason::Left, Some(&identity), EndReason::Left, None);
            }
        }
        self.settle(now);
    }

    /// The server goes down. The lesson stays open in the log and goes on after the restart.
    pub fn handle_shutdown(&mut self, now: Now) {
        if self.ended {
            return;
        }
        self.end_recording(now, None, RecordingEnd::Interrupted);
        let present: Vec<String> = self.state.present().map(|(identity, _)| identity.clone()).collect();
        for participant in present {
            self.log(now, None, EventKind::Left { participant, reason: LeaveReason::Shutdown });
        }
        self.put_everybody_out(EndReason::Shutdown);
        self.close_room();
    }

    /// `end`
    pub(super) fn end(
        &mut self,
        now: Now,
        identity: &str,
        connection: ConnectionId,
        request: RequestId,
    ) -> Result<(), ErrorReply> {
        self.require(identity, Permission::End)?;
        self.end_recording(now, None, RecordingEnd::Closed);
        self.log(now, Some(identity), EventKind::Closed {});
        self.reply(connection, request, Ok(Answer::Done {}));
        self.put_everybody_out(EndReason::Closed);
        self.close_room();
        Ok(())
    }

    /// A session ends: it is logged, everybody (the leaver too) hears of it, then the leaver's request is answered, then
    /// the leaver is told why and closed. Somebody who is not there can still be removed for the future.
    pub(super) fn depart(
        &mut self,
        now: Now,
        identity: &str,
        reason: LeaveReason,
        by: Option<&str>,
        end: EndReason,
        reply: Option<(ConnectionId, RequestId)>,
    ) {
        let is_recorder = self.members.get(identity).is_some_and(|member| member.is_recorder);
        if !is_recorder {
            self.log(now, by, EventKind::Left { participant: identity.to_owned(), reason });
            self.send_unsent();
        }
        if let Some((connection, request)) = reply {
            self.reply(connection, request, Ok(Answer::Done {}));
        }
        self.drop_member(identity, end);
        self.watch_emptiness(now);
    }

    /// Ends a session without a word in the log.
    pub(super) fn drop_member(&mut self, identity: &str, end: EndReason) {
        self.drop_media(identity);
        self.deadlines.clear_all_of(identity);
        let Some(member) = self.members.remove(identity) else { return };
        if let Some(connection) = member.connection {
            self.close(connection, end);
        }
    }

    /// Tells a connection why, and closes it.
    pub(super) fn close(&mut self, connection: ConnectionId, reason: EndReason) {
        if let Some(entry) = self.connections.remove(&connection)
            && let Some(peer) = entry.joining
        {
            self.abandon_join(peer, refusal(ErrorCode::Unavailable, "the session has ended"));
        }
        self.notify(vec![connection], Notice::Ended { reason });
        self.outputs.push_back(Output::Close { connection });
    }

    /// Ends the media connection of a member.
    pub(super) fn drop_media(&mut self, identity: &str) {
        self.give_up_restart(identity);
        if let Some(peer) = self.peer_of(identity) {
            self.forget_pictures(identity, |_| true);
            self.forget_pictures_of(identity);
            self.members.get_mut(identity).expect("it has a peer").media = None;
            self.peers.remove(&peer);
            self.media(Command::RemovePeer { peer });
            self.order(RecorderOrder::MemberLeft { peer });
        }
    }

    /// The connection was lost and did not come back, or the media of someone who has nothing else.
    pub(super) fn time_out(&mut self, now: Now, identity: &str) {
        self.depart(now, identity, LeaveReason::Timeout, None, EndReason::Timeout, None);
    }

    /// The token has expired, and the server is configured to mind.
    pub(super) fn expire(&mut self, now: Now, identity: &str) {
        self.depart(now, identity, LeaveReason::Timeout, None, EndReason::TokenExpired, None);
    }

    /// The grace after a restart is over.
    pub(super) fn time_out_restored(&mut self, now: Now) {
        let absent = self.state.present().filter(|(identity, _)| !self.members.contains_key(*identity));
        let absent: Vec<String> = absent.map(|(identity, _)| identity.clone()).collect();
        for identity in absent {
            self.time_out(now, &identity);
        }
    }

    /// Starts to wait for the end of an empty room, or stops waiting. Recorders do not keep a room open.
    pub(super) fn watch_emptiness(&mut self, now: Now) {
        if self.state.present().next().is_some() {
            self.deadlines.clear(&Deadline::Empty);
        } else if !self.deadlines.is_set(&Deadline::Empty) {
            self.deadlines.set(Deadline::Empty, now.instant + self.config.empty_close);
        }
    }

    pub(super) fn close_empty(&mut self, now: Now) {
        self.end_recording(now, None, RecordingEnd::Closed);
        self.log(now, None, EventKind::Closed {});
        self.put_everybody_out(EndReason::Closed);
        self.close_room();
    }

    /// Answers whoever waits, then tells everybody why and closes them.
    fn put_everybody_out(&mut self, reason: EndReason) {
        self.send_unsent();
        for peer in self.pending.keys().copied().collect::<Vec<_>>() {
            self.abandon_join(peer, refusal(ErrorCode::Unavailable, "the room is closing; join anew"));
        }
        for identity in self.members.keys().cloned().collect::<Vec<_>>() {
            self.give_up_restart(&identity);
        }
        let connections: Vec<_> = self.members.values().filter_map(|member| member.connection).collect();
        self.notify(connections.clone(), Notice::Ended { reason });
        for connection in connections {
            self.outputs.push_back(Output::Close { connection });
        }
    }

    /// The last thing that a classroom does.
    pub(super) fn close_room(&mut self) {
        self.media(Command::CloseRoom { room: self.id });
        self.members.clear();
        self.reduced = ReducedPictures::default();
        self.connections.clear();
        self.peers.clear();
        self.deadlines.clear_everything();
        self.clear_wall();
        self.outputs.push_back(Output::Done);
        self.ended = true;
    }
}
