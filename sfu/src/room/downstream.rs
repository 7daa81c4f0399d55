//! What a member's network carries, and what was decided and told for it.

use crate::bandwidth::{Bound, Downlink};
use crate::io::{PictureState, Traffic};

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Downstream {
    /// The network.
    pub link: Downlink,
    /// Most that its pictures may take together, in bit/s.
    pub limit: Option<u64>,
    /// What its pictures take, and whether more was wanted, by the last decision.
    pub last: Option<(u64, Bound)>,
    /// What the estimator was told to aim at.
    pub aimed: u64,
    /// What the participant was told of its pictures.
    pub told: Vec<PictureState>,
    /// What it was told of its traffic.
    pub told_traffic: Traffic,
}

impl Downstream {
    /// Whether time alone may change the decision: a wait that ends, a rate that drifts.
    pub fn is_short(&self) -> bool {
        self.last.is_some_and(|(_, bound)| bound == Bound::Network)
    }

    /// Whether an estimate is so near to what is sent that a decision is due at once.
    pub fn is_tight(&self, estimate: u64) -> bool {
        self.last.is_some_and(|(spent, bound)| bound == Bound::Network || spent > estimate / 5 * 4)
    }
}
