//! What two peers say to each other when they compare inventories, and its bytes.
//!
//! A message is a version (1), a kind and fields, big-endian; lists are a count (u16) and elements that only
//! rise, so that every value has one form. A decoder checks each count before it allocates for it.
//! Never: decides what to ask.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::desired::{Absence, Scope};
use super::row::{Row, RowKey};
use crate::limits::{
    BLOCK_BYTES_MAX, INVENTORY_GROUPS, INVENTORY_GROUPS_ASKED_MAX, INVENTORY_MESSAGE_BYTES_MAX,
    INVENTORY_PARTITIONS_MAX, INVENTORY_ROWS_MAX, REPAIR_ABSENT_MAX,
};
use crate::placement::Partition;
use crate::record::{codec_byte, codec_of};
use crate::topology::Epoch;
use crate::{Cid, OwnerId, PeerId};

/// Version of questions and answers.
pub(super) const REPAIR_VERSION: u8 = 1;

/// What one peer asks of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is this the sum of all that is compared between us? Answered by [`Answer::Equal`] or
    /// [`Answer::Groups`].
    All {
        /// Which partitions are compared.
        scope: Scope,
        /// The asker's sum.
        sum: u128,
    },
    /// What are the sums of the partitions of these groups? Answered by [`Answer::Partitions`].
    Groups {
        /// Which partitions are compared.
        scope: Scope,
        /// Groups, at most [`INVENTORY_GROUPS_ASKED_MAX`].
        groups: Vec<u16>,
    },
    /// Of which of these partitions is your sum another? Answered by [`Answer::Differing`].
    Check {
        /// The asker's epoch.
        epoch: Epoch,
        /// Partitions and the asker's sums, at most [`INVENTORY_PARTITIONS_MAX`].
        sums: Vec<(Partition, u128)>,
    },
    /// Which rows do these partitions have? Answered by [`Answer::Rows`].
    Rows {
        /// The asker's epoch.
        epoch: Epoch,
        /// Partitions, at most [`INVENTORY_PARTITIONS_MAX`].
        partitions: Vec<Partition>,
        /// The row that the page begins behind.
        after: Option<RowKey>,
    },
}

/// What the other one answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All that is compared is equal.
    Equal,
    /// It cannot be compared: the other peer is at this epoch.
    Epoch(Epoch),
    /// The sums of all groups that have rows.
    Groups(Vec<(u16, u128)>),
    /// The sums of all partitions that have rows, of the groups asked for.
    Partitions(Vec<(Partition, u128)>),
    /// The partitions whose sums differ.
    Differing(Vec<Partition>),
    /// A page of rows.
    Rows(Page),
}

/// Rows in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most [`INVENTORY_ROWS_MAX`].
    pub rows: Vec<Row>,
    /// Whether there are no more behind them.
    pub is_last: bool,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepairFormatError {
    /// Of a later version.
    #[error("repair message has version {found}, expected {REPAIR_VERSION}")]
    Version {
        /// The version.
        found: u8,
    },
    /// More bytes than a message may have.
    #[error("repair message has {bytes} bytes, at most {INVENTORY_MESSAGE_BYTES_MAX} are allowed")]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// A field has a value that this version never writes, or is missing.
    #[error("repair message has no valid {field}")]
    Field {
        /// Which.
        field: &'static str,
    },
}

impl Question {
    /// Returns what a question with a scope goes by: whoever answers computes [`super::Desired`] from it.
    #[must_use]
    pub const fn scope(&self) -> Option<&Scope> {
        match self {
            Self::All { scope, .. } | Self::Groups { scope, .. } => Some(scope),
            Self::Check { .. } | Self::Rows { .. } => None,
        }
    }

    /// Returns the bytes of this question. Lists beyond their bounds are cut; whoever made the question kept
    /// to them.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = vec![REPAIR_VERSION];
        match self {
            Self::All { scope, sum } => {
                out.push(1);
                put_scope(&mut out, scope);
                out.extend(sum.to_be_bytes());
            }
            Self::Groups { scope, groups } => {
                out.push(2);
                put_scope(&mut out, scope);
                put_list(&mut out, INVENTORY_GROUPS_ASKED_MAX, groups, |out, group| {
                    out.extend(group.to_be_bytes());
                });
            }
            Self::Check { epoch, sums } => {
                out.push(3);
                out.extend(epoch.0.to_be_bytes());
                put_sums(&mut out, sums);
            }
            Self::Rows { epoch, partitions, after } => {
                out.push(4);
                out.extend(epoch.0.to_be_bytes());
                put_list(&mut out, INVENTORY_PARTITIONS_MAX, partitions, put_partition);
                out.push(u8::from(after.is_some()));
                if let Some(after) = after {
                    put_cid(&mut out, &after.cid);
                    out.extend(after.owner.as_bytes());
                }
            }
        }
        out.into()
    }

    /// Returns the question of these bytes.
    ///
    /// # Errors
    /// Any [`RepairFormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RepairFormatError> {
        let (mut from, kind) = Reader::begin(bytes)?;
        let question = match kind {
            1 => Self::All { scope: from.scope()?, sum: from.u128("sum")? },
            2 => Self::Groups {
                scope: from.scope()?,
                groups: from.rising("groups", INVENTORY_GROUPS_ASKED_MAX, Reader::group)?,
            },
            3 => Self::Check { epoch: from.epoch()?, sums: from.sums()? },
            4 => Self::Rows {
                epoch: from.epoch()?,
                partitions: from.partitions()?,
                after: if from.flag("after")? { Some(from.key()?) } else { None },
            },
            _ => return Err(RepairFormatError::Field { field: "kind" }),
        };
        from.end(question)
    }
}

impl Answer {
    /// Returns the bytes of this answer. Lists beyond their bounds are cut; whoever made the answer kept to
    /// them.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = vec![REPAIR_VERSION];
        match self {
            Self::Equal => out.push(1),
            Self::Epoch(epoch) => {
                out.push(2);
                out.extend(epoch.0.to_be_bytes());
            }
            Self::Groups(sums) => {
                out.push(3);
                put_list(&mut out, INVENTORY_GROUPS as usize, sums, |out, (group, sum)| {
                    out.extend(group.to_be_bytes());
                    out.extend(sum.to_be_bytes());
                });
            }
            Self::Partitions(sums) => {
                out.push(4);
                put_sums(&mut out, sums);
            }
            Self::Differing(partitions) => {
                out.push(5);
                put_list(&mut out, INVENTORY_PARTITIONS_MAX, partitions, put_partition);
            }
            Self::Rows(page) => {
                out.push(6);
                put_page(&mut out, page);
            }
        }
        out.into()
    }

    /// Returns the answer of these bytes.
    ///
    /// # Errors
    /// Any [`RepairFormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RepairFormatError> {
        let (mut from, kind) = Reader::begin(bytes)?;
        let answer = match kind {
            1 => Self::Equal,
            2 => Self::Epoch(from.epoch()?),
            3 => Self::Groups(from.summed("groups", INVENTORY_GROUPS as usize, Reader::group)?),
            4 => Self::Partitions(from.sums()?),
            5 => Self::Differing(from.partitions()?),
            6 => Self::Rows(from.page()?),
            _ => return Err(RepairFormatError::Field { field: "kind" }),
        };
        from.end(answer)
    }
}

fn put_list<T>(out: &mut Vec<u8>, max: usize, list: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    let list = list.get(..max).unwrap_or(list);
    out.extend(u16::try_from(list.len()).unwrap_or(u16::MAX).to_be_bytes());
    list.iter().for_each(|element| put(out, element));
}

fn put_partition(out: &mut Vec<u8>, partition: &Partition) {
    out.extend(u32::try_from(partition.index()).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_sums(out: &mut Vec<u8>, sums: &[(Partition, u128)]) {
    put_list(out, INVENTORY_PARTITIONS_MAX, sums, |out, (partition, sum)| {
        put_partition(out, partition);
        out.extend(sum.to_be_bytes());
    });
}

fn put_cid(out: &mut Vec<u8>, cid: &Cid) {
    out.extend(cid.digest());
    out.push(codec_byte(cid.codec()));
}

fn put_scope(out: &mut Vec<u8>, scope: &Scope) {
    out.extend(scope.epoch.0.to_be_bytes());
    let absent: Vec<_> = scope.absent.iter().collect();
    put_list(out, REPAIR_ABSENT_MAX, &absent, |out, (peer, absence)| {
        out.extend(peer.public_key());
        out.push(match absence {
            Absence::Replaced => 1,
            Absence::Brief => 2,
        });
    });
}

/// Blocks with their owners, so that a block that many share is named once.
fn put_page(out: &mut Vec<u8>, page: &Page) {
    let rows = page.rows.get(..INVENTORY_ROWS_MAX).unwrap_or(&page.rows);
    let blocks: Vec<&[Row]> = rows.chunk_by(|one, next| one.cid == next.cid).collect();
    put_list(out, INVENTORY_ROWS_MAX, &blocks, |out, rows| {
        let Some(first) = rows.first() else { return };
        put_cid(out, &first.cid);
        out.extend(first.bytes.to_be_bytes());
        put_list(out, INVENTORY_ROWS_MAX, rows, |out, row| {
            out.extend(row.owner.as_bytes());
            out.push(u8::from(row.root));
        });
    });
    out.push(u8::from(page.is_last));
}

/// Reads fields from the front of a message.
struct Reader<'a>(&'a [u8]);

type Read<T> = Result<T, RepairFormatError>;

impl<'a> Reader<'a> {
    fn begin(bytes: &'a [u8]) -> Read<(Self, u8)> {
        if bytes.len() > INVENTORY_MESSAGE_BYTES_MAX {
            return Err(RepairFormatError::TooLong { bytes: bytes.len() });
        }
        let mut from = Self(bytes);
        let found = from.byte("version")?;
        if found != REPAIR_VERSION {
            return Err(RepairFormatError::Version { found });
        }
        let kind = from.byte("kind")?;
        Ok((from, kind))
    }

    fn end<T>(self, value: T) -> Read<T> {
        if self.0.is_empty() { Ok(value) } else { Err(RepairFormatError::Field { field: "end" }) }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Read<[u8; N]> {
        let (found, rest) = self.0.split_first_chunk().ok_or(RepairFormatError::Field { field })?;
        self.0 = rest;
        Ok(*found)
    }

    fn byte(&mut self, field: &'static str) -> Read<u8> {
        Ok(self.array::<1>(field)?[0])
    }

    fn flag(&mut self, field: &'static str) -> Read<bool> {
        match self.byte(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RepairFormatError::Field { field }),
        }
    }

    fn u32(&mut self, field: &'static str) -> Read<u32> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    fn u128(&mut self, field: &'static str) -> Read<u128> {
        Ok(u128::from_be_bytes(self.array(field)?))
    }

    fn count(&mut self, field: &'static str, max: usize) -> Read<usize> {
        let count = usize::from(u16::from_be_bytes(self.array(field)?));
        if count > max { Err(RepairFormatError::Field { field }) } else { Ok(count) }
    }

    fn list<T>(
        &mut self,
        field: &'static str,
        max: usize,
        rises: impl Fn(&T, &T) -> bool,
        read: impl Fn(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let count = self.count(field, max)?;
        let mut list: Vec<T> = Vec::new();
        for _ in 0..count {
            let element = read(self)?;
            if list.last().is_some_and(|last| !rises(last, &element)) {
                return Err(RepairFormatError::Field { field });
            }
            list.push(element);
        }
        Ok(list)
    }

    fn rising<T: Ord>(
        &mut self,
        field: &'static str,
        max: usize,
        read: impl Fn(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        self.list(field, max, |one, next| one < next, read)
    }

    fn summed<T: Ord>(
        &mut self,
        field: &'static str,
        max: usize,
        read: impl Fn(&mut Self) -> Read<T>,
    ) -> Read<Vec<(T, u128)>> {
        let pair = |from: &mut Self| Ok((read(from)?, from.u128(field)?));
        self.list(field, max, |one: &(T, u128), next| one.0 < next.0, pair)
    }

    fn epoch(&mut self) -> Read<Epoch> {
        Ok(Epoch(u64::from_be_bytes(self.array("epoch")?)))
    }

    fn group(&mut self) -> Read<u16> {
        let group = u16::from_be_bytes(self.array("group")?);
        let is_group = u32::from(group) < INVENTORY_GROUPS;
        if is_group { Ok(group) } else { Err(RepairFormatError::Field { field: "group" }) }
    }

    fn partition(&mut self) -> Read<Partition> {
        Partition::new(self.u32("partition")?)
            .ok_or(RepairFormatError::Field { field: "partition" })
    }

    fn partitions(&mut self) -> Read<Vec<Partition>> {
        self.rising("partitions", INVENTORY_PARTITIONS_MAX, Self::partition)
    }

    fn sums(&mut self) -> Read<Vec<(Partition, u128)>> {
        self.summed("sums", INVENTORY_PARTITIONS_MAX, Self::partition)
    }

    fn scope(&mut self) -> Read<Scope> {
        let epoch = self.epoch()?;
        let absence = |from: &mut Self| {
            let peer = PeerId::from_public_key(from.array("absent")?);
            match from.byte("absent")? {
                1 => Ok((peer, Absence::Replaced)),
                2 => Ok((peer, Absence::Brief)),
                _ => Err(RepairFormatError::Field { field: "absent" }),
            }
        };
        let rises = |one: &(PeerId, Absence), next: &(PeerId, Absence)| one.0 < next.0;
        let absent = self.list("absent", REPAIR_ABSENT_MAX, rises, absence)?;
        Ok(Scope { epoch, absent: BTreeMap::from_iter(absent) })
    }

    fn cid(&mut self) -> Read<Cid> {
        let digest = self.array("block")?;
        let codec = codec_of(self.byte("block")?);
        Ok(Cid::from_digest(codec.ok_or(RepairFormatError::Field { field: "codec" })?, digest))
    }

    fn owner(&mut self) -> Read<OwnerId> {
        Ok(OwnerId::from_bytes(self.array("owner")?))
    }

    fn key(&mut self) -> Read<RowKey> {
        Ok(RowKey { cid: self.cid()?, owner: self.owner()? })
    }

    fn page(&mut self) -> Read<Page> {
        let invalid = RepairFormatError::Field { field: "rows" };
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..self.count("rows", INVENTORY_ROWS_MAX)? {
            let cid = self.cid()?;
            let bytes = self.u32("rows")?;
            let room = INVENTORY_ROWS_MAX.saturating_sub(rows.len());
            let count = self.count("rows", room)?;
            let is_next = rows.last().is_none_or(|last| last.cid < cid);
            if bytes > BLOCK_BYTES_MAX || count == 0 || !is_next {
                return Err(invalid);
            }
            for _ in 0..count {
                let row = Row { cid, owner: self.owner()?, root: self.flag("root")?, bytes };
                if rows.last().is_some_and(|last| last.key() >= row.key()) {
                    return Err(invalid);
                }
                rows.push(row);
            }
        }
        Ok(Page { rows, is_last: self.flag("last")? })
    }
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
