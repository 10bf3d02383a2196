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
    /// Whether the host is to stop.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Ready when the host is to stop; also when the trigger is gone, since then nobody could ask any more.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        // An error means that the trigger is gone.
        let _ = receiver.wait_for(|is_requested| *is_requested).await;
    }
}
