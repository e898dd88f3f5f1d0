//! The queue: requests that wait for a place when every instance is at its limit. The one part of routing with a lock.

use std::collections::{BTreeSet, HashMap, VecDeque};

use linkmesh_registry::{Status, Watermark};
use linkmesh_tables::epoch::Guard;

use crate::caller::Caller;
use crate::membership::Membership;
use crate::pick::Refusal;
use crate::policy::Backpressure;
use crate::qos::Qos;
use crate::queue::{Queue, Waiter};
use crate::router::{Change, Picked, Router, What};
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
    /// A real ticket with its place taken, or why there is none: `DeadlineExceeded`, `NotFound`, or `QueueFull` when
    /// another request took its place in the queue. 0: it was no wait for a place, and is over; see
    /// [`Router::order_enter`] and [`Router::ledger_begin`].
    pub result: Result<u64, Status>,
    /// When refused: when it is worth trying again, milliseconds; 0 = unknown.
    pub retry_after_ms: u32,
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

/// Who waits for what, and what was granted and not yet taken. Behind the router's mutex.
#[derive(Debug)]
pub(crate) struct Waits {
    /// It picks for those who wait.
    caller: Caller,
    last_id: u32,
    /// By service; none is empty.
    queues: HashMap<u32, Queue>,
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

    fn refuse(&mut self, waiter: Waiter, status: Status, retry_after_ms: u32) {
        self.waiting.remove(&waiter.id);
        self.answer(
            waiter.thread,
            Grant {
                wait_id: waiter.id,
                result: Err(status),
                retry_after_ms,
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
        let queue = self.queues.remove(&service).unwrap_or_default();
        for waiter in queue.iter() {
            self.refuse(*waiter, status, 0);
        }
    }

    /// Requests that wait for a service.
    fn length(&self, service: u32) -> usize {
        self.queues.get(&service).map_or(0, Queue::len)
    }

    /// Takes out of a queue all that `leaves`.
    fn leave(&mut self, service: u32, leaves: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        let Some(queue) = self.queues.get_mut(&service) else {
            return Vec::new();
        };
        let gone = queue.leave(leaves);
        if queue.len() == 0 {
            self.queues.remove(&service);
        }
        for waiter in &gone {
            self.waiting.remove(&waiter.id);
        }
        gone
    }

    /// Makes room for a request of `class` in a full queue: whoever has to go.
    fn shed(&mut self, service: u32, class: Qos, backpressure: Backpressure) -> Option<Waiter> {
        let queue = self.queues.get_mut(&service)?;
        let lowest = queue.lowest()?;
        let shed = match backpressure {
            Backpressure::DropOldest if lowest <= class => queue.pop_first(lowest),
            Backpressure::ShedLowest if lowest < class => queue.pop_newest(lowest),
            _ => None,
        };
        if queue.len() == 0 {
            self.queues.remove(&service);
        }
        shed
    }
}

impl Router {
    /// After [`pick`](Self::pick) said `Saturated`: queues for the next place. The most urgent class is served first, and
    /// within a class who came first. The answer comes by [`take_grants`](Self::take_grants); it is a real ticket, or
    /// `DeadlineExceeded` after `timeout_ms` (0 to a day). A newcomer's `pick` may take a place in the instant between its
    /// release and the grant; nobody overtakes within a class. A class that is not urgent may wait for as long as more
    /// urgent ones keep coming.
    ///
    /// # Errors
    /// See [`WaitRefused`]. At most the policy's `queue_limit` requests wait.
    #[allow(clippy::too_many_arguments, reason = "as `pick`")]
    pub fn wait(
        &self,
        guard: &Guard<'_>,
        service: u32,
        key_hash: u32,
        qos: Option<Qos>,
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
        let class = membership.class_of(qos);
        let mut queue = self.queue();
        let waits = &mut *queue;
        // Not counted as shed: the refusal of the `pick` before was. Also of who knows an older policy.
        if !membership.policy.may_wait() {
            let refusal = Refusal {
                retry_after_ms: self.drain_time_ms(membership, 1),
                ..Refusal::of(Status::Saturated)
            };
            return Err(refused(refusal, "requests do not wait for this service"));
        }
        let limit = membership.policy.queue_limit as usize;
        let length = waits.length(service);
        if length >= limit {
            let retry_after_ms = self.drain_time_ms(membership, length);
            let Some(shed) = waits.shed(service, class, membership.policy.backpressure) else {
                membership.service.count_shed(class);
                let refusal = Refusal {
                    retry_after_ms,
                    ..Refusal::of(Status::QueueFull)
                };
                return Err(refused(
                    refusal,
                    &format!("{limit} requests wait for this service already"),
                ));
            };
            membership.service.count_shed(shed.class);
            membership.service.waiting.fetch_sub(1, Ordering::AcqRel);
            waits.refuse(shed, Status::QueueFull, retry_after_ms);
        }
        // Announced before the instances are looked at, so that no freed place is missed.
        membership.service.waiting.fetch_add(1, Ordering::AcqRel);
        self.look_for_places(membership);
        // Those of its class that wait have found no place, and it would find none, either.
        let queue = waits.queues.get(&service);
        if queue.is_none_or(|queue| queue.first_of(class).is_none()) {
            let mut picked = Picked::default();
            let picked_at = self.pick_from(
                membership,
                &mut waits.caller,
                service,
                key_hash,
                class,
                thread,
                now_us,
                &mut picked,
            );
            match picked_at {
                Ok(ticket) => {
                    membership.service.waiting.fetch_sub(1, Ordering::AcqRel);
                    let id = waits.next_id();
                    waits.answer(thread, granted(id, ticket, &picked));
                    waits.wake_later(thread);
                    self.mark(membership, service, waits.length(service), now_us);
                    return Ok(Waiting { id, granted: true });
                }
                Err(refusal) if refusal.status == Status::Saturated => {
                    waits.first_chance_us = waits.first_chance_us.min(refusal.eligible_at_us);
                }
                Err(refusal) => {
                    membership.service.waiting.fetch_sub(1, Ordering::AcqRel);
                    self.mark(membership, service, waits.length(service), now_us);
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
        let queue = waits.queues.entry(service).or_default();
        queue.push(Waiter {
            id,
            key_hash,
            thread,
            class,
            deadline_us,
        });
        let length = queue.len();
        self.mark(membership, service, length, now_us);
        Ok(Waiting { id, granted: false })
    }

    /// Leaves the queue. False when the answer is under way: it must still be taken, and a ticket completed.
    pub fn wait_cancel(&self, wait_id: u32, now_us: u64) -> bool {
        let mut queue = self.queue();
        let Some(&service) = queue.waiting.get(&wait_id) else {
            return false;
        };
        let left = queue.leave(service, |waiter| waiter.id == wait_id).len();
        self.left_queue(&queue, service, left as u32, now_us);
        left > 0
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

    /// Gives places to those who wait as long as there are any, the most urgent class first. The threads to wake, in the
    /// order of grants.
    pub(crate) fn grant(
        &self,
        waits: &mut Waits,
        membership: &Membership,
        service: u32,
        now_us: u64,
    ) -> Vec<u32> {
        let mut threads = Vec::new();
        for class in Qos::BY_URGENCY {
            let refused = self.grant_class(waits, membership, service, class, now_us, &mut threads);
            // What one class was refused another may have, if it is let in further.
            if refused && !membership.has_shares() {
                break;
            }
        }
        if !threads.is_empty() {
            self.mark(membership, service, waits.length(service), now_us);
        }
        threads
    }

    /// The same for one class. True when one of it found no place.
    fn grant_class(
        &self,
        waits: &mut Waits,
        membership: &Membership,
        service: u32,
        class: Qos,
        now_us: u64,
        threads: &mut Vec<u32>,
    ) -> bool {
        loop {
            let queue = waits.queues.get(&service);
            let Some(waiter) = queue.and_then(|queue| queue.first_of(class)) else {
                return false;
            };
            let mut picked = Picked::default();
            let ticket = self.pick_from(
                membership,
                &mut waits.caller,
                service,
                waiter.key_hash,
                class,
                waiter.thread,
                now_us,
                &mut picked,
            );
            let ticket = match ticket {
                Ok(ticket) => ticket,
                Err(refusal) => {
                    waits.first_chance_us = waits.first_chance_us.min(refusal.eligible_at_us);
                    return true;
                }
            };
            if let Some(queue) = waits.queues.get_mut(&service) {
                queue.pop_first(class);
                if queue.len() == 0 {
                    waits.queues.remove(&service);
                }
            }
            waits.waiting.remove(&waiter.id);
            membership.service.waiting.fetch_sub(1, Ordering::AcqRel);
            waits.answer(waiter.thread, granted(waiter.id, ticket, &picked));
            threads.push(waiter.thread);
        }
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
            let over = waits.leave(service, |waiter| waiter.deadline_us <= now_us);
            for waiter in waits
                .queues
                .get(&service)
                .iter()
                .flat_map(|queue| queue.iter())
            {
                waits.first_deadline_us = waits.first_deadline_us.min(waiter.deadline_us);
            }
            let count = over.len() as u32;
            for waiter in over {
                waits.refuse(waiter, Status::DeadlineExceeded, 0);
            }
            self.left_queue(waits, service, count, now_us);
        }
    }

    /// Forgets a thread's waits and what it did not take; its tickets are closed by the caller.
    pub(crate) fn forget_waits(&self, thread: u32, now_us: u64) {
        let mut queue = self.queue();
        let waits = &mut *queue;
        waits.grants.remove(&thread);
        waits.wakes.remove(&thread);
        for service in waits.services() {
            let left = waits.leave(service, |waiter| waiter.thread == thread).len();
            self.left_queue(waits, service, left as u32, now_us);
        }
    }

    /// Somebody waits for this service, and that was announced: no place that is freed from here on is missed.
    fn look_for_places(&self, membership: &Membership) {
        for member in &membership.members {
            self.view(member.handle).look_for_place();
        }
    }

    fn left_queue(&self, waits: &Waits, service: u32, count: u32, now_us: u64) {
        if count == 0 {
            return;
        }
        let reader = linkmesh_tables::epoch::Domain::global().register();
        if let Some(membership) = self.membership(&reader.pin(), service) {
            let waiting = &membership.service.waiting;
            waiting.fetch_sub(count, Ordering::AcqRel);
            self.mark(membership, service, waits.length(service), now_us);
        }
    }

    /// Notes when the queue passes one of its watermarks. Under the queue's lock.
    fn mark(&self, membership: &Membership, service: u32, length: usize, now_us: u64) {
        let (limit, marks) = (membership.policy.queue_limit, &membership.policy.watermarks);
        let (pressed, queued) = (&membership.service.pressed, length as u32);
        let level = match pressed.load(Ordering::Relaxed) {
            0 if queued >= marks.high_of(limit) => Watermark::High,
            1 if queued <= marks.low_of(limit) => Watermark::Low,
            _ => return,
        };
        pressed.store(u32::from(level == Watermark::High), Ordering::Relaxed);
        self.note(Change {
            at_us: now_us,
            service,
            what: What::Backpressure {
                level,
                queued,
                limit,
            },
        });
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

fn granted(id: u32, ticket: u64, picked: &Picked) -> Grant {
    Grant {
        wait_id: id,
        result: Ok(ticket),
        retry_after_ms: 0,
        instance: picked.instance,
        thread: picked.thread,
    }
}
