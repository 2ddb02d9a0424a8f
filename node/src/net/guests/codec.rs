//! How a question and its answer stand on a stream, and how many of strangers are there at a time.
//!
//! Never: allocates what was announced before it is within bounds and has a place.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;

/// A question, and while it is another's, its place among those that are read.
#[derive(Debug)]
pub(in crate::net) struct Question {
    pub(super) bytes: Bytes,
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// An answer, with its place among those that are given, which it keeps until it is written.
#[derive(Debug)]
pub(in crate::net) struct Answer {
    pub(super) bytes: Bytes,
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// See the module. Clones share the places.
#[derive(Clone, Debug)]
pub(in crate::net) struct GuestCodec {
    reading: Arc<Semaphore>,
    question_bytes_max: usize,
    answer_bytes_max: usize,
}

impl GuestCodec {
    pub(super) fn new(limits: &Limits) -> Self {
        let Limits { question_bytes_max, answer_bytes_max, reading, .. } = *limits;
        Self { reading: Arc::new(Semaphore::new(reading)), question_bytes_max, answer_bytes_max }
    }
}

impl Codec for GuestCodec {
    type Protocol = StreamProtocol;
    type Request = Question;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Question>
    where
        T: AsyncRead + Unpin + Send,
    {
        // Before the first byte: a question that finds no place costs nothing.
        let place = Arc::clone(&self.reading).try_acquire_owned().map_err(io::Error::other)?;
        let bytes = read(io, self.question_bytes_max).await?;
        Ok(Question { bytes, place: Some(place) })
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        Ok(Answer { bytes: read(io, self.answer_bytes_max).await?, place: None })
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        question: Question,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &question.bytes).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: Answer,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let written = write(io, &answer.bytes).await;
        drop(answer.place);
        written
    }
}

async fn read(io: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> io::Result<Bytes> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > bytes_max {
        return Err(io::Error::other(format!("{length} bytes are more than {bytes_max}")));
    }
    let mut bytes = BytesMut::zeroed(length);
    io.read_exact(&mut bytes).await?;
    Ok(bytes.freeze())
}

async fn write(io: &mut (impl AsyncWrite + Unpin), bytes: &Bytes) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(bytes).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::executor::block_on;
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;
    use protocol::limits::{GUEST_ANSWER_BYTES_MAX, GUEST_QUESTION_BYTES_MAX};

    use super::super::Limits;
    use super::{Answer, GuestCodec, Question};
    use crate::env::GuestProtocol;

    fn codec() -> GuestCodec {
        GuestCodec::new(&limits())
    }

    fn limits() -> Limits {
        Limits::of(GuestProtocol::Join, 0)
    }

    fn ask(codec: &mut GuestCodec, bytes: &[u8]) -> std::io::Result<Question> {
        block_on(codec.read_request(&limits().name, &mut Cursor::new(bytes)))
    }

    /// Returns what an honest guest writes.
    fn written(length: usize) -> Vec<u8> {
        let mut codec = codec();
        let question = Question { bytes: Bytes::from(vec![7; length]), place: None };
        let mut io = Cursor::new(Vec::new());
        block_on(codec.write_request(&limits().name, &mut io, question)).unwrap();
        io.into_inner()
    }

    #[test]
    fn questions_and_answers_pass_up_to_their_bound() {
        let mut codec = codec();
        for length in [0, 1, GUEST_QUESTION_BYTES_MAX] {
            assert_eq!(ask(&mut codec, &written(length)).unwrap().bytes, vec![7; length]);
        }
        assert!(ask(&mut codec, &written(GUEST_QUESTION_BYTES_MAX + 1)).is_err());
        for (length, passes) in
            [(GUEST_ANSWER_BYTES_MAX, true), (GUEST_ANSWER_BYTES_MAX + 1, false)]
        {
            let answer = Answer { bytes: Bytes::from(vec![8; length]), place: None };
            let mut io = Cursor::new(Vec::new());
            block_on(codec.write_response(&limits().name, &mut io, answer)).unwrap();
            io.set_position(0);
            let read = block_on(codec.read_response(&limits().name, &mut io));
            assert_eq!(read.is_ok(), passes);
        }
    }

    #[test]
    fn a_question_cut_short_is_none_and_gives_its_place_back() {
        let (mut codec, whole) = (codec(), written(9));
        for _ in 0..limits().reading {
            for length in 0..whole.len() {
                assert!(ask(&mut codec, &whole[..length]).is_err());
            }
            assert!(ask(&mut codec, &[0xFF; 9]).is_err());
        }
        assert!(ask(&mut codec, &whole).is_ok());
    }

    #[test]
    fn no_more_than_the_bound_is_read_at_a_time_and_one_that_was_taken_makes_room() {
        let (mut codec, whole) = (codec(), written(9));
        let mut held: Vec<_> =
            (0..limits().reading).map(|_| ask(&mut codec.clone(), &whole).unwrap()).collect();
        let mut io = Cursor::new(whole.as_slice());
        assert!(block_on(codec.read_request(&limits().name, &mut io)).is_err());
        assert_eq!(io.position(), 0, "it was read");
        drop(held.pop());
        assert!(ask(&mut codec, &whole).is_ok());
    }
}
