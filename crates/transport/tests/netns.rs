//! Two nodes in network namespaces of their own, with a cable between them: what a real kernel does to packets when the
//! path shrinks, an address changes, or one side goes.
//!
//! Needs Linux, root and `ip`: `npm run test:netns`. Elsewhere, and without `LINKMESH_NETNS=1`, it is skipped with a message.
#![cfg(target_os = "linux")]

mod support;

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use linkmesh_transport::core::{CloseReason, Limits, Target};
use linkmesh_transport::engine::{Engine, EngineOptions, LatencyMode};
use support::echo::{ECHO, Echo};
use support::identity::Authority;

const LONG: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(3);

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Two namespaces, `s` with 10.77.0.1 and `c` with 10.77.0.2 (and `fd77::1`, `fd77::2`), and the cable.
struct Cable {
    name: String,
}

impl Cable {
    /// `None` where it is not allowed, with a message.
    fn lay(test: &str, mtu: u16) -> Option<Self> {
        if std::env::var_os("LINKMESH_NETNS").is_none() {
            eprintln!(
                "skipped: set LINKMESH_NETNS=1 (npm run test:netns) to test in network namespaces"
            );
            return None;
        }
        let name = format!("lm{}{test}", std::process::id());
        let made = Command::new("ip")
            .args(["netns", "add", &format!("{name}s")])
            .output();
        if !made.is_ok_and(|output| output.status.success()) {
            eprintln!(
                "skipped: this machine allows no network namespaces (root and iproute2 are needed)"
            );
            return None;
        }
        let cable = Self { name };
        ip(&format!("netns add {}c", cable.name));
        ip(&format!(
            "-n {0}s link add wire type veth peer name wire netns {0}c",
            cable.name
        ));
        for (side, host) in [("s", 1), ("c", 2)] {
            cable.ip(side, &format!("link set wire mtu {mtu} up"));
            cable.ip(side, &format!("addr add 10.77.0.{host}/24 dev wire"));
            cable.ip(side, &format!("addr add fd77::{host}/64 dev wire nodad"));
        }
        Some(cable)
    }

    fn ip(&self, side: &str, words: &str) {
        ip(&format!("-n {}{side} {words}", self.name));
    }

    /// Does something in a namespace. A socket stays in the one where it was made.
    fn inside<R: Send>(&self, side: &str, work: impl FnOnce() -> R + Send) -> R {
        let namespace = File::open(format!("/run/netns/{}{side}", self.name)).unwrap();
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                // SAFETY: no pointers; only this thread moves, and it ends here.
                let moved = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(moved, 0, "{}", std::io::Error::last_os_error());
                work()
            });
            worker.join().unwrap()
        })
    }

    fn engine(&self, side: &str, authority: &Authority, mtu: u16) -> Engine<Echo> {
        let listen = (side == "s").then(|| "[::]:0".parse().unwrap());
        let mut options = EngineOptions::new(listen, authority.member(side));
        options.latency = LatencyMode::Block;
        options.limits = Limits {
            mtu,
            idle_timeout: IDLE,
            keep_alive: Some(IDLE / 6),
            ..Limits::default()
        };
        self.inside(side, || Engine::start(&options, Echo::default()).unwrap())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for side in ["s", "c"] {
            let _ = Command::new("ip")
                .args(["netns", "del", &format!("{}{side}", self.name)])
                .status();
        }
    }
}

fn wait(engine: &Engine<Echo>, mut done: impl FnMut(&mut Echo) -> bool) {
    let end = Instant::now() + LONG;
    // In pieces: what happens without a packet is seen in between.
    while !engine.lease().spin(Duration::from_millis(20), &mut done) {
        let events = || engine.with(|echo, _| echo.events.clone());
        assert!(Instant::now() < end, "{:?}", events());
    }
}

fn connect(client: &Engine<Echo>, address: SocketAddr) {
    client
        .with(|_, io| io.connect(Target::at(address)))
        .unwrap();
    wait(client, |echo| echo.peers().len() == 1);
}

fn send(client: &Engine<Echo>, bytes: u64) {
    client.with(|echo, io| {
        let peer = echo.peers()[0];
        echo.send(io, peer, ECHO, bytes);
    });
}

fn mtu(client: &Engine<Echo>) -> (u16, u64) {
    client.with(|echo, io| {
        let stats = io.stats(echo.peers()[0]).unwrap();
        (stats.mtu, stats.black_holes)
    })
}

#[test]
fn the_path_is_filled_and_when_it_shrinks_the_transfer_goes_on() {
    for server in ["10.77.0.1", "fd77::1"] {
        let Some(cable) = Cable::lay("m", 9000) else {
            return;
        };
        let authority = Authority::new();
        let (s, c) = (
            cable.engine("s", &authority, 8952),
            cable.engine("c", &authority, 8952),
        );
        let address = SocketAddr::new(server.parse().unwrap(), s.local_address().port());
        connect(&c, address);
        // Discovery takes a few round trips with data.
        let end = Instant::now() + LONG;
        while mtu(&c).0 < 8000 {
            assert!(Instant::now() < end, "grew to {}", mtu(&c).0);
            send(&c, 100_000);
            wait(&c, |echo| echo.is_done());
        }
        send(&c, 2_000_000);
        for side in ["s", "c"] {
            // The smallest that IPv6 allows.
            cable.ip(side, "link set wire mtu 1280");
        }
        wait(&c, |echo| echo.is_done());
        send(&c, 200_000);
        wait(&c, |echo| echo.is_done());
        let (now, black_holes) = mtu(&c);
        assert!(now <= 1252 && black_holes > 0, "{now}, {black_holes}");
        assert!(c.with(|echo, _| echo.disconnects().is_empty()));
    }
}

#[test]
fn a_connection_outlives_the_address_of_its_client() {
    for (server, old, new) in [
        ("10.77.0.1", "10.77.0.2/24", "10.77.0.3"),
        ("fd77::1", "fd77::2/64", "fd77::3"),
    ] {
        let Some(cable) = Cable::lay("a", 1500) else {
            return;
        };
        let authority = Authority::new();
        let (s, c) = (
            cable.engine("s", &authority, 1452),
            cable.engine("c", &authority, 1452),
        );
        let address = SocketAddr::new(server.parse().unwrap(), s.local_address().port());
        connect(&c, address);
        send(&c, 50_000);
        wait(&c, |echo| echo.is_done());
        send(&c, 5_000_000);
        let bits = &old[old.find('/').unwrap()..];
        let dad = if new.contains(':') { " nodad" } else { "" };
        cable.ip("c", &format!("addr del {old} dev wire"));
        cable.ip("c", &format!("addr add {new}{bits} dev wire{dad}"));
        wait(&c, |echo| echo.is_done());
        assert!(c.with(|echo, _| echo.disconnects().is_empty()));
        let seen = s.with(|echo, io| io.address(echo.peers()[0])).unwrap();
        assert_eq!(
            seen.ip().to_string(),
            new,
            "the server knows the new address"
        );
    }
}

#[test]
fn a_side_that_is_gone_is_noticed_and_reached_again_when_it_is_back() {
    let Some(cable) = Cable::lay("g", 1500) else {
        return;
    };
    let authority = Authority::new();
    let (s, c) = (
        cable.engine("s", &authority, 1452),
        cable.engine("c", &authority, 1452),
    );
    let address = SocketAddr::new("10.77.0.1".parse().unwrap(), s.local_address().port());
    connect(&c, address);
    send(&c, 5_000_000);
    cable.ip("s", "link set wire down");
    for engine in [&c, &s] {
        wait(engine, |echo| !echo.disconnects().is_empty());
        let reasons = engine.with(|echo, _| echo.disconnects());
        assert_eq!(reasons, [CloseReason::TimedOut]);
    }
    cable.ip("s", "link set wire up");
    wait(&c, |echo| echo.peers().len() == 1);
    c.with(|echo, _| echo.forget_streams());
    send(&c, 50_000);
    wait(&c, |echo| echo.is_done());
}
