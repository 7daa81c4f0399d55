//! How busy the media workers are, and which one gets the next room.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::Shared;
use crate::worker::WorkerHandle;

/// Time between two looks at the workers.
const INTERVAL: Duration = Duration::from_secs(1);
/// Weight of the last second in the load: about the mean of the last ten. A burst, or a moment in which other programs had the
/// core, is not load.
const WEIGHT: u64 = 10;
/// A worker that is busier than this gets no new rooms, in thousandths of a core (HARDENING, admission): those that it
/// has would suffer.
const BUSY_PERMILLE: u64 = 800;

/// A media worker and its load.
#[derive(Debug)]
pub struct WorkerLoad {
    /// For commands.
    pub handle: WorkerHandle,
    /// Rooms that were given to it and have not ended.
    pub rooms: AtomicU64,
    busy_permille: AtomicU64,
    packets_per_second: AtomicU64,
}

impl WorkerLoad {
    pub(super) fn new(handle: WorkerHandle) -> Self {
        WorkerLoad {
            handle,
            rooms: AtomicU64::new(0),
            busy_permille: AtomicU64::new(0),
            packets_per_second: AtomicU64::new(0),
        }
    }

    /// Share of its core that it uses, over about ten seconds, in thousandths.
    pub fn busy_permille(&self) -> u64 {
        self.busy_permille.load(Relaxed)
    }

    /// Datagrams in and out in the last second.
    pub fn packets_per_second(&self) -> u64 {
        self.packets_per_second.load(Relaxed)
    }

    /// Media connections now.
    pub fn peers(&self) -> u64 {
        self.handle.stats().peers.load(Relaxed)
    }
}

/// The worker with the fewest peers, then the fewest rooms, among those that live and are not overloaded. Takes a place
/// there for a room.
pub(super) fn choose(workers: &[WorkerLoad]) -> Option<usize> {
    let able = |worker: &WorkerLoad| worker.handle.is_alive() && worker.busy_permille() <= BUSY_PERMILLE;
    let (index, worker) = workers
        .iter()
        .enumerate()
        .filter(|(_, worker)| able(worker))
        .min_by_key(|(_, worker)| (worker.peers(), worker.rooms.load(Relaxed)))?;
    worker.rooms.fetch_add(1, Relaxed);
    Some(index)
}

/// Measures each second, until the rooms are gone.
pub(super) async fn watch(shared: Weak<Shared>) {
    let mut last: Vec<(u64, u64)> = Vec::new();
    let mut then = Instant::now();
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let now = Instant::now();
        let elapsed_ns = u64::try_from(now.duration_since(then).as_nanos()).unwrap_or(u64::MAX).max(1);
        then = now;
        last.resize(shared.workers.len(), (0, 0));
        for (worker, last) in shared.workers.iter().zip(&mut last) {
            let stats = worker.handle.stats();
            let busy_ns = stats.busy_ns.load(Relaxed);
            let packets = stats.datagrams_in.load(Relaxed) + stats.datagrams_out.load(Relaxed);
            let per = |count: u64, unit: u64| {
                let scaled = u128::from(count) * u128::from(unit) / u128::from(elapsed_ns);
                u64::try_from(scaled).unwrap_or(u64::MAX)
            };
            let (busy, before) = (per(busy_ns.saturating_sub(last.0), 1000), worker.busy_permille());
            worker.busy_permille.store((before * (WEIGHT - 1) + busy) / WEIGHT, Relaxed);
            worker.packets_per_second.store(per(packets.saturating_sub(last.1), 1_000_000_000), Relaxed);
            *last = (busy_ns, packets);
        }
    }
}
