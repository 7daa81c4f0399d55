//! Follows a choice of layers through a publisher's packets.

use crate::media::Target;
use crate::publish::layers::Standing;

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is of another simulcast layer.
    Drop,
    /// It is of the current one, but of a spatial or temporal layer that is left out.
    LeaveOut {
        /// Nothing of its picture is forwarded.
        picture: bool,
    },
    /// It is of the current layer.
    Forward {
        /// The rest of its picture is left out.
        ends_picture: bool,
    },
    /// It starts a keyframe of the layer to switch to, which is current now.
    Switch {
        /// The rest of its picture is left out.
        ends_picture: bool,
    },
}

/// A packet as the selector sees it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Its simulcast layer.
    pub layer: usize,
    /// It starts a keyframe.
    pub keyframe: bool,
    /// Extended sequence number.
    pub seq: u64,
    /// RTP timestamp: one picture has one, in all its spatial layers.
    pub rtp_time: u32,
    /// Where it stands in its stream.
    pub standing: Standing,
}

/// The spatial and temporal layers that are forwarded: those up to these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Levels {
    spatial: u8,
    temporal: u8,
}

/// Levels, and the packet and picture from which on they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    seq: u64,
    rtp_time: u32,
    levels: Levels,
}

/// Changes that are remembered for packets that were overtaken.
const CHANGES: usize = 6;
/// While a smaller simulcast layer is waited for, the larger one goes on with its pictures halved, so that the network gets air at once.
const TEMPORAL_ON_THE_WAY_DOWN: u8 = 1;

/// Follows a target: the simulcast layer changes only at keyframes; within a stream fewer layers are sent from the next picture on, and
/// more from where its structure lets a decoder follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selector {
    /// What to forward; nothing while the picture is paused.
    target: Option<Target>,
    /// The simulcast layer that is forwarded.
    current: Option<usize>,
    /// Newest first.
    changes: [Change; CHANGES],
    newest_seq: u64,
    /// Timestamp of the newest packet.
    picture: u32,
}

impl Selector {
    /// Nothing is forwarded until a keyframe.
    pub fn new(target: Option<Target>) -> Self {
        let all = Levels { spatial: u8::MAX, temporal: u8::MAX };
        let changes = [Change { seq: 0, rtp_time: 0, levels: all }; CHANGES];
        Selector { target, current: None, changes, newest_seq: 0, picture: 0 }
    }

    /// Aims at something else. The current simulcast layer goes on until a keyframe of the new one; a pause is at once.
    pub fn aim(&mut self, target: Option<Target>) {
        self.target = target;
        if target.is_none() {
            self.current = None;
        }
    }

    /// What is aimed at.
    pub fn target(&self) -> Option<Target> {
        self.target
    }

    /// The simulcast layer that is forwarded.
    pub fn current(&self) -> Option<usize> {
        self.current
    }

    /// The simulcast layer whose keyframe is waited for: another one, or the current one for a higher spatial layer.
    pub fn waits_for(&self) -> Option<usize> {
        let target = self.target?;
        let layer = usize::from(target.layer);
        let short = self.current != Some(layer) || self.levels().spatial < target.spatial;
        short.then_some(layer)
    }

    /// The current layer has broken off (restarted source, receiver gone for a while): wait for a keyframe.
    pub fn reset(&mut self) {
        self.current = None;
    }

    /// The highest spatial and temporal layer that are forwarded.
    pub fn up_to(&self) -> (u8, u8) {
        (self.levels().spatial, self.levels().temporal)
    }

    fn levels(&self) -> Levels {
        self.changes[0].levels
    }

    /// Decides on a packet. A first picture may come from any simulcast layer that is not larger than the target: a small one at once
    /// is better than a black tile, and a large one may be more than the network carries.
    pub fn step(&mut self, seen: Seen) -> Step {
        let Some(target) = self.target else { return Step::Drop };
        if self.current != Some(seen.layer) {
            let aimed = usize::from(target.layer);
            if !seen.keyframe || !(seen.layer == aimed || (self.current.is_none() && seen.layer < aimed)) {
                return Step::Drop;
            }
            self.current = Some(seen.layer);
            let levels = Levels { spatial: target.spatial, temporal: target.temporal };
            self.changes = [Change { seq: seen.seq, rtp_time: seen.rtp_time, levels }; CHANGES];
            (self.newest_seq, self.picture) = (seen.seq, seen.rtp_time);
            return Step::Switch { ends_picture: ends_picture(levels, &seen.standing) };
        }
        let levels = if seen.seq > self.newest_seq {
            self.follow(target, &seen);
            (self.newest_seq, self.picture) = (seen.seq, seen.rtp_time);
            self.levels()
        } else {
            self.levels_of(seen.seq, seen.rtp_time)
        };
        if seen.standing.temporal > levels.temporal {
            return Step::LeaveOut { picture: true };
        }
        if seen.standing.spatial > levels.spatial {
            return Step::LeaveOut { picture: false };
        }
        Step::Forward { ends_picture: ends_picture(levels, &seen.standing) }
    }

    /// Comes nearer to the target with a packet that is newer than all before.
    fn follow(&mut self, target: Target, seen: &Seen) {
        let standing = &seen.standing;
        let mut levels = self.levels();
        let temporal = match seen.layer.cmp(&usize::from(target.layer)) {
            std::cmp::Ordering::Less => u8::MAX,
            std::cmp::Ordering::Equal => target.temporal,
            std::cmp::Ordering::Greater => target.temporal.min(TEMPORAL_ON_THE_WAY_DOWN),
        };
        let new_picture = seen.rtp_time != self.picture;
        if new_picture {
            levels.spatial = levels.spatial.min(target.spatial);
            levels.temporal = levels.temporal.min(temporal);
        }
        // Higher spatial layers come with a whole picture only: the marker may be on the layer below already.
        if seen.keyframe || (new_picture && standing.intra) {
            levels = Levels { spatial: target.spatial, temporal };
        }
        if let Some(opening) = standing.opens
            && standing.spatial <= levels.spatial
            && opening.after <= levels.temporal
            // A picture whose first packets were left out is left out as a whole.
            && (new_picture || standing.temporal <= levels.temporal)
        {
            let place = usize::from(levels.spatial).min(opening.temporal_layers.len() - 1);
            if let Some(opened) = opening.temporal_layers[place].checked_sub(1) {
                levels.temporal = levels.temporal.max(opened.min(temporal));
            }
        }
        if levels != self.levels() {
            self.changes.rotate_right(1);
            self.changes[0] = Change { seq: seen.seq, rtp_time: seen.rtp_time, levels };
        }
    }

    /// What held for a packet that was overtaken. All of a picture is treated as the first packet of it that came.
    fn levels_of(&self, seq: u64, rtp_time: u32) -> Levels {
        let change = self.changes.iter().find(|change| change.seq <= seq || change.rtp_time == rtp_time);
        change.unwrap_or(&self.changes[CHANGES - 1]).levels
    }
}

/// Whether what follows in the picture is left out, if anything does.
fn ends_picture(levels: Levels, standing: &Standing) -> bool {
    standing.ends_layer && standing.spatial == levels.spatial
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::layers::Opening;

    /// A packet of a picture of its own.
    fn seen(layer: usize, keyframe: bool, seq: u64, standing: Standing) -> Seen {
        Seen { layer, keyframe, seq, rtp_time: u32::try_from(seq / 10).expect("small"), standing }
    }

    /// The next packet of a stream without layers.
    fn step(selector: &mut Selector, layer: usize, keyframe: bool) -> Step {
        let seq = selector.newest_seq + 10;
        selector.step(seen(layer, keyframe, seq, Standing::default()))
    }

    const FORWARD: Step = Step::Forward { ends_picture: false };
    const SWITCH: Step = Step::Switch { ends_picture: false };
    const LEFT_OUT: Step = Step::LeaveOut { picture: true };

    #[test]
    fn changes_only_at_keyframes() {
        let mut selector = Selector::new(Some(Target::whole(2)));
        assert_eq!(step(&mut selector, 0, false), Step::Drop);
        assert_eq!(step(&mut selector, 0, true), SWITCH, "any smaller first picture");
        assert_eq!(selector.waits_for(), Some(2));
        assert_eq!(step(&mut selector, 1, true), Step::Drop, "not on the way");
        assert_eq!(step(&mut selector, 0, false), FORWARD);
        assert_eq!(step(&mut selector, 2, false), Step::Drop);
        assert_eq!(step(&mut selector, 2, true), SWITCH);
        assert_eq!(selector.waits_for(), None);
        assert_eq!(step(&mut selector, 0, true), Step::Drop);
        selector.aim(Some(Target::whole(0)));
        assert_eq!(step(&mut selector, 2, false), FORWARD, "until the keyframe");
        assert_eq!(step(&mut selector, 0, true), SWITCH);
    }

    #[test]
    fn a_pause_is_at_once_and_ends_with_a_keyframe() {
        let mut selector = Selector::new(Some(Target::whole(1)));
        assert_eq!(step(&mut selector, 2, true), Step::Drop, "no first picture above the target");
        assert_eq!(step(&mut selector, 1, true), SWITCH);
        selector.aim(None);
        assert_eq!(step(&mut selector, 1, false), Step::Drop);
        assert_eq!(step(&mut selector, 1, true), Step::Drop);
        assert_eq!(selector.waits_for(), None, "nobody is asked for a keyframe");
        selector.aim(Some(Target::whole(1)));
        assert_eq!(selector.waits_for(), Some(1));
        assert_eq!(step(&mut selector, 1, false), Step::Drop);
        assert_eq!(step(&mut selector, 1, true), SWITCH);
    }

    fn at(temporal: u8) -> Standing {
        Standing { temporal, ..Standing::default() }
    }

    /// With layer sync, as VP8 has it.
    fn sync(temporal: u8) -> Standing {
        let opens = Some(Opening { after: temporal - 1, temporal_layers: [temporal + 1; 4] });
        Standing { temporal, opens, ..Standing::default() }
    }

    #[test]
    fn fewer_pictures_from_the_next_one_on_and_more_where_the_stream_opens() {
        let mut selector = Selector::new(Some(Target::whole(0)));
        assert_eq!(selector.step(seen(0, true, 10, at(0))), SWITCH);
        assert_eq!(selector.step(seen(0, false, 20, at(2))), FORWARD);
        selector.aim(Some(Target { temporal: 0, ..Target::whole(0) }));
        assert_eq!(selector.step(seen(0, false, 21, at(2))), FORWARD, "the rest of the picture");
        assert_eq!(selector.step(seen(0, false, 30, at(1))), LEFT_OUT);
        assert_eq!(selector.step(seen(0, false, 19, at(2))), FORWARD, "overtaken: what held then");
        assert_eq!(selector.step(seen(0, false, 40, at(0))), FORWARD);
        selector.aim(Some(Target { temporal: 2, ..Target::whole(0) }));
        assert_eq!(selector.waits_for(), None, "no keyframe is needed for that");
        assert_eq!(selector.step(seen(0, false, 50, at(1))), LEFT_OUT, "it may depend on what was left out");
        assert_eq!(selector.step(seen(0, false, 60, sync(2))), LEFT_OUT, "one after the other");
        let low = selector.target();
        selector.aim(Some(Target { temporal: 0, ..Target::whole(0) }));
        assert_eq!(selector.step(seen(0, false, 65, sync(1))), LEFT_OUT);
        selector.aim(low);
        assert_eq!(selector.step(seen(0, false, 66, sync(1))), LEFT_OUT, "all of the picture");
        assert_eq!(selector.step(seen(0, false, 70, sync(1))), FORWARD);
        assert_eq!(selector.step(seen(0, false, 80, at(2))), LEFT_OUT);
        assert_eq!(selector.step(seen(0, false, 90, sync(2))), FORWARD);
        assert_eq!(selector.step(seen(0, false, 100, at(2))), FORWARD);
        assert_eq!(selector.step(seen(0, false, 79, at(2))), LEFT_OUT, "overtaken: what held then");
        selector.aim(Some(Target { temporal: 0, ..Target::whole(0) }));
        assert_eq!(selector.step(seen(0, false, 110, at(1))), LEFT_OUT);
        selector.aim(Some(Target::whole(0)));
        assert_eq!(selector.step(seen(0, true, 120, at(0))), FORWARD);
        assert_eq!(selector.step(seen(0, false, 130, at(2))), FORWARD, "after a keyframe all is new");
    }

    #[test]
    fn a_smaller_picture_from_the_next_one_on_and_a_larger_one_from_a_keyframe_on() {
        let low = Target { spatial: 0, ..Target::whole(0) };
        let mut selector = Selector::new(Some(low));
        // Of the packets that end each spatial layer, what is forwarded and where the marker is set.
        let picture = |selector: &mut Selector, at: u64, keyframe: bool| {
            [0, 1, 2].map(|spatial: u8| {
                let intra = keyframe && spatial == 0;
                let standing = Standing { spatial, ends_layer: true, intra, ..Standing::default() };
                match selector.step(seen(0, intra, at * 10 + u64::from(spatial), standing)) {
                    Step::Forward { ends_picture } | Step::Switch { ends_picture } => Some(ends_picture),
                    _ => None,
                }
            })
        };
        assert_eq!(picture(&mut selector, 1, true), [Some(true), None, None]);
        selector.aim(Some(Target { spatial: 1, ..low }));
        assert_eq!(selector.waits_for(), Some(0));
        assert_eq!(picture(&mut selector, 2, false), [Some(true), None, None]);
        assert_eq!(picture(&mut selector, 3, true), [Some(false), Some(true), None]);
        assert_eq!(selector.waits_for(), None);
        selector.aim(Some(Target::whole(0)));
        assert_eq!(picture(&mut selector, 4, true), [Some(false); 3], "the publisher's own marker");
        selector.aim(Some(low));
        let rest = Standing { spatial: 2, ends_layer: true, ..Standing::default() };
        assert_eq!(selector.step(seen(0, false, 43, rest)), FORWARD, "the rest of the picture");
        assert_eq!(picture(&mut selector, 5, false), [Some(true), None, None]);
    }
}
