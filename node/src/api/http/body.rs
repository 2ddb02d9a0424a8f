//! Bodies: what comes in as a stream that cannot stall for ever, and what goes out.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use protocol::{Fault, Kind};

use crate::env::Env;
use crate::flows::Download;

/// How long a client may send nothing in the middle of a body: longer than a lost Wi-Fi takes to return.
const STALL_MAX: Duration = Duration::from_secs(60);

/// How long the rest of a refused body is read and thrown away. A connection that is closed with bytes
/// unread is reset, and the client never sees why it was refused.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// A body that is read to its end by somebody: by its owner, or else until [`DRAIN_MAX`] is over.
struct Unread<E: Env> {
    env: E,
    // `None` once it has ended, one way or the other.
    data: Option<BodyDataStream>,
}

impl<E: Env> Unread<E> {
    /// Notes that nothing more can be had.
    fn end(&mut self) {
        self.data = None;
    }
}

impl<E: Env> Drop for Unread<E> {
    fn drop(&mut self) {
        let Some(mut data) = self.data.take() else { return };
        let env = self.env.clone();
        self.env.spawn("http.drain", async move {
            let enough = env.sleep_until(env.now().after(DRAIN_MAX));
            let rest = async { while let Some(Ok(_)) = data.next().await {} };
            tokio::select! {
                biased; // bytes that are there cost nothing more
                () = rest => {}
                () = enough => {}
            }
        });
    }
}

/// Returns the pieces of a body; one that breaks off or stalls ends in an error. Dropped before its end,
/// the rest is read and thrown away, while the answer goes out.
pub(super) fn pieces<E: Env>(
    env: E,
    body: Body,
) -> impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static {
    let data = (!body.is_end_stream()).then(|| body.into_data_stream());
    let unread = Unread { env, data };
    Box::pin(stream::unfold(unread, |mut unread| async {
        let stalled = unread.env.sleep_until(unread.env.now().after(STALL_MAX));
        let data = unread.data.as_mut()?;
        let fault = tokio::select! {
            biased; // bytes that are there beat the deadline
            piece = data.next() => match piece {
                Some(Ok(bytes)) => {
                    return Some((Ok(bytes), unread));
                }
                Some(Err(error)) => format!("the request body broke off: {error}"),
                None => {
                    unread.end();
                    return None;
                }
            },
            () = stalled => format!("the request body stalled for {} s", STALL_MAX.as_secs()),
        };
        unread.end();
        Some((Err(Fault::new(Kind::Invalid, fault)), unread))
    }))
}

/// Returns the body of a download. An error in the middle ends the connection without its last bytes, which
/// is how HTTP tells a client that a body is not whole.
pub(super) fn of_download(download: Download) -> Body {
    Body::from_stream(stream::unfold(Some(download), |state| async {
        let mut download = state?;
        let piece = download.next().await?;
        let rest = piece.is_ok().then_some(download);
        Some((piece, rest))
    }))
}

/// Returns a whole small body, of its pieces.
///
/// # Errors
/// [`Kind::Invalid`] when it is longer than `max` bytes, breaks off or stalls.
pub(super) async fn whole(
    mut pieces: impl Stream<Item = Result<Bytes, Fault>> + Unpin,
    max: usize,
) -> Result<Bytes, Fault> {
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if bytes.len() + piece.len() > max {
            return Err(Fault::new(
                Kind::Invalid,
                format!("the request body is longer than {max} bytes"),
            ));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}
