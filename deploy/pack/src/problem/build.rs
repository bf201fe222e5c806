//! Making a problem piece by piece, with everything checked that solvers rely on.

use std::collections::{BTreeSet, HashMap};

use thiserror::Error;

use super::{
    Amounts, Class, ClassId, Gang, GangId, Level, Mobility, Node, NodeId, Part, PartId, Pod, PodId,
    Problem, Resource, Rule, Set, SetId, Tier, free,
};

/// No amount is above this, so that no sum of all pods overflows.
pub(crate) const LARGEST_AMOUNT: i64 = 1 << 53;

/// Why pieces do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A list of amounts of another length than that of resources.
    #[error("{of}: {given} amounts for {resources} resources")]
    Amounts {
        /// Which node or pod.
        of: String,
        /// How many it has.
        given: usize,
        /// How many there are.
        resources: usize,
    },
    /// An amount out of range.
    #[error("{of}: {resource} is {amount}, must be 0 to {LARGEST_AMOUNT}")]
    Range {
        /// Which node or pod.
        of: String,
        /// Of which resource.
        resource: String,
        /// How much.
        amount: i64,
    },
    /// A class about another number of nodes.
    #[error("class {number}: about {given} nodes, there are {nodes}")]
    Class {
        /// Which class.
        number: usize,
        /// About how many nodes it is.
        given: usize,
        /// How many there are.
        nodes: usize,
    },
    /// More than `u32::MAX / 2` of something.
    #[error("{count} {what}, at most {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A node, gang or part that there is not.
    #[error("{of}: names {what} {number}, there are {count}")]
    Unknown {
        /// Which pod, node or part.
        of: String,
        /// What is named.
        what: &'static str,
        /// Its number.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// The pods that run on a node ask for more than it has.
    #[error("{node}: pods that run there ask for {asked} {resource}, it has {has}")]
    Overfull {
        /// The node.
        node: String,
        /// The resource.
        resource: String,
        /// What is asked for.
        asked: i64,
        /// What there is.
        has: i64,
    },
    /// A gang wants more pods than it has.
    #[error("gang {gang}: at least {minimum} pods, it has {pods}")]
    Minimum {
        /// The gang.
        gang: String,
        /// How many it wants.
        minimum: u32,
        /// How many it has.
        pods: usize,
    },
    /// A gang whose pods lie in different tiers.
    #[error("gang {gang}: pods of priorities {first} and {second}, must be one")]
    MixedTiers {
        /// The gang.
        gang: String,
        /// One priority.
        first: i64,
        /// Another one.
        second: i64,
    },
    /// A pod names a part of another gang.
    #[error("{pod}: part {part} is not of its gang")]
    ForeignPart {
        /// The pod.
        pod: String,
        /// The part.
        part: String,
    },
}

/// A pod as it is given to a [`Builder`].
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// `namespace/name`.
    pub name: String,
    /// Of which equal pods are of one set; an owner's name for instance.
    pub owner: String,
    /// The higher the more urgent.
    pub priority: i64,
    /// One amount for each resource.
    pub request: Amounts,
    /// Which nodes suit it.
    pub class: ClassId,
    /// Where it runs.
    pub runs_on: Option<NodeId>,
    /// What may be done with it while it runs.
    pub mobility: Mobility,
    /// Its gang.
    pub gang: Option<GangId>,
    /// Its part of the gang.
    pub part: Option<PartId>,
}

/// Takes the pieces; [`finish`](Self::finish) puts them together.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    resources: Vec<Resource>,
    levels: Vec<Level>,
    nodes: Vec<Node>,
    gangs: Vec<Gang>,
    parts: Vec<Part>,
    classes: Vec<Class>,
    class_of: HashMap<Box<[bool]>, ClassId>,
    pods: Vec<PodSpec>,
    polite: BTreeSet<PodId>,
}

impl Builder {
    /// Nothing yet but kinds of resources and levels of the topology.
    pub fn new(resources: Vec<Resource>, levels: Vec<Level>) -> Self {
        Self { resources, levels, ..Self::default() }
    }

    /// One more node.
    pub fn node(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() as u32 - 1)
    }

    /// One more gang; its pods say themselves that they are of it.
    pub fn gang(&mut self, name: String, minimum: u32) -> GangId {
        self.gangs.push(Gang { name, minimum, pods: Vec::new() });
        GangId(self.gangs.len() as u32 - 1)
    }

    /// One more part of a gang.
    pub fn part(&mut self, name: String, gang: GangId, rule: Rule) -> PartId {
        self.parts.push(Part { name, gang, rule, pods: Vec::new() });
        PartId(self.parts.len() as u32 - 1)
    }

    /// The class of pods that these nodes suit, one entry for each node.
    pub fn class(&mut self, suits: Box<[bool]>) -> ClassId {
        let fresh = ClassId(self.classes.len() as u32);
        *self.class_of.entry(suits).or_insert_with_key(|suits| {
            self.classes.push(Class { suits: suits.clone() });
            fresh
        })
    }

    /// One more pod.
    pub fn pod(&mut self, pod: PodSpec) -> PodId {
        self.pods.push(pod);
        PodId(self.pods.len() as u32 - 1)
    }

    /// No running pod gives way to this one (`preemptionPolicy: Never`): while it waits it is only
    /// placed where what runs now leaves room.
    pub fn never_preempts(&mut self, pod: PodId) {
        self.polite.insert(pod);
    }

    /// The problem, or what is wrong with the pieces.
    pub fn finish(mut self) -> Result<Problem, BuildError> {
        self.check_counts()?;
        self.check_nodes()?;
        self.check_pods()?;
        let own_resources = self.resources.len();
        free::add(&mut self.resources, &mut self.nodes, &mut self.pods, &self.polite);
        let mut priorities: Vec<i64> = self.pods.iter().map(|pod| pod.priority).collect();
        priorities.sort_unstable_by(|a, b| b.cmp(a));
        priorities.dedup();
        let mut problem = Problem {
            resources: self.resources,
            own_resources,
            levels: self.levels,
            priorities,
            nodes: self.nodes,
            classes: self.classes,
            pods: Vec::with_capacity(self.pods.len()),
            sets: Vec::new(),
            gangs: self.gangs,
            parts: self.parts,
            polite: self.polite,
        };
        number_pods(&mut problem, self.pods);
        check_gangs(&problem)?;
        check_room(&problem)?;
        Ok(problem)
    }

    fn check_counts(&self) -> Result<(), BuildError> {
        let most = u32::MAX as usize / 2;
        let counts = [
            ("nodes", self.nodes.len()),
            ("pods", self.pods.len()),
            ("gangs", self.gangs.len()),
            ("parts", self.parts.len()),
        ];
        match counts.into_iter().find(|(_, count)| *count > most) {
            Some((what, count)) => Err(BuildError::TooMany { what, count, most }),
            None => Ok(()),
        }
    }

    fn check_nodes(&self) -> Result<(), BuildError> {
        for (number, class) in self.classes.iter().enumerate() {
            let (given, nodes) = (class.suits.len(), self.nodes.len());
            if given != nodes {
                return Err(BuildError::Class { number, given, nodes });
            }
        }
        for node in &self.nodes {
            let of = || format!("node {}", node.name);
            check_amounts(&node.capacity, &self.resources, of)?;
            known(node.domains.len(), self.levels.len() + 1, "levels", of)?;
            for (level, domain) in self.levels.iter().zip(&node.domains) {
                let number = domain.map_or(0, |domain| domain as usize + 1);
                known(number, level.domains.len() + 1, "domain", of)?;
            }
        }
        for part in &self.parts {
            let of = || format!("part {}", part.name);
            let level = part.rule.level();
            known(level, self.levels.len(), "level", of)?;
            known(part.gang.index(), self.gangs.len(), "gang", of)?;
        }
        Ok(())
    }

    fn check_pods(&self) -> Result<(), BuildError> {
        for pod in &self.pods {
            let of = || format!("pod {}", pod.name);
            check_amounts(&pod.request, &self.resources, of)?;
            known(pod.class.index(), self.classes.len(), "class", of)?;
            if let Some(node) = pod.runs_on {
                known(node.index(), self.nodes.len(), "node", of)?;
            }
            if let Some(gang) = pod.gang {
                known(gang.index(), self.gangs.len(), "gang", of)?;
            }
            if let Some(part) = pod.part {
                known(part.index(), self.parts.len(), "part", of)?;
                let part = &self.parts[part.index()];
                if pod.gang != Some(part.gang) {
                    let (pod, part) = (pod.name.clone(), part.name.clone());
                    return Err(BuildError::ForeignPart { pod, part });
                }
            }
        }
        Ok(())
    }
}

fn known(
    number: usize,
    count: usize,
    what: &'static str,
    of: impl Fn() -> String,
) -> Result<(), BuildError> {
    if number < count {
        return Ok(());
    }
    Err(BuildError::Unknown { of: of(), what, number, count })
}

fn check_amounts(
    amounts: &[i64],
    resources: &[Resource],
    of: impl Fn() -> String,
) -> Result<(), BuildError> {
    if amounts.len() != resources.len() {
        let (given, resources) = (amounts.len(), resources.len());
        return Err(BuildError::Amounts { of: of(), given, resources });
    }
    for (amount, resource) in amounts.iter().zip(resources) {
        if !(0..=LARGEST_AMOUNT).contains(amount) {
            let resource = resource.name.clone();
            return Err(BuildError::Range { of: of(), resource, amount: *amount });
        }
    }
    Ok(())
}

/// What equal pods have in common, their owner first.
type SetKey = (String, Tier, Amounts, ClassId, Option<GangId>, Option<PartId>);

/// Tiers and sets of the pods, and what gangs and parts have of them.
fn number_pods(problem: &mut Problem, specs: Vec<PodSpec>) {
    let mut sets: HashMap<SetKey, SetId> = HashMap::new();
    for (number, spec) in specs.into_iter().enumerate() {
        let id = PodId(number as u32);
        let after = problem.priorities.partition_point(|priority| *priority > spec.priority);
        let tier = Tier(after as u32);
        let fresh = SetId(problem.sets.len() as u32);
        let key = (spec.owner, tier, spec.request.clone(), spec.class, spec.gang, spec.part);
        let set = *sets.entry(key).or_insert_with(|| {
            problem.sets.push(Set { pods: Vec::new() });
            fresh
        });
        problem.sets[set.index()].pods.push(id);
        if let Some(gang) = spec.gang {
            problem.gangs[gang.index()].pods.push(id);
        }
        if let Some(part) = spec.part {
            problem.parts[part.index()].pods.push(id);
        }
        let pending = spec.runs_on.is_none();
        problem.pods.push(Pod {
            name: spec.name,
            tier,
            request: spec.request,
            class: spec.class,
            runs_on: spec.runs_on,
            mobility: if pending { Mobility::Movable } else { spec.mobility },
            set,
            gang: spec.gang,
            part: spec.part,
        });
    }
}

fn check_gangs(problem: &Problem) -> Result<(), BuildError> {
    for gang in &problem.gangs {
        if gang.minimum as usize > gang.pods.len() {
            let (name, pods) = (gang.name.clone(), gang.pods.len());
            return Err(BuildError::Minimum { gang: name, minimum: gang.minimum, pods });
        }
        let priority = |pod: &PodId| problem.priorities[problem.pods[pod.index()].tier.index()];
        let first = gang.pods.first().map_or(0, priority);
        if let Some(second) = gang.pods.iter().map(priority).find(|other| *other != first) {
            return Err(BuildError::MixedTiers { gang: gang.name.clone(), first, second });
        }
    }
    Ok(())
}

/// What runs fits where it runs: the reader of a real cluster lowers no capacity below that.
fn check_room(problem: &Problem) -> Result<(), BuildError> {
    let resources = problem.resources.len();
    let mut asked = vec![0_i128; problem.nodes.len() * resources];
    for pod in &problem.pods {
        if let Some(node) = pod.runs_on {
            let row = &mut asked[node.index() * resources..][..resources];
            row.iter_mut().zip(&pod.request).for_each(|(sum, amount)| *sum += i128::from(*amount));
        }
    }
    for (node, asked) in problem.nodes.iter().zip(asked.chunks(resources.max(1))) {
        for ((asked, has), resource) in asked.iter().zip(&node.capacity).zip(&problem.resources) {
            if *asked > i128::from(*has) {
                return Err(BuildError::Overfull {
                    node: node.name.clone(),
                    resource: resource.name.clone(),
                    asked: i64::try_from(*asked).unwrap_or(i64::MAX),
                    has: *has,
                });
            }
        }
    }
    Ok(())
}
