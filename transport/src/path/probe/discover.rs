//! The search of the paths to all destinations.

use core::net::{IpAddr, SocketAddr};

use super::search::{Finding, Search};
use super::{Outcome, Prober, Session, Strategy, Target};
use crate::path::config::ConfigError;
use crate::path::table::{Discovery, PathTable, Unpinned};
use crate::path::{ProbeConfig, leaves};

/// Searches of several destinations, which take turns.
#[derive(Debug)]
pub struct Discover {
    config: ProbeConfig,
    source: IpAddr,
    searches: Vec<Search>,
    /// Indices of searches that are not finished.
    active: Vec<u32>,
    /// Whose turn it is, an index of `active`.
    turn: usize,
}

impl Strategy for Discover {
    fn next_target(&mut self) -> Option<Target> {
        for _ in 0..self.active.len() {
            self.turn = (self.turn + 1) % self.active.len();
            let destination = self.active[self.turn];
            let wish = self.searches[destination as usize].next(&self.config);
            if let Some((purpose, port, hop)) = wish {
                return Some(Target { destination, purpose, port, hop });
            }
        }
        None
    }

    fn wants(&self, target: &Target) -> bool {
        self.searches[target.destination as usize].wants(target.purpose)
    }

    fn outcome(&mut self, target: Target, outcome: Outcome) {
        let search = &mut self.searches[target.destination as usize];
        search.outcome(&self.config, (target.purpose, target.port, target.hop), outcome);
        if search.is_finished() {
            self.active.retain(|&active| active != target.destination);
        }
    }

    fn is_finished(&self) -> bool {
        self.active.is_empty()
    }
}

impl Prober {
    /// Looks for the paths from `source` to `destinations`.
    pub fn new(
        config: &ProbeConfig,
        source: IpAddr,
        destinations: &[SocketAddr],
    ) -> Result<Self, ConfigError> {
        config.check()?;
        ProbeConfig::check_destinations(config.protocol, source, destinations)?;
        let search = |&address| Search::new(config, address);
        let strategy = Discover {
            config: config.clone(),
            source,
            searches: destinations.iter().map(search).collect(),
            active: (0..destinations.len() as u32).collect(),
            turn: destinations.len() - 1,
        };
        Ok(Session::with(config, strategy, destinations.to_vec()))
    }

    /// What was found until now, also before the end.
    pub fn finish(&self) -> Discovery {
        Discovery::of(self.table())
    }

    /// The same, also if there is nothing in it.
    pub(crate) fn table(&self) -> PathTable {
        let Discover { config, source, searches, .. } = &self.strategy;
        let (mut found, mut rack_local, mut unpinned) = (Vec::new(), Vec::new(), Vec::new());
        for (search, &destination) in searches.iter().zip(&self.destinations) {
            match search.finding() {
                Finding::Paths(paths) => found.push(paths),
                Finding::Near => rack_local.push(destination),
                Finding::Unpinned(reason) => unpinned.push(Unpinned { destination, reason }),
            }
        }
        rack_local.sort_unstable();
        PathTable {
            protocol: config.protocol,
            source: *source,
            hops: config.hops,
            leaves: leaves::merge(found),
            rack_local,
            unpinned,
        }
    }
}
