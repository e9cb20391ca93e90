//! Seeded numbers for payloads and arrivals: the same seed gives the same run.

use crate::random::SplitMix64;

#[derive(Clone, Debug)]
pub struct Random(SplitMix64);

impl Random {
    /// A stream of its own for each `purpose` of one seed.
    pub fn new(seed: u64, purpose: u64) -> Random {
        let mut random = SplitMix64::new(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Random(SplitMix64::new(random.next_u64()))
    }

    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Evenly in (0, 1]: never 0, so that its logarithm exists.
    pub fn unit(&mut self) -> f64 {
        ((self.number() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.number().to_le_bytes()[..chunk.len()]);
        }
    }
}
