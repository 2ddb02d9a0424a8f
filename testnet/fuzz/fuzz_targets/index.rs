//! The keys and values of a peer's own index, and the place of its scrub: what is accepted encodes to the same bytes.
#![no_main]

use protocol::Instant;
use protocol::index::{
    Place, Segment, Totals, block_in, block_key, reference_in, reference_keys, segment_in, segment_key,
};
use protocol::repair::{Scrub, ScrubSettings};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(cid) = block_in(input) {
        assert!(input.ends_with(&block_key(&cid)));
    }
    if let Some(at) = reference_in(input) {
        assert_eq!(reference_keys(&at.cid, &at.owner)[0], input);
    }
    if let Some(number) = segment_in(input) {
        assert_eq!(segment_key(number), input);
    }
    let values = [
        Place::decode(input).map(Place::encode),
        Totals::decode(input).map(Totals::encode),
        Segment::decode(input).map(Segment::encode),
    ];
    assert!(values.iter().flatten().all(|value| value == input));
    // What is none is the beginning of a pass.
    let scrub = Scrub::resume(Instant::ZERO, ScrubSettings::default(), input).encode();
    let again = Scrub::resume(Instant::ZERO, ScrubSettings::default(), &scrub).encode();
    assert_eq!(scrub, again);
});
