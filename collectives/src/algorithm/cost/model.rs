//! Times by formula.

use onepath_topology::{Bandwidth, Bytes, Nanos, WorldSize};
use serde::{Deserialize, Serialize};

use crate::algorithm::{Algorithm, Class};

/// The parameters of the formulas, after Thakur, Rabenseifner and Gropp, "Optimization of
/// Collective Communication Operations in MPICH" (2005), section 3: a message of `S` bytes takes
/// `α + S·β`, its reduction `S·γ`. Added is `o`, the processor's time for one message more in the
/// same step, without which sending to everybody at once would be free.
///
/// With `n` ranks, buffers of `S` bytes, `h = ⌊log₂ n⌋`, `l = ⌈log₂ n⌉`, `q = (n − 1)/n`:
///
/// | algorithm | reduce-scatter (all-gather: without γ) | all-reduce |
/// |---|---|---|
/// | ring | `(n−1)(α+o) + qS(β+γ)` | `2(n−1)(α+o) + qS(2β+γ)` |
/// | halving-doubling | `lα + (n−1)o + qS(β+γ)` | `2lα + 2(n−1)o + qS(2β+γ)` |
/// | direct | `α + (n−1)o + qS(iβ+γ)` | `2α + 2(n−1)o + qS(2iβ+γ)` |
/// | tree | | `2h(α+2o) + S(fβ+cγ)`, `f = 1, 2, 3` for `n = 2, 3, more`, `c = min(2, n−1)` |
/// | one-shot | | `α + (n−1)(o + S(iβ+γ))` |
///
/// Broadcast (without γ) and reduce take `d(α+co) + cS(β+γ)` in a tree of depth `d` whose inner
/// ranks have `c` children: `d = n−1, h, 1` and `c = 1, min(2, n−1), n−1` for ring, tree and
/// direct. All-to-all is as a direct all-gather; a barrier takes `l(α+o)`. `i = 1 + (n−2)·incast`
/// is what many senders at one port cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// `α`: from one rank to another, the first byte.
    pub alpha_ns: Nanos,
    /// `o`: one message more.
    pub overhead_ns: Nanos,
    /// `1/β`: what one rank sends while it receives as much.
    pub beta_bytes_per_second: Bandwidth,
    /// `1/γ`: what one rank reduces.
    pub gamma_bytes_per_second: Bandwidth,
    /// What each further sender to one rank adds to `β`, as a fraction of it.
    pub incast: f64,
}

/// A present-day server with TCP over 25 to 40 Gbit/s. Reductions run at the speed of memory. The
/// share of `incast` is small on purpose: it decides only between algorithms that move the same
/// bytes, for many ranks and large messages.
impl Default for Model {
    fn default() -> Self {
        Self {
            alpha_ns: Nanos::micros(15),
            overhead_ns: Nanos::micros(2),
            beta_bytes_per_second: Bandwidth(3e9),
            gamma_bytes_per_second: Bandwidth(10e9),
            incast: 0.0005,
        }
    }
}

impl Model {
    /// Nanoseconds of a call; infinite for an algorithm that the collective does not have.
    pub(super) fn nanos(
        &self,
        class: Class,
        algorithm: Algorithm,
        bytes: Bytes,
        ranks: WorldSize,
    ) -> f64 {
        let terms = match class {
            Class::AllReduce => self.all_reduce(algorithm, ranks),
            Class::ReduceScatter => self.phase(algorithm, ranks).reduced(1.0),
            Class::AllGather => self.phase(algorithm, ranks).reduced(0.0),
            Class::Broadcast => self.rooted(algorithm, ranks).reduced(0.0),
            Class::Reduce => self.rooted(algorithm, ranks).reduced(1.0),
            Class::AllToAll if algorithm == Algorithm::Direct => self.phase(algorithm, ranks),
            Class::Barrier if algorithm == Algorithm::HalvingDoubling => {
                let rounds = f64::from(ranks.get().next_power_of_two().ilog2());
                Terms { alpha: rounds, overhead: rounds, ..Terms::NOTHING }
            }
            Class::AllToAll | Class::Barrier => Terms::IMPOSSIBLE,
        };
        let size = bytes.get() as f64 * 1e9;
        terms.alpha * self.alpha_ns.get() as f64
            + terms.overhead * self.overhead_ns.get() as f64
            + terms.beta * (size / self.beta_bytes_per_second.0)
            + terms.gamma * (size / self.gamma_bytes_per_second.0)
    }

    /// The bandwidth term when all send to all.
    fn crowd(&self, n: f64) -> f64 {
        1.0 + (n - 2.0).max(0.0) * self.incast
    }

    /// A reduce-scatter, before [`Terms::reduced`].
    fn phase(&self, algorithm: Algorithm, ranks: WorldSize) -> Terms {
        let n = ranks.get() as f64;
        let (others, share) = (n - 1.0, (n - 1.0) / n);
        let (alpha, beta) = match algorithm {
            Algorithm::Ring => (others, share),
            Algorithm::HalvingDoubling => {
                (f64::from(ranks.get().next_power_of_two().ilog2()), share)
            }
            Algorithm::Direct => (1.0, share * self.crowd(n)),
            Algorithm::Tree | Algorithm::OneShot => return Terms::IMPOSSIBLE,
        };
        Terms { alpha, overhead: others, beta, gamma: 0.0, reduced: share }
    }

    fn all_reduce(&self, algorithm: Algorithm, ranks: WorldSize) -> Terms {
        let n = ranks.get() as f64;
        let others = n - 1.0;
        match algorithm {
            Algorithm::Tree => {
                let (height, children) = (f64::from(ranks.get().ilog2()), others.min(2.0));
                Terms {
                    alpha: 2.0 * height,
                    overhead: 4.0 * height,
                    beta: others.min(3.0),
                    gamma: children,
                    reduced: 0.0,
                }
            }
            Algorithm::OneShot => Terms {
                alpha: 1.0,
                overhead: others,
                beta: others * self.crowd(n),
                gamma: others,
                reduced: 0.0,
            },
            _ => {
                let one = self.phase(algorithm, ranks);
                Terms {
                    alpha: 2.0 * one.alpha,
                    overhead: 2.0 * one.overhead,
                    beta: 2.0 * one.beta,
                    gamma: one.reduced,
                    reduced: 0.0,
                }
            }
        }
    }

    /// Broadcast or reduce, before [`Terms::reduced`].
    fn rooted(&self, algorithm: Algorithm, ranks: WorldSize) -> Terms {
        let n = ranks.get() as f64;
        let others = n - 1.0;
        let (depth, children, crowd) = match algorithm {
            Algorithm::Ring => (others, others.min(1.0), 1.0),
            Algorithm::Tree => (f64::from(ranks.get().ilog2()), others.min(2.0), 1.0),
            Algorithm::Direct => (1.0, others, self.crowd(n)),
            Algorithm::HalvingDoubling | Algorithm::OneShot => return Terms::IMPOSSIBLE,
        };
        Terms {
            alpha: depth,
            overhead: depth * children,
            beta: children * crowd,
            gamma: 0.0,
            reduced: children,
        }
    }
}

/// Factors of the parameters.
#[derive(Clone, Copy, Debug)]
struct Terms {
    alpha: f64,
    overhead: f64,
    beta: f64,
    gamma: f64,
    /// The factor of `γ`, if the collective reduces.
    reduced: f64,
}

impl Terms {
    const NOTHING: Self = Self { alpha: 0.0, overhead: 0.0, beta: 0.0, gamma: 0.0, reduced: 0.0 };
    const IMPOSSIBLE: Self = Self { alpha: f64::INFINITY, ..Self::NOTHING };

    fn reduced(self, times: f64) -> Self {
        Self { gamma: self.reduced * times, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::supports;

    fn nanos(class: Class, algorithm: Algorithm, ranks: u64) -> f64 {
        let model = Model {
            alpha_ns: Nanos(1_000_000),
            overhead_ns: Nanos(10_000),
            beta_bytes_per_second: Bandwidth(1e9),
            gamma_bytes_per_second: Bandwidth(2e9),
            incast: 0.0,
        };
        let ranks = WorldSize::new(ranks).expect("a world size");
        model.nanos(class, algorithm, Bytes(8_000), ranks)
    }

    #[test]
    fn formulas_give_the_documented_terms_for_four_ranks() {
        let cases = [
            (Class::AllReduce, Algorithm::Ring, 6_060_000.0 + 6_000.0 * 2.5),
            (Class::AllReduce, Algorithm::HalvingDoubling, 4_060_000.0 + 6_000.0 * 2.5),
            (Class::AllReduce, Algorithm::Direct, 2_060_000.0 + 6_000.0 * 2.5),
            (Class::AllReduce, Algorithm::Tree, 4_080_000.0 + 8_000.0 * 4.0),
            (Class::AllReduce, Algorithm::OneShot, 1_030_000.0 + 24_000.0 * 1.5),
            (Class::ReduceScatter, Algorithm::Ring, 3_030_000.0 + 6_000.0 * 1.5),
            (Class::AllGather, Algorithm::Direct, 1_030_000.0 + 6_000.0),
            (Class::Broadcast, Algorithm::Ring, 3_030_000.0 + 8_000.0),
            (Class::Reduce, Algorithm::Tree, 2_040_000.0 + 16_000.0 * 1.5),
            (Class::AllToAll, Algorithm::Direct, 1_030_000.0 + 6_000.0),
            (Class::Barrier, Algorithm::HalvingDoubling, 2_020_000.0),
        ];
        for (class, algorithm, expected) in cases {
            let found = nanos(class, algorithm, 4);
            assert!((found - expected).abs() < 1e-3, "{class} {algorithm}: {found}");
        }
    }

    #[test]
    fn exactly_the_algorithms_that_a_collective_has_take_finite_time() {
        for class in Class::ALL {
            for algorithm in Algorithm::ALL {
                let finite = nanos(class, algorithm, 5).is_finite();
                assert_eq!(finite, supports(class, algorithm), "{class} {algorithm}");
            }
        }
    }
}
