//! One file of a simulated disk: what a reader sees, what is durable, and the writes in between.
//!
//! A power cut keeps the durable bytes and whatever the seed chooses of the rest: any subset of the writes,
//! the last of them torn, or room that was reserved and never filled. Never: waits.

use bytes::Bytes;

use crate::sim::chance::Chance;

/// A write that no sync has covered.
#[derive(Debug)]
struct Pending {
    number: u64,
    offset: usize,
    bytes: Bytes,
}

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct FileContent {
    visible: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    /// Number of the next write.
    next: u64,
}

impl FileContent {
    /// Returns the length that a reader sees.
    pub(super) fn len(&self) -> u64 {
        self.visible.len() as u64
    }

    /// Returns how much longer the file gets by a write of `len` bytes at `offset`.
    pub(super) fn growth(&self, offset: u64, len: u64) -> u64 {
        offset.saturating_add(len).saturating_sub(self.len())
    }

    /// Writes `bytes` at `offset`, visibly and not durably.
    pub(super) fn write(&mut self, offset: usize, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        put(&mut self.visible, offset, &bytes);
        self.pending.push(Pending { number: self.next, offset, bytes });
        self.next += 1;
    }

    /// Returns at most `len` bytes from `offset` on.
    pub(super) fn read(&self, offset: u64, len: usize) -> Bytes {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.visible.len());
        let until = from.saturating_add(len).min(self.visible.len());
        Bytes::copy_from_slice(self.visible.get(from..until).unwrap_or_default())
    }

    /// Returns a mark of everything written so far.
    pub(super) const fn mark(&self) -> u64 {
        self.next
    }

    /// Makes the writes before `mark` durable.
    pub(super) fn sync(&mut self, mark: u64) {
        let covered = self.pending.partition_point(|write| write.number < mark);
        for write in self.pending.drain(..covered) {
            put(&mut self.durable, write.offset, &write.bytes);
        }
    }

    /// Forgets that the writes so far want a sync, as the kernel does after one failed.
    pub(super) fn forget(&mut self) {
        self.pending.clear();
    }

    /// Cuts the file, durably. What lies before the cut and was not synced stays in doubt.
    pub(super) fn truncate(&mut self, len: usize) {
        self.visible.truncate(len);
        self.visible.resize(len, 0);
        self.durable.truncate(len);
        self.pending.retain_mut(|write| {
            write.bytes.truncate(len.saturating_sub(write.offset));
            !write.bytes.is_empty()
        });
    }

    /// Cuts the power.
    pub(super) fn cut(&mut self, chance: &Chance) {
        let pending = std::mem::take(&mut self.pending);
        let count = pending.len() as u64;
        // Nothing, everything, a prefix, or any subset of the writes survives.
        let (prefix, picked) = match chance.below(4) {
            0 => (0, 0),
            1 => (count, 0),
            2 => (chance.below(count + 1), 0),
            _ => (0, 500_000),
        };
        for (index, write) in (0..).zip(pending) {
            if index < prefix || chance.happens(picked) {
                self.settle(&write, chance, index + 1 == prefix || picked > 0);
            }
        }
        self.visible.clone_from(&self.durable);
    }

    /// Makes a write durable, as a whole or, where it may be `torn`, perhaps only its first bytes or its room.
    fn settle(&mut self, write: &Pending, chance: &Chance, torn: bool) {
        let len = write.bytes.len() as u64;
        let kept = match chance.below(3) {
            0 if torn => usize::try_from(chance.below(len)).unwrap_or(0),
            _ => write.bytes.len(),
        };
        let (head, tail) = write.bytes.split_at(kept);
        put(&mut self.durable, write.offset, head);
        // The file system may have grown the file before the bytes came.
        if chance.happens(300_000) {
            let end = write.offset + kept;
            let room = self.durable.len().max(end + tail.len());
            self.durable.resize(room, 0);
        }
    }

    /// Flips one bit of the durable bytes, and returns where; `None` when there are none.
    pub(super) fn rot(&mut self, chance: &Chance) -> Option<u64> {
        let at = chance.below(self.durable.len() as u64);
        let bit = 1 << chance.below(8);
        let index = usize::try_from(at).ok()?;
        *self.durable.get_mut(index)? ^= bit;
        if let Some(byte) = self.visible.get_mut(index) {
            *byte ^= bit;
        }
        Some(at)
    }
}

/// Writes `bytes` at `offset`, filling a gap before it with zeros.
fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::FileContent;
    use crate::sim::chance::Chance;
    use bytes::Bytes;
    use protocol::Prng;
    use std::collections::BTreeSet;

    fn file(synced: &'static [u8], unsynced: &[&'static [u8]]) -> FileContent {
        let mut file = FileContent::default();
        file.write(0, Bytes::from_static(synced));
        file.sync(file.mark());
        for bytes in unsynced {
            let end = usize::try_from(file.len()).unwrap();
            file.write(end, Bytes::from_static(bytes));
        }
        file
    }

    #[test]
    fn a_power_cut_keeps_synced_bytes_and_any_part_of_the_rest() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..500 {
            let mut file = file(b"synced", &[b"AAA", b"BBB"]);
            assert_eq!(file.read(0, 100), "syncedAAABBB");
            file.cut(&Chance::new(Prng::new(seed)));
            let left = file.read(0, 100);
            assert!(left.starts_with(b"synced"), "{left:?}");
            outcomes.insert(left);
        }
        for expected in [
            &b"synced"[..],
            b"syncedAAABBB",
            b"syncedAAA",
            b"syncedAA",
            b"syncedAAAB",
            b"synced\0\0\0BBB",
            b"syncedA\0\0",
        ] {
            assert!(outcomes.contains(expected), "{:?} never happens", Bytes::from(expected));
        }
    }

    #[test]
    fn a_sync_covers_what_was_written_before_it_began() {
        let mut file = file(b"", &[b"one"]);
        let mark = file.mark();
        file.write(3, Bytes::from_static(b"two"));
        file.sync(mark);
        let mut lost = 0;
        for seed in 0..50 {
            let mut again = self::file(b"", &[b"one"]);
            let mark = again.mark();
            again.write(3, Bytes::from_static(b"two"));
            again.sync(mark);
            again.cut(&Chance::new(Prng::new(seed)));
            let left = again.read(0, 100);
            assert!(left.starts_with(b"one"));
            lost += u32::from(left == "one");
        }
        assert!(lost > 5, "the later write is never lost");
    }

    #[test]
    fn truncation_is_durable_and_pending_writes_behind_it_are_gone() {
        for seed in 0..50 {
            let mut file = file(b"synced", &[b"AAA"]);
            file.truncate(4);
            file.cut(&Chance::new(Prng::new(seed)));
            assert_eq!(file.read(0, 100), "sync");
        }
    }

    #[test]
    fn rot_flips_one_bit_of_what_is_read_and_what_is_stored() {
        let mut file = file(b"synced", &[]);
        let at = file.rot(&Chance::new(Prng::new(3))).unwrap();
        let flipped: u32 =
            file.read(0, 6).iter().zip(b"synced").map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(flipped, 1);
        assert!(at < 6);
        assert_eq!(FileContent::default().rot(&Chance::new(Prng::new(3))), None);
    }
}
