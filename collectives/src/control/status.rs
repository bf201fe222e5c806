//! What the control thread knows of a session, where the data path can read it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use onepath_topology::{Rank, WorldSize};

use super::failure::{DeathCause, Departure, Failure};
use super::progress::{PeerProgress, Progress, ProgressCell};

/// What is read only when something is wrong.
#[derive(Debug)]
struct Book {
    failure: Option<Failure>,
    dead: BTreeMap<Rank, DeathCause>,
    departed: BTreeMap<Rank, Departure>,
    progress: Vec<Option<PeerProgress>>,
}

/// Written by the driver of a session, read by its [`super::Control`]s.
#[derive(Debug)]
pub(super) struct Status {
    failed: AtomicBool,
    departures: AtomicUsize,
    excluded: AtomicBool,
    pub(super) own_progress: ProgressCell,
    book: Mutex<Book>,
}

impl Status {
    pub(super) fn new(world: WorldSize) -> Self {
        Self {
            failed: AtomicBool::new(false),
            departures: AtomicUsize::new(0),
            excluded: AtomicBool::new(false),
            own_progress: ProgressCell::default(),
            book: Mutex::new(Book {
                failure: None,
                dead: BTreeMap::new(),
                departed: BTreeMap::new(),
                progress: vec![None; world.get()],
            }),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(super) fn is_excluded(&self) -> bool {
        self.excluded.load(Ordering::Acquire)
    }

    pub(super) fn set_excluded(&self) {
        self.excluded.store(true, Ordering::Release);
    }

    pub(super) fn departures(&self) -> usize {
        self.departures.load(Ordering::Acquire)
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.book().failure.clone()
    }

    pub(super) fn dead(&self) -> Vec<Rank> {
        self.book().dead.keys().copied().collect()
    }

    pub(super) fn death(&self, rank: Rank) -> Option<DeathCause> {
        self.book().dead.get(&rank).copied()
    }

    pub(super) fn departed(&self, rank: Rank) -> Option<Departure> {
        self.book().departed.get(&rank).cloned()
    }

    pub(super) fn progress(&self, rank: Rank) -> Option<PeerProgress> {
        self.book().progress.get(rank.index()).copied().flatten()
    }

    /// Keeps the first failure.
    pub(super) fn fail(&self, failure: Failure) {
        self.book().failure.get_or_insert(failure);
        self.failed.store(true, Ordering::Release);
    }

    pub(super) fn add_dead(&self, rank: Rank, cause: DeathCause) {
        self.book().dead.insert(rank, cause);
    }

    pub(super) fn add_departed(&self, rank: Rank, departure: Departure) {
        self.book().departed.insert(rank, departure);
        self.departures.fetch_add(1, Ordering::Release);
    }

    pub(super) fn set_progress(&self, rank: Rank, progress: Progress) {
        let entry = PeerProgress { progress, received: Instant::now() };
        self.book().progress[rank.index()] = Some(entry);
    }
}
