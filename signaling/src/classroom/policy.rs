//! Holding everybody to the one permission table: before a request, and after whatever changes it.

use std::collections::{BTreeMap, BTreeSet};

use sfu::id::PeerId;
use sfu::io::{Command, PeerPolicy};
use sfu::media::{Audience, Source};

use super::{Classroom, refusal};
use crate::io::ConnectionId;
use crate::message::{ErrorCode, ErrorReply, Notice};
use crate::permission::{self, Permission, Role};
use crate::time::Now;

impl Classroom {
    /// What somebody may do now.
    pub(super) fn permissions(&self, identity: &str) -> BTreeSet<Permission> {
        permission::permissions(self.role(identity), &self.state.settings, self.state.has_floor(identity))
    }

    /// What the media machine is to let somebody do now.
    pub(super) fn policy(&self, identity: &str) -> PeerPolicy {
        self.policy_as(identity, self.role(identity))
    }

    /// The same of somebody who is about to have this role.
    pub(super) fn policy_as(&self, identity: &str, role: Role) -> PeerPolicy {
        let has_floor = self.state.has_floor(identity);
        let may_be_recorded = self.state.may_be_recorded_as(identity, role);
        permission::media_policy(role, &self.state.settings, has_floor, may_be_recorded)
    }

    pub(super) fn require(&self, identity: &str, permission: Permission) -> Result<(), ErrorReply> {
        if self.permissions(identity).contains(&permission) {
            Ok(())
        } else {
            Err(refusal(ErrorCode::Forbidden, "you may not do that"))
        }
    }

    pub(super) fn require_present(&self, identity: &str) -> Result<(), ErrorReply> {
        if self.state.is_present(identity) {
            Ok(())
        } else {
            Err(refusal(ErrorCode::NotFound, "there is no such participant"))
        }
    }

    /// An assistant does not touch a teacher.
    pub(super) fn require_rank(&self, identity: &str, other: &str) -> Result<(), ErrorReply> {
        let other = self.state.participants.get(other).map_or(Role::Recorder, |state| state.role);
        if self.role(identity).may_act_on(other) {
            Ok(())
        } else {
            Err(refusal(ErrorCode::Forbidden, "an assistant may not do that to a teacher"))
        }
    }

    pub(super) fn peer_of(&self, identity: &str) -> Option<PeerId> {
        Some(self.members.get(identity)?.media.as_ref()?.peer)
    }

    /// After a change of the floor, a role or the settings: the media machine and the clients learn what these may do now, and
    /// tracks that may no longer be sent are taken away.
    pub(super) fn refresh_policy(&mut self, now: Now, identities: &[String]) {
        // One notice for all who may the same, so that it is serialised once.
        let mut told: BTreeMap<(Role, BTreeSet<Permission>), Vec<ConnectionId>> = BTreeMap::new();
        for identity in identities {
            let (role, permissions, policy) =
                (self.role(identity), self.permissions(identity), self.policy(identity));
            if let Some(member) = self.members.get_mut(identity) {
                if member.permissions != permissions {
                    member.permissions.clone_from(&permissions);
                    if let Some(connection) = member.listener() {
                        told.entry((role, permissions)).or_default().push(connection);
                    }
                }
                if let Some(media) = member.media.as_mut().filter(|media| media.policy != policy) {
                    media.policy = policy;
                    let peer = media.peer;
                    self.media(Command::SetPolicy { peer, policy });
                }
            }
            for source in self.tracks_of(identity) {
                if policy.publish[source.index()] == Audience::NOBODY {
                    self.take_track(now, None, identity, source);
                }
            }
        }
        self.send_unsent();
        for ((role, permissions), connections) in told {
            self.notify(
                connections,
                Notice::Permissions { permissions: permissions.into_iter().collect(), role },
            );
        }
    }

    /// What somebody publishes.
    pub(super) fn tracks_of(&self, identity: &str) -> Vec<Source> {
        let state = self.state.participants.get(identity);
        state.map_or_else(Vec::new, |state| state.tracks.keys().copied().collect())
    }

    /// Whether a viewer of this class sees or hears anything that this participant may send.
    pub(super) fn is_visible(&self, identity: &str, class: Audience) -> bool {
        self.policy(identity).publish.iter().any(|audience| audience.meets(class))
    }
}
