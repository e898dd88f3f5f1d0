//! `cargo bench -p linkmesh-memory --bench host`: memory and requests between two processes of this host, beside a Unix
//! socket and memory of the own process.
//!
//! Rounds of all rivals are interleaved. p50 and p99 are over single operations where one takes longer than reading the clock,
//! else over means of a hundred.
#![allow(clippy::print_stdout, reason = "a bench prints")]

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        hint::black_box,
        io::{Read, Write},
        os::unix::net::{UnixListener, UnixStream},
        process::{Child, Command, Stdio},
        sync::{Arc, mpsc},
        time::{Duration, Instant},
    };

    use linkmesh_memory::{
        host::{
            Channel, ChannelError, Host, HostEvents, HostOptions, Link, MappedRegion, OfferTerms,
            Receiver, Refusal, Session, SharedObject, Sharing,
        },
        region::{Region, Rights, SharedRegion},
    };

    const SECRET: [u8; 32] = [1; 32];
    const REGION_BYTES: usize = 16 << 20;
    const ROUNDS: usize = 9;

    enum Event {
        Linked(Arc<Link>, Channel),
        Offered(MappedRegion),
    }

    struct Events(mpsc::Sender<Event>);

    impl HostEvents for Events {
        fn linked(&self, link: &Arc<Link>, channel: Channel) {
            let _ = self.0.send(Event::Linked(Arc::clone(link), channel));
        }
        fn offered(&self, _: &Arc<Link>, region: MappedRegion) {
            let _ = self.0.send(Event::Offered(region));
        }
        fn unmappable(&self, _: &Arc<Link>, _: [u8; 16], error: std::io::Error) {
            panic!("{error}");
        }
        fn woken(&self, _: &Arc<Link>) {}
        fn gone(&self, _: &Arc<Link>) {}
        fn refused(&self, _: Session, why: Refusal) {
            panic!("{why}");
        }
    }

    fn open() -> (Host, mpsc::Receiver<Event>) {
        let (sender, events) = mpsc::channel();
        let host = Host::open(HostOptions::default(), Arc::new(Events(sender)));
        (host.expect("a host"), events)
    }

    fn linked(events: &mpsc::Receiver<Event>) -> (Arc<Link>, Channel) {
        match events.recv() {
            Ok(Event::Linked(link, channel)) => (link, channel),
            _ => panic!("no link"),
        }
    }

    /// The other process: exports a region, echoes frames, and echoes what comes over a Unix socket.
    fn serve() {
        let mut lines = std::io::stdin().lines().map(|line| line.expect("a line"));
        let (socket, invitation) = (lines.next().unwrap(), lines.next().unwrap());
        let digit = |at| u8::from_str_radix(&invitation[at..at + 2], 16).unwrap();
        let invitation: Vec<u8> = (0..invitation.len()).step_by(2).map(digit).collect();
        let (host, events) = open();
        host.join(Session(1), &invitation, SECRET)
            .expect("an invitation");
        let (link, channel) = linked(&events);
        let object = SharedObject::create(REGION_BYTES, Sharing::ReadWrite).expect("memory");
        let terms = OfferTerms {
            grant: [0; 16],
            rights: Rights::ALL,
            offset: 0,
            length: REGION_BYTES as u64,
            lifetime: Some(Duration::from_secs(3600)),
        };
        let _offered = link.offer(&object, &terms).expect("an offer");
        let mut stream = UnixStream::connect(socket).expect("the socket");
        std::thread::spawn(move || {
            let mut bytes = [0; 64];
            while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
        });
        echo(channel);
    }

    fn echo(mut channel: Channel) {
        while channel.receiver.wait(Receiver::SPIN, None).is_ok() {
            let sender = &mut channel.sender;
            let answer = |frame: &[u8]| {
                while sender.push(frame) == Err(ChannelError::Full) {
                    let _ = sender.flush();
                    std::thread::yield_now();
                }
            };
            if channel.receiver.poll(256, answer).is_err() || channel.sender.flush().is_err() {
                return;
            }
        }
    }

    struct Server(Child);

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    struct Row {
        label: &'static str,
        unit: &'static str,
        /// p50 and p99 of each round, in the unit.
        rounds: Vec<[f64; 2]>,
    }

    fn quantiles(mut samples: Vec<f64>) -> [f64; 2] {
        samples.sort_by(f64::total_cmp);
        [50, 99].map(|percent| samples[samples.len() * percent / 100])
    }

    /// Means of a hundred calls each, nanoseconds.
    fn short(mut call: impl FnMut(u64)) -> [f64; 2] {
        let samples = (0..2_000_u64).map(|sample| {
            let start = Instant::now();
            for number in 0..100 {
                call(sample * 100 + number);
            }
            start.elapsed().as_nanos() as f64 / 100.0
        });
        quantiles(samples.collect())
    }

    /// Single calls, microseconds.
    fn long(count: usize, pause: Duration, mut call: impl FnMut()) -> [f64; 2] {
        let samples = (0..count).map(|_| {
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
            let start = Instant::now();
            call();
            start.elapsed().as_nanos() as f64 / 1000.0
        });
        quantiles(samples.collect())
    }

    /// A 64-byte-aligned place in the region that depends on `number`.
    fn place(number: u64) -> u64 {
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40 << 6 & (REGION_BYTES as u64 - 64)
    }

    fn round_trip(channel: &mut Channel, frame: &[u8]) {
        channel.sender.send(frame).expect("room");
        channel
            .receiver
            .wait(Receiver::SPIN, None)
            .expect("an answer");
        let same = |answer: &[u8]| assert_eq!(answer, frame);
        assert_eq!(channel.receiver.poll(1, same), Ok(1));
    }

    /// Frames a second with `depth` in flight.
    fn rate(channel: &mut Channel, depth: usize, bytes: usize) -> f64 {
        const FRAMES: usize = 200_000;
        let frame = vec![7; bytes];
        let (mut sent, mut seen) = (0, 0);
        let start = Instant::now();
        while seen < FRAMES {
            while sent < FRAMES && sent - seen < depth {
                channel.sender.push(&frame).expect("room");
                sent += 1;
            }
            channel.sender.flush().expect("a peer");
            channel
                .receiver
                .wait(Receiver::SPIN, None)
                .expect("answers");
            let same = |answer: &[u8]| assert_eq!(answer.len(), bytes);
            seen += channel.receiver.poll(depth, same).expect("answers");
        }
        FRAMES as f64 / start.elapsed().as_secs_f64()
    }

    /// Both processes, linked in every way that is measured.
    struct Pair {
        channel: Channel,
        region: MappedRegion,
        own: SharedRegion<Arc<SharedObject>>,
        stream: UnixStream,
        _server: Server,
        _link: Arc<Link>,
        _host: Host,
    }

    impl Pair {
        fn start() -> Self {
            let (host, events) = open();
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("echo");
            let listener = UnixListener::bind(&path).expect("a socket");
            let invitation = host.invite(Session(1), SECRET).expect("an invitation");
            let hex = invitation
                .iter()
                .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            let mut process = Command::new(std::env::current_exe().expect("a path"))
                .env("LINKMESH_BENCH_SERVE", "1")
                .stdin(Stdio::piped())
                .spawn()
                .expect("a process");
            let mut input = process.stdin.take().expect("a pipe");
            writeln!(input, "{}\n{hex}", path.display()).expect("a reader");
            let server = Server(process);
            let (link, channel) = linked(&events);
            let Ok(Event::Offered(region)) = events.recv() else {
                panic!("no region")
            };
            let (stream, _) = listener.accept().expect("the other process");
            let own = SharedObject::create(REGION_BYTES, Sharing::ReadWrite).expect("memory");
            Self {
                channel,
                region,
                own: SharedRegion::new(Arc::new(own), 1),
                stream,
                _server: server,
                _link: link,
                _host: host,
            }
        }

        fn memory(&self, table: &mut Table) {
            let (region, own) = (&self.region, &self.own);
            let mut target = [0; 64];
            let read = short(|number| {
                own.read(place(number), black_box(&mut target)).unwrap();
            });
            table.add("read 64 B of the own process, 16 MiB", "ns", read);
            let read = short(|number| {
                region.read(place(number), black_box(&mut target)).unwrap();
            });
            table.add("read 64 B of the other, 16 MiB", "ns", read);
            let read = short(|number| {
                region
                    .read(number % 64 * 64, black_box(&mut target))
                    .unwrap();
            });
            table.add("read 64 B of the other, 4 KiB", "ns", read);
            let write = short(|number| region.write(place(number), black_box(&target)).unwrap());
            table.add("write 64 B, 16 MiB", "ns", write);
            let add = short(|number| {
                black_box(region.fetch_add(place(number), 1).unwrap());
            });
            table.add("fetch-and-add, 16 MiB", "ns", add);
            let add = short(|_| {
                black_box(region.fetch_add(0, 1).unwrap());
            });
            table.add("fetch-and-add, one place", "ns", add);
            let mut block = vec![0; 64 << 10];
            let read = long(2_000, Duration::ZERO, || {
                region.read(0, black_box(&mut block)).unwrap();
            });
            table.add("read 64 KiB", "us", read);
        }

        fn requests(&mut self, table: &mut Table) {
            let (channel, stream) = (&mut self.channel, &mut self.stream);
            let mut socket = |count, pause| {
                let mut bytes = [5; 64];
                long(count, pause, || {
                    stream.write_all(&bytes).unwrap();
                    stream.read_exact(&mut bytes).unwrap();
                })
            };
            let pause = Duration::from_millis(5);
            let hot = long(20_000, Duration::ZERO, || round_trip(channel, &[5; 64]));
            table.add("request 64 B, hot", "us", hot);
            let echo = socket(5_000, Duration::ZERO);
            table.add("Unix socket echo 64 B", "us", echo);
            let cold = long(60, pause, || round_trip(channel, &[5; 64]));
            table.add("request 64 B, one in 5 ms", "us", cold);
            table.add(
                "Unix socket echo 64 B, one in 5 ms",
                "us",
                socket(60, pause),
            );
            for (label, depth) in [
                ("requests 200 B, 16 in flight", 16),
                ("requests 200 B, 256 in flight", 256),
            ] {
                let rate = rate(channel, depth, 200) / 1e6;
                table.add(label, "M/s", [rate, rate]);
            }
        }
    }

    #[derive(Default)]
    struct Table(Vec<Row>);

    impl Table {
        fn add(&mut self, label: &'static str, unit: &'static str, values: [f64; 2]) {
            if let Some(row) = self.0.iter_mut().find(|row| row.label == label) {
                row.rounds.push(values);
                return;
            }
            let rounds = vec![values];
            self.0.push(Row {
                label,
                unit,
                rounds,
            });
        }

        fn print(&self) {
            for row in &self.0 {
                let sorted = |which: usize| {
                    let mut values: Vec<f64> =
                        row.rounds.iter().map(|round| round[which]).collect();
                    values.sort_by(f64::total_cmp);
                    values
                };
                let (p50, p99) = (sorted(0), sorted(1));
                let (middle, last) = (p50.len() / 2, p50.len() - 1);
                let (label, unit) = (row.label, row.unit);
                if unit == "M/s" {
                    let (rate, best) = (p50[middle], p50[last]);
                    println!("{label:<40} {rate:>11.2} {unit} (best {best:.2})");
                } else {
                    let (best, p50, p99) = (p50[0], p50[middle], p99[middle]);
                    println!("{label:<40} p50 {p50:>7.2} {unit} (best {best:.2}), p99 {p99:.2}");
                }
            }
        }
    }

    pub(super) fn main() {
        if std::env::var_os("LINKMESH_BENCH_SERVE").is_some() {
            return serve();
        }
        let mut pair = Pair::start();
        let mut table = Table::default();
        for _ in 0..ROUNDS {
            pair.memory(&mut table);
            pair.requests(&mut table);
        }
        table.print();
    }
}

fn main() {
    #[cfg(target_os = "linux")]
    linux::main();
}
