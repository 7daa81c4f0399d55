//! Which layer of a track a receiver gets.

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

/// The layer to aim at: the wanted one if it is sent, else the next smaller, else the next larger that is.
pub fn best_live(wanted: usize, live: impl Fn(usize) -> bool, count: usize) -> Option<usize> {
    (0..=wanted).rev().find(|layer| live(*layer)).or_else(|| (wanted + 1..count).find(|layer| live(*layer)))
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

/// Follows a target layer, changing only at keyframes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selector {
    target: usize,
    current: Option<usize>,
}

impl Selector {
    /// Nothing is forwarded until a keyframe.
    pub fn new(target: usize) -> Self {
        Selector { target, current: None }
    }

    /// Aims at another layer. The current one goes on until a keyframe of the new one.
    pub fn aim(&mut self, target: usize) {
        self.target = target;
    }

    /// The layer that is forwarded.
    pub fn current(&self) -> Option<usize> {
        self.current
    }

    /// The layer whose keyframe is waited for.
    pub fn waits_for(&self) -> Option<usize> {
        (self.current != Some(self.target)).then_some(self.target)
    }

    /// The current layer has broken off (restarted source, receiver gone for a while): wait for a keyframe.
    pub fn reset(&mut self) {
        self.current = None;
    }

    /// Decides on a packet of `layer`. A first picture may come from any layer: a small one at once is better than a black tile.
    pub fn step(&mut self, layer: usize, keyframe: bool) -> Step {
        if self.current == Some(layer) {
            return Step::Forward;
        }
        if keyframe && (layer == self.target || self.current.is_none()) {
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
    fn only_sent_layers_are_aimed_at() {
        let live = [true, false, false];
        assert_eq!(best_live(2, |layer| live[layer], 3), Some(0));
        assert_eq!(best_live(0, |layer| layer == 2, 3), Some(2));
        assert_eq!(best_live(1, |_| false, 3), None);
    }

    #[test]
    fn changes_only_at_keyframes() {
        let mut selector = Selector::new(2);
        assert_eq!(selector.step(0, false), Step::Drop);
        assert_eq!(selector.step(0, true), Step::Switch, "any first picture");
        assert_eq!(selector.waits_for(), Some(2));
        assert_eq!(selector.step(1, true), Step::Drop, "not on the way");
        assert_eq!(selector.step(0, false), Step::Forward);
        assert_eq!(selector.step(2, false), Step::Drop);
        assert_eq!(selector.step(2, true), Step::Switch);
        assert_eq!(selector.waits_for(), None);
        assert_eq!(selector.step(0, true), Step::Drop);
        selector.aim(0);
        assert_eq!(selector.step(2, false), Step::Forward, "until the keyframe");
        assert_eq!(selector.step(0, true), Step::Switch);
    }
}
