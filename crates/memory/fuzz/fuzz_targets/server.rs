//! A hostile client: any bytes on any stream of a connection. The server neither panics nor holds more than its limits, and
//! touches nothing outside the granted slice.
//!
//! `npm run fuzz -- server --minutes 10`.
#![no_main]

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use libfuzzer_sys::fuzz_target;
use linkmesh_memory::{
    compress::Compression,
    frame::{Attach, Control, ImportRefusal},
    region::{Access, HeapRegion, Region, Rights},
    server::{Grants, MAX_INPUT, ServerConnection},
    session::{SessionLimits, Sessions},
};
use linkmesh_transport::core::NodeId;

const LANES: usize = 4;

struct Slice(Arc<HeapRegion>);

impl Grants for Slice {
    fn open(&mut self, _: &NodeId, _: &[u8], _: Instant) -> Result<Access, ImportRefusal> {
        Ok(Access {
            region: self.0.clone(),
            epoch: 1,
            base: 64,
            length: 128,
            rights: Rights::ALL,
            expires: None,
            revoked: Arc::new(AtomicBool::new(false)),
            compression: Compression::None,
        })
    }
}

fuzz_target!(|pieces: Vec<(u8, &[u8])>| {
    let now = Instant::now();
    let region = Arc::new(HeapRegion::new(256, 1));
    let mut grants = Slice(region.clone());
    let mut sessions = Sessions::new(1, SessionLimits::default());
    let mut connection = ServerConnection::new(NodeId([0; 32]), LANES);
    let mut hello = Vec::new();
    Control::Attach(Attach { session: 1, ack_below: 0, attempt: 1 }).encode(&mut hello);
    Control::Import { handle: 0, grant: b"g" }.encode(&mut hello);
    connection.receive_control(&mut sessions, &mut grants, &hello, now).unwrap();
    for (stream, bytes) in pieces {
        let result = match usize::from(stream) % (LANES + 1) {
            0 => connection.receive_control(&mut sessions, &mut grants, bytes, now),
            lane => connection.receive(&mut sessions, lane - 1, bytes, now),
        };
        if result.is_err() {
            break;
        }
        for lane in 0..LANES {
            let output = connection.output(lane);
            assert!(output.len() <= MAX_INPUT);
            let half = output.len() / 2;
            output.consume(half);
        }
        if connection.resume(&mut sessions, now).is_err() {
            break;
        }
    }
    let mut bytes = [0; 256];
    region.read(0, &mut bytes).unwrap();
    assert!(bytes[..64].iter().chain(&bytes[192..]).all(|byte| *byte == 0), "outside of the slice");
});
