//! SQLite's full-text index over the same names: what most people would take.
//!
//! The one home of the package `rusqlite`, which no daemon has. Never: part of what is measured for peers.

use std::path::Path;

use node::index::Document;
use rusqlite::{Connection, params};

/// A database with an index.
pub(super) struct Fts5(Connection);

impl Fts5 {
    /// Makes one in a file.
    pub(super) fn create(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        Self::over(connection)
    }

    /// Makes one in memory.
    #[cfg(test)]
    pub(super) fn in_memory() -> rusqlite::Result<Self> {
        Self::over(Connection::open_in_memory()?)
    }

    fn over(connection: Connection) -> rusqlite::Result<Self> {
        connection.execute_batch(
            "CREATE TABLE objects (id INTEGER PRIMARY KEY, bucket TEXT, key TEXT, owner TEXT, cid TEXT, size INTEGER,
                 type TEXT, modified INTEGER);
             CREATE TABLE tags (id INTEGER, name TEXT, value TEXT);
             CREATE INDEX tags_of ON tags (name, value, id);
             CREATE VIRTUAL TABLE words USING fts5 (name, about, content='', tokenize='unicode61 remove_diacritics 2');",
        )?;
        Ok(Self(connection))
    }

    /// Takes names, in one transaction.
    pub(super) fn put(&self, documents: impl Iterator<Item = Document>) -> rusqlite::Result<()> {
        self.0.execute_batch("BEGIN")?;
        {
            let mut object = self.0.prepare_cached(
                "INSERT INTO objects (bucket, key, owner, cid, size, type, modified) VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?;
            let mut tag = self.0.prepare_cached("INSERT INTO tags VALUES (?, ?, ?)")?;
            let mut words =
                self.0.prepare_cached("INSERT INTO words (rowid, name, about) VALUES (?, ?, ?)")?;
            for document in documents {
                let Document {
                    bucket, key, owner, cid, size, content_type, tags, modified_ms, ..
                } = document;
                let (size, modified) = (size.cast_signed(), modified_ms.cast_signed());
                object.execute(params![bucket, key, owner, cid, size, content_type, modified])?;
                let id = self.0.last_insert_rowid();
                let mut text = content_type;
                for (name, value) in tags {
                    text += &format!(" {name} {value}");
                    tag.execute(params![id, name, value])?;
                }
                words.execute(params![id, format!("{key} {bucket}"), text])?;
            }
        }
        self.0.execute_batch("COMMIT")
    }

    /// Returns how many names match.
    #[cfg(test)]
    pub(super) fn count(&self, matches: &str, besides: &str) -> rusqlite::Result<u64> {
        let sql = format!(
            "SELECT count(*) FROM words JOIN objects ON objects.id = words.rowid WHERE words MATCH ? {besides}"
        );
        let count: i64 = self.0.query_row(&sql, [matches], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    /// Returns how many of the best twenty there are.
    pub(super) fn best(&self, matches: &str, besides: &str) -> rusqlite::Result<usize> {
        let sql = format!(
            "SELECT objects.key, objects.cid, objects.size FROM words JOIN objects ON objects.id = words.rowid
             WHERE words MATCH ? {besides} ORDER BY bm25(words, 2.0, 1.0) LIMIT 20"
        );
        let mut statement = self.0.prepare_cached(&sql)?;
        let rows = statement.query_map([matches], |row| row.get::<_, String>(0))?;
        Ok(rows.count())
    }
}
