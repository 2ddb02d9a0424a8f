//! Upload and download of one object, as machines: acknowledgements, replacement, hedging, order.
//!
//! Both know blocks, peers and time, and nothing of placement: the shell says who may hold a block.
//! Never: IO, clocks, entropy; the bytes of an upload (the shell keeps them until `BlockDone`).

mod candidate;
mod copies;
mod download;
mod fetch;
mod pace;
mod spread;
mod upload;
mod window;

pub use candidate::{Candidate, ZoneIndex};
pub use download::{Download, DownloadConfig, DownloadInput, DownloadOutput, fault_of};
pub use pace::Pace;
pub use spread::{Bring, SpreadRule};
pub use upload::{Upload, UploadConfig, UploadInput, UploadOutput};
pub use window::window_bytes;

#[cfg(test)]
mod download_model_test;
#[cfg(test)]
mod download_test;
#[cfg(test)]
mod pace_test;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod upload_model_test;
#[cfg(test)]
mod upload_test;
