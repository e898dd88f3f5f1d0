//! What one operation costs on each side, without sockets: random offsets in 16 MiB, answers checked.
//!
//! `cargo bench -p linkmesh-memory --bench operations`. Prints nanoseconds per operation: p50 and p99 of bursts of 512.
#![allow(clippy::print_stdout, reason = "a benchmark's purpose")]

#[path = "../tests/common/random.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests")]
mod random;

use std::{
    hint::black_box,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use linkmesh_memory::{
    client::{Client, ClientOptions, Completion, Completions, ImportError, Submission, Success},
    compress::Compression,
    frame::{AckBelow, Attach, BatchWriter, Control, ImportRefusal, Imported, Operation, Request},
    region::{Access, HeapRegion, Pages, PagesOptions, Region, Rights, SharedRegion},
    server::{Grants, ServerConnection},
    session::{SessionLimits, Sessions},
};
use linkmesh_transport::core::NodeId;
use random::Random;

const LENGTH: u64 = 16 * 1024 * 1024;
const BURST: u64 = 512;
const BURSTS: u64 = 400;

struct Open(Arc<dyn Region>);

impl Grants for Open {
    fn open(&mut self, _: &NodeId, _: &[u8], _: Instant) -> Result<Access, ImportRefusal> {
        Ok(Access {
            region: self.0.clone(),
            epoch: self.0.epoch(),
            base: 0,
            length: LENGTH,
            rights: Rights::ALL,
            expires: Some(Instant::now() + std::time::Duration::from_secs(3600)),
            revoked: Arc::new(AtomicBool::new(false)),
            compression: Compression::None,
        })
    }
}

struct Server {
    sessions: Sessions,
    connection: ServerConnection,
    grants: Open,
}

impl Server {
    fn new(region: Arc<dyn Region>) -> Self {
        let sessions = Sessions::new(1, SessionLimits::default());
        Self {
            sessions,
            connection: ServerConnection::new(NodeId([0; 32]), 1),
            grants: Open(region),
        }
    }

    fn control(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.connection
            .receive_control(&mut self.sessions, &mut self.grants, bytes, Instant::now())
            .unwrap();
        let output = self.connection.control_output();
        let bytes = output.as_slice().to_vec();
        output.consume(bytes.len());
        bytes
    }

    /// As a client would begin.
    fn opened(region: Arc<dyn Region>) -> Self {
        let mut server = Self::new(region);
        let mut bytes = Vec::new();
        Control::Attach(Attach {
            session: 1,
            ack_below: 0,
            attempt: 1,
        })
        .encode(&mut bytes);
        Control::Import {
            handle: 0,
            grant: b"g",
        }
        .encode(&mut bytes);
        server.control(&bytes);
        server
    }
}

/// With every page in place, so that no first touch is measured.
fn touched(region: Arc<dyn Region>) -> Arc<dyn Region> {
    region.write(0, &vec![1; LENGTH as usize]).unwrap();
    region
}

fn print(name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("  {name:<52} p50 {p50:>7.1} ns   p99 {p99:>7.1} ns");
}

/// Bursts of `operation`, in frames of `batch`; every burst is encoded beforehand.
fn serve(
    name: &str,
    region: Arc<dyn Region>,
    batch: usize,
    operation: impl Fn(u64) -> Operation<'static>,
) {
    let mut server = Server::opened(region);
    let mut random = Random(7);
    let bursts: Vec<Vec<u8>> = (0..BURSTS)
        .map(|burst| {
            let first = burst * BURST;
            let mut bytes = Vec::new();
            AckBelow(first as u32).encode(&mut bytes);
            let mut operations = (first..first + BURST)
                .map(|at| (at, operation(random.next() % (LENGTH / 64) * 64)));
            if batch == 1 {
                for (at, operation) in operations {
                    Request {
                        sequence: at as u32,
                        handle: 0,
                        fence: false,
                        operation,
                    }
                    .encode(&mut bytes);
                }
            } else {
                while let Some((at, operation)) = operations.next() {
                    let mut writer = BatchWriter::new(&mut bytes, 0, at as u32, false);
                    assert!(writer.push(&mut bytes, &operation));
                    for (_, operation) in operations.by_ref().take(batch - 1) {
                        assert!(writer.push(&mut bytes, &operation));
                    }
                    writer.finish(&mut bytes);
                }
            }
            bytes
        })
        .collect();
    let now = Instant::now();
    let times = bursts
        .iter()
        .map(|bytes| {
            let begin = Instant::now();
            server
                .connection
                .receive(&mut server.sessions, 0, bytes, now)
                .unwrap();
            let output = server.connection.output(0);
            let length = black_box(output.as_slice()).len();
            output.consume(length);
            assert!(length >= 4 * BURST as usize);
            begin.elapsed().as_nanos() as f64 / BURST as f64
        })
        .collect();
    print(name, times);
}

#[derive(Default)]
struct Count {
    bytes: usize,
    completed: u64,
    handle: u16,
}

impl Completions for Count {
    fn completed(&mut self, completion: Completion<'_>) {
        self.completed += 1;
        if let Ok(Success::Bytes(bytes)) = completion.result {
            self.bytes += black_box(bytes).len();
        }
    }

    fn imported(&mut self, handle: u16, _: u64, result: Result<Imported, ImportError>) {
        assert!(result.is_ok());
        self.handle = handle;
    }
}

/// The client's part, and the whole way there and back through both state machines.
fn both(region: Arc<dyn Region>) {
    let mut server = Server::new(region);
    let options = ClientOptions {
        lanes: 1,
        ..ClientOptions::default()
    };
    let (mut client, mut count) = (Client::new(1, options), Count::default());
    client.import(b"g", 0).unwrap();
    client.connected();
    while !client.is_ready() {
        let output = client.control_output();
        let bytes = server.control(output.as_slice());
        let length = output.len();
        output.consume(length);
        client.receive_control(&bytes, &mut count).unwrap();
    }
    let mut random = Random(9);
    let now = Instant::now();
    let (mut submitting, mut sending, mut receiving, mut whole) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut burst = |record: bool| {
        let begin = Instant::now();
        for token in 0..BURST {
            let operation = Operation::Read {
                offset: random.next() % (LENGTH / 64) * 64,
                length: 64,
            };
            let submission = Submission {
                handle: count.handle,
                operation,
                fence: false,
                deadline: None,
                token,
            };
            client.submit(&submission, now).unwrap();
        }
        let submitted = Instant::now();
        client.flush();
        let sent = Instant::now();
        let output = client.output(0);
        server
            .connection
            .receive(&mut server.sessions, 0, output.as_slice(), now)
            .unwrap();
        let length = output.len();
        output.consume(length);
        let executed = Instant::now();
        let output = server.connection.output(0);
        client.receive(0, output.as_slice(), &mut count).unwrap();
        let length = output.len();
        output.consume(length);
        let end = Instant::now();
        assert_eq!(client.pending(), 0);
        if record {
            let per = |from: Instant, to: Instant| (to - from).as_nanos() as f64 / BURST as f64;
            submitting.push(per(begin, submitted));
            sending.push(per(submitted, sent));
            receiving.push(per(executed, end));
            whole.push(per(begin, end));
        }
    };
    for at in 0..BURSTS + 20 {
        burst(at >= 20);
    }
    assert_eq!(
        (count.completed, count.bytes as u64),
        ((BURSTS + 20) * BURST, (BURSTS + 20) * BURST * 64)
    );
    print("client: submit", submitting);
    print("client: flush, batches of 256", sending);
    print("client: receive and complete", receiving);
    print("client, server and back, 512 outstanding", whole);
}

fn main() {
    let pages = || -> Arc<dyn Region> {
        let options = PagesOptions {
            length: LENGTH,
            capacity: LENGTH,
            huge: false,
        };
        touched(Arc::new(SharedRegion::new(Pages::new(options).unwrap(), 1)))
    };
    let read = |offset| Operation::Read { offset, length: 64 };
    let add = |offset| Operation::FetchAdd { offset, operand: 1 };
    let write = |offset| Operation::Write {
        offset,
        data: &[7; 64],
    };
    println!("server, decode + check + execute + encode:");
    serve("READ 64 B, one per frame", pages(), 1, read);
    serve("READ 64 B, batches of 64", pages(), 64, read);
    serve("READ 64 B, batches of 256", pages(), 256, read);
    serve("READ 8 KiB, one per frame", pages(), 1, |offset| {
        Operation::Read {
            offset: offset / 2,
            length: 8192,
        }
    });
    serve("WRITE 64 B, one per frame", pages(), 1, write);
    serve("FETCH_ADD, one per frame", pages(), 1, add);
    serve("FETCH_ADD, batches of 256", pages(), 256, add);
    serve(
        "READ 64 B, one per frame, heap region",
        touched(Arc::new(HeapRegion::new(LENGTH as usize, 1))),
        1,
        read,
    );
    println!("client, READ 64 B:");
    both(pages());
}
