//! Snapshots: the state of one peer sent to another in pages, because the log before it is gone.
//!
//! The sender freezes its state and reads pages of it while it goes on; the receiver writes them under a prefix
//! that does not count yet, and takes it over in one write once all have come. A transfer that breaks off leaves
//! only keys that nobody reads, which are removed by the next, or at the next start.
//! Never: builds a copy; holds more than a page in memory.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::limits::META_PAGE_BYTES;
use tokio::sync::Mutex;

use super::flusher::write_when_there_is_room;
use super::machine::MachineView;
use super::source::{PREFIX_BYTES, end_of, key_in};
use crate::env::{Batch, Disk, DiskError, DiskView, Durability, Env, Map};

/// How long sending a whole snapshot may take: 1,000,000 objects are some 500 MB, at 2 MB/s.
pub(super) const SEND_PATIENCE: Duration = Duration::from_secs(300);
/// Entries of one page, at most.
const PAGE_ENTRIES_MAX: usize = 4_096;

/// What a snapshot is made of.
pub(super) enum Contents<E: Env> {
    /// A frozen state of this disk.
    Frozen { view: <E::Disk as Disk>::View, generation: u32 },
    /// What came from another peer, under its prefix on this disk.
    Received { generation: u32 },
    /// Whatever the state is when it is asked for.
    Elsewhere,
}

impl<E: Env> fmt::Debug for Contents<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frozen { generation, .. } => write!(f, "Frozen({generation})"),
            Self::Received { generation } => write!(f, "Received({generation})"),
            Self::Elsewhere => f.write_str("Elsewhere"),
        }
    }
}

/// Pages of a frozen state, one after the other.
pub(super) struct Pages<'a, V> {
    view: &'a V,
    next: Bytes,
    until: Bytes,
}

impl<'a, V: DiskView> Pages<'a, V> {
    pub(super) fn new(view: &'a V, generation: u32) -> Self {
        Self { view, next: key_in(generation, &[]), until: end_of(generation) }
    }

    /// Returns the next page, its keys without their prefix; an empty one at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        let (from, until) = (self.next.clone(), Some(self.until.clone()));
        let page = self.view.scan(Map::Metadata, from, until, PAGE_ENTRIES_MAX, META_PAGE_BYTES);
        let page = page.await?;
        if let Some((last, _)) = page.last() {
            let mut next = last.to_vec();
            next.push(0);
            self.next = next.into();
        }
        Ok(page.into_iter().map(|(key, value)| (key.slice(PREFIX_BYTES..), value)).collect())
    }
}

/// Copies a frozen state to a generation of this disk.
pub(super) async fn copy_view<E: Env>(
    env: &E,
    view: &<E::Disk as Disk>::View,
    from: u32,
    to: u32,
) -> Result<(), DiskError> {
    let mut pages = Pages::new(view, from);
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            return Ok(());
        }
        write_page(env, to, page).await?;
    }
}

async fn write_page<E: Env>(
    env: &E,
    generation: u32,
    page: Vec<(Bytes, Bytes)>,
) -> Result<(), DiskError> {
    let mut batch = Batch::default();
    for (key, value) in page {
        batch.put(Map::Metadata, key_in(generation, &key), value);
    }
    write_when_there_is_room(env, batch, Durability::Buffered).await
}

/// A snapshot on its way in.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    /// Which transfer, by its sender's choice.
    transfer: u64,
    /// The page that is expected.
    next: u64,
    generation: u32,
}

/// The receiving end: one transfer at a time, the latest that began. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub(super) struct Receiver<E: Env> {
    env: E,
    machine: MachineView,
    // Held while a page is written, so that pages of two transfers never mix.
    incoming: Arc<Mutex<Option<Incoming>>>,
}

impl<E: Env> Receiver<E> {
    pub(super) fn new(env: E, machine: MachineView) -> Self {
        Self { env, machine, incoming: Arc::default() }
    }

    /// Writes a page; says whether it was the expected one, or one that was written before.
    pub(super) async fn page(
        &self,
        transfer: u64,
        number: u64,
        page: Vec<(Bytes, Bytes)>,
    ) -> Result<bool, DiskError> {
        let mut slot = self.incoming.lock().await;
        let known = slot.is_some_and(|incoming| incoming.transfer == transfer);
        if !known {
            if number != 0 {
                return Ok(false);
            }
            if let Some(abandoned) = slot.take() {
                let mut batch = Batch::default();
                let first = key_in(abandoned.generation, &[]);
                batch.delete_range(Map::Metadata, first, end_of(abandoned.generation));
                write_when_there_is_room(&self.env, batch, Durability::Buffered).await?;
            }
            let generation = self.machine.next_generation();
            *slot = Some(Incoming { transfer, next: 0, generation });
        }
        let Some(incoming) = slot.as_mut() else { return Ok(false) };
        if number < incoming.next {
            return Ok(true);
        }
        if number > incoming.next {
            return Ok(false);
        }
        write_page(&self.env, incoming.generation, page).await?;
        incoming.next += 1;
        Ok(true)
    }

    /// Ends a transfer of so many pages and returns its contents; `None` when some are missing.
    pub(super) async fn finish(&self, transfer: u64, pages: u64) -> Option<Contents<E>> {
        let mut slot = self.incoming.lock().await;
        let whole =
            slot.filter(|incoming| incoming.transfer == transfer && incoming.next == pages)?;
        *slot = None;
        Some(Contents::Received { generation: whole.generation })
    }
}
