//! Discovery as its callers see it.

use std::cell::Cell;
use std::io::Read;
use std::path::PathBuf;

use linkmesh_registry::discovery::{Discovery, DiscoveryQuery, DiscoveryResult, fuzzy};
use linkmesh_registry::{
    Breaker, EventKind, Handle, Health, InstanceLoad, InstancePatch, InstanceSpec, Limits,
    LoadSource, NoLoad, ServiceRegistry, Status,
};
use linkmesh_tables::epoch::{Domain, Reader};
use proptest::prelude::*;

struct Mesh {
    registry: ServiceRegistry,
    discovery: Discovery,
    reader: Reader,
    now_us: Cell<u64>,
}

impl Mesh {
    fn new() -> Self {
        Self {
            registry: ServiceRegistry::new(Limits::default()),
            discovery: Discovery::new(),
            reader: Domain::global().register(),
            now_us: Cell::new(0),
        }
    }

    fn with(names: &[&str]) -> Self {
        let mesh = Self::new();
        for name in names {
            mesh.registry.define(name, 0).unwrap();
        }
        mesh
    }

    fn find(&self, query: &str) -> DiscoveryResult {
        self.find_loaded(query, &NoLoad)
    }

    fn find_loaded(&self, query: &str, load: &dyn LoadSource) -> DiscoveryResult {
        let query = DiscoveryQuery::from_json(query, "home").unwrap();
        self.discovery
            .discover(&self.registry, &self.reader.pin(), load, &query, &|| {
                self.now_us.get()
            })
    }

    fn names(&self, query: &str) -> Vec<String> {
        self.find(query)
            .results
            .iter()
            .map(|found| found.service.to_string())
            .collect()
    }

    fn add(&self, service: &str, spec: &str) -> Handle {
        let (service, _) = self.registry.define(service, 0).unwrap();
        self.registry
            .add_instance(service, InstanceSpec::from_json(spec).unwrap(), 1, 0)
            .unwrap()
    }
}

#[test]
fn each_criterion_narrows_and_together_all_must_hold() {
    let mesh = Mesh::with(&["orders.create", "orders.get", "payments", "shipments"]);
    mesh.add("orders.get", r#"{"tags":["eu","gpu"]}"#);
    mesh.add("payments", r#"{"tags":["eu"]}"#);
    assert_eq!(mesh.names(r#"{"name":"payments"}"#), ["payments"]);
    assert!(mesh.names(r#"{"name":"payment"}"#).is_empty());
    assert_eq!(
        mesh.names(r#"{"prefix":"orders."}"#),
        ["orders.get", "orders.create"]
    );
    assert_eq!(mesh.names(r#"{"fuzzy":"paymnets"}"#), ["payments"]);
    assert_eq!(
        mesh.names(r#"{"tags":{"all":["eu"],"none":["gpu"]}}"#),
        ["payments"]
    );
    assert_eq!(
        mesh.names(r#"{"tags":{"any":["gpu","tpu"]}}"#),
        ["orders.get"]
    );
    assert_eq!(
        mesh.names(r#"{"prefix":"orders.","fuzzy":"create"}"#),
        ["orders.create"]
    );
    assert!(
        mesh.names(r#"{"name":"payments","tags":{"all":["gpu"]}}"#)
            .is_empty()
    );
    assert_eq!(
        mesh.names("{}"),
        ["orders.get", "payments", "orders.create", "shipments"]
    );
    assert_eq!(mesh.names(r#"{"limit":1}"#), ["orders.get"]);
}

struct Figures(Vec<(Handle, InstanceLoad)>);
impl LoadSource for Figures {
    fn load(&self, instance: Handle) -> InstanceLoad {
        self.0
            .iter()
            .find(|(known, _)| *known == instance)
            .map(|(_, load)| *load)
            .unwrap_or_default()
    }
}

#[test]
fn health_load_latency_breaker_and_zone_order_what_matches_alike() {
    let mesh = Mesh::new();
    let names = ["s.best", "s.busy", "s.far", "s.open", "s.sick", "s.slow"];
    let handles: Vec<Handle> = names
        .iter()
        .map(|name| {
            mesh.add(
                name,
                if *name == "s.far" {
                    r#"{"zone":"abroad"}"#
                } else {
                    r#"{"zone":"home"}"#
                },
            )
        })
        .collect();
    mesh.registry
        .update_instance(handles[4], InstancePatch::health(Health::Degraded), 0)
        .unwrap();
    let measured = InstanceLoad {
        in_flight: 0,
        limit: 100,
        latency_us: 1_000.0,
        ..InstanceLoad::default()
    };
    let figures = Figures(vec![
        (handles[0], measured),
        (
            handles[1],
            InstanceLoad {
                in_flight: 90,
                ..measured
            },
        ),
        (handles[2], measured),
        (
            handles[3],
            InstanceLoad {
                breaker: Breaker::Open,
                ..measured
            },
        ),
        (handles[4], measured),
        (
            handles[5],
            InstanceLoad {
                latency_us: 1e9,
                ..measured
            },
        ),
    ]);
    let found = mesh.find_loaded("{}", &figures);
    let order: Vec<&str> = found.results.iter().map(|found| &*found.service).collect();
    assert_eq!(
        order,
        ["s.best", "s.far", "s.slow", "s.sick", "s.busy", "s.open"]
    );
    for found in found.results.iter() {
        let why = found.why;
        for part in [
            why.matched,
            why.health,
            why.load,
            why.latency,
            why.zone,
            found.score,
        ] {
            assert!((0.0..=1.0).contains(&part), "{found:?}");
        }
    }
    let nan = Figures(
        handles
            .iter()
            .map(|&handle| {
                (
                    handle,
                    InstanceLoad {
                        latency_us: f32::NAN,
                        ..measured
                    },
                )
            })
            .collect(),
    );
    assert!(
        Mesh::find_loaded(&mesh, r#"{"limit":99}"#, &nan)
            .results
            .iter()
            .all(|found| found.score.is_finite())
    );
}

#[test]
fn a_result_is_kept_until_a_change_that_touches_it_or_its_time() {
    let mesh = Mesh::with(&["orders.create", "payments"]);
    let query = r#"{"prefix":"orders."}"#;
    assert!(!mesh.find(query).cached);
    assert!(mesh.find(query).cached);
    mesh.add("payments", "{}");
    assert!(
        mesh.find(query).cached,
        "a change elsewhere does not touch it"
    );
    let instance = mesh.add("orders.get", "{}");
    let found = mesh.find(query);
    assert!(!found.cached);
    assert_eq!(found.results.len(), 2);
    let event = EventKind::Breaker {
        service: "orders.get".into(),
        instance,
        from: Breaker::Closed,
        to: Breaker::Open,
    };
    mesh.registry.record_event(0, event);
    assert!(!mesh.find(query).cached);
    assert!(mesh.find(query).cached);
    mesh.now_us.set(250_000);
    assert!(mesh.find(query).cached);
    mesh.now_us.set(250_001);
    assert!(!mesh.find(query).cached);
    assert!(!mesh.find(r#"{"prefix":"orders.","zone":"abroad"}"#).cached);
    for _ in 0..5_000 {
        mesh.registry
            .record_event(0, EventKind::ThreadEnded { thread: 9 });
    }
    assert!(
        !mesh.find(query).cached,
        "events that were dropped may have touched it"
    );
}

#[test]
fn a_deadline_returns_what_was_found_and_is_not_kept() {
    let mesh = Mesh::new();
    for number in 0..1_000 {
        mesh.registry.define(&format!("s{number:04}"), 0).unwrap();
    }
    let query = DiscoveryQuery::from_json(r#"{"deadlineMs":2,"limit":1000}"#, "").unwrap();
    let clock = || {
        mesh.now_us.set(mesh.now_us.get() + 1_000);
        mesh.now_us.get()
    };
    let guard = mesh.reader.pin();
    let found = mesh
        .discovery
        .discover(&mesh.registry, &guard, &NoLoad, &query, &clock);
    assert_eq!((found.complete, found.results.len()), (false, 512));
    let endless = DiscoveryQuery::from_json(r#"{"limit":1000}"#, "").unwrap();
    let found = mesh
        .discovery
        .discover(&mesh.registry, &guard, &NoLoad, &endless, &clock);
    assert_eq!(
        (found.complete, found.cached, found.results.len()),
        (true, false, 1_000)
    );
}

#[test]
fn queries_are_read_strictly() {
    let tags = format!(
        r#"{{"tags":{{"all":[{0}],"any":[{0}]}}}}"#,
        vec![r#""t""#; 17].join(",")
    );
    let long = format!(r#"{{"fuzzy":"{}"}}"#, "x".repeat(257));
    let cases = [
        (
            r#"{"limit":0}"#,
            Status::InvalidArgument,
            "limit",
            Some(1.0),
        ),
        (
            r#"{"limit":1001}"#,
            Status::InvalidArgument,
            "limit",
            Some(1_000.0),
        ),
        (r#"{"limit":null}"#, Status::InvalidArgument, "limit", None),
        (
            r#"{"fuzzy":""}"#,
            Status::InvalidArgument,
            "fuzzy",
            Some(1.0),
        ),
        (
            r#"{"fuzzy":"a\u0000"}"#,
            Status::InvalidArgument,
            "fuzzy",
            None,
        ),
        (&long, Status::LimitExceeded, "fuzzy", Some(256.0)),
        (
            r#"{"tags":{"some":[]}}"#,
            Status::InvalidArgument,
            "tags.some",
            None,
        ),
        (
            r#"{"tags":{"any":["a","b c"]}}"#,
            Status::InvalidArgument,
            "tags.any[1]",
            None,
        ),
        (&tags, Status::LimitExceeded, "tags", Some(32.0)),
        (
            r#"{"deadlineMs":-1}"#,
            Status::InvalidArgument,
            "deadlineMs",
            Some(0.0),
        ),
    ];
    for (json, status, field, limit) in cases {
        let error = DiscoveryQuery::from_json(json, "").expect_err(json);
        assert_eq!(
            (error.status, error.field.as_deref(), error.limit),
            (status, Some(field), limit),
            "{json:.50}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]
    /// Against a loop over all names that knows nothing of indexes, masks or frizbee.
    #[test]
    fn the_set_is_what_a_plain_scan_finds(
        names in prop::collection::btree_set("[a-c.]{1,10}", 0..40),
        prefix in prop::option::of("[a-c.]{1,2}"),
        needle in prop::option::of("[a-c]{1,9}"),
    ) {
        let mesh = Mesh::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let query = serde_json::json!({"limit": 1000});
        let mut query = query.as_object().unwrap().clone();
        if let Some(prefix) = &prefix {
            query.insert("prefix".into(), prefix.as_str().into());
        }
        if let Some(needle) = &needle {
            query.insert("fuzzy".into(), needle.as_str().into());
        }
        let mut found = mesh.names(&serde_json::to_string(&query).unwrap());
        found.sort();
        let expected: Vec<&String> = names
            .iter()
            .filter(|name| prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix)))
            .filter(|name| needle.as_ref().is_none_or(|needle| fits(needle.as_bytes(), name.as_bytes(),
                fuzzy::allowed_typos(needle.len()))))
            .collect();
        prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    }
}

/// By recursion: take the next letter where it first occurs, or leave it out.
fn fits(needle: &[u8], name: &[u8], typos: u32) -> bool {
    let Some((first, rest)) = needle.split_first() else {
        return true;
    };
    let taken = name
        .iter()
        .position(|byte| byte == first)
        .is_some_and(|at| fits(rest, &name[at + 1..], typos));
    taken || (typos > 0 && fits(rest, name, typos - 1))
}

/// Real names with one typo each must come back among the first ten.
#[test]
fn known_items_are_found_despite_a_typo() {
    let data = std::env::var_os("LINKMESH_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let (Ok(apis), Ok(packed)) = (
        std::fs::read_to_string(data.join("names/public-apis.tsv")),
        std::fs::read(data.join("routes/googleapis-services.txt.gz")),
    ) else {
        eprintln!("skipped: no data in {} (set LINKMESH_DATA)", data.display());
        return;
    };
    let mut services = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut services)
        .unwrap();
    let apis = apis
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').next())
        .map(|name| name.replace(' ', "-"));
    let services = services.lines().map(str::to_owned);
    for (corpus, names, floor) in [
        ("public-apis", apis.collect::<Vec<_>>(), FLOOR_APIS),
        (
            "googleapis services",
            services.collect::<Vec<_>>(),
            FLOOR_SERVICES,
        ),
    ] {
        let mesh = Mesh::new();
        let mut known: Vec<&String> = names
            .iter()
            .filter(|name| mesh.registry.define(name, 0).is_ok())
            .collect();
        known.retain(|name| name.len() >= 5);
        for (kind, spoil) in [
            ("dropped", dropped as fn(&str, usize) -> String),
            ("swapped", swapped),
        ] {
            let hits = known.iter().enumerate().filter(|(at, name)| {
                let query =
                    serde_json::json!({"fuzzy": spoil(name, at * 7 + 1), "limit": 10}).to_string();
                mesh.names(&query).contains(name)
            });
            let recall = hits.count() as f64 / known.len() as f64;
            eprintln!(
                "{corpus}: recall@10 with a {kind} letter {recall:.4} over {} names",
                known.len()
            );
            assert!(recall >= floor, "{corpus} {kind}: {recall} < {floor}");
        }
    }
}
const FLOOR_APIS: f64 = 0.99;
const FLOOR_SERVICES: f64 = 0.99;

fn dropped(name: &str, at: usize) -> String {
    let mut name = name.to_owned();
    name.remove(at % name.len());
    name
}

fn swapped(name: &str, at: usize) -> String {
    let mut bytes = name.as_bytes().to_vec();
    let at = at % (bytes.len() - 1);
    bytes.swap(at, at + 1);
    String::from_utf8(bytes).unwrap()
}
