//! Names that people choose, as they come in URLs and settings: what is accepted is its own text, and has no NUL.
#![no_main]

use protocol::metadata::{BucketName, DisplayName, Label, LockName, ObjectKey, UserName};
use protocol::topology::Zone;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(text) = core::str::from_utf8(input) else { return };
    let accepted = [
        BucketName::new(text).ok().map(String::from),
        ObjectKey::new(text).ok().map(String::from),
        UserName::new(text).ok().map(String::from),
        LockName::new(text).ok().map(String::from),
        DisplayName::new(text).ok().map(String::from),
        Label::new(text).ok().map(String::from),
        Zone::new(text).map(|zone| zone.name().to_owned()),
    ];
    for name in accepted.into_iter().flatten() {
        assert_eq!(name, text);
        assert!(!name.contains('\0'));
    }
});
