//! Watching the cluster: lists, changes, and lists again when a watch breaks.

use std::fmt::Debug;

use futures::{Stream, StreamExt, TryStreamExt};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::runtime::{WatchStreamExt, watcher::DefaultBackoff};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::cluster::Change;

/// A watch is asked for anew after this time; twice as long without a word and it counts as broken.
const WATCH_S: u32 = 240;
/// Changes that wait to be taken over.
const WAITING: usize = 4096;

/// Changes of nodes, pods and disruption budgets.
pub(crate) fn all(client: &Client) -> mpsc::Receiver<Change> {
    let (changes, receiver) = mpsc::channel(WAITING);
    let nodes = events(Api::all(client.clone()), |event| Change::Node(Box::new(event)));
    let pods = events(Api::all(client.clone()), |event| Change::Pod(Box::new(event)));
    let budgets = events(Api::all(client.clone()), |event| Change::Budget(Box::new(event)));
    tokio::spawn(async move {
        let mut all = futures::stream::select_all([nodes.boxed(), pods.boxed(), budgets.boxed()]);
        while let Some(change) = all.next().await {
            if changes.send(change).await.is_err() {
                return;
            }
        }
    });
    receiver
}

fn events<K>(
    api: Api<K>,
    change: impl Fn(Event<K>) -> Change + Send + 'static,
) -> impl Stream<Item = Change> + Send + 'static
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    // Errors are tried again by the backoff; they are said once for each try.
    let watch = watcher(api, Config::default().timeout(WATCH_S)).backoff(DefaultBackoff::default());
    watch
        .inspect_err(|error| eprintln!("onepath: scheduler: watch: {error}"))
        .filter_map(|event| std::future::ready(event.ok()))
        .map(change)
}
