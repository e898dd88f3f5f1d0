//! Whether the next block is worth compressing, and by which codec.

use std::time::Duration;

use super::{Codec, Compression, MIN_COMPRESSED_BYTES, looks_compressible};

/// Weight of the newest measurement.
const NEWEST: f64 = 0.25;
/// Most blocks in a row that are sent without a look at them.
const MAX_SKIPPED: u32 = 64;

/// What a codec did so far.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// Compressed bytes for one raw byte.
    ratio: f64,
    /// Raw bytes a second, compressing.
    speed: f64,
    /// Raw bytes a second, decompressing; the other side's, so it is assumed.
    decompress_speed: f64,
}

/// Decides block by block; one per region and path.
///
/// Where the codec is left open ([`Compression::Auto`]) a block is compressed when the time it saves on the wire exceeds the time that both codecs take. Ratio and speed are
/// measured as it goes. What did not pay is not tried again at once: after each failure twice as many blocks pass without a
/// look, up to 64.
#[derive(Clone, Debug)]
pub struct Advisor {
    /// Bytes a second that the path carries; `None` while it is not known.
    path_speed: Option<f64>,
    lz4: Record,
    zstd: Record,
    skip: u32,
    back_off: u32,
}

impl Advisor {
    /// Assumes a usual machine until it has measured.
    pub fn new() -> Self {
        Self {
            path_speed: None,
            lz4: Record {
                ratio: 0.55,
                speed: 600e6,
                decompress_speed: 2_500e6,
            },
            zstd: Record {
                ratio: 0.40,
                speed: 350e6,
                decompress_speed: 900e6,
            },
            skip: 0,
            back_off: 1,
        }
    }

    /// Tells the path's speed (congestion window over round-trip time is a good measure). `None` or nonsense: unknown, and then nothing
    /// is compressed. Between processes of one machine nothing pays.
    pub fn set_path_speed(&mut self, bytes_per_second: Option<f64>) {
        self.path_speed = bytes_per_second.filter(|speed| speed.is_finite() && *speed > 0.0);
    }

    /// The codec for `block`, or `None`: send it as it is. Costs a few nanoseconds or, when it looks, 3 µs.
    pub fn choose(&mut self, allowed: Compression, block: &[u8]) -> Option<Codec> {
        let is_known = allowed != Compression::Auto || self.path_speed.is_some();
        if allowed == Compression::None || block.len() < MIN_COMPRESSED_BYTES || !is_known {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let codec = match allowed {
            Compression::None => None,
            Compression::Lz4 => Some(Codec::Lz4),
            Compression::Zstd => Some(Codec::Zstd),
            Compression::Auto => self.faster_than_plain(),
        };
        let codec = codec.filter(|_| looks_compressible(block));
        if codec.is_none() {
            self.failed();
        }
        codec
    }

    /// The codec that saves most time on the path, if one does.
    fn faster_than_plain(&self) -> Option<Codec> {
        let path = self.path_speed?;
        // Seconds a raw byte: both codecs and the wire, one after the other as they are for the last block.
        let cost = |record: &Record| {
            1.0 / record.speed + record.ratio / path + 1.0 / record.decompress_speed
        };
        let (lz4, zstd) = (cost(&self.lz4), cost(&self.zstd));
        let (codec, best) = if lz4 <= zstd {
            (Codec::Lz4, lz4)
        } else {
            (Codec::Zstd, zstd)
        };
        (best < 1.0 / path).then_some(codec)
    }

    /// What came of a block: `wire` bytes for `raw`, or `None` when it did not shrink enough, and how long that took.
    pub fn note(&mut self, codec: Codec, raw: usize, wire: Option<usize>, took: Duration) {
        let record = match codec {
            Codec::Lz4 => &mut self.lz4,
            Codec::Zstd => &mut self.zstd,
        };
        let raw_bytes = raw.max(1) as f64;
        let ratio = wire.map_or(1.0, |wire| wire as f64 / raw_bytes);
        record.ratio += NEWEST * (ratio - record.ratio);
        if !took.is_zero() {
            record.speed += NEWEST * (raw_bytes / took.as_secs_f64() - record.speed);
        }
        if wire.is_some() {
            self.back_off = 1;
        } else {
            self.failed();
        }
    }

    /// Lets the next blocks pass unseen. What was learnt moves back towards the assumption meanwhile, so that data that
    /// changes gets another chance.
    fn failed(&mut self) {
        self.skip = self.back_off;
        self.back_off = (self.back_off * 2).min(MAX_SKIPPED);
        let fresh = Self::new();
        for (record, assumed) in [(&mut self.lz4, fresh.lz4), (&mut self.zstd, fresh.zstd)] {
            record.ratio += NEWEST * (assumed.ratio - record.ratio);
            record.speed += NEWEST * (assumed.speed - record.speed);
        }
    }
}

impl Default for Advisor {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GBIT: f64 = 125e6;

    fn text() -> Vec<u8> {
        b"GET /users/4711/orders?page=2 HTTP/1.1\r\n".repeat(2000)
    }

    #[test]
    fn the_path_decides_and_the_slower_it_is_the_harder_it_compresses() {
        let block = text();
        let choose = |gigabits: f64| {
            let mut advisor = Advisor::new();
            advisor.set_path_speed(Some(gigabits * GBIT));
            advisor.choose(Compression::Auto, &block)
        };
        assert_eq!(choose(40.0), None, "faster than any codec");
        assert_eq!(choose(1.0), Some(Codec::Lz4));
        assert_eq!(choose(0.05), Some(Codec::Zstd));
        assert_eq!(
            Advisor::new().choose(Compression::Auto, &block),
            None,
            "unknown path"
        );
        for nonsense in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            let mut advisor = Advisor::new();
            advisor.set_path_speed(Some(nonsense));
            assert_eq!(advisor.choose(Compression::Auto, &block), None);
        }
    }

    #[test]
    fn a_codec_that_the_owner_names_needs_no_slow_path_and_none_means_none() {
        let block = text();
        for path in [None, Some(40.0 * GBIT), Some(0.01 * GBIT)] {
            let choose = |allowed| {
                let mut advisor = Advisor::new();
                advisor.set_path_speed(path);
                advisor.choose(allowed, &block)
            };
            assert_eq!(choose(Compression::None), None);
            assert_eq!(choose(Compression::Lz4), Some(Codec::Lz4));
            assert_eq!(choose(Compression::Zstd), Some(Codec::Zstd));
        }
    }

    #[test]
    fn what_does_not_pay_is_tried_ever_more_rarely_and_again_when_it_may_pay() {
        let mut advisor = Advisor::new();
        advisor.set_path_speed(Some(GBIT / 10.0));
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(65_536)
        .collect();
        // What looks compressible but is not, for ten thousand blocks.
        let tries = (0..10_000)
            .filter(|_| match advisor.choose(Compression::Auto, &text()) {
                Some(codec) => {
                    advisor.note(codec, 65_536, None, Duration::from_micros(100));
                    true
                }
                None => false,
            })
            .count();
        assert!((100..300).contains(&tries), "{tries} tries");
        assert_eq!(
            (0..1000)
                .filter(|_| advisor.choose(Compression::Auto, &noise).is_some())
                .count(),
            0
        );
        // Data changed: within one back-off it is tried, and once it pays each block is.
        let first = (0..200)
            .find_map(|_| advisor.choose(Compression::Auto, &text()))
            .expect("tried again");
        advisor.note(first, 65_536, Some(6_000), Duration::from_micros(100));
        assert!((0..100).all(|_| advisor.choose(Compression::Auto, &text()).is_some()));
    }
}
