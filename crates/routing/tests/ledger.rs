//! The ledger of idempotency keys: first results, repeats, what is forgotten and when.

mod mesh;

use linkmesh_registry::{RegistryError, Status};
use linkmesh_routing::Begun;
use mesh::Mesh;

fn begin(mesh: &Mesh, key: &str, thread: u32) -> Result<Begun, RegistryError> {
    let guard = mesh.reader.pin();
    mesh.router
        .ledger_begin(&guard, mesh.service, key.as_bytes(), thread, mesh.now_us)
}

fn settle(mesh: &Mesh, key: &str, id: u32, result: &[u8]) -> Result<Vec<u32>, RegistryError> {
    let guard = mesh.reader.pin();
    let key = key.as_bytes();
    mesh.router
        .ledger_settle(&guard, mesh.service, key, id, result, mesh.now_us)
}

fn result(mesh: &Mesh, key: &str) -> Option<Vec<u8>> {
    mesh.router
        .ledger_result(mesh.service, key.as_bytes())
        .map(|result| result.to_vec())
}

fn first(mesh: &Mesh, key: &str) -> u32 {
    match begin(mesh, key, 1) {
        Ok(Begun::First(id)) => id,
        other => panic!("{key} is no first: {other:?}"),
    }
}

fn woken(mesh: &Mesh, thread: u32) -> Vec<u32> {
    let mut grants = Vec::new();
    mesh.router.take_grants(thread, 64, &mut grants);
    grants.iter().map(|grant| grant.wait_id).collect()
}

#[test]
fn repeats_join_the_first_and_later_ones_have_its_result() {
    let mesh = Mesh::new("{}");
    let id = first(&mesh, "pay-1");
    let Ok(Begun::Joined(joined)) = begin(&mesh, "pay-1", 2) else {
        panic!("the first is under way");
    };
    assert_eq!(result(&mesh, "pay-1"), None);
    assert_eq!(settle(&mesh, "pay-1", id, b"paid").unwrap(), [2]);
    assert_eq!(woken(&mesh, 2), [joined]);
    assert_eq!(begin(&mesh, "pay-1", 3), Ok(Begun::Settled));
    assert_eq!(result(&mesh, "pay-1").as_deref(), Some(&b"paid"[..]));
    assert!(settle(&mesh, "pay-1", id, b"twice").unwrap().is_empty());
    assert_eq!(result(&mesh, "pay-1").as_deref(), Some(&b"paid"[..]));
}

#[test]
fn a_result_is_forgotten_after_its_time_and_not_before() {
    let mut mesh = Mesh::new(r#"{"idempotency":{"ttlMs":100}}"#);
    let id = first(&mesh, "a");
    mesh.now_us += 99_000;
    settle(&mesh, "a", id, b"1").unwrap();
    mesh.now_us += 99_000;
    assert_eq!(
        begin(&mesh, "a", 1),
        Ok(Begun::Settled),
        "its time counts from the result"
    );
    mesh.now_us += 2_000;
    first(&mesh, "a");
    // A clock that stepped back: nothing ages until it has caught up.
    mesh.now_us -= 50_000;
    assert!(matches!(begin(&mesh, "a", 1), Ok(Begun::Joined(_))));
}

#[test]
fn time_alone_frees_the_memory_of_a_service_that_nobody_asks() {
    let mut mesh = Mesh::new(r#"{"idempotency":{"ttlMs":100}}"#);
    let id = first(&mesh, "a");
    settle(&mesh, "a", id, b"1").unwrap();
    mesh.now_us += 101_000;
    mesh.router.tick(mesh.now_us);
    assert_eq!(result(&mesh, "a"), None);
}

#[test]
fn the_oldest_results_make_room_and_those_that_run_stay() {
    let mesh = Mesh::new(r#"{"idempotency":{"maxEntries":3}}"#);
    let running = first(&mesh, "running");
    for key in ["a", "b"] {
        let id = first(&mesh, key);
        settle(&mesh, key, id, b"1").unwrap();
    }
    let id = first(&mesh, "c");
    assert_eq!(result(&mesh, "a"), None, "the oldest");
    assert!(result(&mesh, "b").is_some());
    settle(&mesh, "c", id, b"1").unwrap();
    assert!(settle(&mesh, "running", running, b"1").unwrap().is_empty());
    assert!(result(&mesh, "running").is_some());
}

#[test]
fn a_ledger_full_of_requests_under_way_refuses_with_its_limit() {
    let mesh = Mesh::new(r#"{"idempotency":{"maxEntries":2}}"#);
    first(&mesh, "a");
    first(&mesh, "b");
    let refused = begin(&mesh, "c", 1).unwrap_err();
    assert_eq!(
        (refused.status, refused.field.as_deref(), refused.limit),
        (
            Status::LimitExceeded,
            Some("policy.idempotency.maxEntries"),
            Some(2.0)
        )
    );
    for _ in 0..1_024 {
        assert!(matches!(begin(&mesh, "a", 1), Ok(Begun::Joined(_))));
    }
    assert_eq!(begin(&mesh, "a", 1).unwrap_err().status, Status::QueueFull);
}

#[test]
fn bytes_are_bounded_and_a_result_that_is_too_large_is_refused() {
    let mesh = Mesh::new(r#"{"idempotency":{"maxBytes":2048}}"#);
    let id = first(&mesh, "large");
    let refused = settle(&mesh, "large", id, &[0; 2_048]).unwrap_err();
    assert_eq!(
        (refused.status, refused.limit),
        (Status::LimitExceeded, Some(2_048.0))
    );
    settle(&mesh, "large", id, b"too large").unwrap();
    for key in ["a", "b", "c"] {
        let id = first(&mesh, key);
        settle(&mesh, key, id, &[7; 700]).unwrap();
    }
    assert_eq!(result(&mesh, "large"), None);
    assert_eq!(result(&mesh, "a"), None);
    assert!(result(&mesh, "b").is_some() && result(&mesh, "c").is_some());
}

#[test]
fn what_should_not_be_remembered_is_run_again_by_one_of_those_who_waited() {
    let mesh = Mesh::new("{}");
    let id = first(&mesh, "a");
    assert!(matches!(begin(&mesh, "a", 2), Ok(Begun::Joined(_))));
    let forgotten = mesh.router.ledger_forget(mesh.service, b"a", id);
    assert_eq!(forgotten, [2]);
    first(&mesh, "a");
    assert!(
        mesh.router.ledger_forget(mesh.service, b"a", id).is_empty(),
        "not its own any more"
    );
    assert!(matches!(begin(&mesh, "a", 2), Ok(Begun::Joined(_))));
}

#[test]
fn what_an_ended_thread_had_begun_is_forgotten_and_its_repeats_with_it() {
    let mesh = Mesh::new("{}");
    first(&mesh, "a");
    begin(&mesh, "a", 9).unwrap();
    let Ok(Begun::Joined(joined)) = begin(&mesh, "a", 2) else {
        panic!("the first is under way");
    };
    mesh.router.thread_ended(9, mesh.now_us);
    mesh.router.thread_ended(1, mesh.now_us);
    assert_eq!(woken(&mesh, 2), [joined]);
    assert!(woken(&mesh, 9).is_empty());
    first(&mesh, "a");
}

#[test]
fn services_do_not_share_a_ledger_and_a_removed_one_has_none() {
    let mut mesh = Mesh::new("{}");
    let id = first(&mesh, "a");
    settle(&mesh, "a", id, b"1").unwrap();
    let other = mesh
        .router
        .define_service("other", "", mesh.now_us)
        .unwrap();
    let own = std::mem::replace(&mut mesh.service, other);
    first(&mesh, "a");
    mesh.service = own;
    mesh.router.remove_service(own, mesh.now_us).unwrap();
    assert_eq!(result(&mesh, "a"), None);
    assert_eq!(
        begin(&mesh, "a", 1).unwrap_err().status,
        Status::StaleHandle
    );
}
