//! `dag::pb::Node::decode`: what is accepted encodes to a node that decodes to the same.
#![no_main]

use bytes::Bytes;
use protocol::dag::pb::Node;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(node) = Node::decode(&Bytes::copy_from_slice(input), 1024) {
        let again = node.encode();
        assert_eq!(again.len(), node.encoded_len());
        assert_eq!(Node::decode(&again, 1024), Ok(node));
    }
});
