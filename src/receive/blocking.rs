//! Work that blocks, away from the async workers.

use std::time::Duration;

use crate::verdict::Cause;

/// How long a sender waits for storage before it is told to try again, in seconds: they wait ten minutes (RFC 5321 section
/// 4.5.3.2.6), and a file system that hangs may hang for ever.
const STORAGE_SECONDS_MAX: u64 = 240;

/// Runs what blocks on a thread that may. A panic there is ours, and defers this message alone. Past the deadline the work
/// goes on, with its claims: the sender's retry finds them in flight, and later the message delivered.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Cause> {
    let work = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(Duration::from_secs(STORAGE_SECONDS_MAX), work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            tracing::error!(%error, "a delivery thread failed: the message is deferred");
            Err(Cause::Internal)
        }
        Err(_) => {
            tracing::error!(
                seconds = STORAGE_SECONDS_MAX,
                "storage does not answer: the message is deferred; is a file system hanging?"
            );
            Err(Cause::StorageFailed)
        }
    }
}
