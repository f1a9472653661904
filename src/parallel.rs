//! The one file that starts threads: bounded work that runs side by side and comes back in order.
//!
//! Order is what keeps snapshots deterministic: hashing, compressing and sealing may run anywhere, their results are taken one by one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

thread_local! {
    static ONE_BY_ONE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `work` with everything that it hands to other threads done on this one, in the order it was handed over: so that a simulation
/// repeats from its seed. For tests: nothing is bounded then.
pub fn one_by_one<T>(work: impl FnOnce() -> T) -> T {
    let before = ONE_BY_ONE.replace(true);
    let outcome = work();
    ONE_BY_ONE.set(before);
    outcome
}

fn is_one_by_one() -> bool {
    ONE_BY_ONE.get()
}

/// What `work` gives, or `None` when it takes longer than this. Then its thread is left behind, and ends with the process.
#[expect(clippy::disallowed_methods, reason = "this is the room the rule points to")]
pub fn within<T: Send + 'static>(time: std::time::Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = send.send(work());
    });
    receive.recv_timeout(time).ok()
}

/// How many threads work side by side by default: the cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A pool whose results come back in the order of their jobs. At most `in_flight` jobs are held at once, so memory stays bounded.
pub(crate) struct OrderedPool<J, R> {
    /// Where there are no threads: see [`one_by_one`].
    here: Option<Box<dyn Fn(J) -> R + Send>>,
    jobs: Option<Sender<(J, Sender<R>)>>,
    pending: VecDeque<Receiver<R>>,
    in_flight: usize,
    threads: Vec<JoinHandle<()>>,
}

impl<J: Send + 'static, R: Send + 'static> OrderedPool<J, R> {
    /// `threads` threads named `name`, at most `in_flight` jobs handed in and not taken back.
    #[expect(clippy::disallowed_methods, reason = "this is the room the rule points to")]
    pub(crate) fn new(name: &str, threads: usize, in_flight: usize, work: impl Fn(J) -> R + Send + Sync + 'static) -> Self {
        if is_one_by_one() {
            let (pending, in_flight) = (VecDeque::new(), in_flight.max(1));
            return Self { here: Some(Box::new(work)), jobs: None, pending, in_flight, threads: Vec::new() };
        }
        let (jobs, queue) = unbounded::<(J, Sender<R>)>();
        let work = Arc::new(work);
        let threads = (0..threads.max(1))
            .filter_map(|_| {
                let (queue, work) = (queue.clone(), Arc::clone(&work));
                std::thread::Builder::new()
                    .name(name.to_owned())
                    .spawn(move || {
                        for (job, reply) in queue {
                            // The taker may have gone away after an error: then nobody wants the result.
                            let _ = reply.send(work(job));
                        }
                    })
                    .ok()
            })
            .collect();
        Self { here: None, jobs: Some(jobs), pending: VecDeque::new(), in_flight: in_flight.max(1), threads }
    }

    /// Is there no room for another job? Then take a result first.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= self.in_flight
    }

    /// Jobs handed in whose results were not taken yet.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Nothing is under way and nothing waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Hands in a job. Callers keep to the bound by taking results while [`OrderedPool::is_full`].
    pub(crate) fn submit(&mut self, job: J) {
        let (reply, result) = bounded(1);
        if let Some(work) = &self.here {
            // The other end of the channel is at hand.
            let _ = reply.send(work(job));
        } else if let Some(jobs) = &self.jobs {
            // Only fails when every thread is gone; `take` then reports it.
            let _ = jobs.send((job, reply));
        }
        self.pending.push_back(result);
    }

    /// The oldest result, waiting for it; `None` when nothing is under way.
    ///
    /// # Panics
    /// When the job panicked: a bug that must not be taken for a result.
    pub(crate) fn take(&mut self) -> Option<R> {
        let result = self.pending.pop_front()?;
        Some(result.recv().expect("a worker thread ended without a result: it panicked or could not be started"))
    }

    /// The oldest result if it is there already.
    ///
    /// # Panics
    /// As [`OrderedPool::take`].
    pub(crate) fn take_ready(&mut self) -> Option<R> {
        if self.pending.front()?.is_empty() && !self.threads.iter().all(JoinHandle::is_finished) {
            return None;
        }
        self.take()
    }
}

impl<J, R> Drop for OrderedPool<J, R> {
    fn drop(&mut self) {
        self.jobs = None;
        self.pending.clear();
        for thread in self.threads.drain(..) {
            // A panic was reported by `take`; a second one while dropping would abort.
            let _ = thread.join();
        }
    }
}

/// The taking side of a pipeline went away after an error: stop producing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// Where the producer of a [`pipeline`] puts its items.
pub(crate) struct Feed<T, U> {
    jobs: Sender<(T, Sender<U>)>,
    order: Sender<Receiver<U>>,
}

impl<T, U> Feed<T, U> {
    /// Hands one item on; waits while the pipeline is full.
    pub(crate) fn push(&self, item: T) -> Result<(), Closed> {
        let (reply, result) = bounded(1);
        self.order.send(result).map_err(|_| Closed)?;
        self.jobs.send((item, reply)).map_err(|_| Closed)
    }
}

/// Produce on one thread, work on `threads`, consume here, in the order of production; at most `in_flight` items are between.
///
/// An error of the consumer ends the pipeline and is returned; else what the producer returned.
pub(crate) fn pipeline<T: Send, U: Send, P: Send, E: From<P>>(
    threads: usize,
    in_flight: usize,
    produce: impl FnOnce(&Feed<T, U>) -> Result<(), P> + Send,
    work: impl Fn(T) -> U + Sync,
    mut consume: impl FnMut(U) -> Result<(), E>,
) -> Result<(), E> {
    if is_one_by_one() {
        let ((jobs, queue), (order, results)) = (unbounded::<(T, Sender<U>)>(), unbounded::<Receiver<U>>());
        let produced = produce(&Feed { jobs, order });
        for ((item, _), _) in queue.iter().zip(&results) {
            consume(work(item))?;
        }
        return produced.map_err(E::from);
    }
    std::thread::scope(|scope| {
        let (jobs, queue) = unbounded::<(T, Sender<U>)>();
        let (order, results) = bounded::<Receiver<U>>(in_flight.max(1));
        for _ in 0..threads.max(1) {
            let (queue, work) = (queue.clone(), &work);
            scope.spawn(move || {
                for (item, reply) in queue {
                    let _ = reply.send(work(item));
                }
            });
        }
        let producer = scope.spawn(move || produce(&Feed { jobs, order }));
        let mut outcome = Ok(());
        for result in &results {
            // A reply that never comes means a worker panicked; the scope passes its panic on.
            let Ok(item) = result.recv() else { break };
            if let Err(error) = consume(item) {
                outcome = Err(error);
                break;
            }
        }
        drop(results);
        match producer.join() {
            Ok(produced) => outcome.and_then(|()| produced.map_err(E::from)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Runs `work` on every item, on up to `threads` threads, in no order; returns the first error after all have stopped.
pub fn for_each<T: Send, E: Send>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let threads = if is_one_by_one() { 1 } else { threads };
    let items = std::sync::Mutex::new(items);
    let failed = std::sync::Mutex::new(None);
    let next = || match items.lock() {
        Ok(mut items) => items.next(),
        Err(_) => None,
    };
    let run = || {
        while let Some(item) = next() {
            if failed.lock().map_or(true, |failed| failed.is_some()) {
                return;
            }
            if let Err(error) = work(item) {
                if let Ok(mut failed) = failed.lock() {
                    failed.get_or_insert(error);
                }
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            scope.spawn(run);
        }
        run();
    });
    match failed.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(()),
    }
}

/// Starts `work` on a thread of its own that outlives the caller's frame; the channel gets its result. Nobody has to take it, and a
/// thread that never ends holds nothing up: for draining pipes, not for work whose failure matters.
#[expect(clippy::disallowed_methods, reason = "this is the room the rule points to")]
pub fn background<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<Receiver<T>> {
    let (result, taken) = bounded(1);
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // The taker may have gone away: then nobody wants the result.
        let _ = result.send(work());
    })?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_back_in_order_whatever_the_work_takes() {
        let mut seen = Vec::new();
        let result: Result<(), ()> = pipeline(
            4,
            8,
            |feed: &Feed<u64, u64>| {
                for n in 0..200 {
                    feed.push(n).map_err(|_| ())?;
                }
                Ok::<(), ()>(())
            },
            |n| {
                std::thread::sleep(std::time::Duration::from_micros((n * 7919) % 97));
                n
            },
            |n| {
                seen.push(n);
                Ok(())
            },
        );
        assert_eq!(result, Ok(()));
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn one_by_one_everything_happens_here_and_in_order() {
        let here = std::thread::current().id();
        let seen = one_by_one(|| {
            let mut seen = Vec::new();
            let mut pool = OrderedPool::new("test", 3, 4, move |n: u64| (n, std::thread::current().id() == here));
            (0..3).for_each(|n| pool.submit(n));
            seen.extend(std::iter::from_fn(|| pool.take_ready()));
            let produce = |feed: &Feed<u64, (u64, bool)>| (3..6).try_for_each(|n| feed.push(n));
            let work = |n| (n, std::thread::current().id() == here);
            let consume = |item| {
                seen.push(item);
                Ok::<(), Closed>(())
            };
            pipeline(3, 1, produce, work, consume).unwrap();
            seen
        });
        assert_eq!(seen, (0..6).map(|n| (n, true)).collect::<Vec<_>>());
        assert!(!is_one_by_one());
    }

    #[test]
    fn an_error_of_the_consumer_stops_the_producer() {
        let result: Result<(), &str> = pipeline(
            2,
            2,
            |feed: &Feed<u64, u64>| {
                let mut n = 0;
                while feed.push(n).is_ok() {
                    n += 1;
                }
                Ok::<(), &str>(())
            },
            |n| n,
            |n| if n == 5 { Err("five") } else { Ok(()) },
        );
        assert_eq!(result, Err("five"));
    }

    #[test]
    fn a_pool_keeps_order_and_its_bound() {
        let mut pool = OrderedPool::new("test", 3, 4, |n: u64| {
            std::thread::sleep(std::time::Duration::from_micros((n * 31) % 50));
            n
        });
        let mut seen = Vec::new();
        for n in 0..100 {
            if pool.is_full() {
                seen.extend(pool.take());
            }
            pool.submit(n);
            assert!(pool.len() <= 4);
        }
        while let Some(n) = pool.take() {
            seen.push(n);
        }
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_background_thread_hands_its_result_over_or_keeps_it() {
        assert_eq!(background("test", || 7).unwrap().recv(), Ok(7));
        drop(background("test", || 8).unwrap());
    }

    #[test]
    fn the_first_error_of_many_workers_is_returned() {
        let result = for_each(3, 0..1000, |n| if n == 500 { Err(n) } else { Ok(()) });
        assert_eq!(result, Err(500));
    }
}
