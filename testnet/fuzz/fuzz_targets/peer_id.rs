//! Ids as text: what is accepted survives being written and read again.
#![no_main]

use protocol::{ClusterId, OwnerId, PeerId};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    if let Ok(peer) = text.parse::<PeerId>() {
        assert_eq!(peer.to_string().parse(), Ok(peer));
    }
    if let Ok(cluster) = text.parse::<ClusterId>() {
        assert_eq!(cluster.to_string(), text);
    }
    if let Ok(owner) = text.parse::<OwnerId>() {
        assert_eq!(owner.to_string(), text);
    }
});
