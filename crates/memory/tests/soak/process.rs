//! What a process holds, as its kernel says.

fn resident(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let words = line.and_then(|line| line.split_whitespace().nth(1));
    words.and_then(|word| word.parse().ok()).unwrap_or(0.0) * 1024.0
}

pub fn count(process: &str, what: &str) -> usize {
    std::fs::read_dir(format!("/proc/{process}/{what}")).map_or(0, Iterator::count)
}

/// What memory may grow by between the first third of the samples and the last.
const GROWTH_SHARE: f64 = 0.10;
const GROWTH_BYTES: f64 = 8e6;

/// Resident bytes over time, of one process between two kills.
#[derive(Default)]
pub struct Memory(Vec<f64>);

impl Memory {
    /// What this process holds now.
    pub fn sample(&mut self) {
        self.0.push(resident("self"));
    }

    fn median(samples: &[f64]) -> f64 {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    /// Refuses growth from the first third of the time to the last.
    pub fn check(&self, who: &str) -> String {
        let third = self.0.len() / 3;
        if third == 0 {
            return format!("{who}: too short to tell");
        }
        let early = Self::median(&self.0[..third]);
        let late = Self::median(&self.0[self.0.len() - third..]);
        assert!(
            late <= early * (1.0 + GROWTH_SHARE) + GROWTH_BYTES,
            "{who} grew from {:.1} to {:.1} MB",
            early / 1e6,
            late / 1e6
        );
        format!("{who} {:.1} → {:.1} MB", early / 1e6, late / 1e6)
    }
}
