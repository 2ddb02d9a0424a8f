//! Where a log of RocksDB stops being readable, and whether that is a torn end or damage.
//!
//! RocksDB cannot tell. It drops what is left of a part of 32 KiB after a record that it cannot read, takes one whose length
//! was changed for the end of the log, and one whose kind was changed for that or for a reason to read it for ever. So its
//! logs are looked through before it opens them. A log that ends in the middle of a record was being written when the
//! power or the process went, and nobody was promised what is missing. Anything else was changed later.
//! Never: understands what a record says; reads a file.
//! Source: RocksDB, `db/log_format.h`: parts of 32 KiB; records of a masked CRC-32C, a length and a kind, none across two parts.

use core::ops::Range;

/// Bytes of a part of a log.
const PART_BYTES: usize = 32 << 10;
/// Bytes before the payload of a record: checksum, length and kind.
const HEAD_BYTES: usize = 7;
/// The kinds of records: whole, first, middle and last.
const KINDS: Range<u8> = 1..5;

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// With a whole record, in the middle of one, or with zeros.
    Torn,
    /// With a record that cannot be read, although it was written whole.
    Damaged {
        /// Where it stands, in bytes: what comes before are whole records.
        offset: usize,
        /// Records, at least, that cannot be read or stand behind one that cannot.
        records: u64,
    },
}

/// What stands at a place of a log.
enum Place {
    /// A record that ends there.
    Record(usize),
    /// Nothing: the rest of a part is too short for a record.
    Rest(usize),
    /// A record that is longer than the log.
    Cut,
    Unreadable,
}

/// Returns how a log ends. Cost: a checksum of it; where it is damaged, one of a part for many of its bytes.
#[must_use]
pub fn log_end(log: &[u8]) -> LogEnd {
    let mut at = 0;
    while at < log.len() {
        match place_at(log, at) {
            Place::Record(end) | Place::Rest(end) => at = end,
            // What a file system left out of the end of a file reads as zeros.
            _ if log[at..].iter().all(|byte| *byte == 0) => return LogEnd::Torn,
            place @ (Place::Cut | Place::Unreadable) => {
                let behind = records_behind(log, at);
                let is_whole = matches!(place, Place::Unreadable) || ends_with_record(log, at);
                return if behind > 0 || is_whole {
                    LogEnd::Damaged { offset: at, records: behind + 1 }
                } else {
                    LogEnd::Torn
                };
            }
        }
    }
    LogEnd::Torn
}

/// Returns where the part ends that a place is in, or the log.
fn part_end(log: &[u8], at: usize) -> usize {
    (at - at % PART_BYTES + PART_BYTES).min(log.len())
}

fn place_at(log: &[u8], at: usize) -> Place {
    let left = PART_BYTES - at % PART_BYTES;
    if left < HEAD_BYTES {
        return Place::Rest((at + left).min(log.len()));
    }
    let Some(head) = log.get(at..at + HEAD_BYTES) else { return Place::Cut };
    let length = usize::from(u16::from_le_bytes([head[4], head[5]]));
    if !KINDS.contains(&head[6]) || HEAD_BYTES + length > left {
        return Place::Unreadable;
    }
    let end = at + HEAD_BYTES + length;
    match is_record(log, at..end) {
        Some(true) => Place::Record(end),
        Some(false) => Place::Unreadable,
        None => Place::Cut,
    }
}

/// Says whether the checksum of a record fits, if the log has all of it.
fn is_record(log: &[u8], range: Range<usize>) -> Option<bool> {
    let record = log.get(range)?;
    let (sum, summed) = (record.get(..4)?, record.get(6..)?);
    // Masked, since the checksum of bytes with their own checksum among them tells little.
    let masked = crc32c::crc32c(summed).rotate_right(15).wrapping_add(0xa282_ead8);
    Some(sum == masked.to_le_bytes())
}

/// Says whether what is left of the log is one record, of which the length only was changed.
fn ends_with_record(log: &[u8], at: usize) -> bool {
    is_record(log, at..part_end(log, at)) == Some(true)
}

/// Counts the records that stand behind one that cannot be read.
fn records_behind(log: &[u8], unreadable: usize) -> u64 {
    let (mut at, mut records) = (unreadable + 1, 0);
    while at < log.len() {
        match place_at(log, at) {
            Place::Record(end) => (at, records) = (end, records + 1),
            Place::Rest(end) => at = end,
            // Where the next one begins in this part, nobody says. A new part begins with one.
            Place::Cut | Place::Unreadable => at += 1,
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::{HEAD_BYTES, LogEnd, PART_BYTES, log_end};

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let summed = [&[kind], payload].concat();
        let sum = crc32c::crc32c(&summed).rotate_right(15).wrapping_add(0xa282_ead8);
        let length = u16::try_from(payload.len()).unwrap();
        [&sum.to_le_bytes()[..], &length.to_le_bytes(), &summed].concat()
    }

    /// Returns a log of three parts, and where its last record begins.
    fn log() -> (Vec<u8>, usize) {
        let mut log = Vec::new();
        let mut last = 0;
        for number in 0..200_u8 {
            // A part is filled to its end, but for what is too short for a record.
            let left = PART_BYTES - log.len() % PART_BYTES;
            if left < HEAD_BYTES {
                log.resize(log.len() + left, 0);
            }
            let left = PART_BYTES - log.len() % PART_BYTES;
            last = log.len();
            log.extend(record(1, &vec![number; 400.min(left - HEAD_BYTES)]));
        }
        (log, last)
    }

    #[test]
    fn a_log_may_end_anywhere_and_with_zeros() {
        let (log, last) = log();
        for end in (0..log.len()).step_by(7).chain(last..=log.len()) {
            assert_eq!(log_end(&log[..end]), LogEnd::Torn, "cut at {end}");
        }
        assert_eq!(log_end(&[&log[..], &[0; 5_000]].concat()), LogEnd::Torn);
    }

    #[test]
    fn any_bit_that_was_flipped_is_damage() {
        let (log, last) = log();
        let heads = [0, 407, last].map(|at| at..at + HEAD_BYTES);
        for byte in heads.into_iter().flatten().chain((0..log.len()).step_by(1_009)) {
            for bit in 0..8 {
                let mut log = log.clone();
                log[byte] ^= 1 << bit;
                let end = log_end(&log);
                assert!(matches!(end, LogEnd::Damaged { .. }), "bit {bit} of {byte}: {end:?}");
            }
        }
    }

    #[test]
    fn what_stands_behind_damage_is_counted() {
        let (mut log, _) = log();
        log[407 * 3 + 100] ^= 1;
        assert_eq!(log_end(&log), LogEnd::Damaged { offset: 407 * 3, records: 197 });
    }
}
