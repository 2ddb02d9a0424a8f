//! `record::RecordHeader::decode`: what is accepted encodes to the same bytes.
#![no_main]

use protocol::record::RecordHeader;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(header) = RecordHeader::decode(input) {
        assert_eq!(input[..header.encode().len()], header.encode());
    }
});
