//! Which flow label each lane has, and the next one when its queue pair is replaced.

use crate::proto::Random;
use crate::tcp::pinned::PeerPaths;
use crate::verbs::FlowLabel;

use onepath_topology::fabric::PathId;

/// The UDP source ports of RoCE v2, which labels choose among.
const PORTS: u64 = 1 << 14;
const FIRST_PORT: u16 = 0xc000;

/// Of so many replacements in a row, one takes any label: what is known of paths may be old.
const ANY_OF: u32 = 4;

/// The labels of what this rank sends to one peer.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    seed: u64,
    given: Vec<FlowLabel>,
    paths: Vec<Known>,
    /// Index of each lane's path; nothing where it is not known.
    now: Vec<Option<usize>>,
}

/// A path of the table.
#[derive(Clone, Debug)]
struct Known {
    path: PathId,
    labels: Vec<FlowLabel>,
    /// The last lane on it has died.
    suspect: bool,
}

impl Labels {
    /// Labels that an operator gave, or else of the peer's paths, or else derived from the seed.
    /// Ports of paths that RoCE does not have are passed over.
    pub(super) fn new(
        lanes: u16,
        seed: u64,
        given: Vec<FlowLabel>,
        paths: Option<&PeerPaths>,
    ) -> Self {
        let labels = |ports: &[u16]| -> Vec<FlowLabel> {
            ports.iter().filter_map(|&port| FlowLabel::for_source_port(port).ok()).collect()
        };
        let paths = paths.iter().flat_map(|peer| &peer.paths);
        let paths = paths.map(|path| Known {
            path: path.path,
            labels: labels(&path.ports),
            suspect: false,
        });
        let paths: Vec<_> =
            paths.filter(|known| given.is_empty() && !known.labels.is_empty()).collect();
        let now = (0..usize::from(lanes)).map(|lane| lane.checked_rem(paths.len())).collect();
        Self { seed, given, paths, now }
    }

    /// The path of a lane's present label, where it is known.
    pub(super) fn path(&self, lane: u8) -> Option<PathId> {
        self.paths.get(self.index(lane)?).map(|known| known.path)
    }

    fn index(&self, lane: u8) -> Option<usize> {
        self.now.get(usize::from(lane)).copied().flatten()
    }

    /// Whether a lane is beyond those of which each path has as many: spraying over it as well
    /// would load its path more than others.
    pub(super) fn is_left_over(&self, lane: u8) -> bool {
        let rounds = self.now.len().checked_div(self.paths.len()).unwrap_or(0);
        rounds > 0 && usize::from(lane) >= rounds * self.paths.len()
    }

    /// The label of a lane's first queue pair. Lanes take the paths in turn, and those that share
    /// one begin on different ports of it.
    pub(super) fn first(&self, lane: u8) -> FlowLabel {
        let at = usize::from(lane);
        match self.index(lane) {
            Some(path) => self.of_path(path, at / self.paths.len()),
            None => self.unknown(at, 0),
        }
    }

    /// The label of the queue pair that follows one of a lane which has failed; `open` are the
    /// lanes that have not. With known paths it is one of another path than that which failed,
    /// which then counts as dead until a lane is open on it; every second time that of an open
    /// lane, and now and then any, as what is known may be old. A queue pair needs a good path at
    /// both ends, which do the same with the same `generation`.
    pub(super) fn next(
        &mut self,
        lane: u8,
        generation: u32,
        open: &[(u8, FlowLabel)],
    ) -> FlowLabel {
        let (at, turn) = (usize::from(lane), generation as usize);
        let failed = self.index(lane);
        for path in 0..self.paths.len() {
            let alive = open.iter().any(|&(lane, _)| self.index(lane) == Some(path));
            let known = &mut self.paths[path];
            known.suspect = !alive && (known.suspect || failed == Some(path));
        }
        let known = !self.paths.is_empty();
        let any = known && generation.is_multiple_of(ANY_OF);
        let follow = open.first().filter(|_| generation.is_multiple_of(2) && !any);
        let (path, label) = if let Some(&(other, label)) = follow {
            (self.index(other), label)
        } else if known && !any {
            let path = self.another(failed, at + turn, open);
            (Some(path), self.of_path(path, at / self.paths.len() + turn))
        } else if generation <= 1 {
            (None, self.unknown(at, turn))
        } else {
            (None, self.derived(at, turn))
        };
        if let Some(now) = self.now.get_mut(at) {
            *now = path;
        }
        label
    }

    /// Another path than the one that failed, if there is one: such as are not known to be dead
    /// before others, then those with fewest open lanes, then in turn.
    fn another(&self, failed: Option<usize>, turn: usize, open: &[(u8, FlowLabel)]) -> usize {
        let count = self.paths.len();
        let first = failed.map_or(turn, |failed| failed + 1);
        let lanes =
            |path: usize| open.iter().filter(|&&(lane, _)| self.index(lane) == Some(path)).count();
        let paths = (0..count).map(|step| (first + step) % count);
        let others = paths.filter(|&path| count == 1 || failed != Some(path));
        others.min_by_key(|&path| (self.paths[path].suspect, lanes(path))).unwrap_or(0)
    }

    fn of_path(&self, path: usize, turn: usize) -> FlowLabel {
        let labels = &self.paths[path].labels;
        labels[turn % labels.len()]
    }

    /// Where paths are not known.
    fn unknown(&self, lane: usize, turn: usize) -> FlowLabel {
        match self.given.get((lane + turn) % self.given.len().max(1)) {
            Some(&label) => label,
            None => self.derived(lane, turn),
        }
    }

    /// A port at random, another one for each lane of a generation.
    fn derived(&self, lane: usize, turn: usize) -> FlowLabel {
        let mut random = Random::new(self.seed ^ (turn as u64) << 32);
        let mut taken = Vec::with_capacity(self.now.len());
        loop {
            let port = FIRST_PORT + random.below(PORTS) as u16;
            if taken.contains(&port) {
                continue;
            }
            if taken.len() == lane {
                return FlowLabel::for_source_port(port).unwrap_or_default();
            }
            taken.push(port);
        }
    }
}

#[cfg(test)]
mod tests {
    use onepath_topology::fabric::LeafId;

    use super::*;
    use crate::tcp::pinned::PathPorts;

    fn label(number: u32) -> FlowLabel {
        FlowLabel::new(number).expect("20 bits")
    }

    /// A table of paths 0, 1, ... with so many labels each: those of path P are 16 P + 1, ...
    fn table(lanes: u16, paths: u32, labels: u16) -> Labels {
        let ports = |path: u32| (1..=labels).map(|n| FIRST_PORT + 16 * path as u16 + n).collect();
        let path = |number| PathPorts { path: PathId(number), ports: ports(number) };
        let paths = PeerPaths { leaf: LeafId(0), paths: (0..paths).map(path).collect() };
        Labels::new(lanes, 1, Vec::new(), Some(&paths))
    }

    fn taken(labels: &Labels, lanes: u8) -> Vec<Option<u32>> {
        (0..lanes).map(|lane| labels.path(lane).map(|path| path.0)).collect()
    }

    #[test]
    fn derived_labels_differ_among_lanes_and_depend_on_the_seed_alone() {
        let labels = |seed| -> Vec<FlowLabel> {
            let labels = Labels::new(16, seed, Vec::new(), None);
            (0..16).map(|lane| labels.first(lane)).collect()
        };
        let mut first = labels(7);
        assert_eq!(first, labels(7));
        assert_ne!(first, labels(8));
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 16);
        assert!(first.iter().all(|&label| label != FlowLabel::DRIVERS_CHOICE));
    }

    #[test]
    fn given_labels_are_kept_and_a_replacement_takes_another() {
        let mut labels = Labels::new(2, 1, vec![label(5), label(9)], None);
        assert_eq!([0, 1].map(|lane| labels.first(lane).get()), [5, 9]);
        let open = [(1, label(7))];
        assert_eq!(labels.next(0, 1, &open).get(), 9);
        for generation in [2, 4, 6] {
            assert_eq!(labels.next(0, generation, &open).get(), 7);
        }
        let others = [labels.next(0, 2, &[]), labels.next(0, 3, &open)];
        assert!(others.iter().all(|label| ![5, 7, 9].contains(&label.get())), "{others:?}");
        assert_eq!(labels.path(0), None);
    }

    #[test]
    fn lanes_take_the_paths_in_turn_and_their_ports_one_after_the_other() {
        let path = |number, ports: &[u16]| PathPorts { path: PathId(number), ports: ports.into() };
        let paths = vec![path(3, &[0xc001, 0xc002]), path(4, &[0xc003]), path(5, &[80])];
        let paths = PeerPaths { leaf: LeafId(0), paths };
        let labels = Labels::new(4, 1, Vec::new(), Some(&paths));
        assert_eq!([0, 1, 2, 3].map(|lane| labels.first(lane).get()), [1, 3, 2, 3]);
        assert_eq!(taken(&labels, 3), [Some(3), Some(4), Some(3)]);
    }

    #[test]
    fn the_replacement_of_a_lane_has_a_label_of_another_path_of_the_table() {
        for (lanes, paths) in [(2, 2), (4, 2), (4, 4), (16, 4), (5, 3), (16, 2)] {
            let mut labels = table(lanes, paths, 4);
            // All lanes of path 0 die, one after the other.
            let is_dead = |lane: u8| u32::from(lane) % paths == 0;
            let open: Vec<_> = (0..lanes as u8)
                .filter(|&lane| !is_dead(lane))
                .map(|lane| (lane, labels.first(lane)))
                .collect();
            for lane in (0..lanes as u8).filter(|&lane| is_dead(lane)) {
                let label = labels.next(lane, 1, &open);
                let path = labels.path(lane).expect("of the table").0;
                assert_ne!(path, 0, "{lanes} lanes, {paths} paths");
                assert_eq!((label.get() - 1) / 16, path, "the label is of that path");
            }
        }
    }

    #[test]
    fn replacements_go_to_the_path_with_fewest_lanes_and_to_unused_ones_before() {
        let mut labels = table(3, 5, 2);
        let open = [(1, labels.first(1)), (2, labels.first(2))];
        labels.next(0, 1, &open);
        assert_eq!(taken(&labels, 3), [Some(3), Some(1), Some(2)]);
        // That one is dead as well, and the last one that is not follows.
        labels.next(0, 3, &open);
        assert_eq!(taken(&labels, 3), [Some(4), Some(1), Some(2)]);
        // Then the ones that other lanes show to be good.
        labels.next(0, 5, &open);
        assert_eq!(taken(&labels, 3), [Some(1), Some(1), Some(2)]);
        labels.next(0, 7, &open);
        assert_eq!(taken(&labels, 3), [Some(2), Some(1), Some(2)]);
    }

    #[test]
    fn in_between_a_replacement_does_as_an_open_lane_and_now_and_then_takes_any_label() {
        let mut labels = table(2, 2, 4);
        let open = [(1, labels.first(1))];
        assert_eq!(labels.next(0, 2, &open), open[0].1);
        assert_eq!(labels.path(0), Some(PathId(1)));
        let any = labels.next(0, 4, &open);
        assert_eq!(labels.path(0), None, "{any:?}");
        // Without any open lane the table is tried in turn.
        let paths = [5, 6, 7].map(|generation| {
            labels.next(0, generation, &[]);
            labels.path(0).map(|path| path.0)
        });
        assert!([[0, 1, 0], [1, 0, 1]].map(|all| all.map(Some)).contains(&paths), "{paths:?}");
    }

    #[test]
    fn the_only_path_is_kept_on_another_label_of_it() {
        let mut labels = table(2, 1, 3);
        let first = labels.first(0);
        assert_ne!(labels.next(0, 1, &[]), first);
        assert_eq!(labels.path(0), Some(PathId(0)));
    }

    #[test]
    fn lanes_that_would_load_a_path_more_than_others_are_left_over() {
        let count = |lanes: u16, paths| {
            let labels = table(lanes, paths, 2);
            (0..lanes as u8).filter(|&lane| labels.is_left_over(lane)).count()
        };
        assert_eq!([count(16, 2), count(16, 3), count(16, 5), count(4, 4)], [0, 1, 1, 0]);
        // Fewer lanes than paths, or paths that nobody knows: all of them serve.
        assert_eq!([count(2, 4), count(16, 0)], [0, 0]);
    }
}
