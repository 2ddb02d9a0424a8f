//! The segment files of a peer, read and damaged from outside.
//!
//! A record is found by its format alone, as `protocol::record` describes it. Never: asks the index.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use protocol::Cid;
use protocol::record::{RECORD_HEADER_BYTES, RecordHeader, checksum};

/// How a block is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// One bit of one byte: the checksum of the record tells.
    Flip,
    /// The same, with checksums made to fit: only the block's name tells.
    Forge,
}

/// Where a block lies.
#[derive(Clone, Debug)]
pub(super) struct Record {
    path: PathBuf,
    offset: u64,
    header: RecordHeader,
}

/// Returns the blocks in the segment files of a data directory; of several records of one block, the last.
///
/// # Errors
/// A file cannot be read, or there is none.
pub(super) fn records(data_dir: &Path) -> anyhow::Result<BTreeMap<Cid, Record>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(data_dir.join("segments")).context("no folder of segments")? {
        paths.push(entry?.path());
    }
    // Their names are numbers of one width.
    paths.sort();
    let mut found = BTreeMap::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "segment")) {
        let file = File::open(path)?;
        let mut offset = 0;
        let mut bytes = [0; RECORD_HEADER_BYTES];
        // The end of the file, or of what is written of it.
        while file.read_exact_at(&mut bytes, offset).is_ok() {
            let Ok(header) = RecordHeader::decode(&bytes) else { break };
            found.insert(header.cid, Record { path: path.clone(), offset, header });
            offset += header.record_bytes();
        }
    }
    Ok(found)
}

impl Record {
    /// Says whether the bytes of the block hash to its name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn is_whole(&self, cid: &Cid) -> anyhow::Result<bool> {
        let mut payload = vec![0; self.header.payload_bytes as usize];
        let file = File::open(&self.path)?;
        file.read_exact_at(&mut payload, self.offset + RECORD_HEADER_BYTES as u64)?;
        Ok(cid.matches(&payload))
    }

    /// Damages the block, whether the daemon runs or not. `at` chooses the byte.
    ///
    /// # Errors
    /// The file cannot be written, or the block is empty.
    pub(super) fn damage(&self, damage: Damage, at: u64) -> anyhow::Result<()> {
        if self.header.payload_bytes == 0 {
            bail!("an empty block has no byte to flip");
        }
        let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        let payload_at = self.offset + RECORD_HEADER_BYTES as u64;
        let position = payload_at + at % u64::from(self.header.payload_bytes);
        let mut byte = [0];
        file.read_exact_at(&mut byte, position)?;
        byte[0] ^= 1 << (at % 8);
        file.write_all_at(&byte, position)?;
        if damage == Damage::Forge {
            let mut payload = vec![0; self.header.payload_bytes as usize];
            file.read_exact_at(&mut payload, payload_at)?;
            let header = RecordHeader { payload_checksum: checksum(&payload), ..self.header };
            file.write_all_at(&header.encode(), self.offset)?;
        }
        Ok(())
    }
}
