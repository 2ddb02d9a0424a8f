//! CIDs in both forms: what is accepted survives being written and read again.
#![no_main]

use protocol::Cid;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(cid) = Cid::from_bytes(input) {
        assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
    }
    if let Ok(cid) = String::from_utf8_lossy(input).parse::<Cid>() {
        assert_eq!(cid.to_string().parse(), Ok(cid));
    }
});
