//! `metadata::Command::decode`: what is accepted survives being encoded and decoded again.
#![no_main]

use protocol::metadata::Command;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(command) = Command::decode(input) {
        // A number may be written longer than it has to be, but never the other way round.
        let bytes = command.encode().expect("it was within the bound");
        assert_eq!(Command::decode(&bytes).as_ref(), Ok(&command));
    }
});
