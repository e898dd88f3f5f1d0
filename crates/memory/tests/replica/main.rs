//! Replicated regions: exactly once and linearizable while members die, are cut off and come back.
//!
//! A few seeds a test by default. More: `npm run test:history`; one of them: `LINKMESH_SEED=17`.

#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod world;

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::seeds::seeds;
use linkmesh_memory::{
    client::Outcome,
    replica::{
        Answer, Ask, ClientId, FailureCause, Group, Member, Message, Mutation, Outbox, Refusal,
        Standing, Timing, To,
    },
};
use world::{CELLS, Faults, Node, World};

const QUICK: u64 = 25;
const OPERATIONS: usize = 120;

fn group(members: usize, acknowledgements: usize) -> Group {
    Group::new(members, acknowledgements, CELLS as u64 * 8).unwrap()
}

/// Asks, troubles, settles, checks. Returns what was (answered, unknown, led).
fn run(seed: u64, group: Group, faults: Faults) -> (usize, usize, usize) {
    let mut world = World::new(seed, group, 1 + seed as usize % 3, faults);
    for _ in 0..OPERATIONS {
        for _ in 0..world.random.below(30) {
            world.step();
        }
        world.ask();
        world.trouble();
    }
    world.settle();
    world.check();
    (
        world.record.answered,
        world.record.unknown,
        world.leaders.len(),
    )
}

/// Runs the seeds and adds up what was met.
fn sum(group: Group, faults: Faults) -> (usize, usize, usize) {
    let met = Cell::new((0, 0, 0));
    seeds(QUICK, |seed| {
        let (answered, unknown, led) = run(seed, group, faults);
        let so_far = met.get();
        met.set((so_far.0 + answered, so_far.1 + unknown, so_far.2 + led));
    });
    met.get()
}

#[test]
fn without_faults_everything_is_answered_by_one_primary() {
    for group in [group(1, 0), group(2, 1), group(3, 1), group(3, 2)] {
        let mut world = World::new(1, group, 3, Faults::default());
        for _ in 0..OPERATIONS {
            world.ask();
            world.step();
        }
        world.settle();
        world.check();
        assert_eq!((world.record.unknown, world.leaders.len()), (0, 1));
        assert_eq!(world.record.answered, OPERATIONS + CELLS);
    }
}

#[test]
fn a_network_that_loses_doubles_and_cuts_leaves_nothing_unknown() {
    let faults = Faults {
        lose: 12,
        double: 10,
        cut: 8,
        ..Faults::default()
    };
    for group in [group(2, 1), group(3, 1), group(3, 2), group(5, 2)] {
        let (answered, unknown, led) = sum(group, faults);
        assert!(answered > 0 && unknown == 0);
        assert!(led as u64 > 1, "somebody else led in between");
    }
}

#[test]
fn members_that_are_killed_take_nothing_along() {
    for (group, kills) in [(group(3, 1), 1), (group(5, 2), 2), (group(4, 1), 1)] {
        let faults = Faults {
            kills,
            lose: 40,
            double: 40,
            ..Faults::default()
        };
        let (answered, unknown, led) = sum(group, faults);
        assert!(answered > 0 && unknown == 0);
        assert!(led as u64 > 1, "a primary was killed");
    }
}

#[test]
fn everything_at_once_with_impatient_callers() {
    let faults = Faults {
        lose: 12,
        double: 12,
        cut: 10,
        kills: 1,
        impatience: 6,
    };
    let (answered, unknown, _) = sum(group(3, 1), faults);
    assert!(answered > 0 && unknown > 0);
    let (answered, _, _) = sum(group(5, 3), Faults { kills: 0, ..faults });
    assert!(answered > 0);
}

/// Messages between members until there are none; those to or from `dead` are lost.
fn carry(members: &mut [Member], mut waiting: Vec<(u8, Outbox)>, dead: u8, now: Instant) {
    while let Some((from, out)) = waiting.pop() {
        for (to, message) in out {
            if let To::Member(to) = to
                && to != dead
                && from != dead
            {
                let mut answers = Outbox::new();
                members[usize::from(to)].receive(from, message, now, &mut answers);
                waiting.push((to, answers));
            }
        }
    }
}

#[test]
fn a_backup_of_a_group_that_never_formed_is_forsaken_and_takes_nothing_over() {
    let (group, timing, mut now) = (group(3, 1), Timing::default(), Instant::now());
    let mut members = [
        Member::create(group, timing, vec![7; 8], 1, now),
        Member::join(group, timing, 1, 2, now),
        Member::join(group, timing, 2, 3, now),
    ];
    let beat = |members: &mut [Member], dead: u8, now: Instant| {
        let mut out = Outbox::new();
        members[0].timeout(now, &mut out);
        carry(members, vec![(0, out)], dead, now);
    };
    for _ in 0..10 {
        now += timing.heartbeat;
        beat(&mut members, 2, now);
    }
    assert_eq!(
        members[1].bytes(),
        members[0].bytes(),
        "it has the contents"
    );
    assert!(!members[0].info(now).is_formed);
    // The primary is gone. Nobody was told of the group: nobody stands, and at last nobody keeps it.
    let heard = now;
    while !members[1].is_forsaken(now) {
        now = members[1].deadline().unwrap();
        let mut out = Outbox::new();
        members[1].timeout(now, &mut out);
        assert!(out.is_empty());
    }
    assert_eq!(now - heard, timing.lease);
    assert!(
        members[2].is_forsaken(now),
        "one that has heard nothing, too"
    );

    // Had the third joined in time, the second would lead now.
    for _ in 0..10 {
        now += timing.heartbeat;
        beat(&mut members, u8::MAX, now);
    }
    assert!(members[0].info(now).is_formed && !members[1].is_forsaken(now));
    while members[1].info(now).standing != Standing::Primary {
        now = members[1].deadline().unwrap();
        assert!(now - heard < 2 * timing.lease);
        let mut out = Outbox::new();
        members[1].timeout(now, &mut out);
        carry(&mut members, vec![(1, out)], 0, now);
    }
    assert!(!members[1].is_forsaken(now));
}

/// Found by a history: an add whose caller had given it up came late, behind a read that its client had made after it.
#[test]
fn what_was_given_up_is_not_done_behind_a_later_read() {
    let now = Instant::now();
    let mut member = Member::create(group(1, 0), Timing::default(), vec![0; 8], 1, now);
    let mut say = |ack_below, ask| {
        let mut out = Outbox::new();
        member.request(ClientId(1), [9; 32], 5, ack_below, ask, now, &mut out);
        let answer = |(_, message)| match message {
            Message::Reply { answer, .. } => Some(answer),
            _ => None,
        };
        out.into_iter().filter_map(answer).collect::<Vec<_>>()
    };
    assert_eq!(say(0, Ask::Open), [Answer::Opened]);
    // Mutation 0 is on its way; its caller stops waiting, and reads.
    let read = Ask::Read {
        number: 0,
        after: 1,
        offset: 0,
        length: 8,
    };
    let bytes = Bytes::from_static(&[0; 8]);
    assert_eq!(say(1, read), [Answer::Bytes { number: 0, bytes }]);
    let late = Ask::Mutate {
        sequence: 0,
        mutation: Mutation::FetchAdd {
            offset: 0,
            operand: 1,
        },
    };
    let refused = Answer::Refused {
        which: Some((false, 0)),
        refusal: Refusal::Stale,
    };
    assert_eq!(say(0, late), [refused]);
    assert_eq!(member.bytes(), [0; CELLS * 8]);
}

#[test]
fn an_old_primary_that_comes_back_is_fenced_and_follows() {
    seeds(QUICK, |seed| {
        let mut world = World::new(seed, group(3, 1), 2, Faults::default());
        world.add(0, None);
        world.run_until(|world| world.pending() == 0);
        // The primary is cut off from its backups only: clients still reach it, and it does not know that it was replaced.
        world.cut_off(0, false);
        world.add(0, None);
        world.run_until(|world| world.leaders.len() > 1);
        assert_eq!(world.info(0).standing, Standing::Primary);
        // What the old one applied alone was never acknowledged by it, and is applied once by the new one.
        world.run_until(|world| world.pending() == 0);
        let leader = world
            .leaders
            .last_key_value()
            .map(|(_, leader)| *leader)
            .unwrap();
        assert_ne!(leader, 0);
        // One that the old primary refuses finds the new one.
        world.add(1, None);
        world.run_until(|world| world.pending() == 0);
        world.heal();
        world.run_until(|world| world.info(0).standing == Standing::Backup);
        assert!(world.info(0).epoch.0 >= *world.leaders.last_key_value().unwrap().0);
        world.settle();
        world.check();
        assert_eq!(world.record.unknown, 0);
        assert_eq!(
            world::word(world.members[0].as_ref().unwrap().bytes(), 0),
            3
        );
    });
}

#[test]
fn a_primary_that_does_not_know_that_it_was_replaced_answers_no_read() {
    seeds(QUICK, |seed| {
        // Its clock is far too slow: it believes that its backups are there.
        let slow = Timing {
            patience: Duration::from_secs(3600),
            ..Timing::default()
        };
        let mut world = World::with_first(seed, group(3, 1), 2, Faults::default(), slow);
        world.add(0, None);
        world.add(1, None);
        world.run_until(|world| world.pending() == 0);
        world.cut_off(0, false);
        world.run_until(|world| world.leaders.len() > 1);
        // Only client 1 gets to the others, and adds.
        world.cut.insert((Node::Member(0), Node::Client(1)));
        world.add(1, None);
        world.run_until(|world| world.pending() == 0);
        world.read(0, 0);
        world.run_for(Duration::from_millis(50));
        world.settle();
        world.check();
    });
}

#[test]
fn the_one_that_knows_most_takes_over() {
    let mut world = World::new(5, group(3, 1), 1, Faults::default());
    // Member 2 misses what members 0 and 1 acknowledge, then the primary is gone.
    world.cut_off(2, true);
    for _ in 0..10 {
        world.add(0, None);
        world.run_until(|world| world.pending() == 0);
    }
    world.members[0] = None;
    world.heal();
    world.run_until(|world| world.info(1).standing == Standing::Primary);
    world.settle();
    world.check();
    assert_eq!(world.record.unknown, 0);
    assert!(world.leaders.values().all(|leader| *leader != 2));
}

#[test]
fn with_too_few_members_it_refuses_and_applies_nothing() {
    let mut world = World::new(3, group(2, 1), 1, Faults::default());
    world.add(0, None);
    world.run_until(|world| world.pending() == 0);
    world.members[1] = None;
    world.run_for(Duration::from_secs(2));
    let deadline = world.now + Duration::from_millis(250);
    world.add(0, Some(deadline));
    world.run_until(|world| world.pending() == 0);
    let failure = world.failures[0];
    assert_eq!(failure.cause, FailureCause::Refused(Refusal::Unavailable));
    assert_eq!(failure.outcome, Outcome::NotDelivered);
    assert!(failure.retryable());
    assert_eq!(
        world::word(world.members[0].as_ref().unwrap().bytes(), 0),
        1
    );
}

#[test]
fn what_was_sent_to_a_group_that_died_is_unknown() {
    let mut world = World::new(4, group(3, 1), 1, Faults::default());
    world.add(0, None);
    world.run_until(|world| world.pending() == 0);
    let deadline = world.now + Duration::from_secs(3);
    world.add(0, Some(deadline));
    world.members[1] = None;
    world.members[2] = None;
    world.run_until(|world| world.pending() == 0);
    let failure = world.failures[0];
    assert_eq!(failure.cause, FailureCause::DeadlineExceeded);
    assert_eq!(failure.outcome, Outcome::Unknown);
    assert!(!failure.retryable());
}

#[test]
fn a_client_that_was_away_for_longer_than_the_lease_is_told() {
    let mut world = World::new(6, group(3, 1), 2, Faults::default());
    world.add(0, None);
    world.run_until(|world| world.pending() == 0);
    for member in 0..3 {
        world.cut.insert((Node::Member(member), Node::Client(0)));
    }
    world.add(0, None);
    world.run_for(Duration::from_secs(62));
    world.heal();
    world.run_until(|world| world.pending() == 0);
    let failure = world.failures[0];
    assert_eq!(failure.cause, FailureCause::SessionLost);
    // Copies of it were sent and nobody ever answered for all of them.
    assert_eq!(failure.outcome, Outcome::Unknown);
}
