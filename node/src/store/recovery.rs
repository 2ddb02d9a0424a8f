//! Recovery: what the writer does before it takes the first command.
//!
//! After a crash the index is a prefix of what was written to it, and the segments hold at least what was
//! acknowledged. So the end of each segment, from where the index stops, is read record by record, every
//! record checked against its CID, and told to the index again; what is torn behind the last whole record is
//! cut off. A segment that the index does not know at all means that the index was lost: then everything in
//! it is kept for an owner that never lets go, because nobody can tell any more who does.

use protocol::index::{Place, Segment, TOTALS_KEY, Totals, block_key, segment_in};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::limits::{STORE_FALSE_RECORDS_MAX, STORE_STEP_RECORDS};
use protocol::record::{RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader};
use protocol::{Cid, OwnerId};

use super::draft::Draft;
use super::error::StoreError;
use super::handle::Shared;
use super::segment::{self, Table};
use super::settings::StoreSettings;
use super::task::{Active, Writer, segments_range};
use crate::env::{Disk, DiskError, DiskFile, Durability, Env, Map};

/// Refers to every block of which it is not known any more who does.
const UNKNOWN_OWNER: OwnerId = OwnerId::from_bytes([0; 16]);

/// Bytes searched for the start of a record at a time.
const SEARCH_BYTES: usize = 1 << 20;

/// A whole record that was found.
#[derive(Clone, Copy, Debug)]
struct Record {
    offset: u64,
    header: RecordHeader,
}

/// A part of a segment file to be read again.
struct Tail<F> {
    number: u32,
    file: F,
    from: u64,
    until: u64,
    /// Whether the index knows nothing of the segment.
    index_lost: bool,
}

impl<E: Env> Writer<E> {
    /// Returns the writer of a consistent store.
    pub(super) async fn recover(
        shared: Arc<Shared<E>>,
        settings: StoreSettings,
    ) -> Result<Self, StoreError> {
        let device = shared.env.disk().space().await.map_err(|error| shared.noted(error))?;
        let mut writer = Self {
            shared,
            settings: settings.fitted_to(device),
            table: Table::default(),
            active: None,
            next_number: 1,
            victim: None,
            blocked: false,
            quiet: false,
            freed_small_bytes: 0,
            room: None,
        };
        let files = writer.segment_files().await?;
        let doomed = writer.load_table().await?;
        let last_known = writer.table.segments.keys().chain(&doomed).chain(files.keys()).max();
        writer.next_number = last_known.map_or(1, |last| last + 1);
        for number in &doomed {
            writer.forget_file(*number).await?;
        }
        let mut whole = BTreeSet::new();
        for (number, length) in files.iter().filter(|(number, _)| !doomed.contains(number)) {
            if writer.recover_segment(*number, *length).await? {
                whole.insert(*number);
            }
        }
        writer.note_lost_files(&files).await?;
        writer.reopen_last(&whole).await?;
        let changes = Draft::new(&writer.table).finish();
        match writer.commit(changes, Durability::Synced).await {
            // A full disk is no reason not to serve what is there; the same is found again next time.
            Ok(()) | Err(StoreError::Full { .. }) => {}
            Err(error) => return Err(error),
        }
        writer.publish_usage();
        Ok(writer)
    }

    /// Returns the lengths of all segment files.
    async fn segment_files(&self) -> Result<BTreeMap<u32, u64>, StoreError> {
        let files = self.shared.env.disk().list().await;
        let files = files.map_err(|error| self.shared.noted(error))?;
        let numbered = |(name, length): (String, u64)| Some((segment::number_of(&name)?, length));
        Ok(files.into_iter().filter_map(numbered).collect())
    }

    /// Reads the table. Returns the segments whose files are still to be removed.
    async fn load_table(&mut self) -> Result<BTreeSet<u32>, StoreError> {
        let disk = self.shared.env.disk();
        let totals = disk.get(Map::Segments, TOTALS_KEY.into()).await;
        let totals = totals.map_err(|error| self.shared.noted(error))?;
        self.table.totals = totals.and_then(|value| Totals::decode(&value)).unwrap_or_default();
        let mut doomed = BTreeSet::new();
        let (mut from, until) = segments_range();
        loop {
            let page = disk.scan(Map::Segments, from, until.clone(), STORE_STEP_RECORDS).await;
            let page = page.map_err(|error| self.shared.noted(error))?;
            for (key, value) in &page {
                let (Some(number), Some(segment)) = (segment_in(key), Segment::decode(value))
                else {
                    continue;
                };
                if segment.doomed {
                    doomed.insert(number);
                } else {
                    self.table.segments.insert(number, segment);
                }
            }
            match page.last() {
                // The least key above the last one.
                Some((last, _)) if page.len() == STORE_STEP_RECORDS => {
                    from = [last.as_ref(), &[0]].concat().into();
                }
                Some(_) | None => return Ok(doomed),
            }
        }
    }

    /// Brings index and file of one segment together. Returns whether nothing of the file was missing.
    async fn recover_segment(&mut self, number: u32, length: u64) -> Result<bool, StoreError> {
        let known = self.table.segments.get(&number).copied();
        let from = known.map_or(0, |segment| segment.indexed);
        if length < from {
            tracing::error!(number, length, indexed = from, "segment was shorter than its index");
            let mut draft = Draft::new(&self.table);
            draft.indexed(number, length);
            let changes = draft.finish();
            self.commit(changes, Durability::Buffered).await?;
            return Ok(false);
        }
        if length > from {
            let file = self.shared.segment_file(number).await;
            let file = file.map_err(|error| self.shared.noted(error))?;
            let index_lost = known.is_none();
            let tail = Tail { number, file, from, until: length, index_lost };
            self.recover_tail(&tail).await?;
        }
        if !self.table.segments.contains_key(&number) {
            // Made just before a crash, or nothing in it is whole.
            self.shared.open_files().pop(&number);
            self.forget_file(number).await?;
        }
        Ok(true)
    }

    /// Tells the index of every whole record in the end of a segment and cuts off what is torn behind them.
    async fn recover_tail<F: DiskFile>(&mut self, tail: &Tail<F>) -> Result<(), StoreError> {
        let (mut at, mut end, mut records) = (tail.from, tail.from, 0);
        let mut false_records = 0;
        loop {
            let mut step = Vec::new();
            let mut ended = false;
            while step.len() < STORE_STEP_RECORDS {
                if let Some(header) = self.record_at(tail, at).await? {
                    step.push(Record { offset: at, header });
                    at += header.record_bytes();
                    end = at;
                    continue;
                }
                // Damage in the middle must not take what was acknowledged behind it along.
                false_records += 1;
                match self.next_header(tail, at + 1).await? {
                    Some(next) if false_records < STORE_FALSE_RECORDS_MAX => at = next,
                    Some(_) | None => {
                        ended = true;
                        break;
                    }
                }
            }
            records += step.len();
            self.index_again(tail, &step, end).await?;
            if ended {
                break;
            }
        }
        let torn = tail.until - end;
        if torn > 0 {
            tail.file.truncate(end).await.map_err(|error| self.fatal(error))?;
            self.shared.metrics.torn_bytes.inc_by(torn);
        }
        tracing::info!(number = tail.number, records, torn, "segment recovered");
        Ok(())
    }

    /// Returns the header of the record at an offset, if there is one and it is whole.
    async fn record_at<F: DiskFile>(
        &self,
        tail: &Tail<F>,
        offset: u64,
    ) -> Result<Option<RecordHeader>, StoreError> {
        let head = self.read_tail(tail, offset, RECORD_HEADER_BYTES).await?;
        let Ok(header) = RecordHeader::decode(&head) else { return Ok(None) };
        if offset + header.record_bytes() > tail.until {
            return Ok(None);
        }
        let payload_at = offset + RECORD_HEADER_BYTES as u64;
        let payload = self.read_tail(tail, payload_at, header.payload_bytes as usize).await?;
        // The CID too: what lies behind damage may be a block whose bytes look like records.
        let whole = move || header.fits(&payload) && header.cid.matches(&payload);
        Ok(self.shared.env.compute(whole).await.then_some(header))
    }

    /// Returns the next offset from `from` on where a header stands.
    async fn next_header<F: DiskFile>(
        &self,
        tail: &Tail<F>,
        from: u64,
    ) -> Result<Option<u64>, StoreError> {
        let mut at = from;
        while at + RECORD_HEADER_BYTES as u64 <= tail.until {
            let window = self.read_tail(tail, at, SEARCH_BYTES + RECORD_HEADER_BYTES - 1).await?;
            let starts = window.windows(RECORD_MAGIC.len()).enumerate();
            for (index, _) in starts.filter(|(_, bytes)| **bytes == RECORD_MAGIC) {
                if RecordHeader::decode(&window[index..]).is_ok() {
                    return Ok(Some(at + index as u64));
                }
            }
            at += SEARCH_BYTES as u64;
        }
        Ok(None)
    }

    /// Returns bytes of a segment's end; what cannot be read is as good as not there.
    async fn read_tail<F: DiskFile>(
        &self,
        tail: &Tail<F>,
        offset: u64,
        bytes: usize,
    ) -> Result<bytes::Bytes, StoreError> {
        match tail.file.read_at(offset, bytes).await {
            Ok(bytes) => Ok(bytes),
            Err(DiskError::Corrupt { .. }) => Ok(bytes::Bytes::new()),
            Err(error) => Err(self.shared.noted(error)),
        }
    }

    /// Tells the index of records that it lost, up to `end`.
    async fn index_again<F>(
        &mut self,
        tail: &Tail<F>,
        records: &[Record],
        end: u64,
    ) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let keys = records.iter().map(|record| block_key(&record.header.cid)).collect();
        let values = self.shared.env.disk().get_many(Map::Blocks, keys).await;
        let values = values.map_err(|error| self.shared.noted(error))?;
        let known = records
            .iter()
            .zip(values)
            .filter_map(|(record, value)| Some((record.header.cid, Place::decode(&value?)?)));
        let mut places: BTreeMap<Cid, Place> = known.collect();
        let mut draft = Draft::new(&self.table);
        for Record { offset, header } in records {
            let old = places.get(&header.cid).copied();
            if header.moved && old.is_none() && !tail.index_lost {
                // The block was freed while it was being moved.
                continue;
            }
            if let Some(old) = old {
                draft.vacate(&header.cid, old);
            }
            // The later record wins: it was written because the earlier one was damaged, or about to go.
            let (number, offset, bytes) = (tail.number, *offset, header.payload_bytes);
            let place = Place::Segment { number, offset, bytes };
            draft.settle(&header.cid, place);
            places.insert(header.cid, place);
            if !header.moved || tail.index_lost {
                draft.refer(&header.cid, &header.owner, header.root);
            }
            if tail.index_lost {
                draft.refer(&header.cid, &UNKNOWN_OWNER, false);
            }
        }
        draft.indexed(tail.number, end);
        let changes = draft.finish();
        self.commit(changes, Durability::Buffered).await
    }

    /// Sees to segments whose files are gone.
    async fn note_lost_files(&mut self, files: &BTreeMap<u32, u64>) -> Result<(), StoreError> {
        let is_lost = |number: &u32| !files.contains_key(number);
        let lost: Vec<u32> = self.table.segments.keys().copied().filter(is_lost).collect();
        for number in lost {
            let mut segment = self.table.segment(number);
            if segment.live == 0 {
                // Removed, or never begun, just before a crash.
                self.table.segments.remove(&number);
                self.forget_file(number).await?;
                continue;
            }
            tracing::error!(number, bytes = segment.live, "segment file was lost");
            // It takes no space. Its blocks are found damaged when they are read.
            segment.indexed = 0;
            self.table.segments.insert(number, segment);
        }
        Ok(())
    }

    /// Goes on appending to the last segment if it has room.
    async fn reopen_last(&mut self, whole: &BTreeSet<u32>) -> Result<(), StoreError> {
        let Some((number, segment)) = self.table.segments.last_key_value() else { return Ok(()) };
        let number = *number;
        // A file of which something was missing stays as it is: places beyond its end must not come to life.
        if whole.contains(&number) && segment.indexed < self.settings.segment_bytes {
            let file = self.shared.segment_file(number).await;
            let file = file.map_err(|error| self.shared.noted(error))?;
            self.active = Some(Active { number, file });
        }
        Ok(())
    }
}
