//! The program's randomness in one place: every jitter is drawn here, so that a test can run the same program twice.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Where jitter comes from.
pub struct Dice(Mutex<SmallRng>);

impl Dice {
    /// Dice that fall the same way for the same seed, as long as they are thrown in the same order.
    #[must_use]
    pub fn seeded(seed: u64) -> Dice {
        Dice(Mutex::new(SmallRng::seed_from_u64(seed)))
    }

    /// A number from 0 up to, but not including, 1.
    pub fn unit(&self) -> f64 {
        self.draw(Rng::random)
    }

    /// A seed for dice of somebody's own.
    pub fn seed(&self) -> u64 {
        self.draw(Rng::random)
    }

    fn draw<T>(&self, from: impl FnOnce(&mut SmallRng) -> T) -> T {
        // A generator has no state that a panic could leave half changed.
        from(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Dice {
    /// Dice that fall differently each time.
    fn default() -> Dice {
        Dice::seeded(rand::random())
    }
}

impl fmt::Debug for Dice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dice")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_fall_alike_and_others_do_not() {
        let throw = |dice: &Dice| (0..8).map(|_| dice.unit()).collect::<Vec<f64>>();
        let first = throw(&Dice::seeded(7));
        assert_eq!(first, throw(&Dice::seeded(7)));
        assert_ne!(first, throw(&Dice::seeded(8)));
        assert!(first.iter().all(|unit| (0.0..1.0).contains(unit)));
    }
}
