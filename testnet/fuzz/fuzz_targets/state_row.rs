//! Values of the agreed state, which snapshots bring from other peers: what is accepted survives being encoded and
//! decoded again.
#![no_main]

use std::fmt::Debug;

use protocol::format::{decode, encode};
use protocol::metadata::{
    Bucket, Due, DueEntry, Lease, Lock, LockWaiter, Member, ObjectVersion, Pin, Session, Settings, Ticket, Token,
    Totals, Upload, User,
};
use protocol::topology::Topology;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) {
    if let Ok(value) = decode::<T>("a value", input, usize::MAX) {
        // A number may be written longer than it has to be, but never the other way round.
        let bytes = encode("a value", &value, usize::MAX).expect("it was within the bound");
        assert_eq!(decode::<T>("a value", &bytes, usize::MAX), Ok(value));
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    check::<(Bucket, ObjectVersion)>(input);
    check::<Bucket>(input);
    check::<ObjectVersion>(input);
    check::<Upload>(input);
    check::<Pin>(input);
    check::<Due>(input);
    check::<DueEntry>(input);
    check::<User>(input);
    check::<Token>(input);
    check::<Lease>(input);
    check::<Session>(input);
    check::<Lock>(input);
    check::<LockWaiter>(input);
    check::<Member>(input);
    check::<Ticket>(input);
    check::<Topology>(input);
    check::<Settings>(input);
    check::<Totals>(input);
});
