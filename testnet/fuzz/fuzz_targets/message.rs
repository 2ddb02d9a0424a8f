//! `Message::decode`: what is accepted encodes, fits a frame, and decodes to the same message.
//!
//! The first byte is the length of the body, the rest is the head.
#![no_main]

use bytes::Bytes;
use protocol::wire::{Frame, FrameHeader, Message};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, head)) = input.split_first() else { return };
    let body = Bytes::from(vec![0; usize::from(*first)]);
    let frame = Frame { head: Bytes::copy_from_slice(head), body };
    if let Ok(message) = Message::decode(&frame) {
        let again = message.encode().expect("what was accepted is within the limits");
        FrameHeader::of(&again).expect("every message fits a frame");
        assert_eq!(Message::decode(&again), Ok(message));
    }
});
