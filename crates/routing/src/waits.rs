//! The queue: requests that wait for a place when every instance is at its limit. The one part of routing with a lock.

use std::collections::{BTreeSet, HashMap, VecDeque};

use linkmesh_registry::Status;
use linkmesh_tables::epoch::Guard;

use crate::caller::Caller;
use crate::membership::Membership;
use crate::pick::Refusal;
use crate::policy::Backpressure;
use crate::router::{Picked, Router};
use crate::sync::Ordering;

/// Longest a request may wait, milliseconds: a day.
const LONGEST_WAIT_MS: f64 = 86_400_000.0;
/// Longest advice to come back later, milliseconds.
const LONGEST_ADVICE_MS: f64 = 60_000.0;

/// The answer to a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Which wait.
    pub wait_id: u32,
    /// A real ticket with its place taken, or why there is none: `DeadlineExceeded`, `NotFound`, or `QueueFull` when a
    /// newer request took its place. 0: it was no wait for a place, and is over; see [`Router::order_enter`] and
    /// [`Router::ledger_begin`].
    pub result: Result<u64, Status>,
    /// Handle of the instance; 0 when refused.
    pub instance: u32,
    /// Thread of the instance; 0 for one by address.
    pub thread: u32,
}

/// A request is in the queue, or was granted a place at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Names the wait in its grant.
    pub id: u32,
    /// The grant is there already: take it.
    pub granted: bool,
}

/// A request may not wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitRefused {
    /// `StaleHandle`, `InvalidArgument`, `QueueFull`, `Saturated` when the policy lets nobody wait, `NoInstance`, `BreakerOpen` or `Draining`.
    pub status: Status,
    /// When it is worth trying again, milliseconds; 0 = unknown.
    pub retry_after_ms: u32,
    /// In words.
    pub message: String,
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    id: u32,
    key_hash: u32,
    thread: u32,
    deadline_us: u64,
}

/// Who waits for what, and what was granted and not yet taken. Behind the router's mutex.
#[derive(Debug)]
pub(crate) struct Waits {
    /// It picks for those who wait.
    caller: Caller,
    last_id: u32,
    /// By service, first come first.
    queues: HashMap<u32, VecDeque<Waiter>>,
    /// Service of each waiting request.
    waiting: HashMap<u32, u32>,
    /// By thread.
    grants: HashMap<u32, VecDeque<Grant>>,
    /// Threads that have grants and were not told.
    wakes: BTreeSet<u32>,
    /// No wait times out before.
    first_deadline_us: u64,
    /// When time alone makes an instance eligible that somebody waits for.
    first_chance_us: u64,
}

impl Waits {
    pub(crate) fn new(caller: Caller) -> Self {
        Self {
            caller,
            last_id: 0,
            queues: HashMap::new(),
            waiting: HashMap::new(),
            grants: HashMap::new(),
            wakes: BTreeSet::new(),
            first_deadline_us: u64::MAX,
            first_chance_us: u64::MAX,
        }
    }

    fn next_id(&mut self) -> u32 {
        loop {
            // 31 bits, never 0: a positive small integer in JavaScript.
            self.last_id = if self.last_id >= i32::MAX as u32 {
                1
            } else {
                self.last_id + 1
            };
            if !self.waiting.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    pub(crate) fn answer(&mut self, thread: u32, grant: Grant) {
        self.grants.entry(thread).or_default().push_back(grant);
    }

    fn refuse(&mut self, waiter: Waiter, status: Status) {
        self.waiting.remove(&waiter.id);
        self.answer(
            waiter.thread,
            Grant {
                wait_id: waiter.id,
                result: Err(status),
                instance: 0,
                thread: 0,
            },
        );
        self.wakes.insert(waiter.thread);
    }

    /// Tells the thread at the next tick.
    pub(crate) fn wake_later(&mut self, thread: u32) {
        self.wakes.insert(thread);
    }

    pub(crate) fn has_wakes(&self) -> bool {
        !self.wakes.is_empty()
    }

    pub(crate) fn take_wakes(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.wakes).into_iter().collect()
    }

    /// When [`Router::tick`] has something to do here.
    pub(crate) fn next_deadline(&self) -> u64 {
        if self.has_wakes() {
            0
        } else {
            self.first_deadline_us.min(self.first_chance_us)
        }
    }

    /// Services that somebody waits for, in a fixed order.
    pub(crate) fn services(&self) -> Vec<u32> {
        let mut services: Vec<u32> = self.queues.keys().copied().collect();
        services.sort_unstable();
        services
    }

    /// The service is gone: everyone is told.
    pub(crate) fn refuse_all(&mut self, service: u32, status: Status) {
        for waiter in self.queues.remove(&service).into_iter().flatten() {
            self.refuse(waiter, status);
        }
    }
}

impl Router {
    /// After [`pick`](Self::pick) said `Saturated`: queues for the next place, first come first served. The answer comes
    /// by [`take_grants`](Self::take_grants); it is a real ticket, or `DeadlineExceeded` after `timeout_ms` (0 to a day).
    /// A newcomer's `pick` may take a place in the instant between its release and the grant; nobody overtakes within
    /// the queue.
    ///
    /// # Errors
    /// See [`WaitRefused`]. At most the policy's `queue_limit` requests wait.
    pub fn wait(
        &self,
        guard: &Guard<'_>,
        service: u32,
        key_hash: u32,
        thread: u32,
        timeout_ms: f64,
        now_us: u64,
    ) -> Result<Waiting, WaitRefused> {
        let refused = |refusal: Refusal, message: &str| WaitRefused {
            status: refusal.status,
            retry_after_ms: refusal.retry_after_ms,
            message: message.to_owned(),
        };
        if !(0.0..=LONGEST_WAIT_MS).contains(&timeout_ms) {
            let message = format!("timeoutMs must be between 0 and {LONGEST_WAIT_MS}");
            return Err(refused(Refusal::of(Status::InvalidArgument), &message));
        }
        let Some(membership) = self.membership(guard, service) else {
            return Err(refused(
                Refusal::of(Status::StaleHandle),
                "the service was removed",
            ));
        };
        let mut queue = self.queue();
        let waits = &mut *queue;
        let limit = membership.policy.queue_limit as usize;
        let length = waits.queues.get(&service).map_or(0, VecDeque::len);
        if membership.policy.backpressure == Backpressure::Reject {
            let refusal = Refusal {
                retry_after_ms: self.drain_time_ms(membership, 1),
                ..Refusal::of(Status::Saturated)
            };
            return Err(refused(refusal, "requests do not wait for this service"));
        }
        let dropped =
            if length >= limit && membership.policy.backpressure == Backpressure::DropOldest {
                waits.queues.get_mut(&service).and_then(VecDeque::pop_front)
            } else {
                None
            };
        if let Some(oldest) = dropped {
            membership.service.waiting.fetch_sub(1, Ordering::AcqRel);
            waits.refuse(oldest, Status::QueueFull);
        } else if length >= limit {
            let refusal = Refusal {
                status: Status::QueueFull,
                retry_after_ms: self.drain_time_ms(membership, length),
                eligible_at_us: u64::MAX,
            };
            return Err(refused(
                refusal,
                &format!("{limit} requests wait for this service already"),
            ));
        }
        // Announced before the instances are looked at, so that no freed place is missed.
        membership.service.waiting.fetch_add(1, Ordering::AcqRel);
        self.look_for_places(membership);
        if length == 0 {
            let mut picked = Picked::default();
            let picked_at = self.pick_from(
                membership,
                &mut waits.caller,
                service,
                key_hash,
                thread,
                now_us,
                &mut picked,
            );
            let over = |waits: &mut Waits| {
                membership.service.waiting.fetch_sub(1, Ordering::AcqRel);
                waits.next_id()
            };
            match picked_at {
                Ok(ticket) => {
                    let id = over(waits);
                    let grant = Grant {
                        wait_id: id,
                        result: Ok(ticket),
                        instance: picked.instance,
                        thread: picked.thread,
                    };
                    waits.answer(thread, grant);
                    waits.wake_later(thread);
                    return Ok(Waiting { id, granted: true });
                }
                Err(refusal) if refusal.status == Status::Saturated => {
                    waits.first_chance_us = waits.first_chance_us.min(refusal.eligible_at_us);
                }
                Err(refusal) => {
                    membership.service.waiting.fetch_sub(1, Ordering::AcqRel);
                    return Err(refused(
                        refusal,
                        "no instance of this service will have a free place soon",
                    ));
                }
            }
        }
        let id = waits.next_id();
        let deadline_us = now_us.saturating_add((timeout_ms * 1_000.0).ceil() as u64);
        waits.first_deadline_us = waits.first_deadline_us.min(deadline_us);
        waits.waiting.insert(id, service);
        waits.queues.entry(service).or_default().push_back(Waiter {
            id,
            key_hash,
            thread,
            deadline_us,
        });
        Ok(Waiting { id, granted: false })
    }

    /// Leaves the queue. False when the answer is under way: it must still be taken, and a ticket completed.
    pub fn wait_cancel(&self, wait_id: u32) -> bool {
        let mut queue = self.queue();
        let Some(service) = queue.waiting.remove(&wait_id) else {
            return false;
        };
        let Some(waiters) = queue.queues.get_mut(&service) else {
            return false;
        };
        waiters.retain(|waiter| waiter.id != wait_id);
        if waiters.is_empty() {
            queue.queues.remove(&service);
        }
        drop(queue);
        self.left_queue(service, 1);
        true
    }

    /// Moves up to `most` answers for `thread` into `out`.
    pub fn take_grants(&self, thread: u32, most: usize, out: &mut Vec<Grant>) {
        let mut queue = self.queue();
        let Some(grants) = queue.grants.get_mut(&thread) else {
            return;
        };
        out.extend(grants.drain(..most.min(grants.len())));
        if grants.is_empty() {
            queue.grants.remove(&thread);
            queue.wakes.remove(&thread);
        }
    }

    /// Gives places to the first in the queue as long as there are any. The threads to wake, in the order of grants.
    pub(crate) fn grant(
        &self,
        waits: &mut Waits,
        membership: &Membership,
        service: u32,
        now_us: u64,
    ) -> Vec<u32> {
        let mut threads = Vec::new();
        while let Some(&waiter) = waits.queues.get(&service).and_then(VecDeque::front) {
            let mut picked = Picked::default();
            let ticket = self.pick_from(
                membership,
                &mut waits.caller,
                service,
                waiter.key_hash,
                waiter.thread,
                now_us,
                &mut picked,
            );
            let ticket = match ticket {
                Ok(ticket) => ticket,
                Err(refusal) => {
                    waits.first_chance_us = waits.first_chance_us.min(refusal.eligible_at_us);
                    break;
                }
            };
            if let Some(queue) = waits.queues.get_mut(&service) {
                queue.pop_front();
                if queue.is_empty() {
                    waits.queues.remove(&service);
                }
            }
            waits.waiting.remove(&waiter.id);
            membership.service.waiting.fetch_sub(1, Ordering::AcqRel);
            let grant = Grant {
                wait_id: waiter.id,
                result: Ok(ticket),
                instance: picked.instance,
                thread: picked.thread,
            };
            waits.answer(waiter.thread, grant);
            threads.push(waiter.thread);
        }
        threads
    }

    /// Gives places to whoever waits, for any service.
    pub(crate) fn grant_all(&self, waits: &mut Waits, guard: &Guard<'_>, now_us: u64) {
        waits.first_chance_us = u64::MAX;
        for service in waits.services() {
            match self.membership(guard, service) {
                Some(membership) => {
                    self.look_for_places(membership);
                    for thread in self.grant(waits, membership, service, now_us) {
                        waits.wake_later(thread);
                    }
                }
                None => waits.refuse_all(service, Status::NotFound),
            }
        }
    }

    /// Refuses whose time is over.
    pub(crate) fn time_out(&self, waits: &mut Waits, now_us: u64) {
        if now_us < waits.first_deadline_us {
            return;
        }
        waits.first_deadline_us = u64::MAX;
        for service in waits.services() {
            let Some(queue) = waits.queues.get_mut(&service) else {
                continue;
            };
            let (over, left): (VecDeque<Waiter>, VecDeque<Waiter>) = queue
                .iter()
                .partition(|waiter| waiter.deadline_us <= now_us);
            for waiter in &left {
                waits.first_deadline_us = waits.first_deadline_us.min(waiter.deadline_us);
            }
            if left.is_empty() {
                waits.queues.remove(&service);
            } else {
                *queue = left;
            }
            let count = over.len() as u32;
            for waiter in over {
                waits.refuse(waiter, Status::DeadlineExceeded);
            }
            self.left_queue(service, count);
        }
    }

    /// Forgets a thread's waits and what it did not take; its tickets are closed by the caller.
    pub(crate) fn forget_waits(&self, thread: u32) {
        let mut queue = self.queue();
        let waits = &mut *queue;
        waits.grants.remove(&thread);
        waits.wakes.remove(&thread);
        for service in waits.services() {
            let Some(waiters) = waits.queues.get_mut(&service) else {
                continue;
            };
            let before = waiters.len();
            waiters.retain(|waiter| {
                if waiter.thread == thread {
                    waits.waiting.remove(&waiter.id);
                }
                waiter.thread != thread
            });
            let left = (before - waiters.len()) as u32;
            if waiters.is_empty() {
                waits.queues.remove(&service);
            }
            self.left_queue(service, left);
        }
    }

    /// Somebody waits for this service, and that was announced: no place that is freed from here on is missed.
    fn look_for_places(&self, membership: &Membership) {
        for member in &membership.members {
            self.view(member.handle).look_for_place();
        }
    }

    fn left_queue(&self, service: u32, count: u32) {
        let reader = linkmesh_tables::epoch::Domain::global().register();
        if let Some(membership) = self.membership(&reader.pin(), service) {
            membership
                .service
                .waiting
                .fetch_sub(count, Ordering::AcqRel);
        }
    }

    /// When a queue of this length will be empty if requests go on ending as they do.
    fn drain_time_ms(&self, membership: &Membership, length: usize) -> u32 {
        let in_flight: f64 = membership
            .members
            .iter()
            .map(|member| {
                f64::from(
                    self.view(member.handle)
                        .get(crate::cells::instance_word::IN_FLIGHT),
                )
            })
            .sum();
        let drain_us = length as f64 * membership.service.typical_latency_us() / in_flight.max(1.0);
        (drain_us / 1_000.0).ceil().clamp(1.0, LONGEST_ADVICE_MS) as u32
    }
}
