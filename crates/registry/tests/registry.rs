//! The registry as its callers see it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use linkmesh_registry::{
    Health, InstancePatch, InstanceSpec, Limits, RegistryError, ServiceRegistry, Status,
};
use linkmesh_tables::epoch::Domain;

fn at(address: &str) -> InstanceSpec {
    InstanceSpec {
        address: Some(address.into()),
        ..InstanceSpec::default()
    }
}

fn refusal(error: &RegistryError) -> (Status, Option<&str>, Option<f64>) {
    (error.status, error.field.as_deref(), error.limit)
}

#[test]
fn a_snapshot_shows_instances_in_registration_order_and_does_not_change_under_its_reader() {
    let registry = ServiceRegistry::new(Limits::default());
    let reader = Domain::global().register();
    let (service, created) = registry.define("orders.create", 1).unwrap();
    assert!(created);
    assert_eq!(
        registry.define("orders.create", 1).unwrap(),
        (service, false)
    );
    let first = registry
        .add_instance(service, at("http://a"), 9, 2)
        .unwrap();
    let second = registry
        .add_instance(service, InstanceSpec::default(), 9, 3)
        .unwrap();

    let guard = reader.pin();
    let before = registry.snapshot(&guard);
    registry.remove_instance(first, 4).unwrap();
    let third = registry
        .add_instance(service, at("http://a"), 9, 5)
        .unwrap();
    let order = |snapshot: &linkmesh_registry::RegistrySnapshot| {
        snapshot
            .service(service)
            .unwrap()
            .instances
            .iter()
            .map(|i| (i.handle, i.thread))
            .collect::<Vec<_>>()
    };
    assert_eq!(order(before), [(first, 0), (second, 9)]);
    assert!(before.instance(first).is_some());
    let after = registry.snapshot(&guard);
    assert_eq!(order(after), [(second, 9), (third, 0)]);
    assert!(after.instance(first).is_none());
    assert_eq!(registry.find(&guard, "orders.create"), Some(service));
    assert_eq!(registry.find(&guard, "orders"), None);
    assert_eq!(
        registry.remove_service(service, 6).unwrap(),
        [second, third]
    );
    assert_eq!(registry.find(&guard, "orders.create"), None);
    assert_eq!(
        refusal(&registry.remove_service(service, 6).unwrap_err()).0,
        Status::StaleHandle
    );
    assert_eq!(registry.snapshot(&guard).instance_count(), 0);
}

#[test]
fn a_lease_ends_unless_renewed() {
    let registry = ServiceRegistry::new(Limits::default());
    let (service, _) = registry.define("s", 0).unwrap();
    let spec = |ms| InstanceSpec {
        lease_ms: Some(ms),
        ..InstanceSpec::default()
    };
    let short = registry.add_instance(service, spec(10), 1, 0).unwrap();
    let long = registry.add_instance(service, spec(30), 1, 0).unwrap();
    let endless = registry
        .add_instance(service, InstanceSpec::default(), 1, 0)
        .unwrap();
    assert_eq!(registry.next_deadline(), Some(10_000));
    let epoch = registry.epoch();
    registry.renew(short, 50, 5_000).unwrap();
    assert_eq!(registry.epoch(), epoch);
    assert_eq!(registry.next_deadline(), Some(30_000));
    assert!(registry.expire(29_999).is_empty());
    assert_eq!(registry.expire(60_000), [long, short]);
    assert_eq!(registry.next_deadline(), None);
    assert_eq!(
        registry.renew(long, 1, 60_000).unwrap_err().status,
        Status::StaleHandle
    );
    registry.renew(endless, 1, 60_000).unwrap();
    assert_eq!(registry.expire(61_000), [endless]);
    let kinds = serde_json::to_value(registry.events_since(4)).unwrap();
    assert_eq!(kinds["events"][0]["kind"], "lease-expired");
    assert_eq!(kinds["events"][0]["health"], "dead");
}

#[test]
fn a_thread_that_ends_takes_its_instances_along() {
    let registry = ServiceRegistry::new(Limits::default());
    let (a, _) = registry.define("a", 0).unwrap();
    let (b, _) = registry.define("b", 0).unwrap();
    let one = registry
        .add_instance(a, InstanceSpec::default(), 3, 0)
        .unwrap();
    let two = registry
        .add_instance(b, InstanceSpec::default(), 3, 0)
        .unwrap();
    let other = registry
        .add_instance(b, InstanceSpec::default(), 4, 0)
        .unwrap();
    let by_address = registry.add_instance(b, at("http://x"), 3, 0).unwrap();
    assert_eq!(registry.remove_thread(3, 1), [one, two]);
    assert!(registry.remove_thread(3, 1).is_empty());
    assert_eq!(
        registry.remove_instance(two, 1).unwrap_err().status,
        Status::StaleHandle
    );
    registry.remove_instance(other, 1).unwrap();
    registry.remove_instance(by_address, 1).unwrap();
}

#[test]
fn duplicates_are_by_address_and_service() {
    let registry = ServiceRegistry::new(Limits::default());
    let (a, _) = registry.define("a", 0).unwrap();
    let (b, _) = registry.define("b", 0).unwrap();
    let first = registry.add_instance(a, at("http://x"), 0, 0).unwrap();
    assert_eq!(
        registry
            .add_instance(a, at("http://x"), 0, 0)
            .unwrap_err()
            .status,
        Status::Duplicate
    );
    registry.add_instance(b, at("http://x"), 0, 0).unwrap();
    let second = registry.add_instance(a, at("http://y"), 0, 0).unwrap();
    let move_to = |address| InstancePatch {
        spec: at(address),
        health: None,
    };
    assert_eq!(
        registry
            .update_instance(second, move_to("http://x"), 0)
            .unwrap_err()
            .status,
        Status::Duplicate
    );
    registry
        .update_instance(second, move_to("http://y"), 0)
        .unwrap();
    registry.remove_instance(first, 0).unwrap();
    registry
        .update_instance(second, move_to("http://x"), 0)
        .unwrap();
    let threaded = registry
        .add_instance(a, InstanceSpec::default(), 1, 0)
        .unwrap();
    assert_eq!(
        refusal(
            &registry
                .update_instance(threaded, move_to("z"), 0)
                .unwrap_err()
        )
        .1,
        Some("address")
    );
}

#[test]
fn a_refused_update_changes_nothing() {
    let registry = ServiceRegistry::new(Limits::default());
    let reader = Domain::global().register();
    let (a, _) = registry.define("a", 0).unwrap();
    let instance = registry.add_instance(a, at("http://x"), 0, 0).unwrap();
    let (epoch, last) = (registry.epoch(), registry.events_since(0).last);
    let mut patch = InstancePatch::health(Health::Draining);
    patch.spec.tags = Some(vec!["ok".into(), "not ok".into()]);
    assert_eq!(
        refusal(&registry.update_instance(instance, patch, 1).unwrap_err()).1,
        Some("tags[1]")
    );
    assert_eq!(
        (registry.epoch(), registry.events_since(0).last),
        (epoch, last)
    );
    assert_eq!(
        registry
            .snapshot(&reader.pin())
            .instance(instance)
            .unwrap()
            .health,
        Health::Healthy
    );
}

#[test]
fn every_limit_is_refused_with_its_field_and_number() {
    let limits = Limits {
        services: 2,
        instances: 3,
        instances_per_service: 2,
        ..Limits::default()
    };
    let registry = ServiceRegistry::new(limits);
    let (a, _) = registry.define("a", 0).unwrap();
    let (b, _) = registry.define("b", 0).unwrap();
    let error = registry.define("c", 0).unwrap_err();
    assert_eq!(
        refusal(&error),
        (Status::LimitExceeded, Some("services"), Some(2.0))
    );
    for _ in 0..2 {
        registry
            .add_instance(a, InstanceSpec::default(), 1, 0)
            .unwrap();
    }
    let error = registry
        .add_instance(a, InstanceSpec::default(), 1, 0)
        .unwrap_err();
    assert_eq!(
        refusal(&error),
        (Status::LimitExceeded, Some("instances"), Some(2.0))
    );
    registry
        .add_instance(b, InstanceSpec::default(), 1, 0)
        .unwrap();
    let error = registry
        .add_instance(b, InstanceSpec::default(), 1, 0)
        .unwrap_err();
    assert_eq!(
        refusal(&error),
        (Status::LimitExceeded, Some("instances"), Some(3.0))
    );
    for (name, limit) in [
        ("", Some(1.0)),
        ("a b", None),
        ("ä", None),
        ("a\0", None),
        ("__proto__", None),
    ] {
        let error = registry.define(name, 0).unwrap_err();
        assert_eq!(
            refusal(&error),
            (Status::InvalidArgument, Some("name"), limit),
            "{name:?}"
        );
    }
    let error = registry.define(&"x".repeat(257), 0).unwrap_err();
    assert_eq!(
        refusal(&error),
        (Status::LimitExceeded, Some("name"), Some(256.0))
    );
    assert_eq!(
        linkmesh_registry::validate::name_bytes("name", b"\xff")
            .unwrap_err()
            .status,
        Status::InvalidArgument
    );
}

#[test]
fn json_specs_are_read_strictly() {
    let tags = format!(r#"{{"tags":[{}]}}"#, vec![r#""t""#; 33].join(","));
    let long = format!(r#"{{"metadata":{{"k":"{}"}}}}"#, "v".repeat(1_025));
    let cases: &[(&str, Status, &str, Option<f64>)] = &[
        ("", Status::InvalidArgument, "spec", None),
        ("[]", Status::InvalidArgument, "spec", None),
        (r#"{"wieght":1}"#, Status::InvalidArgument, "wieght", None),
        (
            r#"{"__proto__":1}"#,
            Status::InvalidArgument,
            "__proto__",
            None,
        ),
        (
            r#"{"weight":null}"#,
            Status::InvalidArgument,
            "weight",
            None,
        ),
        (
            r#"{"weight":-1}"#,
            Status::InvalidArgument,
            "weight",
            Some(1.0),
        ),
        (
            r#"{"weight":1001}"#,
            Status::InvalidArgument,
            "weight",
            Some(1_000.0),
        ),
        (r#"{"weight":1.5}"#, Status::InvalidArgument, "weight", None),
        (r#"{"weight":"1"}"#, Status::InvalidArgument, "weight", None),
        (
            r#"{"leaseMs":0}"#,
            Status::InvalidArgument,
            "leaseMs",
            Some(1.0),
        ),
        (r#"{"zone":"a b"}"#, Status::InvalidArgument, "zone", None),
        (
            r#"{"tags":["a",1]}"#,
            Status::InvalidArgument,
            "tags[1]",
            None,
        ),
        (
            r#"{"version":"1.4"}"#,
            Status::InvalidArgument,
            "version",
            None,
        ),
        (
            r#"{"metadata":{"__proto__":"x"}}"#,
            Status::InvalidArgument,
            "metadata",
            None,
        ),
        (
            r#"{"metadata":{"k":"\u0000"}}"#,
            Status::InvalidArgument,
            "metadata.k",
            None,
        ),
        (&tags, Status::LimitExceeded, "tags", Some(32.0)),
        (&long, Status::LimitExceeded, "metadata.k", Some(1_024.0)),
    ];
    for (json, status, field, limit) in cases {
        let error = InstanceSpec::from_json(json)
            .and_then(|spec| spec.validate())
            .expect_err(json);
        assert_eq!(
            refusal(&error),
            (*status, Some(*field), *limit),
            "{json:.60}"
        );
    }
    let spec =
        InstanceSpec::from_json(r#"{"weight":1e2,"tags":["a","a"],"version":"1.0.0-rc.1+b"}"#)
            .unwrap();
    assert_eq!((spec.weight, spec.validate()), (Some(100), Ok(())));
    assert_eq!(
        InstancePatch::from_json(r#"{"health":"gone"}"#)
            .unwrap_err()
            .field
            .as_deref(),
        Some("health")
    );
}
