//! The other process: a copy of this test binary that plays one part.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use linkmesh_memory::host::{
    Channel, ChannelError, Link, MappedRegion, OfferTerms, Receiver, Session, SharedObject,
    Sharing, Woken,
};
use linkmesh_memory::region::Rights;

use crate::events::{LONG, Node, options};

const PART: &str = "LINKMESH_HOST_PART";
pub(crate) const SECRET: [u8; 32] = [42; 32];

/// A child process, killed when it is dropped.
pub(crate) struct Other {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Other {
    /// Starts a process that plays `part` and follows an invitation of `node`.
    pub(crate) fn start(node: &Node, part: &str) -> Self {
        let invitation = node.host.invite(Session(1), SECRET).unwrap();
        Self::start_with(&invitation, SECRET, part)
    }

    pub(crate) fn start_with(invitation: &[u8], secret: [u8; 32], part: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["child::play", "--exact", "--ignored", "--nocapture"])
            .env(PART, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = process.stdin.take().unwrap();
        writeln!(input, "{}", hex(invitation)).unwrap();
        writeln!(input, "{}", hex(&secret)).unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// The next line that the part printed with [`say`].
    pub(crate) fn line(&mut self) -> String {
        for line in (&mut self.output).lines() {
            let line = line.unwrap();
            if let Some(said) = line.split("part: ").nth(1) {
                return said.to_owned();
            }
        }
        panic!("the other process ended without a word")
    }

    /// `SIGKILL`, and waits until the process is no more.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Both fail when it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Not a test: what the other process runs.
#[test]
#[ignore = "is run by the tests as a process of its own"]
fn play() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let mut lines = std::io::stdin().lines();
    let mut line = || unhex(&lines.next().unwrap().unwrap());
    let (invitation, secret) = (line(), line().try_into().unwrap());
    let node = Node::open(options());
    node.host.join(Session(2), &invitation, secret).unwrap();
    if part == "stranger" {
        say(&node.refused().to_string());
        return;
    }
    let (link, channel) = node.linked();
    match part.as_str() {
        "echo" => echo(channel),
        "flood" => flood(channel),
        "scribble" => scribble(&channel),
        "use" => use_region(&node.offered(), &node),
        "export" => export(&link),
        "add" => add(&node.offered()),
        other => panic!("no part is called {other}"),
    }
}

/// Answers each frame with itself until the peer is gone.
fn echo(mut channel: Channel) {
    loop {
        match channel.receiver.wait(Receiver::SPIN, None) {
            Ok(_) => {}
            Err(ChannelError::PeerGone) => return,
            Err(error) => panic!("{error}"),
        }
        let sender = &mut channel.sender;
        channel
            .receiver
            .poll(
                256,
                |frame| while sender.push(frame) == Err(ChannelError::Full) {},
            )
            .unwrap();
        if sender.flush() == Err(ChannelError::PeerGone) {
            return;
        }
    }
}

/// Sends numbered frames of all lengths, as fast as they are taken, until it is killed.
fn flood(mut channel: Channel) {
    say("ready");
    for number in 0_u32.. {
        let frame = numbered(number);
        loop {
            match channel.sender.push(&frame) {
                Ok(()) => break,
                Err(ChannelError::Full) => {
                    channel.sender.flush().unwrap();
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
        if number % 7 == 0 {
            channel.sender.flush().unwrap();
        }
    }
}

pub(crate) fn numbered(number: u32) -> Vec<u8> {
    let mut frame = vec![number as u8; 4 + (number % 301) as usize];
    frame[..4].copy_from_slice(&number.to_le_bytes());
    frame
}

/// Writes nonsense over its half of the channel: both rings, their positions, everything.
fn scribble(channel: &Channel) {
    let (bytes, capacity) = channel.sender.memory();
    // The outgoing ring of this side is the second one: a page of words and the first ring lie before it.
    let start = bytes.wrapping_sub(capacity as usize + 4096);
    let words = (capacity as usize * 2 + 4096) / 8;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    say("ready");
    loop {
        for _ in 0..1_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Positions far more often than bytes.
            let index = if random.is_multiple_of(8) {
                (random >> 8) as usize % words
            } else {
                (random >> 8) as usize % 96
            };
            // Whole nonsense, or a position that is almost one.
            let value = if (random / 8).is_multiple_of(2) {
                random >> 4
            } else {
                (random >> 16) & 0x1_FFF8
            };
            let word = start.wrapping_add(index * 8).cast();
            // SAFETY: inside the channel's memory, aligned; `channel` lives.
            unsafe { std::sync::atomic::AtomicU64::from_ptr(word) }
                .store(value, std::sync::atomic::Ordering::Relaxed);
        }
        std::thread::yield_now();
    }
}

/// Reads, writes and adds, then tells how the region ends.
fn use_region(region: &MappedRegion, node: &Node) {
    let mut bytes = [0; 8];
    if let Err(error) = region.read(0, &mut bytes) {
        say(&error.to_string());
        node.gone();
        return;
    }
    say(std::str::from_utf8(&bytes).unwrap());
    match region.write(8, b"from me.") {
        Ok(()) => {
            let before = region.fetch_add(64, 5).unwrap();
            let found = region.compare_swap(64, before + 5, 100).unwrap();
            say(&format!("{before} {found}"));
        }
        Err(error) => say(&error.to_string()),
    }
    let start = Instant::now();
    while start.elapsed() < LONG {
        if let Err(error) = region.read(0, &mut bytes) {
            say(&error.to_string());
            break;
        }
        std::thread::yield_now();
    }
    node.gone();
}

/// Adds 1 to a word until it is killed; the word next to it says how often at least.
fn add(region: &MappedRegion) {
    say("ready");
    loop {
        region.fetch_add(0, 1).unwrap();
        region.fetch_add(8, 1).unwrap();
    }
}

/// Exports a region and lives until it is killed.
fn export(link: &Arc<Link>) {
    let object = SharedObject::create(4096, Sharing::Read).unwrap();
    let _offered = link.offer(&object, &terms(Rights::READ, 4096)).unwrap();
    loop {
        std::thread::park();
    }
}

pub(crate) fn terms(rights: Rights, length: u64) -> OfferTerms {
    OfferTerms {
        grant: [9; 16],
        rights,
        offset: 0,
        length,
        lifetime: None,
    }
}

/// Waits for frames with the default window and a deadline that only a broken channel meets.
pub(crate) fn wait(receiver: &mut Receiver, spin: Duration) -> Result<(), ChannelError> {
    match receiver.wait(spin, Some(Instant::now() + LONG))? {
        Woken::Frames => Ok(()),
        Woken::TimedOut => panic!("nothing came"),
    }
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "part: {what}").unwrap();
    out.flush().unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}
