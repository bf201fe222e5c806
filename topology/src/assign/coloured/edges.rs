//! Edge colouring of bipartite multigraphs.

/// No edge here.
const NONE: u32 = u32::MAX;

/// A bipartite multigraph: vertices on two sides, numbered from 0 on each.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    /// How many vertices on the left and on the right.
    pub(super) vertices: [usize; 2],
    /// Left and right end of each edge.
    pub(super) edges: Vec<[u32; 2]>,
}

impl Graph {
    /// The degree of each vertex of a side (0 left, 1 right).
    pub(super) fn degrees(&self, side: usize) -> Vec<usize> {
        let mut degrees = vec![0; self.vertices[side]];
        for ends in &self.edges {
            degrees[ends[side] as usize] += 1;
        }
        degrees
    }

    /// The largest degree.
    pub(super) fn max_degree(&self) -> usize {
        let largest = |side| self.degrees(side).into_iter().max().unwrap_or(0);
        largest(0).max(largest(1))
    }

    /// A colour below `colours` for each edge, no two alike at a vertex (König 1916: possible
    /// whenever no degree is above `colours`). Edge by edge; where no colour is free at both ends,
    /// an alternating path is swapped. Time O(edges × (vertices + colours / 64)).
    pub(super) fn colour(&self, colours: usize) -> Vec<u32> {
        let mut table = Table::new(self, colours);
        for edge in 0..self.edges.len() as u32 {
            table.add(edge);
        }
        table.colour
    }

    /// A colour below `colours` for each edge such that a vertex of degree `d` has each colour
    /// `floor(d / colours)` or `ceil(d / colours)` times (de Werra 1971): every vertex is split
    /// into copies of degree `colours` and a last one of what is left, then [`Graph::colour`].
    pub(super) fn colour_equitably(&self, colours: usize) -> Vec<u32> {
        let mut split = Graph { vertices: [0, 0], edges: self.edges.clone() };
        for side in [0, 1] {
            let first_copies: Vec<usize> = self
                .degrees(side)
                .into_iter()
                .scan(0, |next, degree| {
                    let first = *next;
                    *next += degree.div_ceil(colours);
                    Some(first)
                })
                .collect();
            let mut seen = vec![0; self.vertices[side]];
            for (old, new) in self.edges.iter().zip(&mut split.edges) {
                let vertex = old[side] as usize;
                let copy = first_copies[vertex] + seen[vertex] / colours;
                new[side] = copy as u32;
                seen[vertex] += 1;
                split.vertices[side] = split.vertices[side].max(copy + 1);
            }
        }
        split.colour(colours)
    }
}

/// Which edge has which colour at each vertex.
struct Table<'g> {
    graph: &'g Graph,
    colours: usize,
    /// By side: `vertex * colours + colour`.
    edge_at: [Vec<u32>; 2],
    /// By side: bits of the colours in use, `words` a vertex.
    used: [Vec<u64>; 2],
    words: usize,
    colour: Vec<u32>,
}

impl<'g> Table<'g> {
    fn new(graph: &'g Graph, colours: usize) -> Self {
        let words = colours.div_ceil(64);
        Self {
            graph,
            colours,
            edge_at: graph.vertices.map(|count| vec![NONE; count * colours]),
            used: graph.vertices.map(|count| vec![0; count * words]),
            words,
            colour: vec![NONE; graph.edges.len()],
        }
    }

    fn add(&mut self, edge: u32) {
        let [left, right] = self.graph.edges[edge as usize];
        let (free_left, free_right) = (self.free(0, left), self.free(1, right));
        if self.at(1, right, free_left) != NONE {
            self.swap_from(right, free_left, free_right);
        }
        self.set(edge, free_left);
    }

    /// Swaps the two colours along the path that starts at a vertex on the right with an edge of
    /// colour `first`; that colour is then free there. The path reaches vertices on the left by
    /// edges of colour `first` only, so it never reaches one where that colour was free.
    fn swap_from(&mut self, right: u32, first: u32, second: u32) {
        let mut path = Vec::new();
        let (mut side, mut vertex, mut colour) = (1, right, first);
        loop {
            let edge = self.at(side, vertex, colour);
            if edge == NONE {
                break;
            }
            path.push(edge);
            side = 1 - side;
            vertex = self.graph.edges[edge as usize][side];
            colour = if colour == first { second } else { first };
        }
        for &edge in &path {
            self.clear(edge);
        }
        for (index, &edge) in path.iter().enumerate() {
            self.set(edge, if index % 2 == 0 { second } else { first });
        }
    }

    fn at(&self, side: usize, vertex: u32, colour: u32) -> u32 {
        self.edge_at[side][vertex as usize * self.colours + colour as usize]
    }

    fn free(&self, side: usize, vertex: u32) -> u32 {
        let start = vertex as usize * self.words;
        let words = &self.used[side][start..start + self.words];
        let word = words.iter().position(|word| *word != u64::MAX);
        let word = word.expect("no degree is above the number of colours");
        (word * 64) as u32 + words[word].trailing_ones()
    }

    fn set(&mut self, edge: u32, colour: u32) {
        self.mark(edge, colour, edge);
        self.colour[edge as usize] = colour;
    }

    fn clear(&mut self, edge: u32) {
        self.mark(edge, self.colour[edge as usize], NONE);
    }

    fn mark(&mut self, edge: u32, colour: u32, value: u32) {
        for side in [0, 1] {
            let vertex = self.graph.edges[edge as usize][side] as usize;
            self.edge_at[side][vertex * self.colours + colour as usize] = value;
            let word = &mut self.used[side][vertex * self.words + colour as usize / 64];
            let bit = 1 << (colour % 64);
            if value == NONE { *word &= !bit } else { *word |= bit }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assign::shuffle::{Random, Seed};

    fn random_graph(random: &mut Random) -> Graph {
        let vertices = [1 + random.below(9) as usize, 1 + random.below(9) as usize];
        let end = |random: &mut Random, side: usize| random.below(vertices[side] as u64) as u32;
        let edges = (0..random.below(200)).map(|_| [end(random, 0), end(random, 1)]).collect();
        Graph { vertices, edges }
    }

    /// How often each vertex of a side has each colour.
    fn counts(graph: &Graph, side: usize, colours: usize, colour: &[u32]) -> Vec<Vec<usize>> {
        let mut counts = vec![vec![0; colours]; graph.vertices[side]];
        for (ends, &colour) in graph.edges.iter().zip(colour) {
            counts[ends[side] as usize][colour as usize] += 1;
        }
        counts
    }

    #[test]
    fn as_many_colours_as_the_largest_degree_are_enough() {
        for seed in 0..300 {
            let graph = random_graph(&mut Random::new(Seed(seed), 0));
            let degree = graph.max_degree();
            let colour = graph.colour(degree);
            for side in [0, 1] {
                let counts = counts(&graph, side, degree, &colour);
                let proper = counts.iter().flatten().all(|count| *count <= 1);
                assert!(proper, "two edges of one colour at a vertex, seed {seed}");
            }
        }
    }

    #[test]
    fn an_equitable_colouring_has_every_colour_at_a_vertex_equally_often_within_one() {
        for seed in 0..300 {
            let mut random = Random::new(Seed(seed), 1);
            let graph = random_graph(&mut random);
            let colours = 1 + random.below(9) as usize;
            let colour = graph.colour_equitably(colours);
            for side in [0, 1] {
                let degrees = graph.degrees(side);
                for (counts, degree) in counts(&graph, side, colours, &colour).iter().zip(degrees) {
                    let fair = degree / colours..=degree.div_ceil(colours);
                    assert!(counts.iter().all(|count| fair.contains(count)), "seed {seed}");
                }
            }
        }
    }
}
