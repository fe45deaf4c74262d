//! Memory that is freed goes back to the system.
//!
//! The C library keeps what has been freed, in a pool for every few threads. After a burst that would be more
//! than all that is in use.

/// Lets all threads share one pool. They allocate little at the same time.
#[cfg(target_env = "gnu")]
pub(crate) fn share_one_pool() {
    // SAFETY: it changes a setting of the allocator, which is made for being changed.
    #[allow(unsafe_code)]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back what is not in use.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    // SAFETY: it takes the allocator's own locks and moves nothing that is in use.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries have no such pools.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn share_one_pool() {}

/// Other C libraries give back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}
