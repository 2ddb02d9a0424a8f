//! Writes of a few bytes held back until the next one, so that both go down as one.
//!
//! Yamux writes the header of a frame and its body one after the other. Without this, every header is a record
//! of TLS and a system call of its own, and wakes the reader for 12 bytes.
//! Never: holds anything back over a flush or a close.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

/// Bytes that are held back at most: a few headers of Yamux.
const HELD_BYTES_MAX: usize = 64;

/// A socket whose small writes wait for the next one.
#[derive(Debug)]
pub(super) struct Gather<C> {
    socket: C,
    held: Vec<u8>,
}

impl<C> Gather<C> {
    /// Returns the socket with nothing held back.
    pub(super) fn new(socket: C) -> Self {
        Self { socket, held: Vec::with_capacity(HELD_BYTES_MAX) }
    }
}

impl<C: AsyncWrite + Unpin> Gather<C> {
    /// Writes what is held back, to its last byte.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Gather<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.held.len() + bytes.len() <= HELD_BYTES_MAX {
            this.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        loop {
            let held_bytes = this.held.len();
            let both = [IoSlice::new(&this.held), IoSlice::new(bytes)];
            // The first slice may be empty; a socket that takes no vectors writes the first that is not.
            let written = ready!(Pin::new(&mut this.socket).poll_write_vectored(cx, &both))?;
            this.held.drain(..written.min(held_bytes));
            if written == 0 || written > held_bytes {
                return Poll::Ready(Ok(written.saturating_sub(held_bytes)));
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Gather<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_read(cx, bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures::executor::block_on;
    use futures::{AsyncWrite, AsyncWriteExt};
    use proptest::prelude::*;

    use super::{Gather, HELD_BYTES_MAX};

    /// Takes up to `limit` bytes at a time, of one vector or of all, and counts the calls.
    struct Socket {
        taken: Vec<u8>,
        calls: usize,
        limit: usize,
        is_vectored: bool,
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.calls += 1;
            let count = if self.is_vectored { slices.len() } else { 1 };
            let used = slices.iter().filter(|slice| !slice.is_empty()).take(count);
            let bytes: Vec<u8> = used.flat_map(|slice| slice.iter().copied()).collect();
            let written = bytes.len().min(self.limit);
            self.taken.extend_from_slice(&bytes[..written]);
            Poll::Ready(Ok(written))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn socket(limit: usize, is_vectored: bool) -> Socket {
        Socket { taken: Vec::new(), calls: 0, limit, is_vectored }
    }

    #[test]
    fn a_header_and_its_body_go_down_as_one() {
        let mut gather = Gather::new(socket(usize::MAX, true));
        block_on(async {
            gather.write_all(&[1; 12]).await.unwrap();
            assert_eq!(gather.socket.calls, 0);
            gather.write_all(&[2; 1000]).await.unwrap();
        });
        assert_eq!((gather.socket.calls, gather.socket.taken.len()), (1, 1012));
    }

    proptest! {
        #[test]
        fn bytes_arrive_in_order_whatever_the_socket_takes(
            writes in prop::collection::vec(0..3 * HELD_BYTES_MAX, 0..20),
            limit in 1..200_usize,
            is_vectored in any::<bool>(),
        ) {
            let mut gather = Gather::new(socket(limit, is_vectored));
            let mut expected = Vec::new();
            block_on(async {
                for (number, length) in (0..).zip(&writes) {
                    let bytes = vec![number; *length];
                    gather.write_all(&bytes).await.unwrap();
                    expected.extend_from_slice(&bytes);
                }
                gather.flush().await.unwrap();
            });
            prop_assert_eq!(gather.socket.taken, expected);
            prop_assert!(gather.held.is_empty());
        }
    }
}
