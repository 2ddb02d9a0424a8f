//! `work::Message::decode`: what is accepted survives being encoded and decoded again.
#![no_main]

use protocol::work::Message;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(message) = Message::decode(input) {
        let bytes = message.encode().expect("it was within the bound");
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message));
    }
});
