use crate::sync::Ordering;
use crate::window::*;

#[test]
fn slides_by_a_tenth() {
    let window = Window::default();
    for second in 0..10u64 {
        window.record(10_000, second % 2 == 0, second * 1_000_000);
    }
    assert_eq!(window.totals(10_000, 9_999_999), (10, 5));
    assert_eq!(window.totals(10_000, 10_000_000), (9, 5));
    assert_eq!(window.totals(10_000, 18_999_999), (1, 1));
    assert_eq!(window.totals(10_000, 19_000_000), (0, 0));
}

#[test]
fn a_full_bucket_keeps_its_rate() {
    let window = Window::default();
    window.buckets[0].store((COUNT_MAX << 20) + 500_000, Ordering::Relaxed);
    window.record(10_000, false, 0);
    assert_eq!(window.totals(10_000, 0), (COUNT_MAX / 2 + 1, 250_001));
}
