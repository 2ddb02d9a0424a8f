//! How the queue lies on the disk: a row for each job, by its number, and how far numbers were drawn.

use bytes::Bytes;
use protocol::work::{Change, Row};
use tracing::error;

use crate::env::{Batch, Disk, DiskError, Map};

/// Rows taken off the disk in one trip.
const PAGE_ROWS: usize = 1_024;
/// How far numbers were drawn: 8 bytes.
const NUMBERS: &[u8] = b"n";
/// Before the number of a job.
const JOB: u8 = b'j';

/// What lay there.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) rows: Vec<Row>,
    pub(super) numbers: u64,
}

fn key_of(number: u64) -> Bytes {
    let mut key = vec![JOB];
    key.extend_from_slice(&number.to_be_bytes());
    key.into()
}

/// Reads all. A row that does not read is told of and passed over: what it said is made up for by healing.
///
/// # Errors
/// [`DiskError`]
pub(super) async fn read(disk: &impl Disk) -> Result<Stored, DiskError> {
    let numbers = disk.get(Map::Jobs, Bytes::from_static(NUMBERS)).await?;
    let numbers = numbers.and_then(|bytes| <[u8; 8]>::try_from(&bytes[..]).ok());
    let mut stored = Stored { numbers: numbers.map_or(0, u64::from_be_bytes), ..Stored::default() };
    let mut from = key_of(0);
    loop {
        let page = disk.scan(Map::Jobs, from, Some(Bytes::from_static(&[JOB + 1])), PAGE_ROWS);
        let page = page.await?;
        let is_last = page.len() < PAGE_ROWS;
        let Some((last, _)) = page.last() else { return Ok(stored) };
        from = [&last[..], &[0]].concat().into();
        for (key, bytes) in page {
            match Row::decode(&bytes) {
                Ok(row) => {
                    // Numbers are synced before they are drawn; one more look costs nothing.
                    stored.numbers = stored.numbers.max(row.job.id.number.saturating_add(1));
                    stored.rows.push(row);
                }
                Err(error) => error!(?key, err = %error, "a job of the queue does not read"),
            }
        }
        if is_last {
            return Ok(stored);
        }
    }
}

/// Adds changes to a batch. A row that is too long for its form cannot come from the queue, and is told of.
pub(super) fn put(changes: &[Change], batch: &mut Batch) {
    for change in changes {
        match change {
            Change::Add(row) | Change::Update(row) => match row.encode() {
                Ok(bytes) => batch.put(Map::Jobs, key_of(row.job.id.number), bytes),
                Err(error) => error!(job = ?row.job.id, err = %error, "a job cannot be stored"),
            },
            Change::Remove(job) => batch.delete(Map::Jobs, key_of(job.number)),
            Change::Numbers(numbers) => {
                let bytes = Bytes::copy_from_slice(&numbers.to_be_bytes());
                batch.put(Map::Jobs, Bytes::from_static(NUMBERS), bytes);
            }
        }
    }
}
