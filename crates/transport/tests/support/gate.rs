//! A way to a server in user space that can be shut: nothing passes then, and nobody is told.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub struct Gate {
    pub address: SocketAddr,
    pub shut: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Gate {
    /// For one client at a time.
    pub fn new(server: SocketAddr) -> Self {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let piece = Duration::from_millis(20);
            socket.set_read_timeout(Some(piece)).unwrap();
            Arc::new(socket)
        };
        let (front, back) = (bind(), bind());
        back.connect(server).unwrap();
        let address = front.local_addr().unwrap();
        let (shut, stop) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let carry = |from: &Arc<UdpSocket>, to: &Arc<UdpSocket>, client: bool| {
            let (from, to) = (from.clone(), to.clone());
            let (shut, stop) = (shut.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((length, sender)) = from.recv_from(&mut buffer) else {
                        continue;
                    };
                    if client {
                        // From here on it hears from this client alone; whoever sends from elsewhere is not heard.
                        from.connect(sender).unwrap();
                    }
                    if !shut.load(Ordering::Relaxed) {
                        // Before the client is known, or with a full buffer, it is lost: UDP.
                        let _ = to.send(&buffer[..length]);
                    }
                }
            })
        };
        let threads = vec![carry(&front, &back, true), carry(&back, &front, false)];
        Self {
            address,
            shut,
            stop,
            threads,
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("the gate works");
        }
    }
}
