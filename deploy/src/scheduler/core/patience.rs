//! When pods have waited long enough to step in.

use std::collections::BTreeMap;
use std::time::Duration;

/// A pod without a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) uid: String,
    /// Nobody but us binds it.
    pub(crate) ours: bool,
    /// The default scheduler found no node for it.
    pub(crate) refused: bool,
    /// The default scheduler makes room for it by preemption.
    pub(crate) nominated: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing before this time.
    Wait(Option<Duration>),
    /// A better placement is to be looked for.
    Solve,
}

/// Ours are collected for so long: the pods of a gang are made one after the other.
const COLLECT: Duration = Duration::from_millis(300);
/// Preemption by the default scheduler may take so many times the patience.
const NOMINATED: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Remembers since when pods wait, and what was of no use.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    /// How long the default scheduler is given.
    given: Duration,
    since: BTreeMap<String, Duration>,
    /// Those that were due when nothing came of it.
    tried: Vec<String>,
    pause: Duration,
    not_before: Duration,
}

impl Patience {
    pub(crate) fn new(patience: Duration) -> Self {
        let tried = Vec::new();
        let (pause, not_before) = (FIRST_PAUSE, Duration::ZERO);
        Self { given: patience, since: BTreeMap::new(), tried, pause, not_before }
    }

    /// Whether to step in for one of these, which are all that wait.
    pub(crate) fn decide(&mut self, waiting: &[Waiting], now: Duration) -> Decision {
        let counts = |pod: &&Waiting| pod.ours || pod.refused;
        let fresh = waiting.iter().filter(counts).map(|pod| {
            let since = self.since.get(&pod.uid).copied().unwrap_or(now);
            (pod.uid.clone(), since)
        });
        self.since = fresh.collect();
        let due = self.due(waiting, now);
        if due.is_empty() {
            let times = waiting.iter().filter_map(|pod| self.due_at(pod));
            return Decision::Wait(times.min());
        }
        let all_tried = due.iter().all(|uid| self.tried.contains(uid));
        if all_tried && now < self.not_before {
            return Decision::Wait(Some(self.not_before));
        }
        Decision::Solve
    }

    /// Something came of it: the world is another one.
    pub(crate) fn succeeded(&mut self) {
        self.tried.clear();
        self.pause = FIRST_PAUSE;
    }

    /// Nothing came of it; the next try for the same pods is later each time.
    pub(crate) fn failed(&mut self, waiting: &[Waiting], now: Duration) {
        let due = self.due(waiting, now);
        let again = due.iter().all(|uid| self.tried.contains(uid));
        self.pause = if again { (self.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        self.tried = due;
        self.not_before = now + self.pause;
    }

    fn due(&self, waiting: &[Waiting], now: Duration) -> Vec<String> {
        let due = waiting.iter().filter(|pod| self.due_at(pod).is_some_and(|at| at <= now));
        due.map(|pod| pod.uid.clone()).collect()
    }

    fn due_at(&self, pod: &Waiting) -> Option<Duration> {
        let since = *self.since.get(&pod.uid)?;
        Some(match pod {
            Waiting { ours: true, .. } => since + COLLECT,
            Waiting { nominated: true, .. } => since + self.given * NOMINATED,
            Waiting { .. } => since + self.given,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waiting(uid: &str, refused: bool) -> Waiting {
        Waiting { uid: uid.to_owned(), ours: false, refused, nominated: false }
    }

    #[test]
    fn a_refused_pod_is_due_after_the_patience_and_not_before() {
        let mut patience = Patience::new(5 * SECOND);
        let pods = [waiting("a", true)];
        assert_eq!(patience.decide(&pods, SECOND), Decision::Wait(Some(6 * SECOND)));
        assert_eq!(patience.decide(&pods, 5 * SECOND), Decision::Wait(Some(6 * SECOND)));
        assert_eq!(patience.decide(&pods, 6 * SECOND), Decision::Solve);
    }

    #[test]
    fn a_pod_that_the_default_scheduler_has_not_tried_yet_is_left_to_it() {
        let mut patience = Patience::new(5 * SECOND);
        let pods = [waiting("a", false)];
        assert_eq!(patience.decide(&pods, SECOND), Decision::Wait(None));
        assert_eq!(patience.decide(&pods, 100 * SECOND), Decision::Wait(None));
    }

    #[test]
    fn ours_are_due_almost_at_once_and_nominated_ones_late() {
        let mut patience = Patience::new(5 * SECOND);
        let ours = [Waiting { ours: true, ..waiting("a", false) }];
        assert_eq!(patience.decide(&ours, SECOND), Decision::Wait(Some(SECOND + COLLECT)));
        assert_eq!(patience.decide(&ours, 2 * SECOND), Decision::Solve);
        let nominated = [Waiting { nominated: true, ..waiting("b", true) }];
        assert_eq!(patience.decide(&nominated, SECOND), Decision::Wait(Some(31 * SECOND)));
    }

    #[test]
    fn what_was_of_no_use_is_tried_again_later_each_time_and_new_pods_at_once() {
        let mut patience = Patience::new(SECOND);
        let mut pods = vec![waiting("a", true)];
        patience.decide(&pods, Duration::ZERO);
        let mut now = 10 * SECOND;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert_eq!(patience.decide(&pods, now), Decision::Solve);
            patience.failed(&pods, now);
            let Decision::Wait(Some(next)) = patience.decide(&pods, now) else {
                panic!("no pause");
            };
            pauses.push(next.saturating_sub(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        patience.failed(&pods, now);
        pods.push(waiting("b", true));
        patience.decide(&pods, now);
        assert_eq!(patience.decide(&pods, now + SECOND), Decision::Solve);
    }
}
