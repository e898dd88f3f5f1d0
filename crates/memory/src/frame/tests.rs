use proptest::prelude::*;

use super::*;
use crate::{compress::Compression, region::Rights};

fn operations() -> impl Strategy<Value = (u8, u64, u32, u64, u64)> {
    (0u8..6, any::<u64>(), 1u32..=300, any::<u64>(), any::<u64>())
}

fn operation((kind, offset, length, a, b): (u8, u64, u32, u64, u64), data: &[u8]) -> Operation<'_> {
    match kind {
        0 => Operation::Read { offset, length },
        1 => Operation::ReadVersioned {
            offset,
            length,
            version: a,
        },
        2 => Operation::Write {
            offset,
            data: &data[..length as usize],
        },
        3 => Operation::FetchAdd { offset, operand: a },
        4 => Operation::CompareSwap {
            offset,
            expected: a,
            desired: b,
        },
        _ => Operation::Nop,
    }
}

/// Feeds `bytes` cut at `cuts` and returns what `decode` showed for each frame, as text.
fn cut<T: std::fmt::Debug>(
    bytes: &[u8],
    cuts: &[usize],
    decode: impl for<'a> Fn(&'a [u8]) -> Result<Decoded<T>, FrameError>,
) -> Result<Vec<T>, FrameError> {
    let (mut buffer, mut seen, mut at) = (FrameBuffer::default(), Vec::new(), 0);
    let mut ends: Vec<_> = cuts
        .iter()
        .map(|cut| cut % (bytes.len() + 1))
        .chain([bytes.len()])
        .collect();
    ends.sort_unstable();
    for end in ends {
        buffer.feed(&bytes[at..end], |rest| {
            Step::of(decode(rest)?, |frame| {
                seen.push(frame);
                Ok::<_, FrameError>(())
            })
        })?;
        at = end;
    }
    assert!(!buffer.is_partial(), "whole frames leave nothing behind");
    Ok(seen)
}

fn text<T: std::fmt::Debug>(decoded: Decoded<T>) -> Decoded<String> {
    match decoded {
        Decoded::Frame(frame, length) => Decoded::Frame(format!("{frame:?}"), length),
        Decoded::Needs(whole) => Decoded::Needs(whole),
    }
}

proptest! {
    #[test]
    fn operations_cross_at_any_cut(
        specs in prop::collection::vec((operations(), any::<u32>(), any::<u16>(), any::<bool>()), 1..20),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let data: Vec<u8> = (0..=255).cycle().take(300).collect();
        let (mut bytes, mut sent) = (Vec::new(), Vec::new());
        for (spec, sequence, handle, fence) in specs {
            let operation = operation(spec, &data);
            let handle = if operation == Operation::Nop { 0 } else { handle };
            let request = Request { sequence, handle, fence, operation };
            request.encode(&mut bytes);
            sent.push(format!("{:?}", RequestFrame::Request(request)));
            AckBelow(sequence).encode(&mut bytes);
            sent.push(format!("{:?}", RequestFrame::AckBelow(AckBelow(sequence))));
        }
        let seen = cut(&bytes, &cuts, |rest| Ok(text(decode_request(rest)?)))?;
        prop_assert_eq!(seen, sent);
    }

    #[test]
    fn batches_cross_at_any_cut(
        specs in prop::collection::vec(operations(), 1..300),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        fence in any::<bool>(),
    ) {
        let data: Vec<u8> = (0..=255).cycle().take(300).collect();
        let mut bytes = Vec::new();
        let mut writer = BatchWriter::new(&mut bytes, 7, 99, fence);
        let mut sent = Vec::new();
        for spec in specs {
            let operation = operation(spec, &data);
            if BatchWriter::takes(&operation) && writer.push(&mut bytes, &operation) {
                sent.push(format!("{operation:?}"));
            }
        }
        if sent.is_empty() {
            return Ok(());
        }
        prop_assert_eq!(usize::from(writer.finish(&mut bytes)), sent.len());
        let seen = cut(&bytes, &cuts, |rest| match decode_request(rest)? {
            Decoded::Frame(RequestFrame::Batch(batch), length) => {
                assert_eq!((batch.handle, batch.sequence, batch.fence), (7, 99, fence));
                Ok(Decoded::Frame(batch.entries().map(|entry| format!("{entry:?}")).collect::<Vec<_>>(), length))
            }
            Decoded::Needs(whole) => Ok(Decoded::Needs(whole)),
            Decoded::Frame(other, _) => panic!("{other:?}"),
        })?;
        prop_assert_eq!(seen, [sent]);
    }

    #[test]
    fn replies_cross_at_any_cut(
        replies in prop::collection::vec((any::<u32>(), 0u8..8, prop::collection::vec(any::<u8>(), 0..200)), 1..20),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let (mut bytes, mut sent) = (Vec::new(), Vec::new());
        for (sequence, status, data) in &replies {
            let reply = Reply { sequence: *sequence, status: Status::from_code(*status).unwrap(), data };
            encode_reply(&mut bytes, &reply);
            sent.push(format!("{:?}", ReplyFrame::Reply(reply)));
        }
        let mut body = Vec::new();
        for (_, status, data) in &replies {
            body.extend_from_slice(&entry_header(Status::from_code(*status).unwrap(), data.len()));
            body.extend_from_slice(data);
        }
        bytes.extend_from_slice(&batch_reply_header(5, replies.len() as u16, body.len()));
        bytes.extend_from_slice(&body);
        let seen = cut(&bytes, &cuts, |rest| Ok(text(decode_reply(rest)?)))?;
        prop_assert_eq!(&seen[..sent.len()], &sent[..]);
        prop_assert_eq!(seen.len(), sent.len() + 1);
        let Decoded::Frame(ReplyFrame::Batch(batch), _) = decode_reply(&bytes[bytes.len() - body.len() - 10..])? else {
            panic!("a batch reply");
        };
        for (entry, (at, (_, status, data))) in batch.entries().zip(replies.iter().enumerate()) {
            prop_assert_eq!((entry.sequence, entry.status as u8, entry.data), (5 + at as u32, *status, &data[..]));
        }
        prop_assert_eq!(batch.entries().count(), replies.len());
    }

    #[test]
    fn any_bytes_are_decoded_refused_or_need_more(bytes in prop::collection::vec(any::<u8>(), 0..200), first in 0u8..9) {
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        for decoded in [
            decode_request(&bytes).map(text),
            decode_reply(&bytes).map(text),
            decode_control(&bytes).map(text),
        ].into_iter().flatten() {
            match decoded {
                Decoded::Frame(_, length) => prop_assert!(length > 0 && length <= bytes.len()),
                Decoded::Needs(whole) => prop_assert!(whole > bytes.len() && whole <= 128 * 1024),
            }
        }
    }

    #[test]
    fn sequences_are_made_whole(base in 0..u64::MAX / 4, ahead in 0..WINDOW) {
        prop_assert_eq!(widen_sequence((base + ahead) as u32, base), base + ahead);
        prop_assert_eq!(widen_sequence((base + ahead) as u32, base + WINDOW), base + ahead);
    }
}

#[test]
fn control_messages_cross_at_any_cut() {
    let messages = [
        Control::Attach(Attach {
            session: u128::MAX - 5,
            ack_below: 77,
            attempt: 3,
        }),
        Control::Attached(Attached {
            boot_epoch: 1 << 90,
            incarnation: 9,
            lease_ms: 60_000,
        }),
        Control::Import {
            handle: 3,
            grant: b"signed",
        },
        Control::Imported {
            handle: 3,
            result: Ok(Imported {
                rights: Rights::ALL,
                length: 4096,
                compression: Compression::Zstd,
            }),
        },
        Control::Imported {
            handle: 4,
            result: Err(ImportRefusal::WrongNode),
        },
        Control::Release { handle: 9 },
        Control::Revoked { handle: 9 },
        Control::End,
    ];
    let mut bytes = Vec::new();
    for message in &messages {
        message.encode(&mut bytes);
    }
    let sent: Vec<_> = messages
        .iter()
        .map(|message| format!("{message:?}"))
        .collect();
    for first in 0..bytes.len() {
        let seen = cut(&bytes, &[first, first + 1, first + 7], |rest| {
            Ok(text(decode_control(rest)?))
        })
        .unwrap();
        assert_eq!(seen, sent);
    }
}

#[test]
fn what_no_correct_peer_sends_is_refused_before_its_bytes_arrive() {
    let header = |code: u8, flags: u8, length: u32| {
        let mut bytes = vec![code, flags];
        bytes.extend_from_slice(&[0; 14]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes
    };
    let max = u64::from(MAX_INLINE);
    assert_eq!(
        decode_request(&header(1, 0, 0)),
        Err(FrameError::Length {
            length: 0,
            min: 1,
            max
        })
    );
    assert_eq!(
        decode_request(&header(2, 0, MAX_INLINE + 1)),
        Err(FrameError::Length {
            length: max + 1,
            min: 1,
            max
        })
    );
    assert_eq!(
        decode_request(&header(3, 0, 4)),
        Err(FrameError::Length {
            length: 4,
            min: 8,
            max: 8
        })
    );
    assert_eq!(decode_request(&header(1, 2, 8)), Err(FrameError::Flags(2)));
    assert_eq!(decode_request(&[200]), Err(FrameError::Code(200)));
    // A reply that would be 16 MiB long.
    assert!(matches!(
        decode_reply(&[0, 0, 0, 0, 0, 255, 255, 255]),
        Err(FrameError::Length { .. })
    ));
    // An attach of another version.
    let mut bytes = Vec::new();
    Control::Attach(Attach {
        session: 1,
        ack_below: 0,
        attempt: 1,
    })
    .encode(&mut bytes);
    bytes[4] = 9;
    assert_eq!(decode_control(&bytes), Err(FrameError::Version(9)));
}

#[test]
fn a_batch_is_checked_whole_before_any_of_it_runs() {
    let mut bytes = Vec::new();
    let mut writer = BatchWriter::new(&mut bytes, 1, 0, false);
    assert!(writer.push(
        &mut bytes,
        &Operation::FetchAdd {
            offset: 0,
            operand: 1
        }
    ));
    assert!(writer.push(
        &mut bytes,
        &Operation::Read {
            offset: 0,
            length: 8
        }
    ));
    writer.finish(&mut bytes);
    let entry = bytes.len() - 12;
    let mut broken = bytes.clone();
    broken[entry] = 6;
    assert_eq!(decode_request(&broken), Err(FrameError::Code(6)));
    let mut broken = bytes.clone();
    broken[8] = 3;
    assert_eq!(decode_request(&broken), Err(FrameError::Body));
    let mut broken = bytes.clone();
    broken[8] = 1;
    assert_eq!(decode_request(&broken), Err(FrameError::Body));
}
