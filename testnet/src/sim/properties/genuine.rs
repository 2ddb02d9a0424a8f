//! Property 3: every byte delivered hashes to its CID. Judged against the bytes that were uploaded.

use bytes::Bytes;

/// Compares a delivered piece with what belongs at its place, and says what is wrong with it.
#[must_use]
pub fn piece(expected: &Bytes, offset: u64, piece: &[u8]) -> Option<String> {
    let begin = usize::try_from(offset).ok()?;
    let right = expected.get(begin..begin + piece.len());
    if right == Some(piece) {
        return None;
    }
    let wrong = right.and_then(|right| right.iter().zip(piece).position(|(a, b)| a != b));
    Some(match wrong {
        Some(at) => format!("the byte at {} is wrong", begin + at),
        None => format!("{} bytes at {offset} reach behind the end", piece.len()),
    })
}

/// Compares the size that a download told with the object's, and says what is wrong with it.
#[must_use]
pub fn size(expected: &Bytes, told: u64) -> Option<String> {
    (told != expected.len() as u64).then(|| format!("size {told} instead of {}", expected.len()))
}

/// Says what is wrong with a download that ended without an error at `end` instead of `expected`.
#[must_use]
pub fn end(expected: u64, end: u64) -> Option<String> {
    (end != expected).then(|| format!("ended without an error at {end} instead of {expected}"))
}

#[cfg(test)]
mod tests {
    use super::{end, piece, size};
    use bytes::Bytes;

    #[test]
    fn only_the_right_bytes_at_the_right_place_pass() {
        let object = Bytes::from_static(b"content");
        assert_eq!(piece(&object, 3, b"tent"), None);
        assert_eq!(piece(&object, 3, b""), None);
        assert!(piece(&object, 3, b"tint").unwrap().contains("byte at 4"));
        assert!(piece(&object, 2, b"tent").is_some());
        assert!(piece(&object, 5, b"ntx").unwrap().contains("behind"));
        assert!(size(&object, 7).is_none() && size(&object, 8).is_some());
        assert!(end(7, 7).is_none() && end(7, 6).is_some());
    }
}
