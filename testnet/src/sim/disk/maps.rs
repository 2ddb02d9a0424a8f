//! The ordered maps of one home of a simulated disk, with the write-ahead log semantics that a peer may rely on.
//!
//! Batches become visible when their write is done. Of those that no sync covered, a power cut keeps a
//! prefix: order is kept, as a log does. Never: waits; the device decides how long a write takes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use node::env::{Batch, Change, DiskError, Map, MapReader};

use crate::sim::chance::Chance;

/// What a batch replaced, so that it can be taken back.
type Undo = Vec<(Map, Bytes, Option<Bytes>)>;

/// All maps of a home.
#[derive(Debug, Default)]
pub(super) struct Maps {
    maps: BTreeMap<Map, BTreeMap<Bytes, Bytes>>,
    bytes: u64,
    /// Keys whose values cannot be read, as a database finds by its checksums.
    rotten: BTreeSet<(Map, Bytes)>,
    /// Visible and not yet synced, oldest first.
    unsynced: VecDeque<Undo>,
    /// Handed to the log and not yet visible, oldest first: a power cut may keep them all the same.
    in_flight: Vec<Batch>,
}

impl Maps {
    /// Returns the bytes of all keys and values.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    /// [`DiskError::Corrupt`] when it is rotten.
    pub(super) fn get(&self, map: Map, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        if self.rotten.contains(&(map, Bytes::copy_from_slice(key))) {
            let detail = format!("a value of map {} is rotten", map.name());
            return Err(DiskError::Corrupt { detail });
        }
        Ok(self.maps.get(&map).and_then(|entries| entries.get(key)).cloned())
    }

    /// Makes the value of one small block unreadable, and says whether there was one.
    pub(super) fn rot(&mut self, chance: &Chance) -> bool {
        let entries = self.maps.entry(Map::Small).or_default();
        let at = usize::try_from(chance.below(entries.len() as u64)).unwrap_or(0);
        let key = entries.keys().nth(at).cloned();
        key.is_some_and(|key| self.rotten.insert((Map::Small, key)))
    }

    /// Returns at most `limit` entries with `from <= key < until`.
    pub(super) fn entries(
        &self,
        map: Map,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Bytes, Bytes)> {
        let Some(entries) = self.maps.get(&map) else { return Vec::new() };
        entries
            .range::<[u8], _>((Bound::Included(from), Bound::Unbounded))
            .take_while(|(key, _)| until.is_none_or(|until| &key[..] < until))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Returns a copy of what is visible now.
    pub(super) fn frozen(&self) -> Self {
        let rotten = self.rotten.clone();
        Self { maps: self.maps.clone(), bytes: self.bytes, rotten, ..Self::default() }
    }

    /// Notes that the log was given `batches`.
    pub(super) fn submit(&mut self, batches: Vec<Batch>) {
        self.in_flight.extend(batches);
    }

    /// Makes everything submitted visible, and with `synced` everything visible durable.
    pub(super) fn finish(&mut self, synced: bool) {
        for batch in std::mem::take(&mut self.in_flight) {
            let undo = self.apply(batch);
            self.unsynced.push_back(undo);
        }
        if synced {
            self.unsynced.clear();
        }
    }

    /// Makes everything visible durable: what recovery of a killed process does with its log.
    pub(super) fn recover(&mut self) {
        self.finish(true);
    }

    /// Cuts the power: of what was not synced a prefix stays, chosen by `chance`.
    pub(super) fn cut(&mut self, chance: &Chance) {
        let doubtful = self.unsynced.len() + self.in_flight.len();
        let kept = match chance.below(4) {
            0 => 0,
            1 => doubtful,
            _ => usize::try_from(chance.below(doubtful as u64 + 1)).unwrap_or(0),
        };
        let survivors = kept.saturating_sub(self.unsynced.len());
        while self.unsynced.len() > kept {
            let undo = self.unsynced.pop_back();
            self.take_back(undo.unwrap_or_default());
        }
        self.in_flight.truncate(survivors);
        self.finish(true);
    }

    /// Removes everything but some entries of one map.
    pub(super) fn keep_only(&mut self, map: Map, keys: &[&'static [u8]]) {
        let entry = |key: &&'static [u8]| Some((*key, self.maps.get(&map)?.get(*key)?.clone()));
        let kept: Vec<_> = keys.iter().filter_map(entry).collect();
        *self = Self::default();
        for (key, value) in kept {
            self.set(map, Bytes::from_static(key), Some(value));
        }
    }

    fn apply(&mut self, batch: Batch) -> Undo {
        let mut undo = Vec::with_capacity(batch.changes.len());
        for change in batch.changes {
            match change {
                Change::Put { map, key, value } => {
                    let old = self.set(map, key.clone(), Some(value));
                    undo.push((map, key, old));
                }
                Change::Delete { map, key } => {
                    let old = self.set(map, key.clone(), None);
                    undo.push((map, key, old));
                }
                Change::DeleteRange { map, from, until } => {
                    for (key, _) in self.entries(map, &from, Some(&until), usize::MAX) {
                        let old = self.set(map, key.clone(), None);
                        undo.push((map, key, old));
                    }
                }
            }
        }
        undo
    }

    fn take_back(&mut self, undo: Undo) {
        for (map, key, old) in undo.into_iter().rev() {
            self.set(map, key, old);
        }
    }

    /// Sets or removes a key and returns its old value.
    fn set(&mut self, map: Map, key: Bytes, value: Option<Bytes>) -> Option<Bytes> {
        self.rotten.remove(&(map, key.clone()));
        let entries = self.maps.entry(map).or_default();
        let key_bytes = key.len() as u64;
        self.bytes += value.as_ref().map_or(0, |value| key_bytes + value.len() as u64);
        let old = match value {
            Some(value) => entries.insert(key, value),
            None => entries.remove(&key),
        };
        self.bytes -= old.as_ref().map_or(0, |old| key_bytes + old.len() as u64);
        old
    }
}

impl MapReader for Maps {
    fn get(&self, map: Map, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        self.get(map, key)
    }

    fn scan(
        &self,
        map: Map,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        Ok(self.entries(map, from, until, limit))
    }
}

/// Returns the bytes that a batch adds at most.
pub(super) fn batch_bytes(batch: &Batch) -> u64 {
    let one = |change: &Change| match change {
        Change::Put { key, value, .. } => key.len() + value.len(),
        Change::Delete { .. } | Change::DeleteRange { .. } => 0,
    };
    batch.changes.iter().map(|change| one(change) as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::Maps;
    use crate::sim::chance::Chance;
    use bytes::Bytes;
    use node::env::{Batch, Map};
    use protocol::Prng;

    fn put(key: u8, value: &'static str) -> Batch {
        let mut batch = Batch::default();
        batch.put(Map::Blocks, vec![key], value);
        batch
    }

    fn write(maps: &mut Maps, batch: Batch, synced: bool) {
        maps.submit(vec![batch]);
        maps.finish(synced);
    }

    fn keys(maps: &Maps) -> Vec<u8> {
        let all = maps.entries(Map::Blocks, &[], None, 100);
        all.iter().map(|(key, _)| key[0]).collect()
    }

    #[test]
    fn a_power_cut_keeps_a_prefix_of_what_was_not_synced() {
        let mut lengths = [0; 7];
        for seed in 0..400 {
            // Given two synced batches, three buffered ones and one on its way to the log.
            let mut maps = Maps::default();
            write(&mut maps, put(0, "a"), false);
            write(&mut maps, put(1, "b"), true);
            for key in 2..5 {
                write(&mut maps, put(key, "c"), false);
            }
            maps.submit(vec![put(5, "d")]);
            assert_eq!(keys(&maps), [0, 1, 2, 3, 4], "what is on its way is not visible");

            maps.cut(&Chance::new(Prng::new(seed)));

            let left = keys(&maps);
            assert!(
                left.len() >= 2 && left.iter().enumerate().all(|(i, key)| i == usize::from(*key))
            );
            lengths[left.len()] += 1;
        }
        assert!(lengths[2..].iter().all(|count| *count > 20), "every prefix happens: {lengths:?}");
    }

    #[test]
    fn what_a_lost_batch_replaced_comes_back_and_the_bytes_are_counted() {
        for seed in 0..50 {
            let mut maps = Maps::default();
            write(&mut maps, put(1, "old"), true);
            write(&mut maps, put(1, "newer"), false);
            maps.cut(&Chance::new(Prng::new(seed)));
            let value = maps.get(Map::Blocks, &Bytes::from_static(&[1])).unwrap().unwrap();
            assert!(value == "old" || value == "newer");
            assert_eq!(maps.bytes(), 1 + value.len() as u64);
        }
    }

    #[test]
    fn a_rotten_value_cannot_be_read_until_it_is_written_anew() {
        let mut maps = Maps::default();
        let chance = Chance::new(Prng::new(1));
        assert!(!maps.rot(&chance));
        let mut batch = Batch::default();
        batch.put(Map::Small, vec![1], "value");
        write(&mut maps, batch.clone(), true);
        assert!(maps.rot(&chance));
        assert!(maps.get(Map::Small, &Bytes::from_static(&[1])).is_err());
        write(&mut maps, batch, true);
        assert_eq!(maps.get(Map::Small, &Bytes::from_static(&[1])).unwrap().unwrap(), "value");
    }
}
