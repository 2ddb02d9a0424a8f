//! `invite::JoinRequest::decode`, which any stranger reaches: what is accepted survives being encoded and decoded again.
#![no_main]

use protocol::invite::JoinRequest;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(request) = JoinRequest::decode(input) {
        assert_eq!(JoinRequest::decode(&request.encode()), Ok(request));
    }
});
