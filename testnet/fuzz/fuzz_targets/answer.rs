//! `metadata::decode_answer`: what is accepted survives being encoded and decoded again.
#![no_main]

use protocol::metadata::{decode_answer, encode_answer};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(answer) = decode_answer(input) {
        let bytes = encode_answer(&answer).expect("it was within the bound");
        assert_eq!(decode_answer(&bytes).as_ref(), Ok(&answer));
    }
});
