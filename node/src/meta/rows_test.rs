//! The rows in memory say what the disk says, whatever is read and written.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::Prng;
use protocol::metadata::Source;

use super::{KEPT_BYTES_MAX, Rows};
use crate::env::{DiskError, Map, MapReader};
use crate::meta::source::{Generation, key_in};

/// A disk in memory that counts what is read of it.
#[derive(Default)]
struct Counted {
    rows: BTreeMap<Bytes, Bytes>,
    reads: std::cell::Cell<usize>,
}

impl MapReader for Counted {
    fn get(&self, _: Map, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        self.reads.set(self.reads.get() + 1);
        Ok(self.rows.get(key).cloned())
    }

    fn scan(
        &self,
        _: Map,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        Ok(self.rows.scan(from, until, limit).unwrap_or_default())
    }
}

impl Counted {
    fn set(&mut self, generation: u32, key: &[u8], value: Option<Bytes>) {
        let key = key_in(generation, key);
        match value {
            Some(value) => self.rows.insert(key, value),
            None => self.rows.remove(&key),
        };
    }
}

#[test]
fn what_is_read_is_what_was_written() {
    for seed in 0..200 {
        let (mut prng, rows, mut disk) = (Prng::new(seed), Rows::new(), Counted::default());
        let mut generation = 0;
        for step in 0..400 {
            let key = Bytes::from(vec![b'k', u8::try_from(prng.below(12)).unwrap_or(0)]);
            match prng.below(20) {
                // A snapshot takes the place of the state: other rows, under another number.
                0 => {
                    generation += 1;
                    disk.set(generation, &key, Some(Bytes::from(format!("snapshot {step}"))));
                }
                1..=8 => {
                    let put = Bytes::from(format!("value {step}"));
                    let value = prng.chance(1, 2).then_some(put);
                    // Somebody reads before anything is written, in every step.
                    rows.over(&Generation::new(&disk, generation)).get(b"settings").unwrap_or(None);
                    disk.set(generation, &key, value.clone());
                    rows.changed(vec![(key, value)]);
                }
                _ => {
                    let at = Generation::new(&disk, generation);
                    assert_eq!(rows.over(&at).get(&key), at.get(&key), "seed {seed}, step {step}");
                }
            }
        }
    }
}

#[test]
fn a_row_is_read_from_the_disk_once() {
    let (rows, mut disk) = (Rows::new(), Counted::default());
    disk.set(0, b"there", Some(Bytes::from_static(b"value")));
    for _ in 0..5 {
        let disk = Generation::new(&disk, 0);
        let state = rows.over(&disk);
        assert_eq!(state.get(b"there"), Ok(Some(Bytes::from_static(b"value"))));
        assert_eq!(state.get(b"nowhere"), Ok(None));
    }
    assert_eq!(disk.reads.get(), 2);
}

#[test]
fn rows_take_a_bounded_room() {
    let (rows, mut disk) = (Rows::new(), Counted::default());
    let value = Bytes::from(vec![7; 1 << 10]);
    for number in 0..20_000_u32 {
        disk.set(0, &number.to_be_bytes(), Some(value.clone()));
    }
    for number in 0..20_000_u32 {
        rows.over(&Generation::new(&disk, 0)).get(&number.to_be_bytes()).unwrap_or(None);
        rows.changed(vec![(Bytes::copy_from_slice(&number.to_be_bytes()), Some(value.clone()))]);
        let kept = rows.lock();
        let bytes: usize = kept.values.iter().map(|(k, v)| super::weight(k, v.as_ref())).sum();
        assert!(kept.bytes == bytes && bytes <= KEPT_BYTES_MAX, "{bytes} bytes, {}", kept.bytes);
    }
}
