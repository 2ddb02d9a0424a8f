//! Which peers should hold a block, and what moves when the topology changes.
