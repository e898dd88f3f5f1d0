//! Latencies by instance: a bounded number of histograms, given to instances as they come, and the totals of services.
//!
//! A request is recorded once: in the histogram of its instance, or, when that has none, in its service's. A service's
//! total is its own and those of its instances together; an instance that goes leaves its own to the service.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use linkmesh_metrics::{Histogram, HistogramSnapshot};
use linkmesh_registry::ServiceRecord;
use linkmesh_tables::epoch::Guard;

use crate::cells::InstanceState;
use crate::membership::Membership;
use crate::router::Router;
use crate::service::ServiceState;
use crate::sync::{AtomicU32, Ordering};

/// Instances with a histogram of their own, 8 KiB each. Those that come later are part of their service's only.
const MAX_SERIES: usize = 1_024;
/// Latencies that are recorded without an allocation: from a microsecond to two minutes, as powers of two.
const USUAL_OCTAVES: (i32, i32) = (0, 27);

#[derive(Debug, Default)]
struct Series {
    /// Handle of the instance; 0 = nobody's.
    owner: AtomicU32,
    histogram: Histogram,
}

/// The histograms there are.
#[derive(Debug)]
pub(crate) struct LatencySeries {
    series: Box<[Series]>,
    /// First freed, first given: who still records for the one before has the longest time to end.
    free: Mutex<VecDeque<u32>>,
}

impl Default for LatencySeries {
    fn default() -> Self {
        Self {
            series: (0..MAX_SERIES).map(|_| Series::default()).collect(),
            free: Mutex::new((1..=MAX_SERIES as u32).collect()),
        }
    }
}

impl LatencySeries {
    /// The histogram of an instance. Lock-free. A completion that is under way while the instance is removed may be
    /// recorded after its histogram was left to the service, and is then in no total.
    #[inline]
    pub(crate) fn of(&self, instance: u32, state: &InstanceState) -> Option<&Histogram> {
        let number = state.series.load(Ordering::Relaxed) as usize;
        // 0 - 1 is past the end as well.
        let series = self.series.get(number.wrapping_sub(1))?;
        // Acquire pairs with the Release in `give`: an empty histogram is seen empty.
        (series.owner.load(Ordering::Acquire) == instance).then_some(&series.histogram)
    }

    /// A new instance gets a histogram while there is one.
    pub(crate) fn give(&self, instance: u32, state: &InstanceState) {
        let number = self.lock().pop_front().unwrap_or(0);
        state.series.store(number, Ordering::Relaxed);
        if let Some(series) = self.series.get((number as usize).wrapping_sub(1)) {
            let (from, to) = USUAL_OCTAVES;
            series.histogram.prepare(from, to);
            series.owner.store(instance, Ordering::Release);
        }
    }

    /// The instance goes. Its values are added to `service`.
    pub(crate) fn take_back(
        &self,
        instance: u32,
        state: &InstanceState,
        service: Option<&ServiceState>,
    ) {
        let Some(histogram) = self.of(instance, state) else {
            return;
        };
        {
            // Whoever adds up the service sees the values once, here or there.
            let _adding_up = service.map(ServiceState::adding_up);
            if let Some(service) = service {
                service.histogram.absorb(&histogram.snapshot());
            }
            let number = state.series.swap(0, Ordering::Relaxed);
            if let Some(series) = self.series.get((number as usize).wrapping_sub(1)) {
                series.owner.store(0, Ordering::Relaxed);
                series.histogram.clear();
                self.lock().push_back(number);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<u32>> {
        // One push or one pop each.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Router {
    /// Latencies of all that completed. Of every instance that is registered: who is outside the subset is no member, and
    /// has served nevertheless.
    pub(crate) fn latencies_of_all(
        &self,
        membership: &Membership,
        service: u32,
        guard: &Guard<'_>,
    ) -> HistogramSnapshot {
        let _adding_up = membership.service.adding_up();
        let mut total = membership.service.histogram.snapshot();
        if let Some(record) = self.registry.snapshot(guard).service(service) {
            for instance in &record.instances {
                if let Some(state) = self.cells.state(instance.handle)
                    && let Some(own) = self.series.of(instance.handle, state)
                {
                    total.merge(&own.snapshot());
                }
            }
        }
        total
    }

    /// Latencies of a service: all that completed, and those of each instance that has a histogram, by its place in the
    /// record.
    pub(crate) fn latencies_of(
        &self,
        record: &ServiceRecord,
        guard: &Guard<'_>,
    ) -> (HistogramSnapshot, Vec<Option<HistogramSnapshot>>) {
        let Some(membership) = self.membership(guard, record.handle) else {
            return (
                HistogramSnapshot::default(),
                vec![None; record.instances.len()],
            );
        };
        let _adding_up = membership.service.adding_up();
        let mut total = membership.service.histogram.snapshot();
        let own: Vec<_> = record
            .instances
            .iter()
            .map(|instance| {
                let state = self.cells.state(instance.handle)?;
                let own = self.series.of(instance.handle, state)?.snapshot();
                total.merge(&own);
                Some(own)
            })
            .collect();
        (total, own)
    }
}
