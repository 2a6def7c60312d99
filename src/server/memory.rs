//! The allocator's settings, for a process in which large buffers come and go on many threads.
//!
//! *Does:* has blocks of [`OWN_MAPPING_OCTETS_MIN`] and more live in mappings of their own, which go back to the system when
//! they are freed.
//! *Why:* glibc begins so, and raises that threshold, up to 32 MiB, with each such block that is freed. From then on large
//! messages lie in the heaps of many threads, which keep what was freed: two hundred messages of 20 MB left 600 MiB
//! resident, although no more than 130 MiB of them were ever in use.

/// From this size on a block has a mapping of its own, in octets: what glibc begins with (`DEFAULT_MMAP_THRESHOLD`).
pub const OWN_MAPPING_OCTETS_MIN: i32 = 128 << 10;

/// To be called once, before there is load. On other C libraries than glibc there is nothing to do.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    {
        /// `M_MMAP_THRESHOLD` of mallopt(3).
        const M_MMAP_THRESHOLD: i32 = -3;
        // SAFETY: this is mallopt(3)'s declaration: two C ints by value, and one back.
        unsafe extern "C" {
            // It takes no pointers, and may be called at any time from any thread: whatever the numbers, it is safe.
            safe fn mallopt(parameter: i32, value: i32) -> i32;
        }
        if mallopt(M_MMAP_THRESHOLD, OWN_MAPPING_OCTETS_MIN) == 0 {
            tracing::warn!("the allocator keeps its own threshold: memory may be given back late");
        }
    }
}
