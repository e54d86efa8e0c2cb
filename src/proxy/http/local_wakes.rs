//! Wake-ups inside one task, whose parts wait for each other.
//!
//! A request goes from the client's side of a connection to the target's, and its response back; each side wakes the other
//! several times on the way. To the runtime every one of these would be a task to be queued again, and maybe a sleeping
//! thread to be roused for it, with every part to be asked anew. Here a part is asked when it was woken, and one that was
//! woken by another is asked in the same poll of the task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// How often the parts are asked before other tasks have their turn: a request needs two or three rounds.
const MOST_ROUNDS: usize = 8;

/// The wake-ups of `N` parts of a task.
pub struct LocalWakes<const N: usize> {
    shared: Arc<Shared>,
    parts: [Arc<Part>; N],
    wakers: [Waker; N],
}

/// What all parts have in common.
#[derive(Default)]
struct Shared {
    task: AtomicWaker,
    /// The task is asking its parts: it will see by itself who was woken.
    asking: AtomicBool,
}

struct Part {
    /// Not asked since it was woken.
    woken: AtomicBool,
    shared: Arc<Shared>,
}

impl Wake for Part {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    // The order of these two, and of their counterparts in `poll`, is what no wake-up is lost by: of whoever sets one thing and
    // looks at the other, at least one sees the other's.
    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if !self.shared.asking.load(Ordering::SeqCst) {
            self.shared.task.wake();
        }
    }
}

impl<const N: usize> Default for LocalWakes<N> {
    /// All parts are to be asked at first.
    fn default() -> Self {
        let shared = Arc::<Shared>::default();
        let parts = std::array::from_fn(|_| {
            Arc::new(Part { woken: AtomicBool::new(true), shared: Arc::clone(&shared) })
        });
        let wakers = parts.each_ref().map(|part| Waker::from(Arc::clone(part)));
        Self { shared, parts, wakers }
    }
}

impl<const N: usize> LocalWakes<N> {
    /// What has a part asked.
    pub fn waker(&self, part: usize) -> &Waker {
        &self.wakers[part]
    }

    /// Asks the parts that were woken, by number, until none is or one is through. To be called from one task only.
    pub fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut ask: impl FnMut(usize, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.shared.task.register(cx.waker());
        for _ in 0..MOST_ROUNDS {
            self.shared.asking.store(true, Ordering::SeqCst);
            let asked = self.ask_woken(&mut ask);
            self.shared.asking.store(false, Ordering::SeqCst);
            if asked.is_ready() {
                return asked;
            }
            if !self.is_any_woken() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn ask_woken<T>(&self, ask: &mut impl FnMut(usize, &mut Context<'_>) -> Poll<T>) -> Poll<T> {
        for (number, (part, waker)) in self.parts.iter().zip(&self.wakers).enumerate() {
            if part.woken.swap(false, Ordering::SeqCst)
                && let Poll::Ready(through) = ask(number, &mut Context::from_waker(waker))
            {
                return Poll::Ready(through);
            }
        }
        Poll::Pending
    }

    fn is_any_woken(&self) -> bool {
        self.parts.iter().any(|part| part.woken.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    /// Counts how often the task is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls once; the parts that were asked, in order. Each does what `deed` says.
    fn asked(
        wakes: &LocalWakes<3>,
        task: &Arc<Woken>,
        mut deed: impl FnMut(usize, &mut Context<'_>),
    ) -> Vec<usize> {
        let (mut seen, waker) = (Vec::new(), Waker::from(Arc::clone(task)));
        let polled = wakes.poll(&mut Context::from_waker(&waker), |part, cx| {
            seen.push(part);
            deed(part, cx);
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        seen
    }

    #[test]
    fn all_are_asked_first_and_then_only_who_was_woken() {
        let (wakes, task) = (LocalWakes::default(), Arc::default());
        assert_eq!(asked(&wakes, &task, |_, _| {}), [0, 1, 2]);
        assert!(asked(&wakes, &task, |_, _| {}).is_empty());
        wakes.waker(1).wake_by_ref();
        assert_eq!(task.0.load(Ordering::SeqCst), 1, "from outside the task is woken");
        assert_eq!(asked(&wakes, &task, |_, _| {}), [1]);
    }

    #[test]
    fn who_wakes_another_has_it_asked_in_the_same_poll_without_waking_the_task() {
        let (wakes, task) = (LocalWakes::default(), Arc::default());
        let mut once = true;
        let seen = asked(&wakes, &task, |part, _| {
            if part == 2 && std::mem::take(&mut once) {
                wakes.waker(0).wake_by_ref();
            }
        });
        assert_eq!(seen, [0, 1, 2, 0]);
        assert_eq!(task.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn who_wakes_itself_for_ever_lets_other_tasks_have_their_turn() {
        let (wakes, task) = (LocalWakes::default(), Arc::default());
        let seen = asked(&wakes, &task, |part, cx| {
            if part == 0 {
                cx.waker().wake_by_ref();
            }
        });
        assert_eq!(seen.iter().filter(|part| **part == 0).count(), MOST_ROUNDS);
        assert_eq!(task.0.load(Ordering::SeqCst), 1);
        assert_eq!(asked(&wakes, &task, |_, _| {}), [0]);
    }

    #[test]
    fn one_that_is_through_ends_the_poll() {
        let (wakes, task) = (LocalWakes::<2>::default(), Arc::<Woken>::default());
        let waker = Waker::from(task);
        assert_eq!(wakes.poll(&mut Context::from_waker(&waker), |part, _| Poll::Ready(part)), Poll::Ready(0));
    }

    /// A part that waits for another thread's word a hundred thousand times is never forgotten.
    #[test]
    fn no_wake_up_from_another_thread_is_lost() {
        const TIMES: usize = 100_000;
        let wakes = Arc::new(LocalWakes::<2>::default());
        let (said, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let speaker = thread::spawn({
            let (wakes, said, heard) = (Arc::clone(&wakes), Arc::clone(&said), Arc::clone(&heard));
            move || {
                for time in 1..=TIMES {
                    said.store(time, Ordering::SeqCst);
                    wakes.waker(time % 2).wake_by_ref();
                    while heard.load(Ordering::SeqCst) < time {
                        thread::yield_now();
                    }
                }
            }
        });
        let listening = std::future::poll_fn(|cx| {
            wakes.poll(cx, |_, _| {
                let now = said.load(Ordering::SeqCst);
                heard.store(now, Ordering::SeqCst);
                if now == TIMES { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let limit = std::time::Duration::from_mins(1);
        runtime.block_on(async { tokio::time::timeout(limit, listening).await }).expect("a wake-up is lost");
        speaker.join().unwrap();
    }
}
