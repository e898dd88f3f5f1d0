//! Random histories against a plain list, bad input against the rules, and readers beside a writer.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use linkmesh_registry::discovery::DiscoveryQuery;
use linkmesh_registry::{
    ConnectionPatch, ConnectionRegistry, ConnectionSpec, Handle, Health, InstancePatch,
    InstanceSpec, Limits, ServiceRegistry, Status,
};
use linkmesh_tables::epoch::Domain;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Define(u8),
    RemoveService(usize),
    Add(usize, Option<u8>, Option<u32>, u32),
    SetHealth(usize, bool),
    Remove(usize),
    RemoveThread(u32),
    Renew(usize, u32),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..6_u8).prop_map(Op::Define),
        any::<usize>().prop_map(Op::RemoveService),
        (
            any::<usize>(),
            prop::option::of(0..4_u8),
            prop::option::of(1..50_u32),
            1..4_u32
        )
            .prop_map(|(service, address, lease, thread)| Op::Add(service, address, lease, thread)),
        (
            any::<usize>(),
            any::<usize>(),
            prop::option::of(1..50_u32),
            1..4_u32
        )
            .prop_map(|(service, _, lease, thread)| Op::Add(service, None, lease, thread)),
        (any::<usize>(), any::<bool>()).prop_map(|(at, draining)| Op::SetHealth(at, draining)),
        any::<usize>().prop_map(Op::Remove),
        (1..4_u32).prop_map(Op::RemoveThread),
        (any::<usize>(), 1..50_u32).prop_map(|(at, lease)| Op::Renew(at, lease)),
        (0..30_000_u64).prop_map(Op::Pass),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Plain {
    handle: Handle,
    service: Handle,
    address: Option<String>,
    thread: u32,
    until_us: Option<u64>,
    draining: bool,
}

/// What the registry should hold: two lists in the order of registration.
#[derive(Default)]
struct Oracle {
    services: Vec<(Handle, String)>,
    instances: Vec<Plain>,
    changes: u64,
}

fn of<T: Clone>(list: &[T], at: usize) -> Option<T> {
    (!list.is_empty()).then(|| list[at % list.len()].clone())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]
    #[test]
    fn a_history_leaves_what_a_plain_list_holds(ops in prop::collection::vec(op(), 1..80)) {
        let registry = ServiceRegistry::new(Limits::default());
        let reader = Domain::global().register();
        let mut oracle = Oracle::default();
        let mut ever: HashSet<Handle> = HashSet::new();
        let mut now = 0;
        for op in ops {
            let epoch = u64::from(registry.epoch());
            let before = oracle.changes;
            match op {
                Op::Define(number) => {
                    let name = format!("s{number}");
                    let known = oracle.services.iter().find(|(_, other)| *other == name).map(|(handle, _)| *handle);
                    let (handle, created) = registry.define(&name, now).unwrap();
                    prop_assert_eq!(known.is_none(), created);
                    if let Some(known) = known {
                        prop_assert_eq!(known, handle);
                    } else {
                        oracle.services.push((handle, name));
                        oracle.changes += 1;
                    }
                }
                Op::RemoveService(at) => if let Some((service, _)) = of(&oracle.services, at) {
                    let expected: Vec<Handle> =
                        oracle.instances.iter().filter(|i| i.service == service).map(|i| i.handle).collect();
                    prop_assert_eq!(registry.remove_service(service, now).unwrap(), expected);
                    oracle.instances.retain(|i| i.service != service);
                    oracle.services.retain(|(handle, _)| *handle != service);
                    oracle.changes += 1;
                    prop_assert_eq!(registry.remove_service(service, now).unwrap_err().status, Status::StaleHandle);
                },
                Op::Add(at, address, lease_ms, thread) => if let Some((service, _)) = of(&oracle.services, at) {
                    let address = address.map(|host| format!("http://h{host}"));
                    let taken = address.is_some()
                        && oracle.instances.iter().any(|i| i.service == service && i.address == address);
                    let spec = InstanceSpec { address: address.clone(), lease_ms, ..InstanceSpec::default() };
                    match registry.add_instance(service, spec, thread, now) {
                        Err(error) => { prop_assert!(taken); prop_assert_eq!(error.status, Status::Duplicate); }
                        Ok(handle) => {
                            prop_assert!(!taken);
                            prop_assert!(ever.insert(handle), "handle {} was given before", handle);
                            let thread = if address.is_some() { 0 } else { thread };
                            let until_us = lease_ms.map(|ms| now + u64::from(ms) * 1_000);
                            oracle.instances.push(Plain { handle, service, address, thread, until_us, draining: false });
                            oracle.changes += 1;
                        }
                    }
                },
                Op::SetHealth(at, draining) => if let Some(instance) = of(&oracle.instances, at) {
                    let health = if draining { Health::Draining } else { Health::Healthy };
                    registry.update_instance(instance.handle, InstancePatch::health(health), now).unwrap();
                    for plain in oracle.instances.iter_mut().filter(|i| i.handle == instance.handle) {
                        plain.draining = draining;
                    }
                    oracle.changes += 1;
                },
                Op::Remove(at) => if let Some(instance) = of(&oracle.instances, at) {
                    registry.remove_instance(instance.handle, now).unwrap();
                    oracle.instances.retain(|i| i.handle != instance.handle);
                    oracle.changes += 1;
                    prop_assert_eq!(
                        registry.remove_instance(instance.handle, now).unwrap_err().status,
                        Status::StaleHandle
                    );
                },
                Op::RemoveThread(thread) => {
                    let mut expected: Vec<Handle> =
                        oracle.instances.iter().filter(|i| i.thread == thread).map(|i| i.handle).collect();
                    let mut removed = registry.remove_thread(thread, now);
                    oracle.changes += u64::from(!expected.is_empty());
                    oracle.instances.retain(|i| i.thread != thread);
                    expected.sort_unstable();
                    removed.sort_unstable();
                    prop_assert_eq!(removed, expected);
                }
                Op::Renew(at, lease_ms) => if let Some(instance) = of(&oracle.instances, at) {
                    registry.renew(instance.handle, lease_ms, now).unwrap();
                    for plain in oracle.instances.iter_mut().filter(|i| i.handle == instance.handle) {
                        plain.until_us = Some(now + u64::from(lease_ms) * 1_000);
                    }
                },
                Op::Pass(us) => {
                    now += us;
                    let ended = |i: &Plain| i.until_us.is_some_and(|until| until <= now);
                    let mut expected: Vec<_> =
                        oracle.instances.iter().filter(|i| ended(i)).map(|i| (i.until_us, i.handle)).collect();
                    expected.sort_unstable();
                    let expected: Vec<Handle> = expected.into_iter().map(|(_, handle)| handle).collect();
                    oracle.changes += u64::from(!expected.is_empty());
                    prop_assert_eq!(registry.expire(now), expected);
                    oracle.instances.retain(|i| !ended(i));
                }
            }
            let guard = reader.pin();
            let snapshot = registry.snapshot(&guard);
            prop_assert_eq!(u64::from(snapshot.epoch()), epoch + oracle.changes - before);
            prop_assert_eq!(snapshot.epoch(), registry.epoch());
            prop_assert_eq!(snapshot.service_count(), oracle.services.len());
            prop_assert_eq!(snapshot.instance_count(), oracle.instances.len());
            prop_assert_eq!(registry.next_deadline(), oracle.instances.iter().filter_map(|i| i.until_us).min());
            for (service, name) in &oracle.services {
                prop_assert_eq!(registry.find(&guard, name), Some(*service));
                let seen: Vec<Plain> = snapshot.service(*service).unwrap().instances.iter().map(|i| Plain {
                    handle: i.handle,
                    service: i.service,
                    address: i.address.clone(),
                    thread: i.thread,
                    until_us: i.lease_until_us(),
                    draining: i.health == Health::Draining,
                }).collect();
                let expected: Vec<Plain> =
                    oracle.instances.iter().filter(|i| i.service == *service).cloned().collect();
                prop_assert_eq!(seen, expected);
            }
        }
        let batch = registry.events_since(0);
        prop_assert!(!batch.gap);
        prop_assert!(batch.events.iter().enumerate().all(|(at, event)| event.sequence == at as u64 + 1));
    }

    /// Anything may come in; a refusal names its field and changes nothing.
    #[test]
    fn whatever_comes_in_is_taken_or_refused_by_name(
        text in prop_oneof![
            any::<String>(),
            r#"\{"(weight|leaseMs|tags|zone|health|limit|fuzzy|state|__proto__|requests)":(null|-1|0|1e400|NaN|"\\u0000|"a"|\[\]|\[1\]|\{\}|99999999999)\}"#,
        ],
        name in prop_oneof![any::<String>(), "[!-~]{250,260}", "_{0,3}[a-z]{1,3}"],
        forged in any::<u32>(),
    ) {
        let registry = ServiceRegistry::new(Limits::default());
        let (service, _) = registry.define("s", 0).unwrap();
        let instance = registry.add_instance(service, InstanceSpec::default(), 1, 0).unwrap();
        let untouched = (registry.epoch(), registry.events_since(0).last);
        let connections = ConnectionRegistry::new(Limits::default());
        let added = InstanceSpec::from_json(&text).and_then(|spec| registry.add_instance(service, spec, 1, 0));
        if let Err(error) = &added {
            prop_assert!(error.field.is_some() && error.status.code() < 0);
            prop_assert_eq!((registry.epoch(), registry.events_since(0).last), untouched);
        }
        let refusals = [
            InstancePatch::from_json(&text).and_then(|patch| registry.update_instance(instance, patch, 0)).err(),
            DiscoveryQuery::from_json(&text, "").err(),
            ConnectionSpec::from_json(&text).and_then(|spec| connections.open(spec, 0)).err(),
            ConnectionPatch::from_json(&text).err(),
        ];
        for error in refusals.into_iter().flatten() {
            prop_assert!(error.field.is_some() && error.status.code() < 0, "{:?}", error);
        }
        let good = !name.starts_with("__") && (1..=256).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic());
        prop_assert_eq!(registry.define(&name, 0).is_ok(), good, "{:?}", name);
        if forged != instance && Some(forged) != added.ok() {
            prop_assert_eq!(registry.remove_instance(forged, 0).unwrap_err().status, Status::StaleHandle);
        }
    }
}

/// Each snapshot is whole: lists, slots, names and counts agree, records are not torn, epochs do not go back.
#[test]
fn readers_beside_a_writer_only_see_whole_states() {
    let registry = ServiceRegistry::new(Limits::default());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reader = Domain::global().register();
                let (mut looks, mut epochs) = (0_u64, HashSet::new());
                while !done.load(Ordering::Acquire) || looks == 0 {
                    let promised = registry.epoch();
                    let guard = reader.pin();
                    let snapshot = registry.snapshot(&guard);
                    assert!(
                        snapshot.epoch() >= promised,
                        "older than the epoch that was announced"
                    );
                    epochs.insert(snapshot.epoch());
                    let mut total = 0;
                    for service in snapshot.services() {
                        for instance in &service.instances {
                            let same = snapshot
                                .instance(instance.handle)
                                .expect("listed, so there");
                            assert!(std::sync::Arc::ptr_eq(same, instance));
                            assert_eq!(
                                instance.zone,
                                instance.version.replace(".0.0", ""),
                                "torn record"
                            );
                        }
                        total += service.instances.len();
                        assert_eq!(
                            snapshot.find(&service.name).map(|found| found.handle),
                            Some(service.handle)
                        );
                    }
                    assert_eq!(total, snapshot.instance_count());
                    looks += 1;
                }
                assert!(!epochs.is_empty());
            });
        }
        let spec = |number: usize| InstanceSpec {
            zone: Some(number.to_string()),
            version: Some(format!("{number}.0.0")),
            ..InstanceSpec::default()
        };
        for round in 0..3_000_usize {
            let (service, _) = registry.define(&format!("s{}", round % 7), 0).unwrap();
            let first = registry.add_instance(service, spec(round), 1, 0).unwrap();
            registry
                .add_instance(service, spec(round + 1), 2, 0)
                .unwrap();
            registry
                .update_instance(
                    first,
                    InstancePatch {
                        spec: spec(round + 2),
                        health: None,
                    },
                    0,
                )
                .unwrap();
            match round % 3 {
                0 => registry.remove_instance(first, 0).unwrap(),
                1 => drop(registry.remove_service(service, 0).unwrap()),
                _ => drop(registry.remove_thread(2, 0)),
            }
        }
        done.store(true, Ordering::Release);
    });
}
