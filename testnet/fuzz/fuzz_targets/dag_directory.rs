//! `dag::directory::parse_node`: no input panics, and no name that escapes its folder is let through.
#![no_main]

use bytes::Bytes;
use protocol::dag::directory;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(node) = directory::parse_node(&Bytes::copy_from_slice(input)) {
        for entry in node.entries {
            assert!(!entry.name.is_empty() && entry.name != "." && entry.name != "..");
            assert!(!entry.name.contains(['/', '\0']));
        }
    }
});
