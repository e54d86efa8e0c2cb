//! What all fuzz targets share: a check that parsing takes no more memory than the input warrants.
//!
//! A new target is a new file in `src/bin`:
//!
//! ```ignore
//! //! What is parsed, and what must hold.
//! // max_len=4096
//! #![no_main]
//!
//! rustbalance_fuzz::target!(|data: &[u8]| {
//!     let _ = some_parser(data);
//! });
//! ```
//!
//! `max_len` is the longest input tried, in bytes. Inputs in `seeds/NAME/` are tried first, words in
//! `dictionaries/NAME` (or `dictionaries/default`) are put together. An input that once crashed a target belongs into its
//! seeds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[doc(hidden)]
pub use libfuzzer_sys;

/// Memory a parser may hold at once, whatever its input: room for tables and error texts.
const ALLOWANCE_BYTES: usize = 64 * 1024;
/// And for each byte of input: it may be copied, decoded, and kept in vectors that grow by doubling.
const ALLOWANCE_PER_INPUT_BYTE: usize = 16;

/// Defines a target: the closure is run with every input, and its peak of memory is held against the input's length.
#[macro_export]
macro_rules! target {
    (|$data:ident: &[u8]| $body:expr) => {
        $crate::libfuzzer_sys::fuzz_target!(|$data: &[u8]| $crate::measured($data.len(), || {
            $body;
        }));
    };
}

/// Runs `parse` and fails if it held more memory at once than an input of this length warrants.
pub fn measured(input_len: usize, parse: impl FnOnce()) {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    parse();
    let taken = PEAK.load(Relaxed).saturating_sub(before);
    let allowed = ALLOWANCE_BYTES + ALLOWANCE_PER_INPUT_BYTE * input_len;
    assert!(taken <= allowed, "an input of {input_len} bytes took {taken} bytes, {allowed} are allowed");
}

/// Bytes held now, and the most held since [`measured`] began.
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is passed on to the system's allocator; only numbers are kept besides.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(held, Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}
