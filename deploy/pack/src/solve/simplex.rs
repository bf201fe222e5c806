//! Linear programs that grow by columns: the primal simplex method with a dense inverse.
//!
//! Only used to find good prices; what they prove is computed in integers afterwards, so rounding
//! errors cost quality and never truth.

/// A column: its entries by row, and what one unit of it is worth.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) entries: Vec<(usize, f64)>,
    pub(super) worth: f64,
}

/// Maximizes the worth of columns, each row's sum at most its limit.
#[derive(Clone, Debug)]
pub(super) struct Simplex {
    rows: usize,
    limits: Vec<f64>,
    columns: Vec<Column>,
    /// By row the column in the basis; `columns.len()` and above are not stored: see `SLACK`.
    basis: Vec<usize>,
    in_basis: Vec<bool>,
    inverse: Vec<f64>,
    values: Vec<f64>,
    pivots: usize,
}

/// A reduced worth below this is none.
const TOLERANCE: f64 = 1e-9;
/// Of a row that cannot be met yet, for each unit.
const PENALTY: f64 = 1e4;
/// After so many pivots the inverse is computed anew.
const REFRESH: usize = 150;

impl Simplex {
    /// No columns but those of slack; limits below 0 are met by a column that costs much.
    pub(super) fn new(limits: &[f64]) -> Self {
        let rows = limits.len();
        // Different limits keep the method from going round in circles where many are equal.
        let apart = |row: usize| 1e-7 * (1.0 + (row * 7919 % 1009) as f64 / 1009.0);
        let limits: Vec<f64> =
            limits.iter().enumerate().map(|(row, limit)| limit + apart(row)).collect();
        let mut simplex = Self {
            rows,
            values: limits.iter().map(|limit| limit.abs()).collect(),
            limits,
            columns: Vec::new(),
            basis: Vec::new(),
            in_basis: Vec::new(),
            inverse: vec![0.0; rows * rows],
            pivots: 0,
        };
        for row in 0..rows {
            let met = simplex.limits[row] >= 0.0;
            simplex.push(Column { entries: vec![(row, 1.0)], worth: 0.0 });
            let sign = if met { 1.0 } else { -1.0 };
            simplex.inverse[row * rows + row] = sign;
            if met {
                simplex.enter_basis(row);
            }
        }
        for row in 0..rows {
            if simplex.limits[row] < 0.0 {
                simplex.push(Column { entries: vec![(row, -1.0)], worth: -PENALTY });
                let column = simplex.columns.len() - 1;
                simplex.in_basis[column] = true;
                simplex.basis.insert(row, column);
            }
        }
        simplex
    }

    fn enter_basis(&mut self, column: usize) {
        self.basis.push(column);
        self.in_basis[column] = true;
    }

    /// One more column.
    pub(super) fn push(&mut self, column: Column) {
        self.columns.push(column);
        self.in_basis.push(false);
    }

    /// The price of each row at present.
    pub(super) fn prices(&self) -> Vec<f64> {
        let mut prices = vec![0.0; self.rows];
        for (row, column) in self.basis.iter().enumerate() {
            let worth = self.columns[*column].worth;
            if worth != 0.0 {
                let line = &self.inverse[row * self.rows..][..self.rows];
                prices.iter_mut().zip(line).for_each(|(price, x)| *price += worth * x);
            }
        }
        prices
    }

    /// What the columns are worth at present.
    pub(super) fn worth(&self) -> f64 {
        self.basis.iter().zip(&self.values).map(|(column, x)| self.columns[*column].worth * x).sum()
    }

    /// Pivots until no column is worth more than its prices, or `stop` says so.
    pub(super) fn solve(&mut self, stop: &dyn Fn() -> bool) {
        while let Some(entering) = self.entering() {
            if !self.pivot(entering) || (self.pivots.is_multiple_of(16) && stop()) {
                return;
            }
        }
    }

    fn entering(&self) -> Option<usize> {
        let prices = self.prices();
        let reduced = |column: &Column| {
            let paid: f64 = column.entries.iter().map(|(row, x)| prices[*row] * x).sum();
            column.worth - paid
        };
        let outside = (0..self.columns.len()).filter(|column| !self.in_basis[*column]);
        let (column, gain) = outside
            .map(|column| (column, reduced(&self.columns[column])))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        (gain > TOLERANCE).then_some(column)
    }

    fn direction(&self, column: usize) -> Vec<f64> {
        let entries = &self.columns[column].entries;
        let line = |row: usize| &self.inverse[row * self.rows..][..self.rows];
        (0..self.rows).map(|row| entries.iter().map(|(at, x)| line(row)[*at] * x).sum()).collect()
    }

    /// Brings a column into the basis; false if none can leave for it.
    fn pivot(&mut self, entering: usize) -> bool {
        let direction = self.direction(entering);
        let mut leaving: Option<(usize, f64)> = None;
        for (row, step) in direction.iter().enumerate() {
            if *step > 1e-7 {
                let ratio = self.values[row].max(0.0) / step;
                if leaving.is_none_or(|(best, least)| {
                    ratio < least - 1e-12 || (ratio < least + 1e-12 && *step > direction[best])
                }) {
                    leaving = Some((row, ratio));
                }
            }
        }
        let Some((row, ratio)) = leaving else { return false };
        for (value, step) in self.values.iter_mut().zip(&direction) {
            *value -= ratio * step;
        }
        self.values[row] = ratio;
        self.in_basis[self.basis[row]] = false;
        self.in_basis[entering] = true;
        self.basis[row] = entering;
        self.eliminate(row, &direction);
        self.pivots += 1;
        if self.pivots.is_multiple_of(REFRESH) {
            self.refresh();
        }
        true
    }

    fn eliminate(&mut self, row: usize, direction: &[f64]) {
        let rows = self.rows;
        let pivot = direction[row];
        self.inverse[row * rows..][..rows].iter_mut().for_each(|x| *x /= pivot);
        let line = self.inverse[row * rows..][..rows].to_vec();
        for (other, step) in direction.iter().enumerate() {
            if other != row && *step != 0.0 {
                let target = &mut self.inverse[other * rows..][..rows];
                target.iter_mut().zip(&line).for_each(|(x, l)| *x -= step * l);
            }
        }
    }

    /// The inverse and the values from the basis alone, against rounding errors.
    fn refresh(&mut self) {
        let rows = self.rows;
        let basis = self.basis.clone();
        self.inverse.fill(0.0);
        (0..rows).for_each(|row| self.inverse[row * rows + row] = 1.0);
        let mut open: Vec<bool> = vec![true; rows];
        let mut placed = vec![0; rows];
        for column in basis {
            let direction = self.direction(column);
            let largest = (0..rows)
                .filter(|row| open[*row])
                .max_by(|a, b| direction[*a].abs().total_cmp(&direction[*b].abs()));
            let Some(row) = largest else { break };
            self.eliminate(row, &direction);
            open[row] = false;
            placed[row] = column;
        }
        self.basis = placed;
        let line = |row: usize| &self.inverse[row * rows..][..rows];
        let value = |row: usize| line(row).iter().zip(&self.limits).map(|(a, b)| a * b).sum();
        self.values = (0..rows).map(value).collect();
    }
}
