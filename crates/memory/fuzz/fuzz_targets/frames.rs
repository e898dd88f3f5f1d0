//! Any bytes are a frame, need more, or are refused; the same wherever they are cut; what is decoded encodes to the same bytes.
//!
//! `npm run fuzz -- frames --minutes 10`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkmesh_memory::frame::{
    Decoded, FrameBuffer, FrameError, ReplyFrame, RequestFrame, Step, decode_control, decode_reply, decode_request,
    encode_reply,
};

/// Frames of `bytes`, cut in two, as text; and what ended them.
fn cut<F>(bytes: &[u8], at: usize, decode: F) -> (Vec<String>, Result<(), FrameError>)
where
    F: Fn(&[u8]) -> Result<Decoded<String>, FrameError>,
{
    let (mut buffer, mut seen) = (FrameBuffer::default(), Vec::new());
    let mut result = Ok(());
    for piece in [&bytes[..at], &bytes[at..]] {
        result = result.and_then(|()| {
            buffer.feed(piece, |rest| {
                Step::of(decode(rest)?, |frame| {
                    seen.push(frame);
                    Ok(())
                })
            })
        });
    }
    assert!(buffer.len() <= 128 * 1024);
    (seen, result)
}

fn text<T: std::fmt::Debug>(decoded: Decoded<T>) -> Decoded<String> {
    match decoded {
        Decoded::Frame(frame, length) => Decoded::Frame(format!("{frame:?}"), length),
        Decoded::Needs(whole) => Decoded::Needs(whole),
    }
}

fuzz_target!(|input: (u16, &[u8])| {
    let (at, bytes) = input;
    let at = usize::from(at).min(bytes.len());
    let request = |rest: &[u8]| decode_request(rest).map(text);
    let reply = |rest: &[u8]| decode_reply(rest).map(text);
    let control = |rest: &[u8]| decode_control(rest).map(text);
    assert_eq!(cut(bytes, at, request), cut(bytes, 0, request));
    assert_eq!(cut(bytes, at, reply), cut(bytes, 0, reply));
    assert_eq!(cut(bytes, at, control), cut(bytes, 0, control));

    let mut again = Vec::new();
    match decode_request(bytes) {
        Ok(Decoded::Frame(RequestFrame::Request(request), length)) => {
            request.encode(&mut again);
            assert_eq!(again, bytes[..length]);
        }
        Ok(Decoded::Frame(RequestFrame::AckBelow(ack), length)) => {
            ack.encode(&mut again);
            assert_eq!(again, bytes[..length]);
        }
        Ok(Decoded::Frame(RequestFrame::Batch(batch), length)) => {
            assert!(length <= bytes.len());
            assert_eq!(batch.entries().count(), usize::from(batch.count));
        }
        Ok(Decoded::Needs(whole)) => assert!(whole > bytes.len() && whole <= 128 * 1024),
        Err(_) => {}
    }
    again.clear();
    match decode_reply(bytes) {
        Ok(Decoded::Frame(ReplyFrame::Reply(reply), length)) => {
            encode_reply(&mut again, &reply);
            assert_eq!(again, bytes[..length]);
        }
        Ok(Decoded::Frame(ReplyFrame::Batch(batch), _)) => {
            assert_eq!(batch.entries().count(), usize::from(batch.count));
        }
        Ok(Decoded::Needs(whole)) => assert!(whole > bytes.len() && whole <= 128 * 1024),
        Err(_) => {}
    }
    again.clear();
    if let Ok(Decoded::Frame(message, length)) = decode_control(bytes) {
        message.encode(&mut again);
        assert_eq!(again, bytes[..length]);
    }
});
