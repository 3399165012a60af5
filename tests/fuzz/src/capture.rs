//! A capture read as a whole, and once more in pieces: both must say the same.

use sonde_common::format::{CaptureParser, FormatError, Frame, Step, detect, frames};

/// Reads `bytes` both ways and compares.
pub fn whole_and_pieces_agree(bytes: &[u8]) {
    let _ = detect(bytes, true);
    let whole: Result<Vec<_>, FormatError> = match frames(bytes) {
        Ok(frames) => Ok(frames.collect()),
        Err(error) => Err(error),
    };
    let mut nth = 0;
    let end = in_pieces(bytes, |frame| {
        let expected = whole.as_ref().expect("the parser was made").get(nth);
        assert_eq!(expected, Some(&Ok(frame)), "frame {nth}");
        nth += 1;
    });
    match (whole, end) {
        (Err(whole), Err(pieces)) => assert_eq!(whole, pieces),
        (Ok(mut whole), end) => {
            let last = if whole.len() > nth { whole.pop() } else { None };
            assert_eq!(whole.len(), nth, "frames that only the whole has");
            assert_eq!(last, end.err().map(Err));
        }
        (Err(error), Ok(())) => panic!("only the whole fails: {error}"),
    }
}

fn in_pieces(bytes: &[u8], mut frame_is: impl FnMut(Frame<'_>)) -> Result<(), FormatError> {
    let mut parser = CaptureParser::new(bytes)?;
    let mut buffer = Vec::new();
    let mut rest = bytes;
    // Marsaglia's xorshift, from the data: the same input is cut in the same places.
    let mut draw = bytes.iter().fold(1u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte)) | 1;
    loop {
        match parser.step(&buffer)? {
            Step::Frame { frame, used } => {
                frame_is(frame.frame(&buffer).expect("the frame lies in the buffer"));
                assert!(used > 0 && used <= buffer.len());
                buffer.drain(..used);
            }
            Step::Skip { used } => {
                assert!(used > 0 && used <= buffer.len());
                buffer.drain(..used);
            }
            Step::More { needed } => {
                assert!(needed > buffer.len(), "asks for {needed}, has {}", buffer.len());
                if rest.is_empty() {
                    return parser.end(&buffer);
                }
                draw ^= draw << 13;
                draw ^= draw >> 17;
                draw ^= draw << 5;
                let length = if draw & 3 == 0 { 1 } else { draw as usize % 600 + 1 };
                let (piece, left) = rest.split_at(length.min(rest.len()));
                buffer.extend_from_slice(piece);
                rest = left;
            }
        }
    }
}
