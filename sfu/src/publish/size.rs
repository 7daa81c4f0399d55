//! Which layer is worth showing at a size.

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
}
