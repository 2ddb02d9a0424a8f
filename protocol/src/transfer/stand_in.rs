//! Reads an object of one raw block, until the reader of `dag` takes its place.
use crate::Cid;
use bytes::Bytes;
#[derive(Clone, Copy, Debug, Default)]
pub struct ByteRange {
    pub start: u64,
    pub end: Option<u64>,
}
#[derive(Debug)]
pub(super) struct Wanted {
    pub cid: Cid,
    pub bytes_hint: u64,
}
#[derive(Debug, thiserror::Error)]
#[error("not a raw block")]
pub(super) struct DagError;
#[derive(Debug)]
pub(super) struct Reader {
    root: Cid,
    wanted: bool,
    bytes: Option<Bytes>,
    size: Option<u64>,
    finished: bool,
}
impl Reader {
    pub(super) fn new(root: Cid, _range: ByteRange) -> Self {
        Self { root, wanted: false, bytes: None, size: None, finished: false }
    }
    pub(super) fn next_wanted(&mut self) -> Option<Wanted> {
        (!core::mem::replace(&mut self.wanted, true))
            .then_some(Wanted { cid: self.root, bytes_hint: 0 })
    }
    pub(super) fn supply(&mut self, cid: Cid, bytes: Bytes) -> Result<(), DagError> {
        if cid != self.root || cid.codec() != crate::Codec::Raw {
            return Err(DagError);
        }
        self.size = Some(bytes.len() as u64);
        self.bytes = Some(bytes);
        Ok(())
    }
    pub(super) fn next_bytes(&mut self) -> Option<Bytes> {
        let b = self.bytes.take();
        if b.is_some() {
            self.finished = true;
        }
        b
    }
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }
}
