//! `dag::Reader::supply`: a hostile root makes a reader neither panic nor hand out a byte.
#![no_main]

use bytes::Bytes;
use protocol::dag::{ByteRange, Reader};
use protocol::{Cid, Codec};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let root = Cid::of(Codec::DagPb, input);
    let mut reader = Reader::new(root, ByteRange { start: 0, end: None });
    assert_eq!(reader.next_wanted().map(|wanted| wanted.cid), Some(root));
    if reader.supply(root, Bytes::copy_from_slice(input)).is_ok() {
        for _ in 0..10_000 {
            if reader.next_wanted().is_none() {
                break;
            }
        }
        let handed: u64 = std::iter::from_fn(|| reader.next_bytes()).map(|b| b.len() as u64).sum();
        assert!(reader.size().is_some_and(|size| handed <= size));
    }
});
