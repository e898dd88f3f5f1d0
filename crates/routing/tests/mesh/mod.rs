//! One service of a router at virtual time, for tests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::HashMap;

use linkmesh_registry::{LoadSource, Status};
use linkmesh_routing::{Caller, Completed, Grant, Outcome, Picked, Qos, Router, RouterOptions};
use linkmesh_tables::epoch::{Domain, Reader};

/// A real input as text, from `LINKMESH_DATA` or next to the checkout; `None`, and a word about it, when it is not there.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn data(file: &str) -> Option<String> {
    let root = std::env::var("LINKMESH_DATA").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned()
    });
    let path = std::path::Path::new(&root).join(file);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        eprintln!("skipped: {} is not there", path.display());
    }
    text
}

pub struct Mesh {
    pub router: Router,
    pub service: u32,
    pub reader: Reader,
    pub caller: Caller,
    pub now_us: u64,
    pub retry_after_ms: u32,
}

impl Mesh {
    pub fn new(policy: &str) -> Self {
        Self::in_zone(policy, "")
    }

    pub fn in_zone(policy: &str, zone: &str) -> Self {
        let router = Router::new(RouterOptions {
            name: "test".into(),
            zone: zone.into(),
            seed: 7,
        })
        .unwrap();
        let service = router.define_service("orders", policy, 0).unwrap();
        let reader = Domain::global().register();
        let caller = router.caller(1).unwrap();
        Self {
            router,
            service,
            reader,
            caller,
            now_us: 0,
            retry_after_ms: 0,
        }
    }

    pub fn add(&mut self, spec: &str) -> u32 {
        self.router
            .add_instance(self.service, spec, 1, self.now_us)
            .unwrap()
    }

    pub fn pick(&mut self) -> Result<(u64, Picked), Status> {
        self.pick_key(0)
    }

    pub fn pick_key(&mut self, key_hash: u32) -> Result<(u64, Picked), Status> {
        let mut picked = Picked::default();
        let guard = self.reader.pin();
        let result = self.router.pick(
            &guard,
            &mut self.caller,
            self.service,
            key_hash,
            self.now_us,
            &mut picked,
        );
        self.retry_after_ms = picked.retry_after_ms;
        result.map(|ticket| (ticket, picked))
    }

    pub fn pick_for(&mut self, qos: Qos) -> Result<(u64, Picked), Status> {
        let (guard, mut picked) = (self.reader.pin(), Picked::default());
        let result = self.router.pick_for(
            &guard,
            &mut self.caller,
            self.service,
            0,
            Some(qos),
            self.now_us,
            &mut picked,
        );
        self.retry_after_ms = picked.retry_after_ms;
        result.map(|ticket| (ticket, picked))
    }

    /// A wait of this class for `thread`, for ten seconds: its id, or why not.
    pub fn wait_for(&self, qos: Qos, thread: u32) -> Result<u32, Status> {
        self.wait(0, Some(qos), thread, 10_000.0)
    }

    /// A wait for a place: its id, or why not.
    pub fn wait(
        &self,
        key_hash: u32,
        qos: Option<Qos>,
        thread: u32,
        timeout_ms: f64,
    ) -> Result<u32, Status> {
        let guard = self.reader.pin();
        let waiting = self.router.wait(
            &guard,
            self.service,
            key_hash,
            qos,
            thread,
            timeout_ms,
            self.now_us,
        );
        waiting
            .map(|waiting| waiting.id)
            .map_err(|refused| refused.status)
    }

    pub fn grants(&self, thread: u32) -> Vec<Grant> {
        let mut grants = Vec::new();
        self.router.take_grants(thread, 64, &mut grants);
        grants
    }

    pub fn info(&self) -> serde_json::Value {
        let text = self.router.service_info_json(self.service, self.now_us);
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    pub fn complete(
        &mut self,
        ticket: u64,
        outcome: Outcome,
        latency_us: i64,
    ) -> Result<Option<u32>, Status> {
        let guard = self.reader.pin();
        self.router
            .complete(&guard, ticket, outcome as u8, latency_us, self.now_us)
            .map(Completed::granted_thread)
    }

    pub fn in_flight(&self, instance: u32) -> u32 {
        self.router.load(instance).in_flight
    }

    /// Sequential requests that end well in a millisecond, and who got how many.
    pub fn spread(&mut self, requests: u32) -> HashMap<u32, u32> {
        let mut counts = HashMap::new();
        for _ in 0..requests {
            let (ticket, picked) = self.pick().unwrap();
            self.now_us += 1_000;
            self.complete(ticket, Outcome::Ok, 1_000).unwrap();
            *counts.entry(picked.instance).or_insert(0) += 1;
        }
        counts
    }
}
