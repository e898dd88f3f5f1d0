//! Retries as most clients have them: exponential backoff, as often as the limit says, whatever the load.

/// Milliseconds before a retry: 10, 20, 40, …; the limit is the caller's.
pub(super) fn backoff_ms(attempt: u32) -> u32 {
    10 << (attempt - 1).min(10)
}
