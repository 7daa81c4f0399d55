//! `view`, and the stage that WHEP players see.

use std::collections::BTreeSet;

use sfu::id::PeerId;
use sfu::io::{Command, Picture};
use sfu::media::{Kind, Source};

use super::{Classroom, JoinKind, refusal};
use crate::message::{Answer, ErrorCode, ErrorReply, ViewPicture};
use crate::permission::{self, Role};
use crate::time::Now;
use crate::token::IDENTITY_BYTES_MAX;

/// Most pictures in a view; the media machine takes as many as the offer has video slots.
pub const PICTURES_MAX: usize = 64;
/// A WHEP player does not say how large it is; it gets full HD.
const STAGE_PX: (u16, u16) = (1920, 1080);

impl Classroom {
    pub(super) fn view(
        &mut self,
        now: Now,
        identity: &str,
        pictures: Vec<ViewPicture>,
    ) -> Result<Answer, ErrorReply> {
        if pictures.len() > PICTURES_MAX {
            return Err(refusal(ErrorCode::TooLarge, format!("a view has at most {PICTURES_MAX} pictures")));
        }
        for picture in &pictures {
            if picture.participant.len() > IDENTITY_BYTES_MAX {
                return Err(refusal(ErrorCode::BadRequest, "an identity in the view is too long"));
            }
            if picture.source.kind() != Kind::Video {
                return Err(refusal(
                    ErrorCode::BadRequest,
                    "a view has pictures only; sound comes by itself",
                ));
            }
        }
        self.forget_pictures_beside(now, identity, &pictures);
        let member = self.members.get_mut(identity).expect("a request comes from a member");
        member.view = pictures;
        self.send_view(identity);
        Ok(Answer::Done {})
    }

    /// Tells the media machine what a client shows. Pictures of those who are not there are left out, and come in when they join.
    pub(super) fn send_view(&mut self, identity: &str) {
        let Some(member) = self.members.get(identity) else { return };
        let Some(media) = &member.media else { return };
        let mut seen = BTreeSet::new();
        let pictures = member.view.iter().filter_map(|picture| {
            let publisher = self.peer_of(&picture.participant).filter(|peer| *peer != media.peer)?;
            let shown = picture.width > 0 && picture.height > 0 && seen.insert((publisher, picture.source));
            shown.then_some(Picture {
                publisher,
                source: picture.source,
                width_px: picture.width,
                height_px: picture.height,
            })
        });
        let command = Command::View { peer: media.peer, pictures: pictures.collect() };
        self.media(command);
    }

    /// Somebody has a new media connection: whoever shows them is to be sent it.
    pub(super) fn refresh_views_of(&mut self, publisher: &str) {
        let names = |view: &[ViewPicture]| view.iter().any(|picture| picture.participant == publisher);
        let viewers = self.members.iter().filter(|(_, member)| names(&member.view));
        let viewers: Vec<String> = viewers.map(|(identity, _)| identity.clone()).collect();
        for viewer in viewers {
            self.send_view(&viewer);
        }
    }

    /// Puts the stage before every WHEP player, where it has changed.
    pub(super) fn refresh_stages(&mut self) {
        let players = self.members.iter().filter(|(_, member)| member.kind == JoinKind::Whep);
        let players: Vec<String> = players.map(|(identity, _)| identity.clone()).collect();
        for player in players {
            let stage = self.stage(&player);
            let media = self.members.get_mut(&player).and_then(|member| member.media.as_mut());
            let Some(media) = media.filter(|media| media.stage != stage) else { continue };
            media.stage.clone_from(&stage);
            let peer = media.peer;
            self.media(Command::View { peer, pictures: stage });
        }
    }

    /// The shared screen (the teacher's before others'), else the teacher's camera, of those that the player may see.
    fn stage(&self, player: &str) -> Vec<Picture> {
        let class = self.role(player).class();
        let best = self.state.present().filter(|(identity, _)| identity.as_str() != player);
        let best = best.flat_map(|(identity, state)| {
            state.tracks.keys().map(move |source| (identity, state.role, *source))
        });
        let best = best.filter_map(|(identity, role, source)| {
            let has_floor = self.state.has_floor(identity);
            let visible = permission::audience(role, &self.state.settings, has_floor, source).meets(class);
            let rank = match (source, role) {
                _ if !visible => return None,
                (Source::Screen, _) => (0, role),
                (Source::Camera, Role::Teacher) => (1, role),
                _ => return None,
            };
            Some((rank, identity, self.peer_of(identity)?, source))
        });
        let best = best.min();
        let picture = |publisher: PeerId, source: Source| Picture {
            publisher,
            source,
            width_px: STAGE_PX.0,
            height_px: STAGE_PX.1,
        };
        best.map(|(_, _, publisher, source)| picture(publisher, source)).into_iter().collect()
    }
}
