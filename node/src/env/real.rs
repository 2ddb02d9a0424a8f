//! The real machine: the operating system's clock and entropy, tokio, libp2p, RocksDB and files.
