//! One signal that everything running listens to.

use tokio::sync::watch;

/// Asks everything that holds a [`Shutdown`] to stop.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Tells whether the host is to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// A trigger and what it reaches.
pub fn channel() -> (ShutdownTrigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownTrigger(sender), Shutdown(receiver))
}

impl ShutdownTrigger {
    /// Asks to stop; asking twice changes nothing.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Whether the host is to stop, as [`Shutdown::requested`] has it.
    pub fn is_requested(&self) -> bool {
        let is_trigger_gone = self.0.has_changed().is_err();
        is_trigger_gone || *self.0.borrow()
    }

    /// Ready when the host is to stop; also when the trigger is gone, since then nobody could ask any more.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        // An error means that the trigger is gone.
        let _ = receiver.wait_for(|is_requested| *is_requested).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Whether it is to stop, asked both ways.
    fn is_to_stop(shutdown: &Shutdown) -> (bool, bool) {
        (shutdown.is_requested(), shutdown.requested().now_or_never().is_some())
    }

    #[test]
    fn it_is_to_stop_when_it_is_asked_to_and_when_nobody_could_ask_any_more() {
        let (trigger, shutdown) = channel();
        assert_eq!(is_to_stop(&shutdown), (false, false));
        trigger.request();
        assert_eq!(is_to_stop(&shutdown), (true, true));
        let (trigger, shutdown) = channel();
        drop(trigger);
        assert_eq!(is_to_stop(&shutdown), (true, true));
    }
}
