//! Texts of HTTP headers that are read by the project itself: `api::Asked::of`, a range, lies within what it is a range
//! of; an entity tag that is accepted survives being written and read again.
#![no_main]

use protocol::api::Asked;
use protocol::metadata::Tag;

libfuzzer_sys::fuzz_target!(|input: (u64, &str)| {
    let (size, text) = input;
    if let Some(part) = Asked::of(text).within(size) {
        assert!(part.first <= part.end && part.end <= size);
    }
    if let Ok(tag) = text.parse::<Tag>() {
        let again = match tag {
            Tag::Root(cid) => format!("\"{cid}\""),
            Tag::Version(version) => version.to_string(),
        };
        assert_eq!(again.parse(), Ok(tag));
    }
});
