//! What the bytes of an object are after some changes.

use sha2::{Digest, Sha256};

use crate::content::Content;

/// Bytes of a chunk of the profile that objects are cut by.
pub(super) const CHUNK: u64 = 1 << 20;

/// What a reader makes of all bytes.
pub(super) type Sum = [u8; 32];

/// An object: its first bytes, and what was written over and behind them.
#[derive(Clone, Debug)]
pub(super) struct Model {
    first: Content,
    changes: Vec<(u64, Content)>,
}

impl Model {
    pub(super) fn new(first: Content) -> Self {
        Self { first, changes: Vec::new() }
    }

    pub(super) fn size(&self) -> u64 {
        let ends = self.changes.iter().map(|(offset, content)| offset + content.size);
        ends.fold(self.first.size, u64::max)
    }

    /// Changes bytes from `offset` on, or appends. Returns how many chunks are other ones now.
    pub(super) fn change(&mut self, offset: Option<u64>, content: Content) -> u64 {
        let offset = offset.unwrap_or_else(|| self.size());
        self.changes.push((offset, content));
        (offset + content.size).div_ceil(CHUNK) - offset / CHUNK
    }

    /// Returns some bytes.
    fn slice(&self, start: u64, end: u64) -> Vec<u8> {
        let mut bytes = self.first.slice(start, end.min(self.size())).to_vec();
        for (offset, content) in &self.changes {
            let (from, until) = (start.max(*offset), end.min(offset + content.size));
            if from >= until {
                continue;
            }
            let place = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
            bytes.resize(bytes.len().max(place(until)), 0);
            bytes[place(from)..place(until)]
                .copy_from_slice(&content.slice(from - offset, until - offset));
        }
        bytes
    }

    /// Returns what all bytes come to. Lets others go on meanwhile.
    pub(super) async fn digest(&self) -> Sum {
        let mut sum = Sha256::new();
        for at in 0..self.size().div_ceil(CHUNK) {
            sum.update(self.slice(at * CHUNK, (at + 1) * CHUNK));
            tokio::task::yield_now().await;
        }
        sum.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Model};
    use crate::content::Content;

    #[test]
    fn changes_lie_over_what_was_there_before() {
        let content = |seed, size| Content { seed, size };
        let mut model = Model::new(content(1, 100));
        assert_eq!(model.change(None, content(2, 10)), 1);
        assert_eq!(model.change(Some(95), content(3, 8)), 1);
        assert_eq!(model.size(), 110);
        let parts = [(content(1, 100), 0, 95), (content(3, 8), 0, 8), (content(2, 10), 3, 10)];
        let expected: Vec<u8> =
            parts.iter().flat_map(|(content, from, until)| content.slice(*from, *until)).collect();
        assert_eq!(model.slice(0, 500), expected);
        assert_eq!(model.slice(90, 104), expected[90..104]);
        assert_eq!(model.change(Some(CHUNK - 1), content(4, 2)), 2);
    }
}
