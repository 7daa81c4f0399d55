//! How full the disk of the data folder is, for who watches the server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::Metrics;

/// Often enough for Prometheus, which usually asks each 15 s.
const EACH: Duration = Duration::from_secs(15);

/// Measures it, without an end.
pub(super) async fn measure(folder: PathBuf, metrics: Arc<Metrics>) {
    loop {
        let path = folder.clone();
        // A disk of the network may not answer.
        let stat = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&path)).await;
        if let Ok(Ok(stat)) = stat {
            let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
            metrics.data_free_bytes.set(bytes(stat.f_bavail));
            metrics.data_disk_bytes.set(bytes(stat.f_blocks));
        }
        tokio::time::sleep(EACH).await;
    }
}
