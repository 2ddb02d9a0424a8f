//! Bodies: what comes in as a stream that cannot stall for ever, and what goes out.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use protocol::{Fault, Kind};

use crate::env::Env;
use crate::flows::Download;

/// How long a client may send nothing in the middle of a body: longer than a lost Wi-Fi takes to return.
const STALL_MAX: Duration = Duration::from_secs(60);

/// Returns the pieces of a body; one that breaks off or stalls ends in an error.
pub(super) fn pieces<E: Env>(
    env: E,
    body: Body,
) -> impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static {
    let data = body.into_data_stream();
    Box::pin(stream::unfold(Some((env, data)), |state| async {
        let (env, mut data) = state?;
        let stalled = env.sleep_until(env.now().after(STALL_MAX));
        tokio::select! {
            biased; // bytes that are there beat the deadline
            piece = data.next() => match piece? {
                Ok(bytes) => Some((Ok(bytes), Some((env, data)))),
                Err(error) => {
                    let detail = format!("the request body broke off: {error}");
                    Some((Err(Fault::new(Kind::Invalid, detail)), None))
                }
            },
            () = stalled => {
                let detail = format!("the request body stalled for {} s", STALL_MAX.as_secs());
                Some((Err(Fault::new(Kind::Invalid, detail)), None))
            }
        }
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

/// Returns a whole small body.
///
/// # Errors
/// [`Kind::Invalid`] when it is longer than `max` bytes, breaks off or stalls.
pub(super) async fn whole<E: Env>(env: E, body: Body, max: usize) -> Result<Bytes, Fault> {
    let mut pieces = pieces(env, body);
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
