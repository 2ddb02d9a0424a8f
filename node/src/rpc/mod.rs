//! Questions and answers between peers: request ids, deadlines, byte credits.
//!
//! Stands between the network, which may lose, repeat or reorder frames, and everything that asks another
//! peer for something. Owns the table of requests under way. Bounds what one peer can make another hold:
//! a caller waits for credit, a server answers `busy`.
//! Never: knows what a request means; retries. The caller's machine decides that.

mod call;
mod metrics;
mod serve;

pub use call::Rpc;
pub use metrics::RpcMetrics;
pub use serve::{Handler, dispatch};
