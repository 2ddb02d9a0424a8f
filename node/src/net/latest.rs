//! A value that one task must learn of whenever it changes: the latest one only, and never too late.
//!
//! Unlike a queue it is never full, so whoever changes it need not wait.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub(super) struct Latest<T> {
    value: Mutex<Option<T>>,
    changed: Notify,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { value: Mutex::default(), changed: Notify::new() }
    }
}

impl<T> Latest<T> {
    /// Changes the value.
    pub(super) fn put(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        self.changed.notify_one();
    }

    /// Returns the value when it has changed. For one task. Cancel-safe.
    pub(super) async fn take(&self) -> T {
        loop {
            if let Some(value) = self.value.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return value;
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Latest;
    use futures::FutureExt as _;

    #[test]
    fn only_the_latest_value_is_taken_and_only_once() {
        let latest = Latest::default();
        assert_eq!(latest.take().now_or_never(), None);
        latest.put(1);
        latest.put(2);
        assert_eq!(latest.take().now_or_never(), Some(2));
        assert_eq!(latest.take().now_or_never(), None);
        latest.put(3);
        assert_eq!(latest.take().now_or_never(), Some(3));
    }
}
