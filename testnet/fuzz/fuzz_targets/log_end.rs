//! `log_end::log_end`: what stands before damage is a log of its own that is whole.
#![no_main]

use protocol::log_end::{LogEnd, log_end};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let LogEnd::Damaged { offset, records } = log_end(input) {
        assert!(records > 0);
        assert_eq!(log_end(&input[..offset]), LogEnd::Torn);
    }
});
