//! Media that adapts: what a participant asks for and may use, what holds its pictures back, and what it is told of that.
//!
//! What a participant *asks* (`receive`) and what holds it back when it *sends* (`sending`) belong to its session and are told
//! anew to each media connection. What it has *used* belongs to its identity for the whole lesson: to go and come again is no way
//! around a budget. What the media machine *says* (needed layers, the state of pictures) belongs to the media connection.

use std::collections::{BTreeMap, BTreeSet};

use sfu::id::PeerId;
use sfu::io::{Command, PictureState, Reason, SenderLimit, Shown, Traffic};
use sfu::media::{Audience, Kind, Source};

use super::{Classroom, refusal};
use crate::message::{
    Answer, ErrorCode, ErrorReply, Notice, ReceiveMode, ReceivedPicture, SendingLimit, Trouble, Usage,
    UsageReason, ViewPicture,
};
use crate::time::Now;
use crate::token::{BUDGET_MEGABYTES_MAX, is_budget};

/// All pictures together with data saver, in bit/s: about 110 MB an hour. It carries a readable screen at a few pictures a
/// second, or one camera at the size of a stamp; sound comes on top.
pub const DATA_SAVER_BITS_PER_SECOND: u64 = 250_000;
/// From this part of the budget on, in percent, pictures are small: what is left then lasts for a while.
const SAVE_FROM_PERCENT: u64 = 80;
/// A megabyte of a budget, in bytes, as those who sell traffic count.
const MEGABYTE: u64 = 1_000_000;
/// How many reasons there are ([`Reason`]).
const REASONS: usize = 6;

/// Of a session.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// How much it asked for.
    mode: ReceiveMode,
    /// Its own budget, in MB.
    budget: Option<u32>,
    /// That of its token, in MB.
    bound: Option<u32>,
    /// What holds back the pictures that it sends.
    pub(super) limits: BTreeMap<Source, SenderLimit>,
    /// Its network does not carry what it asks for, and has not for a while.
    pub(super) is_short: bool,
    /// What was last told of it.
    pub(super) trouble: Vec<Trouble>,
}

/// Of a media connection.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// As the media machine last said.
    traffic: Traffic,
    /// The limit that the media machine was last told, in bit/s.
    limit: Option<u64>,
    /// Which layers are needed, of each source that the media machine has spoken of.
    encodings: BTreeMap<Source, Vec<bool>>,
    /// The pictures that are less than was asked for.
    pictures: BTreeMap<(String, Source), PictureState>,
}

impl Flow {
    /// Whether a picture is less than was asked for because of the viewer's network.
    pub(super) fn is_short(&self) -> bool {
        self.pictures.values().any(|picture| picture.reason == Some(Reason::Bandwidth))
    }
}

/// What an identity has used in this lesson, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    sent: u64,
    received: u64,
}

/// How many pictures of a room are less than their viewers asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReducedPictures([usize; REASONS]);

impl ReducedPictures {
    /// All reasons, each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, usize)> {
        use Reason::{Bandwidth, Hidden, LayerMissing, Policy, SenderBandwidth, SenderCpu};
        let reasons = [Bandwidth, SenderCpu, SenderBandwidth, LayerMissing, Policy, Hidden];
        reasons.into_iter().map(|reason| (reason, self.0[reason as usize]))
    }

    fn add(&mut self, picture: &PictureState) {
        if let Some(reason) = picture.reason {
            self.0[reason as usize] += 1;
        }
    }

    fn take(&mut self, picture: &PictureState) {
        if let Some(reason) = picture.reason {
            // Each picture that is taken was added before, with the same reason.
            self.0[reason as usize] -= 1;
        }
    }
}

impl Classroom {
    /// How many pictures are less than their viewers asked for, by reason.
    pub fn reduced_pictures(&self) -> ReducedPictures {
        self.reduced
    }

    /// `receive`
    pub(super) fn receive(
        &mut self,
        identity: &str,
        mode: ReceiveMode,
        budget: Option<u32>,
    ) -> Result<Answer, ErrorReply> {
        if budget.is_some_and(|budget| !is_budget(budget)) {
            return Err(refusal(
                ErrorCode::BadRequest,
                format!("budgetMegabytes is 1 to {BUDGET_MEGABYTES_MAX}"),
            ));
        }
        let wishes = self.wishes(identity);
        if (wishes.mode, wishes.budget) != (mode, budget) {
            (wishes.mode, wishes.budget) = (mode, budget);
            self.limit_reception(identity);
            self.tell_usage(identity);
        }
        Ok(Answer::Done {})
    }

    /// `sending`
    pub(super) fn sending(
        &mut self,
        identity: &str,
        source: Source,
        limit: SendingLimit,
    ) -> Result<Answer, ErrorReply> {
        if source.kind() != Kind::Video {
            return Err(refusal(ErrorCode::BadRequest, "only pictures are held back"));
        }
        let limit = limit.to_media();
        if limit.is_some() && !self.tracks_of(identity).contains(&source) {
            return Err(refusal(ErrorCode::NotFound, "this source is not published"));
        }
        self.set_sender_limit(identity, source, limit);
        Ok(Answer::Done {})
    }

    /// A track goes: what held it back goes with it, and with the next one all layers are needed until told.
    pub(super) fn forget_track(&mut self, identity: &str, source: Source) {
        self.set_sender_limit(identity, source, None);
        if let Some(media) = self.members.get_mut(identity).and_then(|member| member.media.as_mut()) {
            media.flow.encodings.remove(&source);
        }
    }

    fn set_sender_limit(&mut self, identity: &str, source: Source, limit: Option<SenderLimit>) {
        let Some(member) = self.members.get_mut(identity) else { return };
        let before = match limit {
            Some(limit) => member.wishes.limits.insert(source, limit),
            None => member.wishes.limits.remove(&source),
        };
        if before == limit {
            return;
        }
        if let Some(peer) = self.peer_of(identity) {
            self.media(Command::SetSenderLimit { peer, source, limit });
        }
        self.trouble_changed(identity);
    }

    /// A new media connection knows nothing yet of what was asked and said.
    pub(super) fn tell_limits(&mut self, identity: &str) {
        self.limit_reception(identity);
        let Some(peer) = self.peer_of(identity) else { return };
        let limits = self.wishes(identity).limits.clone();
        for (source, limit) in limits {
            self.media(Command::SetSenderLimit { peer, source, limit: Some(limit) });
        }
    }

    /// The token of a session that goes on may be another than the one that it began with.
    pub(super) fn bound_budget(&mut self, identity: &str, bound: Option<u32>) {
        self.wishes(identity).bound = bound;
        self.limit_reception(identity);
    }

    /// `Encodings` of the media machine.
    pub(super) fn encodings_changed(&mut self, peer: PeerId, source: Source, active: Vec<bool>) {
        let Some((identity, media)) = self.media_of(peer) else { return };
        if media.flow.encodings.insert(source, active.clone()).as_ref() != Some(&active) {
            self.notify(self.listener(&identity).into_iter().collect(), Notice::Encodings { source, active });
        }
    }

    /// `Pictures` of the media machine.
    pub(super) fn pictures_changed(&mut self, now: Now, peer: PeerId, changes: &[PictureState]) {
        let mut changed = Vec::new();
        for change in changes {
            // Of somebody who has gone since.
            let Some(publisher) = self.peers.get(&change.publisher).cloned() else { continue };
            changed.push(received(&publisher, change));
            let Some((_, media)) = self.media_of(peer) else { return };
            let key = (publisher, change.source);
            let before = if change.shown == Shown::Full {
                media.flow.pictures.remove(&key)
            } else {
                media.flow.pictures.insert(key, *change)
            };
            if let Some(before) = before {
                self.reduced.take(&before);
            }
            if change.shown != Shown::Full {
                self.reduced.add(change);
            }
        }
        let Some(viewer) = self.peers.get(&peer).cloned().filter(|_| !changed.is_empty()) else { return };
        let listener = self.listener(&viewer);
        self.notify(listener.into_iter().collect(), Notice::Pictures { pictures: changed });
        self.watch_shortage(now, &viewer);
    }

    /// What is no longer in the view is forgotten, here and by the client: when it comes again it counts as full until told
    /// otherwise.
    pub(super) fn forget_pictures_beside(&mut self, now: Now, identity: &str, view: &[ViewPicture]) {
        let is_in_view = |key: &(String, Source)| {
            view.iter().any(|picture| picture.participant == key.0 && picture.source == key.1)
        };
        self.forget_pictures(identity, |key| !is_in_view(key));
        self.watch_shortage(now, identity);
    }

    /// A publisher's media connection has gone: its pictures start anew with the next one, as full until told otherwise.
    pub(super) fn forget_pictures_of(&mut self, publisher: &str) {
        let knows = |media: &super::Media| media.flow.pictures.keys().any(|key| key.0 == publisher);
        let viewers = self.members.iter().filter(|(_, member)| member.media.as_ref().is_some_and(knows));
        let viewers: Vec<String> = viewers.map(|(identity, _)| identity.clone()).collect();
        for viewer in viewers {
            let forgotten = self.forget_pictures(&viewer, |key| key.0 == publisher);
            self.tell_full(&viewer, forgotten);
        }
    }

    /// A track went, was muted, or is no longer for everybody: what was said of it is over, and the media machine says nothing more of
    /// it until somebody gets it again.
    pub(super) fn forget_unseen_pictures(&mut self, now: Now) {
        let mut unseen: Vec<(String, BTreeSet<(String, Source)>)> = Vec::new();
        for (viewer, member) in &self.members {
            let Some(media) = member.media.as_ref().filter(|media| !media.flow.pictures.is_empty()) else {
                continue;
            };
            let class = self.role(viewer).class();
            let gone = media.flow.pictures.keys().filter(|key| !self.may_see(class, key)).cloned();
            let gone: BTreeSet<_> = gone.collect();
            if !gone.is_empty() {
                unseen.push((viewer.clone(), gone));
            }
        }
        for (viewer, gone) in unseen {
            let forgotten = self.forget_pictures(&viewer, |key| gone.contains(key));
            self.tell_full(&viewer, forgotten);
            self.watch_shortage(now, &viewer);
        }
    }

    /// Whether a class may see this picture, and there is anything to see.
    fn may_see(&self, class: Audience, (publisher, source): &(String, Source)) -> bool {
        let track = self.state.participants.get(publisher).and_then(|state| state.tracks.get(source));
        track.is_some_and(|track| !track.muted) && self.policy(publisher).publish[source.index()].meets(class)
    }

    fn tell_full(&mut self, viewer: &str, pictures: Vec<(String, Source)>) {
        let full = |(participant, source)| ReceivedPicture {
            participant,
            source,
            shown: Shown::Full,
            reason: None,
            width: None,
            height: None,
        };
        let pictures: Vec<_> = pictures.into_iter().map(full).collect();
        if !pictures.is_empty() {
            let listener = self.listener(viewer);
            self.notify(listener.into_iter().collect(), Notice::Pictures { pictures });
        }
    }

    /// Takes out what is known of some of a viewer's pictures.
    pub(super) fn forget_pictures(
        &mut self,
        viewer: &str,
        is_forgotten: impl Fn(&(String, Source)) -> bool,
    ) -> Vec<(String, Source)> {
        let media = self.members.get_mut(viewer).and_then(|member| member.media.as_mut());
        let Some(media) = media else { return Vec::new() };
        let forgotten = media.flow.pictures.extract_if(.., |key, _| is_forgotten(key));
        let forgotten: Vec<_> = forgotten.collect();
        for (_, picture) in &forgotten {
            self.reduced.take(picture);
        }
        forgotten.into_iter().map(|(key, _)| key).collect()
    }

    /// `Traffic` of the media machine.
    pub(super) fn traffic_changed(&mut self, peers: &[(PeerId, Traffic)]) {
        for (peer, traffic) in peers {
            let Some((identity, media)) = self.media_of(*peer) else { continue };
            let before = std::mem::replace(&mut media.flow.traffic, *traffic);
            let meter = self.meters.entry(identity.clone()).or_default();
            meter.sent += traffic.sent_bytes.saturating_sub(before.sent_bytes);
            meter.received += traffic.received_bytes.saturating_sub(before.received_bytes);
            self.limit_reception(&identity);
            self.tell_usage(&identity);
        }
    }

    /// Tells a client that has just joined, or gone on, what holds for it.
    pub(super) fn tell_adaptation(&mut self, identity: &str) {
        let Some(listener) = self.listener(identity) else { return };
        let flow = self.members[identity].media.as_ref().map(|media| &media.flow);
        let encodings = flow.map(|flow| flow.encodings.clone()).unwrap_or_default();
        let pictures = flow.into_iter().flat_map(|flow| &flow.pictures);
        let pictures: Vec<_> =
            pictures.map(|((publisher, _), picture)| received(publisher, picture)).collect();
        for (source, active) in encodings {
            self.notify(vec![listener], Notice::Encodings { source, active });
        }
        if !pictures.is_empty() {
            self.notify(vec![listener], Notice::Pictures { pictures });
        }
        let usage = self.usage(identity);
        let is_news = usage.mode != ReceiveMode::Normal
            || usage.budget_megabytes.is_some()
            || usage.sent_bytes + usage.received_bytes > 0;
        if is_news {
            self.notify(vec![listener], Notice::Usage(usage));
        }
    }

    fn tell_usage(&mut self, identity: &str) {
        let usage = self.usage(identity);
        self.notify(self.listener(identity).into_iter().collect(), Notice::Usage(usage));
    }

    fn usage(&self, identity: &str) -> Usage {
        let member = &self.members[identity];
        let Meter { sent, received } = self.meters.get(identity).copied().unwrap_or_default();
        let mode = self.mode_of(identity);
        let flow = member.media.as_ref().map(|media| &media.flow);
        Usage {
            sent_bytes: sent,
            received_bytes: received,
            estimate_bits_per_second: flow.and_then(|flow| flow.traffic.estimate_bits_per_second),
            mode,
            budget_megabytes: member.wishes.budget(),
            reason: (mode != member.wishes.mode).then_some(UsageReason::Budget),
        }
    }

    /// How much a participant is sent: what it asked for, or less when its budget is used up or nearly.
    fn mode_of(&self, identity: &str) -> ReceiveMode {
        let wishes = &self.members[identity].wishes;
        let Some(budget) = wishes.budget() else { return wishes.mode };
        let Meter { sent, received } = self.meters.get(identity).copied().unwrap_or_default();
        let (used, budget) = (u128::from(sent) + u128::from(received), u64::from(budget) * MEGABYTE);
        let allowed = if used >= u128::from(budget) {
            ReceiveMode::AudioOnly
        } else if used * 100 >= u128::from(budget * SAVE_FROM_PERCENT) {
            ReceiveMode::DataSaver
        } else {
            ReceiveMode::Normal
        };
        wishes.mode.max(allowed)
    }

    /// Tells the media machine how much a participant is sent, where that has changed.
    fn limit_reception(&mut self, identity: &str) {
        let limit = match self.mode_of(identity) {
            ReceiveMode::Normal => None,
            ReceiveMode::DataSaver => Some(DATA_SAVER_BITS_PER_SECOND),
            ReceiveMode::AudioOnly => Some(0),
        };
        let media = self.members.get_mut(identity).and_then(|member| member.media.as_mut());
        let Some(media) = media.filter(|media| media.flow.limit != limit) else { return };
        media.flow.limit = limit;
        let peer = media.peer;
        self.media(Command::SetReceiveLimit { peer, video_bits_per_second: limit });
    }

    fn wishes(&mut self, identity: &str) -> &mut Wishes {
        &mut self.members.get_mut(identity).expect("called for a member").wishes
    }
}

impl Wishes {
    /// None yet, under the budget of a token.
    pub(super) fn bounded(bound: Option<u32>) -> Self {
        Wishes { bound, ..Wishes::default() }
    }

    /// The budget that holds, in MB: nobody lifts the token's.
    fn budget(&self) -> Option<u32> {
        self.budget.into_iter().chain(self.bound).min()
    }
}

fn received(publisher: &str, picture: &PictureState) -> ReceivedPicture {
    let (width, height) = picture.size.unzip();
    ReceivedPicture {
        participant: publisher.to_owned(),
        source: picture.source,
        shown: picture.shown,
        reason: picture.reason,
        width,
        height,
    }
}
