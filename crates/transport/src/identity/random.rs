//! The system's random numbers, as the libraries want them.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use fn_dsa::{CryptoRng, RngCore, RngError};

/// Random bytes.
///
/// # Panics
/// When the system has no entropy: no key, nonce or token may be made then.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

fn fill(out: &mut [u8]) {
    SystemRandom::new()
        .fill(out)
        .expect("the system's random source works");
}

/// Draws the first random bytes of the process, so that nobody waits for them later: seeding takes 40–120 ms once.
/// Call it early, off the JavaScript thread.
pub fn seed_random() {
    let _: [u8; 1] = bytes();
}

/// The source that FALCON draws from.
#[derive(Clone, Copy, Debug)]
pub(super) struct SystemRng;

impl CryptoRng for SystemRng {}

impl RngCore for SystemRng {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(bytes())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(bytes())
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        fill(out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), RngError> {
        fill(out);
        Ok(())
    }
}
