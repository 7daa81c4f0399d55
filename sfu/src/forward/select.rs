//! Which layer of a track a receiver gets.

use crate::media::Target;

/// Size of a camera whose keyframes do not tell theirs: what browsers capture unless told otherwise by Lectern's client.
const ASSUMED_SIZE: (u16, u16) = (1280, 720);
/// A layer that is at least this share of the size at which it is drawn looks sharp; scaling up by a quarter is not seen.
const ENOUGH: f64 = 0.8;

/// The smallest layer that looks sharp at `shown` (width and height in pixels). `count` layers, each twice the size of
/// the one before, the largest `full`.
pub fn wanted_layer(count: usize, full: Option<(u16, u16)>, shown: (u16, u16)) -> usize {
    let (width, height) = full.unwrap_or(ASSUMED_SIZE);
    // The picture is fitted into its frame, so the tighter side decides.
    let needed =
        (f64::from(shown.0) / f64::from(width.max(1))).min(f64::from(shown.1) / f64::from(height.max(1)));
    let top = count.saturating_sub(1);
    (0..top)
        .find(|layer| {
            let scale = f64::from(1u32 << (top - layer).min(16));
            1.0 / scale >= ENOUGH * needed
        })
        .unwrap_or(top)
}

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is of another layer.
    Drop,
    /// It is of the current layer.
    Forward,
    /// It starts a keyframe of the layer to switch to, which is current now.
    Switch,
}

/// Follows a target, changing the simulcast layer only at keyframes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selector {
    /// What to forward; nothing while the picture is paused.
    target: Option<Target>,
    /// The simulcast layer that is forwarded.
    current: Option<usize>,
}

impl Selector {
    /// Nothing is forwarded until a keyframe.
    pub fn new(target: Option<Target>) -> Self {
        Selector { target, current: None }
    }

    /// Aims at something else. The current layer goes on until a keyframe of the new one; a pause is at once.
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

    /// The layer that is forwarded.
    pub fn current(&self) -> Option<usize> {
        self.current
    }

    /// The layer whose keyframe is waited for.
    pub fn waits_for(&self) -> Option<usize> {
        self.target.map(|target| usize::from(target.layer)).filter(|layer| self.current != Some(*layer))
    }

    /// The current layer has broken off (restarted source, receiver gone for a while): wait for a keyframe.
    pub fn reset(&mut self) {
        self.current = None;
    }

    /// Decides on a packet of `layer`. A first picture may come from any layer that is not larger than the target: a small one at once
    /// is better than a black tile, and a large one may be more than the network carries.
    pub fn step(&mut self, layer: usize, keyframe: bool) -> Step {
        let Some(target) = self.target else { return Step::Drop };
        if self.current == Some(layer) {
            return Step::Forward;
        }
        let aimed = usize::from(target.layer);
        if keyframe && (layer == aimed || (self.current.is_none() && layer < aimed)) {
            self.current = Some(layer);
            return Step::Switch;
        }
        Step::Drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_shown_chooses_the_layer() {
        let hd = Some((1280, 720));
        for (shown, layer) in [
            ((160, 90), 0),
            ((320, 180), 0),
            ((400, 225), 0),
            ((480, 270), 1),
            ((640, 360), 1),
            ((1280, 720), 2),
            ((3840, 2160), 2),
        ] {
            assert_eq!(wanted_layer(3, hd, shown), layer, "{shown:?}");
        }
        assert_eq!(wanted_layer(1, hd, (2000, 2000)), 0);
        assert_eq!(wanted_layer(3, None, (1280, 720)), 2);
        assert_eq!(wanted_layer(3, Some((0, 0)), (1280, 720)), 2, "no division by zero");
        // A portrait camera in a wide frame: height decides.
        assert_eq!(wanted_layer(3, Some((720, 1280)), (1280, 320)), 0);
    }

    #[test]
    fn changes_only_at_keyframes() {
        let mut selector = Selector::new(Some(Target::whole(2)));
        assert_eq!(selector.step(0, false), Step::Drop);
        assert_eq!(selector.step(0, true), Step::Switch, "any smaller first picture");
        assert_eq!(selector.waits_for(), Some(2));
        assert_eq!(selector.step(1, true), Step::Drop, "not on the way");
        assert_eq!(selector.step(0, false), Step::Forward);
        assert_eq!(selector.step(2, false), Step::Drop);
        assert_eq!(selector.step(2, true), Step::Switch);
        assert_eq!(selector.waits_for(), None);
        assert_eq!(selector.step(0, true), Step::Drop);
        selector.aim(Some(Target::whole(0)));
        assert_eq!(selector.step(2, false), Step::Forward, "until the keyframe");
        assert_eq!(selector.step(0, true), Step::Switch);
    }

    #[test]
    fn a_pause_is_at_once_and_ends_with_a_keyframe() {
        let mut selector = Selector::new(Some(Target::whole(1)));
        assert_eq!(selector.step(2, true), Step::Drop, "no first picture above the target");
        assert_eq!(selector.step(1, true), Step::Switch);
        selector.aim(None);
        assert_eq!(selector.step(1, false), Step::Drop);
        assert_eq!(selector.step(1, true), Step::Drop);
        assert_eq!(selector.waits_for(), None, "nobody is asked for a keyframe");
        selector.aim(Some(Target::whole(1)));
        assert_eq!(selector.waits_for(), Some(1));
        assert_eq!(selector.step(1, false), Step::Drop);
        assert_eq!(selector.step(1, true), Step::Switch);
    }
}
