//! The production router as it runs in a process, with everything on.

use linkmesh_routing::{Caller, Grant, Outcome, Picked, Router, RouterOptions, fmix32};
use linkmesh_tables::epoch::{Domain, Reader};

use crate::chooser::Chooser;
use crate::error::SimulationError;

/// Thread that the simulated caller is.
const THREAD: u32 = 1;

/// A router with one service, at the simulation's time.
pub(crate) struct Production {
    router: Router,
    service: u32,
    reader: Reader,
    caller: Caller,
    /// Keys are for the balancers that do something with them: hashing, or a preference. Others spread them.
    by_key: bool,
    /// Instance and its server, in the order of instances.
    servers: Vec<(u32, u32)>,
    /// Somebody waits: there may be answers.
    waiting: u32,
    grants: Vec<Grant>,
}

impl Production {
    pub(crate) fn new(
        policy: &serde_json::Map<String, serde_json::Value>,
        seed: u32,
    ) -> Result<Self, SimulationError> {
        let problem = |error: linkmesh_registry::RegistryError| {
            SimulationError::new(error.field.as_deref().unwrap_or("policy"), &error.message)
        };
        let options = RouterOptions {
            name: "simulation".to_owned(),
            zone: String::new(),
            seed,
        };
        let router = Router::new(options).map_err(problem)?;
        let json = serde_json::Value::Object(policy.clone()).to_string();
        let service = router
            .define_service("service", &json, 0)
            .map_err(problem)?;
        let caller = router.caller(THREAD).map_err(problem)?;
        let balancer = policy.get("balancer").and_then(|value| value.as_str());
        Ok(Self {
            router,
            service,
            reader: Domain::global().register(),
            caller,
            by_key: matches!(
                balancer,
                Some("adaptive" | "consistent-hash" | "maglev" | "rendezvous")
            ),
            servers: Vec::new(),
            waiting: 0,
            grants: Vec::new(),
        })
    }
}

impl Production {
    fn server_of(&self, instance: u32) -> Option<u32> {
        let at = self
            .servers
            .binary_search_by_key(&instance, |entry| entry.0);
        at.ok().map(|at| self.servers[at].1)
    }

    fn key_hash(&self, key: u32) -> u32 {
        if self.by_key && key != 0 {
            fmix32(key).max(1)
        } else {
            0
        }
    }
}

impl Chooser for Production {
    fn join(&mut self, server: u32, now_us: u64) {
        let spec = format!(
            r#"{{"address":"http://10.{}.{}.{}:80"}}"#,
            server >> 16,
            server >> 8 & 255,
            server & 255
        );
        if let Ok(instance) = self.router.add_instance(self.service, &spec, 0, now_us) {
            let at = self.servers.partition_point(|entry| entry.0 < instance);
            self.servers.insert(at, (instance, server));
        }
    }

    fn pick(&mut self, key: u32, now_us: u64) -> Option<(u32, u64)> {
        let (key_hash, mut picked) = (self.key_hash(key), Picked::default());
        let guard = self.reader.pin();
        let picking = self.router.pick(
            &guard,
            &mut self.caller,
            self.service,
            key_hash,
            now_us,
            &mut picked,
        );
        Some((self.server_of(picked.instance)?, picking.ok()?))
    }

    fn wait(&mut self, key: u32, timeout_ms: f64, now_us: u64) -> Option<u32> {
        let key_hash = self.key_hash(key);
        let guard = self.reader.pin();
        let waiting = self
            .router
            .wait(
                &guard,
                self.service,
                key_hash,
                None,
                THREAD,
                timeout_ms,
                now_us,
            )
            .ok()?;
        self.waiting += 1;
        Some(waiting.id)
    }

    fn granted(&mut self, out: &mut Vec<(u32, Option<(u32, u64)>)>) {
        if self.waiting == 0 {
            return;
        }
        self.router
            .take_grants(THREAD, usize::MAX, &mut self.grants);
        self.waiting -= self.grants.len() as u32;
        let grants = std::mem::take(&mut self.grants);
        out.extend(grants.iter().map(|grant| {
            let server = self.server_of(grant.instance);
            (grant.wait_id, server.zip(grant.result.ok()))
        }));
        self.grants = grants;
        self.grants.clear();
    }

    fn complete(&mut self, ticket: u64, _: u32, outcome: Outcome, latency_us: u64, now_us: u64) {
        let guard = self.reader.pin();
        // A ticket whose lease ran out is closed already.
        let _ = self
            .router
            .complete(&guard, ticket, outcome as u8, latency_us as i64, now_us);
    }

    fn retry(&mut self, attempt: u32, now_us: u64) -> Option<u32> {
        let guard = self.reader.pin();
        let wait = self
            .router
            .retry(&guard, self.service, attempt, &mut self.caller, now_us);
        u32::try_from(wait).ok()
    }

    fn tick(&mut self, now_us: u64) {
        self.router.tick(now_us);
    }
}
