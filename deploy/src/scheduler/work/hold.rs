//! Holding the lease in the background.

use std::time::{Duration, Instant};

use kube::Client;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::log;
use crate::scheduler::lease::{Leadership, PERIOD};

/// Whether this instance may act, as it changes.
#[derive(Debug)]
pub(super) struct Hold {
    /// None: no lease is needed.
    task: Option<(JoinHandle<()>, oneshot::Sender<()>)>,
    until: watch::Receiver<Option<Instant>>,
}

impl Hold {
    /// For who touches nothing.
    pub(super) fn unneeded() -> Self {
        Self { task: None, until: watch::channel(None).1 }
    }

    /// Tries to get the lease, and renews it then.
    pub(super) fn begin(client: &Client, namespace: &str, identity: &str) -> Self {
        let mut leadership = Leadership::new(client.clone(), namespace, identity.to_owned());
        let (tell, until) = watch::channel(None);
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut said = String::new();
            loop {
                let why = leadership.try_hold().await.err().unwrap_or_default();
                if why != said {
                    log(if why.is_empty() { "holds the lease" } else { &why });
                    said = why;
                }
                // Only ever sent to a receiver that has gone when the scheduler ends.
                let _ = tell.send(leadership.until());
                tokio::select! {
                    () = tokio::time::sleep(PERIOD) => {}
                    _ = &mut ended => break,
                }
            }
            leadership.release().await;
        });
        Self { task: Some((task, end)), until }
    }

    /// Whether it may act now.
    pub(super) fn is_held(&self) -> bool {
        self.task.is_none() || self.until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Until something has changed about that.
    pub(super) async fn changed(&mut self) {
        if self.task.is_none() || self.until.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gives the lease up.
    pub(super) async fn end(self) {
        if let Some((task, end)) = self.task {
            // The task may have ended by itself.
            let _ = end.send(());
            let _ = tokio::time::timeout(Duration::from_secs(10), task).await;
        }
    }
}
