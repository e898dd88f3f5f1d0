//! Which request a bucket's count came from: the trace to open when a latency looks wrong.

use std::sync::{Mutex, OnceLock, TryLockError};

/// One request of a distribution, by its trace (W3C Trace Context ids).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// Never all zero.
    pub trace_id: [u8; 16],
    /// Never all zero.
    pub span_id: [u8; 8],
    /// In the recorded unit.
    pub value: f64,
    /// Milliseconds since 1970.
    pub at_ms: f64,
}

impl Exemplar {
    /// From ids in lower-case hexadecimal, as `traceparent` writes them. `None` for anything else, ids of zeros (W3C:
    /// invalid) and numbers that mean nothing.
    pub fn parse(trace_id: &str, span_id: &str, value: f64, at_ms: f64) -> Option<Self> {
        let exemplar = Self {
            trace_id: hex(trace_id)?,
            span_id: hex(span_id)?,
            value,
            at_ms,
        };
        let sensible = |number: f64| number.is_finite() && number >= 0.0;
        (sensible(value) && sensible(at_ms)).then_some(exemplar)
    }

    /// As `traceparent` writes it.
    pub fn trace_id_hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace_id))
    }

    /// As `traceparent` writes it.
    pub fn span_id_hex(&self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.span_id))
    }
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    (bytes != [0; N]).then_some(bytes)
}

/// The newest exemplar of each octave. Nothing is held until the first comes.
#[derive(Debug)]
pub(crate) struct Exemplars<const OCTAVES: usize>(
    OnceLock<Box<Mutex<[Option<Exemplar>; OCTAVES]>>>,
);

impl<const OCTAVES: usize> Default for Exemplars<OCTAVES> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<const OCTAVES: usize> Exemplars<OCTAVES> {
    /// Keeps it, unless another thread is here at this very moment: then its is as good an example, and nobody waits.
    pub(crate) fn keep(&self, octave: usize, exemplar: Exemplar) {
        let kept = self.0.get_or_init(|| Box::new(Mutex::new([None; OCTAVES])));
        let mut kept = match kept.try_lock() {
            Ok(kept) => kept,
            // Each entry is written whole, so what a panic left is consistent.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        kept[octave] = Some(exemplar);
    }

    /// All of them, by octave.
    pub(crate) fn all(&self) -> Vec<(u8, Exemplar)> {
        let Some(kept) = self.0.get() else {
            return Vec::new();
        };
        let kept = *kept
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.iter()
            .enumerate()
            .filter_map(|(octave, exemplar)| Some((octave as u8, (*exemplar)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_the_standard_writes_them() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let exemplar = Exemplar::parse(trace, span, 1.5, 1e12).unwrap();
        assert_eq!(
            (
                exemplar.trace_id_hex().as_str(),
                exemplar.span_id_hex().as_str()
            ),
            (trace, span)
        );
        for (trace, span, value) in [
            ("0AF7651916CD43DD8448EB211C80319C", span, 1.0),
            (&trace[1..], span, 1.0),
            ("00000000000000000000000000000000", span, 1.0),
            (trace, "0000000000000000", 1.0),
            (trace, "b7ad6b716920333\u{e9}", 1.0),
            (trace, span, f64::NAN),
            (trace, span, -1.0),
        ] {
            assert_eq!(
                Exemplar::parse(trace, span, value, 0.0),
                None,
                "{trace} {span} {value}"
            );
        }
    }
}
