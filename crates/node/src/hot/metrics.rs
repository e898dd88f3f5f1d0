//! A value for a metric.
#![allow(non_snake_case, reason = "the names are the contract's")]

use super::entry::{INVALID, STALE, hot};

hot! {
    fn metricRecord(state, args: 3) {
        let (Some(mesh), Some(metric), Some(value)) = (args.u32(0), args.u32(1), args.f64(2)) else { return INVALID };
        let Some(joined) = state.meshes.get(mesh) else { return STALE };
        if !value.is_finite() {
            return INVALID;
        }
        joined.metrics.get(metric).map_or(STALE, |metric| if metric.record(value) { 0 } else { INVALID })
    }
}
