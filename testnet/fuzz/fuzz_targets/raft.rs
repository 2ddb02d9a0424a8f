//! `raft::decode` of letters, their answers and what lies on the disk: what is accepted survives being encoded and
//! decoded again.
#![no_main]

use std::fmt::Debug;

use protocol::raft::{
    Answer, Ballot, Identity, Letter, Marks, Place, Progress, Record, decode, encode, open,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) {
    if let Ok(value) = decode::<T>("value", input) {
        // A number may be written longer than it has to be, but never the other way round.
        let bytes = encode("value", &value).expect("it was within the bound");
        assert_eq!(decode::<T>("value", &bytes), Ok(value));
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // As it comes from the network; what passes has a checksum, which chance does not find.
    drop(open::<Letter>("letter", input));
    check::<Letter>(input);
    check::<Answer>(input);
    check::<Record>(input);
    check::<Progress>(input);
    check::<(Ballot, Place, Identity)>(input);
    check::<Marks>(input);
});
