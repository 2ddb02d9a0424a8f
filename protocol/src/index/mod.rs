//! The index of the blocks that a peer holds: keys and values of its maps.
//!
//! | map | key | value |
//! |---|---|---|
//! | `Blocks` | block | [`Place`] |
//! | `Small` | block | the block's bytes |
//! | `References` | `c` block owner · `o` owner block · `r` block owner (root) · `s` owner block (root) | empty |
//! | `Segments` | `s` number · `p` number offset · `t` · `v` | [`Segment`] · block · [`Totals`] · place of the scrub |
//!
//! References are written blindly: setting one twice is setting it once. The `p` keys tell what lies in a segment
//! without reading it. Owns nothing. Never: reads or writes a map; says when a row changes (`node`'s store does).

mod key;
mod value;

pub use key::{
    OWNERS, REFERENCES, SCRUB_KEY, SEGMENT_KEYS, TOTALS_KEY, behind, block_in, block_key,
    offset_in, owned_by, owner_before_block, owner_in, range_of, record_key, records_of,
    reference_in, reference_keys, references_from, references_of, references_within, root_keys,
    rooted_by, roots_of, segment_in, segment_key,
};
pub use value::{Place, Segment, Totals, footprint};

#[cfg(test)]
#[path = "index_test.rs"]
mod tests;
