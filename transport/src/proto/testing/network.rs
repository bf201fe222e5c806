//! Links, and which of them a datagram takes.

use crate::proto::packet::Entropy;

use super::link::Link;

/// What a datagram passes from one end of a connection to the other: links before the choice, one
/// of several, links after it, all by index.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Passed first, whatever the entropy.
    pub before: Vec<usize>,
    /// Entropy `e` takes number `e mod len`; or all paths in turn of a hash if `hashed`.
    pub choices: Vec<Vec<usize>>,
    /// Passed last.
    pub after: Vec<usize>,
    /// Whether a hash of the entropy chooses, so that entropies collide as under ECMP.
    pub hashed: Option<u64>,
}

impl Route {
    /// The link of hop number `hop`, if the way is that long.
    pub(super) fn link(&self, entropy: Entropy, hop: usize) -> Option<usize> {
        let choice = self.choice(entropy);
        let mut way = self.before.iter().chain(choice).chain(&self.after);
        way.nth(hop).copied()
    }

    fn choice(&self, entropy: Entropy) -> &[usize] {
        if self.choices.is_empty() {
            return &[];
        }
        let key = match self.hashed {
            Some(salt) => crate::proto::Random::new(salt ^ u64::from(entropy.0)).bits(),
            None => u64::from(entropy.0),
        };
        &self.choices[(key % self.choices.len() as u64) as usize]
    }
}

/// All links.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// By index.
    pub links: Vec<Link>,
}

impl Network {
    /// Adds a link and returns its index.
    pub fn add(&mut self, link: Link) -> usize {
        self.links.push(link);
        self.links.len() - 1
    }

    /// A route over `paths` parallel links like `link`, with `host` links before and after.
    pub fn parallel(&mut self, paths: usize, host: &Link, link: &Link) -> Route {
        let before = vec![self.add(host.clone())];
        let choices = (0..paths).map(|_| vec![self.add(link.clone())]).collect();
        let after = vec![self.add(host.clone())];
        Route { before, choices, after, hashed: None }
    }
}
