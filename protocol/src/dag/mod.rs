//! Objects as DAGs of blocks: how bytes become blocks, and which blocks a range of bytes needs.
//!
//! UnixFS under the profile `unixfs-v1-2025` (IPIP-0499), so that every IPFS tool computes the same root.
//! Never: fetches or stores a block; hashes a leaf that its caller has hashed already.
