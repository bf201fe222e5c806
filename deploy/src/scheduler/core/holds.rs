//! Pods that could not be evicted: the next plans leave them where they are, for some time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So long; then it is tried again, since a webhook or a budget may have changed.
const HELD: Duration = Duration::from_mins(5);

/// Uids, and until when each is held.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds {
    until: BTreeMap<String, Duration>,
}

impl Holds {
    /// Holds these from now on.
    pub(crate) fn add(&mut self, uids: &BTreeSet<String>, now: Duration) {
        self.until.extend(uids.iter().map(|uid| (uid.clone(), now + HELD)));
    }

    /// Those that are held; the others are forgotten.
    pub(crate) fn held(&mut self, now: Duration) -> BTreeSet<String> {
        self.until.retain(|_, until| now < *until);
        self.until.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_held_for_five_minutes_after_the_last_try_and_then_forgotten() {
        let pods = |uids: &[&str]| uids.iter().map(|uid| (*uid).to_owned()).collect();
        let (mut holds, second) = (Holds::default(), Duration::from_secs(1));
        holds.add(&pods(&["a", "b"]), Duration::ZERO);
        holds.add(&pods(&["b"]), 200 * second);
        assert_eq!(holds.held(299 * second), pods(&["a", "b"]));
        assert_eq!(holds.held(300 * second), pods(&["b"]));
        assert_eq!(holds.held(500 * second), pods(&[]));
        assert!(holds.until.is_empty());
    }
}
