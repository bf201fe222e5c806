//! Trees: values flow from the leaves to the root and from the root to the leaves.
//!
//! The ranks, counted from the root on, form a heap of a given arity. Two children make
//! [`Algorithm::Tree`] (`⌊log₂ n⌋` steps a phase), one makes [`Algorithm::Ring`] (a pipeline along
//! the ring, `n − 1` steps, every link carries the buffer once), `n − 1` make
//! [`Algorithm::Direct`] (one step). A rank combines its own contribution with its first child's,
//! then with the next one's; gates keep that order and make levels a pipeline.

use onepath_topology::Rank;
use onepath_transport::plan::{After, BufferId, Placement, Span};

use super::flows::Flows;
use super::segments::{Blocks, Slots};
use super::{Algorithm, Call, Shape};

/// A rank's place in the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    root: usize,
    n: usize,
    arity: usize,
    /// Position in the heap; 0 is the root.
    position: usize,
}

impl Node {
    pub(super) fn new(shape: Shape, root: Rank, algorithm: Algorithm) -> Self {
        let arity = match algorithm {
            Algorithm::Ring => 1,
            Algorithm::Direct => shape.n() - 1,
            _ => 2,
        };
        let position = shape.behind(root.index());
        Self { root: root.index(), n: shape.n(), arity, position }
    }

    fn is_root(&self) -> bool {
        self.position == 0
    }

    fn rank_at(&self, position: usize) -> usize {
        (self.root + position) % self.n
    }

    fn parent(&self) -> usize {
        self.rank_at((self.position - 1) / self.arity)
    }

    fn children(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        let first = (self.arity * self.position + 1).min(self.n);
        let (node, end) = (*self, (first + self.arity).min(self.n));
        (first..end).map(move |position| node.rank_at(position))
    }

    /// Levels between a position and the root.
    fn depth(&self, position: usize) -> usize {
        if self.arity == 1 {
            return position;
        }
        let up = |&p: &usize| (p > 0).then(|| (p - 1) / self.arity);
        std::iter::successors(Some(position), up).count() - 1
    }

    /// Levels of the tree below the root; also the steps of one phase.
    fn height(&self) -> usize {
        self.depth(self.n - 1)
    }

    /// Whether some rank both receives and passes on.
    fn has_inner(&self) -> bool {
        self.n > self.arity + 1
    }
}

/// One block on its way up: this rank's contribution, where the sum is kept, the number of the
/// block, and the send that emptied the sum's place.
struct Rise {
    source: Span,
    sum: Span,
    block: usize,
    emptied_by: Option<u32>,
    finish: bool,
}

/// Combines the children's sums with the own contribution and sends the result to the parent.
/// Returns the last receive and the send.
fn rise(node: &Node, rise: &Rise, flows: &mut Flows<'_>) -> (Option<u32>, Option<u32>) {
    // The sender's step: its level counted from the deepest one, one later for each block.
    let step = rise.block + node.height() - node.depth(node.position);
    let children = node.children();
    let (count, mut last) = (children.len(), None);
    for (index, child) in children.enumerate() {
        let local = if index == 0 { rise.source } else { rise.sum };
        let finish = rise.finish && node.is_root() && index + 1 == count;
        let send = if index == 0 { rise.emptied_by } else { None };
        let after = After { receive: last, send };
        let placement = Placement::Combine { local, finish };
        last = flows.receive((step - 1, child, step - 1), rise.sum, placement, after);
    }
    if node.is_root() {
        return (last, None);
    }
    let passed = if count == 0 { rise.source } else { rise.sum };
    (last, flows.send((step, node.parent(), step), passed, last))
}

/// Sends the root's `whole` (complete after the receive `done`, at `source`) down to everybody's
/// `whole`.
fn fall(
    node: &Node,
    (source, done): (Span, Option<u32>),
    whole: Span,
    first_step: usize,
    flows: &mut Flows<'_>,
) {
    let step = first_step + node.depth(node.position);
    let (source, done) = if node.is_root() {
        (source, done)
    } else {
        (whole, flows.store((step - 1, node.parent(), step - 1), whole))
    };
    for child in node.children() {
        flows.send((step, child, step), source, done);
    }
}

/// Up to rank 0 and down again: `2⌊log₂ n⌋` steps; an inner rank receives the buffer three times
/// and sends it three times.
pub(super) fn all_reduce(call: &Call, shape: Shape, flows: &mut Flows<'_>) {
    let node = Node::new(shape, Rank::new(0), Algorithm::Tree);
    let sum = Span::new(BufferId::Output, 0, call.bytes());
    let source = call.source(0, call.bytes());
    let up = Rise { source, sum, block: 0, emptied_by: None, finish: call.finish };
    let (done, _) = rise(&node, &up, flows);
    // The result overwrites partial sums that this rank has sent: it was computed from them, so
    // it cannot arrive before they have left.
    fall(&node, (sum, done), sum, node.height(), flows);
}

/// Down from the root; `Output` of the others, `Input` of the root unless in place.
pub(super) fn broadcast(call: &Call, node: &Node, flows: &mut Flows<'_>) {
    let whole = Span::new(BufferId::Output, 0, call.bytes());
    let source = call.source(0, call.bytes());
    fall(node, (source, None), whole, 0, flows);
    if node.is_root() {
        flows.copy_after(source, whole);
    }
}

/// Up to the root. Inner ranks keep partial sums in two slots of scratch, and write neither of
/// their buffers; so the buffer rises in blocks, one step apart.
pub(super) fn reduce(call: &Call, node: &Node, scratch_limit: usize, flows: &mut Flows<'_>) {
    let blocks = if node.has_inner() {
        Blocks::new(call.bytes(), call.element_bytes, scratch_limit)
    } else {
        Blocks::one(call.bytes())
    };
    let inner = !node.is_root() && node.children().len() > 0;
    if inner {
        flows.scratch(2 * blocks.longest());
    }
    let mut slots = Slots::new(blocks.longest());
    for (block, (at, bytes)) in blocks.iter().enumerate() {
        let (sum, emptied_by) =
            if inner { slots.fill(bytes) } else { (Span::new(BufferId::Output, at, bytes), None) };
        let source = call.source(at, bytes);
        let up = Rise { source, sum, block, emptied_by, finish: call.finish };
        let (_, sent) = rise(node, &up, flows);
        slots.emptied(sent);
    }
}
