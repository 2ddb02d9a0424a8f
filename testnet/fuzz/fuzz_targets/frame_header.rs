//! `FrameHeader::decode`: what is accepted encodes to the same bytes.
#![no_main]

use protocol::wire::FrameHeader;

libfuzzer_sys::fuzz_target!(|bytes: [u8; 8]| {
    if let Ok(header) = FrameHeader::decode(bytes) {
        assert_eq!(header.encode(), bytes);
    }
});
