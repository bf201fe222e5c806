//! Which flow label each lane has, and the next one when its queue pair is replaced.

use crate::proto::Random;
use crate::tcp::pinned::PeerPaths;
use crate::verbs::FlowLabel;

use onepath_topology::fabric::PathId;

/// The UDP source ports of RoCE v2, which labels choose among.
const PORTS: u64 = 1 << 14;
const FIRST_PORT: u16 = 0xc000;

/// The labels of what this rank sends to one peer.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    lanes: usize,
    seed: u64,
    given: Vec<FlowLabel>,
    /// By path.
    paths: Vec<(PathId, Vec<FlowLabel>)>,
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
        let paths = paths.map(|path| (path.path, labels(&path.ports)));
        let paths = paths.filter(|(_, labels)| given.is_empty() && !labels.is_empty());
        Self { lanes: lanes.into(), seed, paths: paths.collect(), given }
    }

    /// The path of a lane, where it is known.
    pub(super) fn path(&self, lane: u8) -> Option<PathId> {
        let at = usize::from(lane) % self.paths.len().max(1);
        self.paths.get(at).map(|&(path, _)| path)
    }

    /// The label of a lane's queue pair. The first one that follows gets another label of the
    /// lane's path, or the label of the next lane; every second one that of a lane that is `alive`,
    /// whose path is known to be good; the others any label: which of those that are known are
    /// good is not known, and a queue pair needs a good path at both ends.
    pub(super) fn label(&self, lane: u8, generation: u32, alive: Option<FlowLabel>) -> FlowLabel {
        if let Some(label) = alive.filter(|_| generation > 0 && generation.is_multiple_of(2)) {
            return label;
        }
        if generation > 1 {
            return self.derived(usize::from(lane), generation as usize);
        }
        let (at, turn) = (usize::from(lane), generation as usize);
        if let Some((_, labels)) = self.paths.get(at % self.paths.len().max(1)) {
            // Lanes that share a path begin on different ports of it.
            return labels[(at / self.paths.len() + turn) % labels.len()];
        }
        match self.given.get((at + turn) % self.given.len().max(1)) {
            Some(&label) => label,
            None => self.derived(at, turn),
        }
    }

    /// A port at random, another one for each lane of a generation.
    fn derived(&self, lane: usize, turn: usize) -> FlowLabel {
        let mut random = Random::new(self.seed ^ (turn as u64) << 32);
        let mut taken = Vec::with_capacity(self.lanes);
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

    #[test]
    fn derived_labels_differ_among_lanes_and_depend_on_the_seed_alone() {
        let labels = |seed| -> Vec<FlowLabel> {
            let labels = Labels::new(16, seed, Vec::new(), None);
            (0..16).map(|lane| labels.label(lane, 0, None)).collect()
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
        let labels = Labels::new(2, 1, vec![label(5), label(9)], None);
        assert_eq!([0, 1].map(|lane| labels.label(lane, 0, None).get()), [5, 9]);
        assert_eq!(labels.label(0, 1, Some(label(7))).get(), 9);
        assert_eq!(labels.label(0, 2, Some(label(7))).get(), 7);
        let others = [labels.label(0, 2, None), labels.label(0, 3, Some(label(7)))];
        assert!(others.iter().all(|label| ![5, 7, 9].contains(&label.get())), "{others:?}");
        assert_eq!(labels.path(0), None);
    }

    #[test]
    fn lanes_take_the_paths_in_turn_and_their_ports_one_after_the_other() {
        let path = |number, ports: &[u16]| PathPorts { path: PathId(number), ports: ports.into() };
        let paths = vec![path(3, &[0xc001, 0xc002]), path(4, &[0xc003]), path(5, &[80])];
        let paths = PeerPaths { leaf: LeafId(0), paths };
        let labels = Labels::new(4, 1, Vec::new(), Some(&paths));
        assert_eq!([0, 1, 2, 3].map(|lane| labels.label(lane, 0, None).get()), [1, 3, 2, 3]);
        assert_eq!([0, 1, 2].map(|lane| labels.path(lane)), [3, 4, 3].map(|p| Some(PathId(p))));
        assert_eq!(labels.label(0, 1, None).get(), 2);
    }
}
