//! `work::Row::decode`: what is accepted survives being encoded and decoded again.
#![no_main]

use protocol::work::Row;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(row) = Row::decode(input) {
        let bytes = row.encode().expect("it was within the bound");
        assert_eq!(Row::decode(&bytes).as_ref(), Ok(&row));
    }
});
