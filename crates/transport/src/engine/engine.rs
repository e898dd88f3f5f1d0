//! An engine: its shards, their threads, its end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use aws_lc_rs::rand;

use super::driver::Driver;
use super::home::Home;
use super::lease::Lease;
use super::options::{EngineOptions, StartError};
use super::proofs::Proofs;
use super::shared::{Bell, Shared};
use super::socket::{self, Datagrams, PortableSocket};
use super::wait::Waker;
use crate::core::{Application, Core, CoreOptions, CoreStats, Group, Io};

/// Most engine threads of one node.
pub const MAX_THREADS: u8 = 16;
/// Helper threads for proofs, per engine thread.
const HELPERS: usize = 1;

/// Wakes an engine thread that sleeps. Cheap to clone, harmless when it does not sleep; about 1 µs.
#[derive(Debug, Clone)]
pub struct EngineWaker(Arc<Waker>);

impl EngineWaker {
    /// Has the thread make a turn.
    pub fn wake(&self) {
        self.0.wake();
    }
}

/// Has the application look at its queues on the calling thread: for threads that are told of what lies there and have nobody to
/// wake for it. Cheap to clone; does nothing once the engine has ended, and keeps nothing of it.
pub struct EnginePoller<A: Application>(Arc<Mutex<Option<Arc<Shared<A>>>>>);

impl<A: Application> Clone for EnginePoller<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Application> std::fmt::Debug for EnginePoller<A> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("EnginePoller").finish_non_exhaustive()
    }
}

impl<A: Application> EnginePoller<A> {
    /// Calls [`Application::poll`] and sends what came of it. When another thread drives, that one looks, woken if it sleeps.
    pub fn poll(&self) {
        // Held for the whole call: the engine does not end, and its application is not dropped, on the calling thread.
        if let Some(shared) = &*self.slot() {
            shared.poll();
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Shared<A>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Shard<A: Application> {
    poller: EnginePoller<A>,
    shared: Arc<Shared<A>>,
    proofs: Arc<Proofs>,
    threads: Vec<JoinHandle<()>>,
}

/// QUIC between this process and its peers, with an [`Application`] on top.
///
/// Each of its threads (normally one) drives a socket and a core of its own, and each peer's packets come to one of them. The
/// application is one: whichever thread tells it of a peer, it reaches all of them.
/// Any thread may take part: [`with`](Self::with) calls the application, [`lease`](Self::lease) lets the caller drive.
///
/// # Common issues
/// - *The first handshake takes 100 ms.* The cryptographic library gathers entropy once per process; `start` does it.
/// - *Nothing arrives although the port is right.* The peer's certificate is of another network: look at `stats().failed`
///   and at what `Application::unreachable` is told.
pub struct Engine<A: Application + 'static> {
    shards: Vec<Shard<A>>,
    local: SocketAddr,
}

impl<A: Application + 'static> std::fmt::Debug for Engine<A> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Engine")
            .field("local", &self.local)
            .field("shards", &self.shards.len())
            .finish()
    }
}

fn option(field: &'static str, expected: impl Into<String>) -> StartError {
    StartError::Option {
        field,
        expected: expected.into(),
    }
}

fn check(options: &EngineOptions) -> Result<(), StartError> {
    options
        .limits
        .check()
        .map_err(|error| option(error.field, format!("from {} to {}", error.min, error.max)))?;
    if options.threads == 0 || options.threads > MAX_THREADS {
        return Err(option("threads", format!("from 1 to {MAX_THREADS}")));
    }
    if options.threads > 1
        && (options.listen.is_none() || !cfg!(target_os = "linux") || options.portable_socket)
    {
        return Err(option(
            "threads",
            "1 except on Linux with an address to listen on",
        ));
    }
    if options.spin_window > Duration::from_secs(1) {
        return Err(option("spin_window", "at most one second"));
    }
    Ok(())
}

fn bind(address: SocketAddr, options: &EngineOptions) -> std::io::Result<Box<dyn Datagrams>> {
    let shared = options.threads > 1;
    #[cfg(target_os = "linux")]
    if !options.portable_socket {
        let accepts = options.listen.is_some();
        return Ok(Box::new(socket::LinuxSocket::bind(
            address, shared, accepts,
        )?));
    }
    Ok(Box::new(PortableSocket::bind(address, shared)?))
}

/// The sockets of all shards, bound to one address.
fn sockets(options: &EngineOptions) -> Result<Vec<Box<dyn Datagrams>>, StartError> {
    let failed = |address| move |source| StartError::Bind { address, source };
    let Some(listen) = options.listen else {
        let [both, v4] = socket::anywhere();
        // A machine without IPv6 refuses the first.
        let socket = bind(both, options)
            .or_else(|_| bind(v4, options))
            .map_err(failed(v4))?;
        return Ok(vec![socket]);
    };
    #[cfg(target_os = "linux")]
    if options.threads > 1 {
        let first = socket::LinuxSocket::bind(listen, true, true).map_err(failed(listen))?;
        // The others join the port that the first was given.
        let address = SocketAddr::new(listen.ip(), first.local_address().port());
        let mut all = vec![first];
        for _ in 1..options.threads {
            all.push(socket::LinuxSocket::bind(address, true, true).map_err(failed(address))?);
        }
        all[0].steer(options.threads).map_err(StartError::System)?;
        return Ok(all
            .into_iter()
            .map(|socket| Box::new(socket) as Box<dyn Datagrams>)
            .collect());
    }
    Ok(vec![bind(listen, options).map_err(failed(listen))?])
}

/// One for each thread.
fn homes<A>(
    options: &CoreOptions,
    threads: u8,
    application: A,
    bells: Vec<Arc<Bell>>,
) -> Result<Vec<Home<A>>, StartError> {
    if threads == 1 {
        let core = Core::new(options).map_err(StartError::Tls)?;
        return Ok(vec![Home::Own { core, application }]);
    }
    let group = Group::new(options, threads).map_err(StartError::Tls)?;
    group.on_wake(move |shard| {
        if let Some(bell) = bells.get(usize::from(shard)) {
            bell.ring();
        }
    });
    let application = Arc::new(Mutex::new(application));
    let home = |shard| Home::Shared {
        shard,
        group: Arc::clone(&group),
        application: Arc::clone(&application),
    };
    Ok((0..threads).map(home).collect())
}

fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| StartError::System(std::io::Error::other("no entropy")))?;
    Ok(bytes)
}

impl<A: Application + 'static> Engine<A> {
    /// Binds, starts the threads and takes connections from then on.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(options: &EngineOptions, application: A) -> Result<Self, StartError> {
        check(options)?;
        let sockets = sockets(options)?;
        let local = sockets[0].local_address();
        let seed = random()?;
        let boot_epoch = match options.boot_epoch {
            Some(epoch) => epoch,
            None => random()?,
        };
        let mut engine = Self {
            shards: Vec::new(),
            local,
        };
        let core = CoreOptions {
            limits: options.limits.clone(),
            authenticator: options.authenticator.clone(),
            seed,
            boot_epoch,
            shard: (0, 1),
            accept: options.listen.is_some(),
            unfragmented: sockets[0].unfragmented(),
        };
        let bells: Result<Vec<_>, _> = (0..sockets.len())
            .map(|_| Waker::new().map(|waker| Bell::new(Arc::new(waker))))
            .collect();
        let bells = bells.map_err(StartError::System)?;
        let homes = homes(&core, options.threads, application, bells.clone())?;
        for (((number, socket), home), bell) in (0_u8..).zip(sockets).zip(homes).zip(bells) {
            let proofs = Arc::new(Proofs::new());
            let waker = bell.waker.clone();
            let driver = Driver::new(home, socket, proofs.clone());
            let shared = Shared::new(driver, bell, options.latency, options.spin_window);
            // Dropping the engine half-way ends the threads that run already.
            let shared = Arc::new(shared);
            let mut shard = Shard {
                poller: EnginePoller(Arc::new(Mutex::new(Some(Arc::clone(&shared))))),
                shared,
                proofs,
                threads: Vec::new(),
            };
            for _ in 0..HELPERS {
                let helper = shard
                    .proofs
                    .helper(options.authenticator.clone(), waker.clone());
                shard.threads.push(helper.map_err(StartError::System)?);
            }
            let shared = shard.shared.clone();
            let thread = Builder::new().name(format!("linkmesh-engine-{number}"));
            let started = thread
                .spawn(move || shared.run())
                .map_err(StartError::System);
            engine.shards.push(shard);
            let shard = engine.shards.len() - 1;
            engine.shards[shard].threads.push(started?);
        }
        Ok(engine)
    }

    /// Where it is bound.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// How many threads drive it; each has peers whose packets come to it.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Calls the application on the first thread's core and sends what it wrote. For threads that do not wait for the answer.
    ///
    /// # Panics
    /// As all calls here, when the application has panicked on the engine before.
    pub fn with<R>(&self, call: impl FnOnce(&mut A, &mut Io<'_>) -> R) -> R {
        self.with_shard(0, call)
    }

    /// As [`with`](Self::with), for the thread of this number.
    ///
    /// # Panics
    /// Also when there is no such thread.
    pub fn with_shard<R>(&self, shard: usize, call: impl FnOnce(&mut A, &mut Io<'_>) -> R) -> R {
        let shared = &self.shards[shard].shared;
        let mut driver = shared.lock();
        let answer = driver.call(call);
        shared.wake_for(&mut driver);
        answer
    }

    /// Takes the first thread's engine for the caller to drive, see [`Lease`]. About 50 ns when nobody else has it; at most
    /// one turn (some microseconds) when the background thread is at work.
    pub fn lease(&self) -> Lease<'_, A> {
        self.lease_shard(0)
    }

    /// As [`lease`](Self::lease), for the thread of this number.
    ///
    /// # Panics
    /// Also when there is no such thread.
    pub fn lease_shard(&self, shard: usize) -> Lease<'_, A> {
        Lease::take(&self.shards[shard].shared, false).expect("only a try gives up")
    }

    /// As [`lease`](Self::lease), unless another thread has a lease: that one drives, and what it receives for this thread
    /// is there to be taken. Never waits longer than one turn of the background thread.
    pub fn try_lease(&self) -> Option<Lease<'_, A>> {
        Lease::take(&self.shards[0].shared, true)
    }

    /// For threads that fill a queue which [`Application::poll`] empties.
    pub fn waker(&self) -> EngineWaker {
        self.waker_shard(0)
    }

    /// As [`waker`](Self::waker), for the thread of this number.
    ///
    /// # Panics
    /// When there is no such thread.
    pub fn waker_shard(&self, shard: usize) -> EngineWaker {
        EngineWaker(self.shards[shard].shared.waker().clone())
    }

    /// For threads that fill a queue which [`Application::poll`] empties, and may do that themselves: of the first thread.
    pub fn poller(&self) -> EnginePoller<A> {
        self.shards[0].poller.clone()
    }

    /// Says that nobody will lease in the next moments: the background threads take over at once. Costs a wake (1 µs).
    pub fn release(&self) {
        for shard in &self.shards {
            shard.shared.release();
        }
    }

    /// What all shards together have counted.
    pub fn stats(&self) -> CoreStats {
        let mut sum = CoreStats::default();
        for shard in &self.shards {
            sum += shard.shared.lock().core().stats();
        }
        sum
    }

    /// Closes gracefully: what has been written is delivered, what the peers have written is read, for no longer than
    /// `grace`. Then the threads end. Whether everything was delivered.
    pub fn close(mut self, grace: Duration) -> bool {
        for shard in &self.shards {
            shard.shared.release();
            let mut driver = shard.shared.lock();
            driver.close(grace);
            shard.shared.wake_for(&mut driver);
        }
        // A little more than the grace: the last packets leave when it is over.
        let limit = grace + Duration::from_millis(100);
        let mut all = true;
        for shard in &self.shards {
            // Each of them, also after one that did not make it.
            all &= shard.shared.wait_closed(limit);
        }
        self.end();
        all
    }

    fn end(&mut self) {
        for shard in &self.shards {
            // Waits for a poll that is under way: the application is dropped by whoever ends the engine.
            shard.poller.slot().take();
            shard.proofs.close();
            shard.shared.stop();
        }
        for shard in &mut self.shards {
            for thread in shard.threads.drain(..) {
                // A panic there has been reported to whoever called since.
                let _ = thread.join();
            }
        }
    }
}

impl<A: Application + 'static> Drop for Engine<A> {
    fn drop(&mut self) {
        self.end();
    }
}
