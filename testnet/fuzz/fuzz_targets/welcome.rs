//! `invite::decode_answer`: a welcome or a refusal survives being encoded and decoded again.
#![no_main]

use protocol::invite::{WELCOME_PEERS_MAX, decode_answer, encode_answer};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut answer = decode_answer(input);
    let again = decode_answer(&encode_answer(&answer));
    if let Ok(welcome) = &mut answer {
        // No more are ever sent.
        welcome.peers.truncate(WELCOME_PEERS_MAX);
    }
    assert_eq!(again, answer);
});
