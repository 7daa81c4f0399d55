//! The list in an SQLite file, which takes additions alone: triggers refuse to change an entry, or to remove a young one.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};
use serde_json::Value;
use signaling::time::Timestamp;

use super::{AuditError, Entry, NewEntry, Query};

/// The present schema; `user_version` has its number.
const SCHEMA: i64 = 1;
const TABLES: &str = "
    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        identity TEXT,
        address TEXT,
        act TEXT NOT NULL,
        room TEXT,
        object TEXT,
        outcome TEXT NOT NULL,
        detail TEXT
    ) STRICT;
    CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN
        SELECT RAISE(ABORT, 'entries of the audit are not changed');
    END;
    CREATE TRIGGER entries_are_kept BEFORE DELETE ON entries WHEN old.at > (unixepoch() - 86400 + 60) * 1000 BEGIN
        SELECT RAISE(ABORT, 'entries of the audit are kept for a day at least');
    END;
";
/// How long to wait for the other connection, or a backup.
const BUSY: Duration = Duration::from_secs(5);
/// Rows that are removed in one transaction.
const PRUNED_AT_ONCE: u64 = 2000;

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Adds and prunes.
pub(super) struct Writer {
    connection: Connection,
}

impl Writer {
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let mut connection = connect(path)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let schema: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if schema > SCHEMA {
            return Err(AuditError(format!("the file has schema {schema}, made by a newer version")));
        }
        if schema == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
        }
        transaction.commit()?;
        Ok(Writer { connection })
    }

    /// Adds entries, all or none.
    pub fn add<'a>(
        &mut self,
        entries: impl Iterator<Item = (Timestamp, &'a NewEntry)>,
    ) -> Result<(), AuditError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (at, entry) in entries {
            let detail = Some(&entry.detail).filter(|detail| !detail.is_null()).map(Value::to_string);
            transaction
                .prepare_cached(
                    "INSERT INTO entries (at, actor, identity, address, act, room, object, outcome, detail)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    to_sql(at.0),
                    entry.actor.name(),
                    entry.actor.identity(),
                    entry.address.map(|address| address.to_canonical().to_string()),
                    entry.act.name(),
                    entry.room,
                    entry.object,
                    entry.outcome,
                    detail
                ])?;
        }
        Ok(transaction.commit()?)
    }

    /// Removes entries from before this time.
    pub fn prune(&self, before: Timestamp) -> Result<(), AuditError> {
        loop {
            let removed = self.connection.execute(
                "DELETE FROM entries WHERE seq IN (SELECT seq FROM entries WHERE at < ? ORDER BY seq LIMIT ?)",
                params![to_sql(before.0), to_sql(PRUNED_AT_ONCE)],
            )?;
            if removed == 0 {
                return Ok(());
            }
        }
    }
}

/// Reads.
pub(super) struct Reader {
    connection: Mutex<Connection>,
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let connection = connect(path)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(Reader { connection: Mutex::new(connection) })
    }

    pub fn list(&self, query: &Query) -> Result<Vec<Entry>, AuditError> {
        let like = |text: &str| {
            let text = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            format!("%{text}%")
        };
        let text = query.text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(like);
        let order = if query.after.is_some() { "ASC" } else { "DESC" };
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.prepare_cached(&format!(
            "SELECT seq, at, actor, identity, address, act, room, object, outcome, detail FROM entries
             WHERE (?1 IS NULL OR seq > ?1) AND (?2 IS NULL OR seq < ?2)
               AND (?3 IS NULL OR actor = ?3 OR identity = ?3)
               AND (?4 IS NULL OR act = ?4 OR substr(act, 1, length(?4) + 1) = ?4 || '.')
               AND (?5 IS NULL OR object = ?5 OR room = ?5)
               AND (?6 IS NULL OR identity LIKE ?6 ESCAPE '\\' OR address LIKE ?6 ESCAPE '\\'
                    OR room LIKE ?6 ESCAPE '\\' OR object LIKE ?6 ESCAPE '\\')
             ORDER BY seq {order} LIMIT ?7"
        ))?;
        let rows = statement.query_map(
            params![
                query.after.map(to_sql),
                query.before.map(to_sql),
                query.actor,
                query.act,
                query.object,
                text,
                query.limit
            ],
            |row| {
                let detail: Option<String> = row.get(9)?;
                Ok(Entry {
                    seq: from_sql(row.get(0)?),
                    at: Timestamp(from_sql(row.get(1)?)),
                    actor: row.get(2)?,
                    identity: row.get(3)?,
                    address: row.get(4)?,
                    act: row.get(5)?,
                    room: row.get(6)?,
                    object: row.get(7)?,
                    outcome: row.get(8)?,
                    detail: detail.and_then(|detail| serde_json::from_str(&detail).ok()),
                })
            },
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// SQLite's integers are signed. Our numbers (counts, milliseconds since 1970) stay below 2^63.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
