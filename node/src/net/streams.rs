//! Frames in and out of one stream.
//!
//! A writer serves one peer and class for as long as the peer is connected, over one stream after another; a
//! reader serves one stream. A body goes from the block's memory into the stream and from the stream into
//! memory of exactly its size, which is allocated only after the header was found valid.
//! Never: looks into a head.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use protocol::PeerId;
use protocol::limits::{FRAME_HEADER_BYTES, OUTBOX_FRAMES_MAX};
use protocol::wire::{Frame, FrameError, FrameHeader};
use tokio::sync::mpsc;
use tracing::{debug, error};

use super::metrics::Tally;
use crate::env::Inbound;

/// Frames up to this body are gathered, so that many small ones cost one record of the layers below; larger
/// bodies are handed down as they are. 16 KiB is one record of Noise and of TLS.
const GATHER_BYTES_MAX: usize = 16 << 10;

/// Frames written before a newer stream is looked for: an outbox full. A sender that never ceases would keep the
/// writer on the old one for ever.
const BATCH_FRAMES_MAX: usize = OUTBOX_FRAMES_MAX;

/// Why a stream is read no further.
#[derive(Debug)]
pub(super) enum ReadEnd {
    /// It ended, or nobody takes frames any more.
    Closed,
    /// The peer broke the framing.
    Malformed(FrameError),
}

/// Reads frames into an inbox, whose fullness holds back this stream and no other, until either ends.
pub(super) async fn read_frames(
    mut stream: impl AsyncRead + Unpin,
    from: PeerId,
    inbox: mpsc::Sender<Inbound>,
    tally: Tally,
) -> ReadEnd {
    loop {
        let frame = match read_frame(&mut stream).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(malformed)) => return ReadEnd::Malformed(malformed),
            Err(_) => return ReadEnd::Closed,
        };
        tally.count(frame.wire_bytes());
        if inbox.send(Inbound { from, frame }).await.is_err() {
            return ReadEnd::Closed;
        }
    }
}

async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Result<Frame, FrameError>> {
    let mut header = [0; FRAME_HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let header = match FrameHeader::decode(header) {
        Ok(header) => header,
        Err(malformed) => return Ok(Err(malformed)),
    };
    let head_bytes = usize::from(header.head_bytes);
    let mut bytes = BytesMut::zeroed(head_bytes + header.body_bytes as usize);
    stream.read_exact(&mut bytes).await?;
    let mut body = bytes.freeze();
    let head = body.split_to(head_bytes);
    Ok(Ok(Frame { head, body }))
}

/// Writes the frames of an outbox to the newest of `streams`, until either channel is closed. `on_failure`
/// asks for another stream.
pub(super) async fn write_frames<S: AsyncWrite + Unpin>(
    mut outbox: mpsc::Receiver<Frame>,
    mut streams: mpsc::Receiver<S>,
    tally: Tally,
    mut on_failure: impl AsyncFnMut(),
) {
    let (mut current, mut retiring) = (None, None);
    let mut gathered = Vec::with_capacity(2 * GATHER_BYTES_MAX);
    loop {
        tokio::select! {
            biased; // A newer stream first: the present one is about to fail.
            stream = streams.recv() => match stream {
                // What was written to the one before is to arrive, which ends only after it.
                Some(stream) => retiring = current.replace(stream),
                None => return,
            },
            () = close(&mut retiring), if retiring.is_some() => retiring = None,
            frame = outbox.recv(), if current.is_some() => {
                let (Some(frame), Some(stream)) = (frame, current.as_mut()) else { return };
                gathered.clear();
                if write_batch(stream, frame, &mut outbox, &mut gathered, &tally).await.is_err() {
                    // Whether the frames of the batch arrived is unknown: the senders ask again.
                    current = None;
                    on_failure().await;
                }
            }
        }
    }
}

/// Closes a stream after what was written to it. Cancel-safe.
async fn close(stream: &mut Option<impl AsyncWrite + Unpin>) {
    if let Some(stream) = stream
        && let Err(err) = stream.close().await
    {
        debug!(%err, "stream was not closed");
    }
}

/// Writes `first` and what follows it in the outbox without a wait, up to a bound, then flushes.
async fn write_batch(
    stream: &mut (impl AsyncWrite + Unpin),
    first: Frame,
    outbox: &mut mpsc::Receiver<Frame>,
    gathered: &mut Vec<u8>,
    tally: &Tally,
) -> io::Result<()> {
    let mut next = Some(first);
    let mut left = BATCH_FRAMES_MAX;
    while let Some(frame) = next {
        left -= 1;
        next = if left > 0 { outbox.try_recv().ok() } else { None };
        match FrameHeader::of(&frame) {
            Ok(header) => gathered.extend_from_slice(&header.encode()),
            Err(err) => {
                // Messages are encoded within the limits; a frame beyond them is a fault of this program.
                error!(%err, "frame was too large to be sent");
                continue;
            }
        }
        tally.count(frame.wire_bytes());
        gathered.extend_from_slice(&frame.head);
        write_body(stream, &frame.body, gathered).await?;
    }
    if !gathered.is_empty() {
        stream.write_all(gathered).await?;
    }
    stream.flush().await
}

async fn write_body(
    stream: &mut (impl AsyncWrite + Unpin),
    body: &Bytes,
    gathered: &mut Vec<u8>,
) -> io::Result<()> {
    let is_small = body.len() <= GATHER_BYTES_MAX;
    if is_small {
        gathered.extend_from_slice(body);
        if gathered.len() < GATHER_BYTES_MAX {
            return Ok(());
        }
    }
    stream.write_all(gathered).await?;
    gathered.clear();
    if is_small { Ok(()) } else { stream.write_all(body).await }
}

#[cfg(test)]
mod tests {
    use super::{BATCH_FRAMES_MAX, ReadEnd, read_frame, read_frames, write_frames};
    use crate::net::NetMetrics;
    use bytes::Bytes;
    use futures::executor::block_on;
    use futures::io::Cursor;
    use futures::{AsyncWrite, FutureExt as _};
    use proptest::prelude::*;
    use protocol::PeerId;
    use protocol::limits::OUTBOX_FRAMES_MAX;
    use protocol::wire::{Class, Frame, FrameError};
    use std::io;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};
    use tokio::sync::mpsc;

    fn frame(head: usize, body: usize) -> Frame {
        let bytes = |n: usize| (0..=250).cycle().take(n).collect::<Bytes>();
        Frame { head: bytes(head), body: bytes(body) }
    }

    /// Returns the bytes a writer puts on a stream for these frames.
    fn written(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (frames_in, outbox) = mpsc::channel(frames.len() + 1);
        let (streams_in, streams) = mpsc::channel(1);
        for frame in frames {
            frames_in.try_send(frame.clone()).unwrap();
        }
        drop(frames_in);
        streams_in.try_send(&mut bytes).unwrap();
        let tally = NetMetrics::default().sent(Class::Bulk);
        block_on(write_frames(outbox, streams, tally, async || panic!("a vector takes all")));
        drop(streams_in);
        bytes
    }

    /// Returns the frames a reader takes from these bytes, and how it ended.
    fn read(bytes: &[u8]) -> (Vec<Frame>, ReadEnd) {
        let (inbox, mut frames) = mpsc::channel(1000);
        let from = PeerId::from_public_key([1; 32]);
        let tally = NetMetrics::default().received(Class::Bulk);
        let end = block_on(read_frames(Cursor::new(bytes), from, inbox, tally));
        (std::iter::from_fn(|| frames.try_recv().ok()).map(|i| i.frame).collect(), end)
    }

    proptest! {
        #[test]
        fn frames_of_any_size_survive_the_stream(
            sizes in prop::collection::vec((0..400_usize, 0..40_000_usize), 0..30)
        ) {
            let frames: Vec<_> = sizes.iter().map(|(head, body)| frame(*head, *body)).collect();
            let (received, end) = read(&written(&frames));
            prop_assert_eq!(received, frames);
            prop_assert!(matches!(end, ReadEnd::Closed));
        }
    }

    /// A stream at each of whose writes another frame is waiting already, for a long time.
    struct Flooded {
        name: char,
        used: Arc<Mutex<String>>,
        frames: mpsc::Sender<Frame>,
        /// A newer stream, and whom it is given to at the first write.
        newer: Option<(Box<Flooded>, mpsc::Sender<Flooded>)>,
    }

    impl AsyncWrite for Flooded {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = {
                let mut used = self.used.lock().unwrap();
                used.push(self.name);
                used.len()
            };
            if count < 10_000 {
                let _is_full = self.frames.try_send(frame(10, 20_000)).is_err();
            }
            if let Some((newer, streams)) = self.newer.take() {
                streams.try_send(*newer).unwrap_or_else(|_| panic!("there is room"));
            }
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_newer_stream_is_used_although_frames_never_cease() {
        let used = Arc::new(Mutex::new(String::new()));
        let (frames, outbox) = mpsc::channel(OUTBOX_FRAMES_MAX);
        let (streams_in, streams) = mpsc::channel(2);
        frames.try_send(frame(10, 20_000)).unwrap();
        let stream = |name, newer| {
            let (used, frames) = (Arc::clone(&used), frames.clone());
            Flooded { name, used, frames, newer }
        };
        let newer = (Box::new(stream('b', None)), streams_in.clone());
        streams_in.try_send(stream('a', Some(newer))).unwrap_or_else(|_| panic!("there is room"));
        let tally = NetMetrics::default().sent(Class::Bulk);
        let written = write_frames(outbox, streams, tally, async || panic!("streams do not fail"));
        assert!(written.now_or_never().is_none(), "it waits for frames");
        let used = used.lock().unwrap();
        let on_first = used.find('b').expect("the newer stream was used");
        assert!(on_first <= 3 * BATCH_FRAMES_MAX, "{on_first} writes to the older stream");
        assert!(used[on_first..].chars().all(|name| name == 'b'));
    }

    #[test]
    fn a_frame_too_large_is_left_out_and_the_next_one_goes() {
        let frames = [frame(70_000, 0), frame(3, 3)];
        assert_eq!(read(&written(&frames)).0, frames[1..]);
    }

    #[test]
    fn a_foreign_header_ends_the_stream_after_the_frames_before_it() {
        let mut bytes = written(&[frame(1, 1)]);
        bytes.extend_from_slice(b"GET / HTTP/1.1");
        let (frames, end) = read(&bytes);
        assert_eq!(frames.len(), 1);
        assert!(matches!(end, ReadEnd::Malformed(FrameError::Version { found: b'G' })), "{end:?}");
    }

    #[test]
    fn a_frame_cut_short_is_no_frame() {
        let bytes = written(&[frame(10, 100)]);
        for length in 0..bytes.len() {
            let cut = bytes.get(..length).unwrap();
            assert!(block_on(read_frame(&mut Cursor::new(cut))).is_err(), "{length}");
        }
    }
}
