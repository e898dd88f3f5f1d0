//! One policy through one scenario: a queue of events, each at its microsecond.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use linkmesh_routing::{Outcome, Rng, fmix32};

use crate::chooser::Chooser;
use crate::draw::{exponential, uniform};
use crate::figures::{Figures, Recorder};
use crate::fleet::{Fleet, Job, Reaction, to_us};
use crate::scenario::Scenario;

const TICK_US: u64 = 100_000;
/// Layers of callers that may retry.
const LAYERS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Join(u32),
    Ping,
    Tick,
    Arrive,
    /// A worker is done with its job.
    Done {
        server: u32,
        request: u32,
        attempt: u32,
    },
    /// An answer that took no work.
    Answer {
        request: u32,
        attempt: u32,
        outcome: u8,
    },
    Deadline {
        request: u32,
        attempt: u32,
    },
    Retry {
        request: u32,
    },
}

/// A request of the outermost caller.
#[derive(Debug, Clone, Copy)]
struct Request {
    key: u32,
    started_us: u64,
    attempt_us: u64,
    server: u32,
    ticket: u64,
    /// Counts all attempts; an event of an earlier one is of no interest.
    attempt: u32,
    /// An attempt is under way.
    open: bool,
    /// Retries of each layer for this attempt of the layer above, innermost first.
    retries: [u32; LAYERS],
}

struct Run<'a> {
    scenario: &'a Scenario,
    chooser: Box<dyn Chooser>,
    fleet: Fleet<'a>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    requests: Vec<Request>,
    /// Of requests that are over.
    free: Vec<u32>,
    rng: Rng,
    arrived: usize,
    /// Requests that wait for a place, by the number of the wait.
    waiting: HashMap<u32, u32>,
    granted: Vec<(u32, Option<(u32, u64)>)>,
    recorder: Recorder,
}

pub(crate) fn run(scenario: &Scenario, name: &str, chooser: Box<dyn Chooser>) -> Figures {
    let mut run = Run {
        scenario,
        chooser,
        fleet: Fleet::new(scenario),
        events: BinaryHeap::new(),
        sequence: 0,
        requests: Vec::new(),
        free: Vec::new(),
        rng: Rng::new(scenario.seed, 0x6172_7276),
        arrived: 0,
        waiting: HashMap::new(),
        granted: Vec::new(),
        recorder: Recorder::new(scenario),
    };
    run.prepare();
    while let Some(Reverse((now_us, _, event))) = run.events.pop() {
        run.happen(event, now_us);
    }
    run.recorder.finish(name)
}

impl Run<'_> {
    fn prepare(&mut self) {
        let joins: Vec<_> = self.fleet.joins().collect();
        for (server, at_us) in joins {
            self.at(at_us, Event::Join(server));
        }
        if self.chooser.ping_every_us() != 0 {
            self.at(0, Event::Ping);
        }
        self.at(TICK_US, Event::Tick);
        self.next_arrival(0);
    }

    fn at(&mut self, at_us: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at_us, self.sequence, event)));
    }

    /// The chooser's clock.
    fn clock(&self, now_us: u64) -> u64 {
        match self.scenario.clock_step {
            Some(step) if now_us >= to_us(step.at_ms) => now_us - to_us(step.by_ms),
            _ => now_us,
        }
    }

    fn end_us(&self) -> u64 {
        to_us(self.scenario.duration_ms)
    }

    fn next_arrival(&mut self, now_us: u64) {
        let arrivals = &self.scenario.arrivals;
        let at_us = if arrivals.trace.is_empty() {
            let span = self.end_us() / arrivals.rates.len() as u64 + 1;
            let rate = arrivals.rates[(now_us / span) as usize];
            now_us + exponential(&mut self.rng, 1e6 / rate) as u64
        } else {
            match arrivals.trace.get(self.arrived) {
                Some(entry) => to_us(entry.0),
                None => return,
            }
        };
        if at_us < self.end_us() {
            self.at(at_us, Event::Arrive);
        }
    }

    fn key(&mut self) -> u32 {
        let arrivals = &self.scenario.arrivals;
        if let Some(entry) = arrivals.trace.get(self.arrived) {
            return entry.1;
        }
        if arrivals.keys == 0 {
            return 0;
        }
        if uniform(&mut self.rng) < arrivals.hot_share {
            return 1;
        }
        fmix32(1 + self.rng.below(arrivals.keys)).max(2)
    }

    fn happen(&mut self, event: Event, now_us: u64) {
        match event {
            Event::Join(server) => {
                let clock = self.clock(now_us);
                self.chooser.join(server, clock);
            }
            Event::Ping => self.ping(now_us),
            Event::Tick => {
                let clock = self.clock(now_us);
                self.chooser.tick(clock);
                self.take_grants(now_us);
                if now_us < self.end_us() {
                    self.at(now_us + TICK_US, Event::Tick);
                }
            }
            Event::Arrive => self.arrive(now_us),
            Event::Done {
                server,
                request,
                attempt,
            } => {
                self.answered(request, attempt, Outcome::Ok, now_us);
                let requests = &self.requests;
                let wanted = |job: &Job| {
                    let of = &requests[job.request as usize];
                    of.open && of.attempt == job.attempt
                };
                if let Some((job, work_us)) = self.fleet.finish(server, now_us, wanted) {
                    self.work(server, job, now_us + work_us);
                }
            }
            Event::Answer {
                request,
                attempt,
                outcome,
            } => {
                let outcome = Outcome::from_code(outcome).unwrap_or(Outcome::Error);
                self.answered(request, attempt, outcome, now_us);
            }
            Event::Deadline { request, attempt } => {
                self.answered(request, attempt, Outcome::Timeout, now_us);
            }
            Event::Retry { request } => self.attempt(request, now_us),
        }
    }

    fn ping(&mut self, now_us: u64) {
        for server in 0..self.scenario.server_count() {
            if let Some(latency_us) = self.fleet.ping(server, now_us) {
                self.chooser.pong(server, latency_us);
            }
        }
        let next_us = now_us + self.chooser.ping_every_us();
        if next_us < self.end_us() {
            self.at(next_us, Event::Ping);
        }
    }

    fn arrive(&mut self, now_us: u64) {
        let key = self.key();
        self.arrived += 1;
        let request = Request {
            key,
            started_us: now_us,
            attempt_us: now_us,
            server: 0,
            ticket: 0,
            attempt: 0,
            open: false,
            retries: [0; LAYERS],
        };
        // A slot is used again only when no event of the one before is under way: attempts go on counting.
        let at = if let Some(at) = self.free.pop() {
            let attempt = self.requests[at as usize].attempt;
            self.requests[at as usize] = Request { attempt, ..request };
            at
        } else {
            self.requests.push(request);
            self.requests.len() as u32 - 1
        };
        self.attempt(at, now_us);
        self.next_arrival(now_us);
    }

    fn attempt(&mut self, at: u32, now_us: u64) {
        let clock = self.clock(now_us);
        let request = &mut self.requests[at as usize];
        request.attempt += 1;
        request.attempt_us = now_us;
        let (key, attempt, started_us) = (request.key, request.attempt, request.started_us);
        let deadline_us = started_us + to_us(self.scenario.deadline_ms);
        if let Some((server, ticket)) = self.chooser.pick(key, clock) {
            self.send(at, server, ticket, now_us);
        } else {
            let left_ms = deadline_us.saturating_sub(now_us) as f64 / 1_000.0;
            let Some(wait) = self.chooser.wait(key, left_ms, clock) else {
                // Refused at once; nobody learns from that.
                self.recorder.refused();
                self.failed(at, now_us);
                return;
            };
            self.waiting.insert(wait, at);
            self.take_grants(now_us);
        }
        let deadline = Event::Deadline {
            request: at,
            attempt,
        };
        self.at(deadline_us.max(now_us + 1), deadline);
    }

    /// Sends what was waiting to where there is a place now.
    fn take_grants(&mut self, now_us: u64) {
        if self.waiting.is_empty() {
            return;
        }
        let mut granted = std::mem::take(&mut self.granted);
        self.chooser.granted(&mut granted);
        for (wait, place) in granted.drain(..) {
            let Some(at) = self.waiting.remove(&wait) else {
                continue;
            };
            if let Some((server, ticket)) = place {
                self.send(at, server, ticket, now_us);
            } else {
                self.recorder.refused();
                self.failed(at, now_us);
            }
        }
        self.granted = granted;
    }

    /// A request goes to the server it was given.
    fn send(&mut self, at: u32, server: u32, ticket: u64, now_us: u64) {
        let (key, attempt) = {
            let request = &self.requests[at as usize];
            (request.key, request.attempt)
        };
        self.recorder.picked(server, key);
        let request = &mut self.requests[at as usize];
        (request.server, request.ticket, request.open) = (server, ticket, true);
        let job = Job {
            request: at,
            attempt,
            key,
        };
        match self.fleet.receive(server, job, now_us) {
            Reaction::Answers(outcome, after_us) => {
                let answer = Event::Answer {
                    request: at,
                    attempt,
                    outcome: outcome as u8,
                };
                self.at(now_us + after_us, answer);
            }
            Reaction::Works(work_us) => self.work(server, job, now_us + work_us),
            Reaction::Waits => {}
        }
    }

    fn work(&mut self, server: u32, job: Job, until_us: u64) {
        let done = Event::Done {
            server,
            request: job.request,
            attempt: job.attempt,
        };
        self.at(until_us, done);
    }

    fn answered(&mut self, at: u32, attempt: u32, outcome: Outcome, now_us: u64) {
        let clock = self.clock(now_us);
        let request = &mut self.requests[at as usize];
        if !request.open || request.attempt != attempt {
            return;
        }
        request.open = false;
        let latency_us = now_us - request.attempt_us;
        let (server, ticket, started_us) = (request.server, request.ticket, request.started_us);
        self.chooser
            .complete(ticket, server, outcome, latency_us, clock);
        self.recorder.answered(server, outcome);
        if outcome == Outcome::Ok {
            self.recorder.succeeded(started_us, now_us - started_us);
            self.free.push(at);
        } else {
            self.failed(at, now_us);
        }
        self.take_grants(now_us);
    }

    /// Tries again, from the innermost layer that still may; else the request has failed.
    fn failed(&mut self, at: u32, now_us: u64) {
        let clock = self.clock(now_us);
        let started_us = self.requests[at as usize].started_us;
        let deadline_us = started_us + to_us(self.scenario.deadline_ms);
        let retries = self.scenario.retries;
        for layer in 0..(retries.layers as usize).min(LAYERS) {
            let used = self.requests[at as usize].retries[layer];
            if used >= retries.limit {
                continue;
            }
            let Some(wait_ms) = self.chooser.retry(used + 1, clock) else {
                continue;
            };
            let retry_us = now_us + u64::from(wait_ms) * 1_000 + 1;
            if retry_us >= deadline_us {
                break;
            }
            let of = &mut self.requests[at as usize];
            of.retries[layer] += 1;
            of.retries[..layer].fill(0);
            self.at(retry_us, Event::Retry { request: at });
            return;
        }
        self.recorder.failed(started_us);
        self.free.push(at);
    }
}
