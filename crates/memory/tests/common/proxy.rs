//! A hostile network in user space: loses, doubles, delays, corrupts datagrams, swallows all of them for a while, and moves the
//! client to another port.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::random::Random;

/// Odds in a thousand, for each datagram.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub lose: u64,
    pub double: u64,
    pub delay: u64,
    pub corrupt: u64,
    pub rebind: u64,
    /// Everything is lost for [`HOLE`].
    pub hole: u64,
}

/// How long a black hole lasts: longer than the transport's patience, shorter than its idle timeout.
pub const HOLE: Duration = Duration::from_millis(250);

pub struct Proxy {
    pub address: SocketAddr,
    pub carried: Arc<AtomicU64>,
    /// While they say so, everything towards the server, or from it, is lost.
    pub requests_lost: Arc<AtomicBool>,
    pub answers_lost: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Between whoever sends to its address and `server`.
    pub fn start(server: SocketAddr, seed: u64, weather: Weather) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap();
        let flag = || Arc::new(AtomicBool::new(false));
        let (stop, requests_lost, answers_lost) = (flag(), flag(), flag());
        let carried = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let mut road = Road {
                front,
                server,
                random: Random(seed),
                weather,
                stop: stop.clone(),
                lost: [requests_lost.clone(), answers_lost.clone()],
                carried: carried.clone(),
            };
            move || road.carry()
        });
        Self {
            address,
            carried,
            requests_lost,
            answers_lost,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the proxy works");
        }
    }
}

fn back(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// What the thread of a proxy has.
struct Road {
    front: UdpSocket,
    server: SocketAddr,
    random: Random,
    weather: Weather,
    stop: Arc<AtomicBool>,
    /// Towards the server, and from it.
    lost: [Arc<AtomicBool>; 2],
    carried: Arc<AtomicU64>,
}

impl Road {
    fn carry(&mut self) {
        self.front
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let mut behind = back(self.server);
        let mut client = None;
        let mut hole_ends = Instant::now();
        let mut held: Vec<(bool, Vec<u8>)> = Vec::new();
        let mut buffer = vec![0; 65_536];
        while !self.stop.load(Ordering::Relaxed) {
            let mut came: Vec<(bool, Vec<u8>)> = Vec::new();
            if let Ok((length, from)) = self.front.recv_from(&mut buffer) {
                client = Some(from);
                came.push((true, buffer[..length].to_vec()));
            }
            while let Ok(length) = behind.recv(&mut buffer) {
                came.push((false, buffer[..length].to_vec()));
            }
            // What was held goes behind what came after it.
            let is_idle = came.is_empty();
            let mut going = Vec::new();
            for (up, mut datagram) in came {
                let mut happens = |odds: u64| self.random.next() % 1000 < odds;
                if happens(self.weather.hole) {
                    hole_ends = Instant::now() + HOLE;
                }
                let blocked = self.lost[usize::from(!up)].load(Ordering::Relaxed);
                if blocked || happens(self.weather.lose) || Instant::now() < hole_ends {
                    continue;
                }
                if happens(self.weather.rebind) {
                    behind = back(self.server);
                }
                if happens(self.weather.double) {
                    going.push((up, datagram.clone()));
                }
                if happens(self.weather.delay) {
                    held.push((up, datagram));
                    continue;
                }
                if happens(self.weather.corrupt) {
                    let at = self.random.below(datagram.len());
                    datagram[at] ^= 1 << self.random.below(8);
                }
                going.push((up, datagram));
            }
            if is_idle || held.len() > 8 {
                going.append(&mut held);
            }
            for (up, datagram) in going {
                self.carried.fetch_add(1, Ordering::Relaxed);
                // A full buffer loses it: one more fault.
                let _ = match (up, client) {
                    (true, _) => behind.send(&datagram),
                    (false, Some(client)) => self.front.send_to(&datagram, client),
                    (false, None) => Ok(0),
                };
            }
        }
    }
}
