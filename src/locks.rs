//! What a thread that panicked while it held a lock means to the others: nothing.
//!
//! The panic itself ends the run where its thread is joined. What the lock guards is counters, queues and caches, which
//! are whole between any two statements, so the other threads go on with it.

use std::sync::LockResult;

/// The value of a lock, whether or not a thread panicked while it held it.
pub trait Unpoisoned<T> {
    /// The guard or the value.
    fn unpoisoned(self) -> T;
}

impl<T> Unpoisoned<T> for LockResult<T> {
    fn unpoisoned(self) -> T {
        self.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_thread_that_panics_takes_no_other_with_it() {
        let count = Mutex::new(1);
        let panicked = std::panic::catch_unwind(|| {
            let _guard = count.lock();
            panic!("on purpose");
        });
        assert!(panicked.is_err() && count.is_poisoned());
        *count.lock().unpoisoned() += 1;
        assert_eq!(count.into_inner().unpoisoned(), 2);
    }
}
