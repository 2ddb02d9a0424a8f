//! The dag-pb codec: a node is links and data.
//!
//! Written by hand on varints, because the canonical bytes have `Links` (field 2) before `Data`
//! (field 1), which no Protobuf library writes. Both orders are read.
//! Never: copies what it reads, or allocates for a length that only the input claims.
//! Source: the dag-pb specification of IPLD.

use bytes::Bytes;
use unsigned_varint::{decode, encode};

use super::error::{DagError, malformed};
use crate::cid::Cid;
use crate::limits::BLOCK_BYTES_MAX;

const NODE_DATA: u64 = 1;
const NODE_LINKS: u64 = 2;
const LINK_HASH: u64 = 1;
const LINK_NAME: u64 = 2;
const LINK_DAG_BYTES: u64 = 3;

/// A link of a node to another block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The block it leads to.
    pub cid: Cid,
    /// Name of the entry in a directory; empty in a file.
    pub name: Bytes,
    /// What its maker says are the bytes of all blocks below it and itself (`Tsize`). A hint.
    pub dag_bytes: u64,
}

/// A dag-pb node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Links, in the order of the block.
    pub links: Vec<Link>,
    /// Data beside them: UnixFS in everything that Shoal stores.
    pub data: Option<Bytes>,
}

impl Node {
    /// Returns the canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.encoded_len());
        for link in &self.links {
            put_key(&mut out, NODE_LINKS, WIRE_BYTES);
            put_varint(&mut out, link.encoded_len() as u64);
            put_bytes(&mut out, LINK_HASH, &link.cid.to_bytes());
            put_bytes(&mut out, LINK_NAME, &link.name);
            put_number(&mut out, LINK_DAG_BYTES, link.dag_bytes);
        }
        if let Some(data) = &self.data {
            put_bytes(&mut out, NODE_DATA, data);
        }
        debug_assert_eq!(out.len(), self.encoded_len());
        out.into()
    }

    /// Returns how many bytes [`Node::encode`] makes, without making them. Cost: O(links).
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let links: usize = self.links.iter().map(|link| bytes_field_len(link.encoded_len())).sum();
        links + self.data.as_ref().map_or(0, |data| bytes_field_len(data.len()))
    }

    /// Returns the node of a block, with at most `links_max` links.
    ///
    /// Cost: O(bytes); names and data share memory with `block`.
    ///
    /// # Errors
    /// [`DagError::Malformed`] if these are not the bytes of a node, or too many;
    /// [`DagError::LinkUnsupported`] if a link leads to a block that is not stored here.
    pub fn decode(block: &Bytes, links_max: usize) -> Result<Self, DagError> {
        if block.len() > BLOCK_BYTES_MAX as usize {
            return Err(malformed("larger than any block may be"));
        }
        let mut node = Self::default();
        let mut last_number = 0;
        let mut fields = Fields::new(block);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (NODE_LINKS, Value::Bytes(bytes)) => {
                    if last_number != NODE_LINKS && !node.links.is_empty() {
                        return Err(malformed("links on both sides of the data"));
                    }
                    if node.links.len() >= links_max {
                        return Err(malformed("more links than a node may have"));
                    }
                    node.links.push(Link::decode(block, bytes)?);
                }
                (NODE_DATA, Value::Bytes(bytes)) => {
                    set_once(&mut node.data, block.slice_ref(bytes))?;
                }
                _ => return Err(malformed("a field that a node does not have")),
            }
            last_number = number;
        }
        Ok(node)
    }
}

impl Link {
    fn encoded_len(&self) -> usize {
        bytes_field_len(Cid::BYTES)
            + bytes_field_len(self.name.len())
            + 1
            + varint_len(self.dag_bytes)
    }

    /// Returns the link in `bytes`, a part of `block`.
    fn decode(block: &Bytes, bytes: &[u8]) -> Result<Self, DagError> {
        let (mut cid, mut name, mut dag_bytes) = (None, None, None);
        let mut fields = Fields::new(bytes);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (LINK_HASH, Value::Bytes(hash)) => set_once(&mut cid, Cid::from_bytes(hash)?)?,
                (LINK_NAME, Value::Bytes(text)) => set_once(&mut name, block.slice_ref(text))?,
                (LINK_DAG_BYTES, Value::Number(count)) => set_once(&mut dag_bytes, count)?,
                _ => return Err(malformed("a field that a link does not have")),
            }
        }
        let cid = cid.ok_or(malformed("a link to nothing"))?;
        Ok(Self { cid, name: name.unwrap_or_default(), dag_bytes: dag_bytes.unwrap_or(0) })
    }
}

pub(super) fn set_once<T>(place: &mut Option<T>, value: T) -> Result<(), DagError> {
    if place.replace(value).is_some() {
        return Err(malformed("a field twice"));
    }
    Ok(())
}

// ---- Protobuf fields -----------------------------------------------------------------------

const WIRE_NUMBER: u64 = 0;
const WIRE_FIXED_64: u64 = 1;
const WIRE_BYTES: u64 = 2;
const WIRE_FIXED_32: u64 = 5;

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes, which no field that is read here has.
    Fixed,
}

/// The fields of a Protobuf message, one after the other.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Returns the next field's number and value, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, DagError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.number()?;
        let value = match key & 7 {
            WIRE_NUMBER => Value::Number(self.number()?),
            WIRE_BYTES => {
                let len = usize::try_from(self.number()?).unwrap_or(usize::MAX);
                Value::Bytes(self.take(len)?)
            }
            WIRE_FIXED_64 => self.take(8).map(|_| Value::Fixed)?,
            WIRE_FIXED_32 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(malformed("a field of unknown form")),
        };
        Ok(Some((key >> 3, value)))
    }

    /// Returns the next varint: a field's key, or a value in a packed field.
    pub(super) fn number(&mut self) -> Result<u64, DagError> {
        let (number, rest) =
            decode::u64(self.rest).map_err(|_| malformed("a number that does not end"))?;
        self.rest = rest;
        Ok(number)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DagError> {
        let (taken, rest) =
            self.rest.split_at_checked(len).ok_or(malformed("a field longer than its block"))?;
        self.rest = rest;
        Ok(taken)
    }
}

fn put_varint(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(encode::u64(number, &mut encode::u64_buffer()));
}

fn put_key(out: &mut Vec<u8>, number: u64, wire: u64) {
    put_varint(out, number << 3 | wire);
}

/// Appends a field that holds a number.
pub(super) fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_key(out, field, WIRE_NUMBER);
    put_varint(out, number);
}

/// Appends a field that holds bytes, or text.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, WIRE_BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint_len(number: u64) -> usize {
    encode::u64(number, &mut encode::u64_buffer()).len()
}

/// Bytes of a field with a one-byte key that holds `len` bytes.
fn bytes_field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

    use super::{Cid, DagError, Link, Node};
    use crate::Codec;
    use crate::limits::BLOCK_BYTES_MAX;

    fn link(name: &str, dag_bytes: u64) -> Link {
        let cid = Cid::of(Codec::Raw, name.as_bytes());
        Link { cid, name: Bytes::copy_from_slice(name.as_bytes()), dag_bytes }
    }

    fn arbitrary_node() -> impl Strategy<Value = Node> {
        let link = ("[a-z]{0,200}", any::<u64>()).prop_map(|(name, bytes)| link(&name, bytes));
        let data = prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
        (prop::collection::vec(link, 0..6), data)
            .prop_map(|(links, data)| Node { links, data: data.map(Bytes::from) })
    }

    #[test]
    fn links_come_before_data_and_an_empty_name_is_written() {
        let data = Some(Bytes::from_static(&[8, 1]));
        let node = Node { links: vec![link("", 300)], data };
        let mut expected = vec![0x12, 43, 0x0A, 36];
        expected.extend_from_slice(&node.links[0].cid.to_bytes());
        expected.extend_from_slice(&[0x12, 0, 0x18, 0xAC, 0x02, 0x0A, 2, 8, 1]);
        assert_eq!(node.encode(), expected);
    }

    #[test]
    fn data_before_links_is_read_but_not_between_them() {
        let data = Node { links: Vec::new(), data: Some(Bytes::from_static(b"data")) };
        let (a, b) = (link("a", 1), link("b", 2));
        let part = |link: &Link| Node { links: vec![link.clone()], data: None }.encode();
        let decode = |parts: &[Bytes]| Node::decode(&parts.concat().into(), 9);
        let whole = Node { links: vec![a.clone(), b.clone()], data: data.data.clone() };
        assert_eq!(decode(&[data.encode(), part(&a), part(&b)]), Ok(whole.clone()));
        assert_eq!(decode(&[part(&a), part(&b), data.encode()]), Ok(whole));
        assert!(decode(&[part(&a), data.encode(), part(&b)]).is_err());
        assert!(decode(&[data.encode(), data.encode()]).is_err());
    }

    #[test]
    fn blocks_that_break_a_limit_are_refused() {
        let refused = |block: Vec<u8>| {
            let read = Node::decode(&block.into(), 2);
            assert!(matches!(read, Err(DagError::Malformed { .. })), "{read:?}");
        };
        // Larger than a block; a length beyond the end; a number without end; unknown fields; no CID.
        refused(vec![0; BLOCK_BYTES_MAX as usize + 1]);
        refused(vec![0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]);
        refused(vec![0xFF; 11]);
        refused(vec![0x18, 1]);
        refused(vec![0x12, 2, 0x12, 0]);
        refused(Node { links: vec![link("", 0); 3], data: None }.encode().to_vec());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(node in arbitrary_node()) {
            let block = node.encode();
            prop_assert_eq!(block.len(), node.encoded_len());
            prop_assert_eq!(Node::decode(&block, 6), Ok(node));
        }

        #[test]
        fn changed_blocks_are_refused_or_read_but_never_panic(
            node in arbitrary_node(), at in any::<prop::sample::Index>(), value in any::<u8>(),
        ) {
            let mut block = node.encode().to_vec();
            block.push(value);
            let at = at.index(block.len());
            block[at] = value;
            if let Ok(read) = Node::decode(&block.into(), 6) {
                prop_assert!(read.links.len() <= 6);
            }
        }
    }
}
