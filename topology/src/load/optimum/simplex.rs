//! The simplex method on a condensed tableau (one column for each non-basic variable).

use super::problem::Problem;

/// The largest tableau that is solved: 128 MiB.
pub(super) const MAX_ENTRIES: usize = 1 << 24;

/// What counts as zero after rounding, in scaled units.
const EPSILON: f64 = 1e-10;

/// After so many steps without progress the lowest numbers are chosen (Bland 1977), which cannot
/// run in circles.
const PATIENCE: usize = 64;

/// Steps for each row and column before the search is stopped with what it has.
const STEPS: usize = 20;

/// A routing and prices; neither is trusted, the caller computes its bounds from the problem.
pub(super) struct Solution {
    /// Bytes by column.
    pub(super) routing: Vec<f64>,
    /// By link.
    pub(super) prices: Vec<f64>,
}

/// How many entries the tableau of a problem has.
pub(super) fn entries(problem: &Problem) -> usize {
    let rows = problem.demand.len() + problem.rate.len();
    rows * (problem.columns() - problem.demand.len() + 1)
}

/// Minimises the time of the busiest link.
pub(super) fn solve(problem: &Problem) -> Solution {
    if problem.demand.is_empty() {
        return Solution { routing: Vec::new(), prices: vec![0.0; problem.rate.len()] };
    }
    let mut tableau = Tableau::new(problem);
    let most = STEPS * (tableau.rows() + tableau.width);
    let mut idle = 0;
    for _ in 0..most {
        let before = tableau.time();
        let Some(column) = tableau.entering(idle > PATIENCE) else {
            break;
        };
        let Some(row) = tableau.leaving(column, idle > PATIENCE) else {
            break;
        };
        tableau.pivot(row, column);
        idle = if tableau.time() < before - EPSILON * before { 0 } else { idle + 1 };
    }
    tableau.solution(problem)
}

/// Variables: the columns of the problem, then a slack for each link, then the time.
///
/// A row says `basic = value - sum entry * non-basic`. The time is always basic; its row is the
/// objective.
struct Tableau {
    width: usize,
    entries: Vec<f64>,
    value: Vec<f64>,
    basic: Vec<usize>,
    free: Vec<usize>,
    /// The row of the time.
    objective: usize,
    /// Bytes and rates of the problem are divided by these.
    bytes: f64,
    rate: f64,
}

impl Tableau {
    /// Starts from every demand on one path, chosen greedily, and the time of the busiest link.
    fn new(problem: &Problem) -> Self {
        let (demands, links, columns) =
            (problem.demand.len(), problem.rate.len(), problem.columns());
        let bytes = problem.demand.iter().chain(&problem.fixed).copied().fold(0.0, f64::max);
        let rate = problem.rate.iter().copied().fold(0.0, f64::max);
        let (first, loads) = greedy(problem);
        let is_first = |column: &usize| first.binary_search(column).is_ok();
        let time = columns + links;
        let mut free: Vec<usize> = (0..columns).filter(|column| !is_first(column)).collect();
        free.push(time);
        let mut tableau = Self {
            width: free.len(),
            entries: vec![0.0; (demands + links) * free.len()],
            value: problem.demand.iter().map(|demand| demand / bytes).collect(),
            basic: first.iter().copied().chain(columns..columns + links).collect(),
            free,
            objective: 0,
            bytes,
            rate,
        };
        tableau.value.extend(loads.iter().map(|load| -load / bytes));
        tableau.fill(problem, &first);
        let seconds = |link: usize| loads[link] / problem.rate[link];
        let busiest = (0..links).max_by(|&a, &b| seconds(a).total_cmp(&seconds(b)));
        let row = demands + busiest.expect("a demand has a link");
        tableau.pivot(row, tableau.width - 1);
        tableau.objective = row;
        tableau
    }

    fn fill(&mut self, problem: &Problem, first: &[usize]) {
        let demands = problem.demand.len();
        let mut position = 0;
        for (demand, &first) in first.iter().enumerate() {
            for column in problem.columns_of(demand).filter(|column| *column != first) {
                self.entries[demand * self.width + position] = 1.0;
                for &link in problem.links_of(column) {
                    self.entries[(demands + link as usize) * self.width + position] += 1.0;
                }
                for &link in problem.links_of(first) {
                    self.entries[(demands + link as usize) * self.width + position] -= 1.0;
                }
                position += 1;
            }
        }
        for (link, rate) in problem.rate.iter().enumerate() {
            self.entries[(demands + link) * self.width + position] = -rate / self.rate;
        }
    }

    fn rows(&self) -> usize {
        self.basic.len()
    }

    fn time(&self) -> f64 {
        self.value[self.objective]
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.entries[row * self.width..(row + 1) * self.width]
    }

    /// A non-basic variable whose growth shortens the time: the steepest, or the lowest number.
    fn entering(&self, lowest: bool) -> Option<usize> {
        let row = self.row(self.objective);
        let better = (0..self.width).filter(|&column| row[column] > EPSILON);
        if lowest {
            better.min_by_key(|&column| self.free[column])
        } else {
            better.max_by(|&a, &b| row[a].total_cmp(&row[b]))
        }
    }

    /// The basic variable that reaches zero first; of several the one with the largest pivot, or
    /// the lowest number. The time never leaves.
    fn leaving(&self, column: usize, lowest: bool) -> Option<usize> {
        let mut best: Option<(usize, f64, f64)> = None;
        for row in (0..self.rows()).filter(|&row| row != self.objective) {
            let entry = self.entries[row * self.width + column];
            if entry <= EPSILON {
                continue;
            }
            let ratio = self.value[row].max(0.0) / entry;
            let better = best.is_none_or(|(other, least, pivot)| {
                let preferred =
                    if lowest { self.basic[row] < self.basic[other] } else { entry > pivot };
                ratio < least - EPSILON || (ratio <= least + EPSILON && preferred)
            });
            if better {
                let least = best.map_or(ratio, |(_, least, _)| least.min(ratio));
                best = Some((row, least, entry));
            }
        }
        best.map(|(row, ..)| row)
    }

    /// Exchanges the basic variable of `row` and the non-basic one of `column`.
    fn pivot(&mut self, row: usize, column: usize) {
        let width = self.width;
        let pivot = self.entries[row * width + column];
        let start = row * width;
        self.entries[start..start + width].iter_mut().for_each(|entry| *entry /= pivot);
        self.entries[start + column] = 1.0 / pivot;
        self.value[row] /= pivot;
        let pivot_row = self.row(row).to_vec();
        let used: Vec<usize> = (0..width).filter(|&other| pivot_row[other] != 0.0).collect();
        for other in (0..self.rows()).filter(|&other| other != row) {
            let start = other * width;
            let factor = self.entries[start + column];
            if factor == 0.0 {
                continue;
            }
            self.entries[start + column] = 0.0;
            for &position in &used {
                self.entries[start + position] -= factor * pivot_row[position];
            }
            self.value[other] -= factor * self.value[row];
        }
        std::mem::swap(&mut self.basic[row], &mut self.free[column]);
    }

    fn solution(&self, problem: &Problem) -> Solution {
        let columns = problem.columns();
        let mut routing = vec![0.0; columns];
        for (&variable, value) in self.basic.iter().zip(&self.value) {
            if variable < columns {
                routing[variable] = value * self.bytes;
            }
        }
        let mut prices = vec![0.0; problem.rate.len()];
        for (&variable, entry) in self.free.iter().zip(self.row(self.objective)) {
            if (columns..columns + prices.len()).contains(&variable) {
                prices[variable - columns] = -entry;
            }
        }
        Solution { routing, prices }
    }
}

/// One column for each demand, the one whose busiest link is least busy, and the loads of that.
fn greedy(problem: &Problem) -> (Vec<usize>, Vec<f64>) {
    let mut loads = problem.fixed.clone();
    let mut first = Vec::with_capacity(problem.demand.len());
    for (demand, bytes) in problem.demand.iter().enumerate() {
        let time = |column: usize| {
            let links = problem.links_of(column).iter().map(|&link| link as usize);
            links.map(|link| (loads[link] + bytes) / problem.rate[link]).fold(0.0, f64::max)
        };
        let columns = problem.columns_of(demand);
        let best = columns.min_by(|&a, &b| time(a).total_cmp(&time(b)));
        let best = best.expect("a demand has a path");
        problem.links_of(best).iter().for_each(|&link| loads[link as usize] += bytes);
        first.push(best);
    }
    (first, loads)
}
