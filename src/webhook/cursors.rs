//! How far each receiver is, in a file of its own: it is written at each delivery, for which no lesson should wait.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use signaling::time::Timestamp;

use super::plan::Plan;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS receivers (
        url TEXT PRIMARY KEY,
        cursor INTEGER NOT NULL,
        failing_since INTEGER
    ) STRICT, WITHOUT ROWID;
";

/// See the [module](self).
#[derive(Debug)]
pub struct Cursors {
    connection: Connection,
}

impl Cursors {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What a loss of power takes back is sent again.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(TABLES)?;
        Ok(Cursors { connection })
    }

    /// Where a receiver stands; one that is new hears of what comes after `last`.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn load(&self, url: &str, last: u64) -> rusqlite::Result<Plan> {
        let found = self
            .connection
            .query_row("SELECT cursor, failing_since FROM receivers WHERE url = ?", [name(url)], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?))
            })
            .optional()?;
        let plan = match found {
            // Never ahead of the stream, which may have been put back from a backup.
            Some((cursor, since)) => {
                Plan::new(from_sql(cursor).min(last), since.map(|since| Timestamp(from_sql(since))))
            }
            None => Plan::new(last, None),
        };
        self.save(url, &plan)?;
        Ok(plan)
    }

    /// Keeps where it stands.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, url: &str, plan: &Plan) -> rusqlite::Result<()> {
        let since = plan.failing_since().map(|since| to_sql(since.0));
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO receivers VALUES (?, ?, ?)")?
            .execute(params![name(url), to_sql(plan.cursor()), since])?;
        Ok(())
    }
}

/// A digest: addresses of receivers may hold secrets.
fn name(url: &str) -> String {
    blake3::hash(url.as_bytes()).to_hex().to_string()
}

fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_receiver_begins_at_the_end_and_a_known_one_where_it_stood() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks.db");
        let cursors = Cursors::open(&path).unwrap();
        let mut plan = cursors.load("https://a.example/secret-path", 7).unwrap();
        assert_eq!(plan, Plan::new(7, None));
        plan.handle_delivered(8);
        cursors.save("https://a.example/secret-path", &plan).unwrap();
        drop(cursors);

        let cursors = Cursors::open(&path).unwrap();
        assert_eq!(cursors.load("https://a.example/secret-path", 20).unwrap().cursor(), 8);
        assert_eq!(cursors.load("https://b.example/", 20).unwrap().cursor(), 20);
        assert_eq!(cursors.load("https://b.example/", 5).unwrap().cursor(), 5, "an older stream");
        drop(cursors);
        let file = std::fs::read(&path).unwrap();
        assert!(!file.windows(11).any(|bytes| bytes == b"secret-path"));
    }
}
