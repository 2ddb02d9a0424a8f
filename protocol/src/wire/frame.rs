//! Frames: the unit that crosses a stream between two peers.
//!
//! Layout, big-endian: version (1 byte), reserved (1 byte, zero), head length (u16), body length (u32),
//! head, body. The head is a Protobuf message, the body the bytes of a block, so that a block is never
//! copied to be encoded. Never: reads or writes a stream.

use bytes::Bytes;

use crate::limits::{FRAME_BODY_BYTES_MAX, FRAME_HEAD_BYTES_MAX, FRAME_HEADER_BYTES};

/// Version of the framing and of the messages inside. Another version is another protocol name.
pub const VERSION: u8 = 1;

// The head's length travels as u16.
const _: () = assert!(FRAME_HEAD_BYTES_MAX <= u16::MAX as u32);

/// One message with its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Protobuf of the message.
    pub head: Bytes,
    /// Bytes of the block it carries, or empty.
    pub body: Bytes,
}

impl Frame {
    /// Returns the bytes of this frame on a stream.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.head.len() + self.body.len()
    }
}

/// Why bytes are no frame. The stream they came from cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Another version, or no Shoal at all.
    #[error("frame has version {found}, expected {VERSION}")]
    Version { found: u8 },
    /// A field that must be zero is not.
    #[error("frame has reserved byte {found}")]
    Reserved { found: u8 },
    /// Longer than any frame may be.
    #[error("frame has head of {head} and body of {body} bytes")]
    TooLarge { head: u64, body: u64 },
}

/// The fixed part in front of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the head.
    pub head_bytes: u16,
    /// Bytes of the body.
    pub body_bytes: u32,
}

impl FrameHeader {
    /// Returns the header of a frame.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`]
    pub fn of(frame: &Frame) -> Result<Self, FrameError> {
        let too_large =
            FrameError::TooLarge { head: frame.head.len() as u64, body: frame.body.len() as u64 };
        let head_bytes = u16::try_from(frame.head.len()).map_err(|_| too_large)?;
        let body_bytes = u32::try_from(frame.body.len()).map_err(|_| too_large)?;
        if body_bytes > FRAME_BODY_BYTES_MAX {
            return Err(too_large);
        }
        Ok(Self { head_bytes, body_bytes })
    }

    /// Returns the bytes of this header.
    #[must_use]
    pub fn encode(self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[0] = VERSION;
        bytes[2..4].copy_from_slice(&self.head_bytes.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.body_bytes.to_be_bytes());
        bytes
    }

    /// Returns the header of these bytes, before anything of its size was allocated.
    ///
    /// # Errors
    /// Any [`FrameError`].
    pub fn decode(bytes: [u8; FRAME_HEADER_BYTES]) -> Result<Self, FrameError> {
        let [version, reserved, h0, h1, b0, b1, b2, b3] = bytes;
        if version != VERSION {
            return Err(FrameError::Version { found: version });
        }
        if reserved != 0 {
            return Err(FrameError::Reserved { found: reserved });
        }
        let head_bytes = u16::from_be_bytes([h0, h1]);
        let body_bytes = u32::from_be_bytes([b0, b1, b2, b3]);
        if body_bytes > FRAME_BODY_BYTES_MAX {
            return Err(FrameError::TooLarge { head: head_bytes.into(), body: body_bytes.into() });
        }
        Ok(Self { head_bytes, body_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, FrameError, FrameHeader};
    use bytes::Bytes;

    #[test]
    fn a_header_survives_the_wire() {
        let frame =
            Frame { head: Bytes::from_static(b"head"), body: Bytes::from(vec![7; 100_000]) };
        let header = FrameHeader::of(&frame).unwrap();
        assert_eq!(header.encode(), [1, 0, 0, 4, 0, 1, 0x86, 0xA0]);
        assert_eq!(FrameHeader::decode(header.encode()), Ok(header));
    }

    #[test]
    fn foreign_and_oversized_headers_are_refused() {
        assert_eq!(FrameHeader::decode(*b"GET / HT"), Err(FrameError::Version { found: b'G' }));
        assert_eq!(
            FrameHeader::decode([1, 9, 0, 0, 0, 0, 0, 0]),
            Err(FrameError::Reserved { found: 9 })
        );
        let header = FrameHeader::decode([1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        assert!(matches!(header, Err(FrameError::TooLarge { .. })), "{header:?}");
        let frame = Frame { head: Bytes::from(vec![0; 70_000]), body: Bytes::new() };
        assert!(FrameHeader::of(&frame).is_err());
    }
}
