//! The ring of nginx's `hash … consistent`: 160 points per unit of weight.

use super::Crc32;
use super::table::Node;

/// Points per unit of weight.
const POINTS: u32 = 160;
/// Most points of a ring, 8 bytes each; heavier fleets get proportionally fewer each, one at least.
const MOST_POINTS: u64 = 1 << 18;

/// What an instance's points grow from: CRC-32 of host, a zero byte and port. Of an address `http://10.0.0.7:8080/x`
/// that is `10.0.0.7\0` `8080`; an address without a port has an empty one.
pub(crate) fn seed(address: &str) -> Crc32 {
    let authority = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or(authority);
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    Crc32::new()
        .update(host.as_bytes())
        .update(&[0])
        .update(port.as_bytes())
}

/// Points in the order of their hashes, each with its node's index. Of points with one hash the first node's stays.
///
/// Each point's hash goes on from the seed with the bytes of the point before, as nginx's does.
pub(crate) fn ring(nodes: &[Node]) -> Vec<(u32, u32)> {
    let wanted: u64 = nodes
        .iter()
        .map(|node| u64::from(node.weight) * u64::from(POINTS))
        .sum();
    let mut points = Vec::with_capacity(wanted.min(MOST_POINTS) as usize);
    for (index, node) in nodes.iter().enumerate() {
        let mut count = u64::from(node.weight * POINTS);
        if wanted > MOST_POINTS {
            count = (count * MOST_POINTS / wanted).max(1);
        }
        let mut hash = 0u32;
        for _ in 0..count {
            hash = node.seed.update(&hash.to_le_bytes()).finish();
            points.push((hash, index as u32));
        }
    }
    points.sort_unstable();
    points.dedup_by_key(|point| point.0);
    points
}
