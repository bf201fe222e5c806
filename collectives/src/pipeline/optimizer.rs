//! Rules by which parameters change.

/// Changes each parameter by its own gradient alone, so that a replica can work on its share.
pub trait Optimizer {
    /// Numbers that it keeps for each parameter.
    fn state(&self) -> usize;

    /// Changes some parameters in iteration `step`, from 0. `state` has [`state`](Self::state) runs
    /// as long as `parameters`, zeros in the beginning. Where parameter and gradient are zero, it
    /// leaves a zero.
    fn update(&self, step: u64, parameters: &mut [f32], gradients: &[f32], state: &mut [f32]);
}

/// Stochastic gradient descent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// By how much of its gradient a parameter changes.
    pub rate: f32,
}

impl Optimizer for Sgd {
    fn state(&self) -> usize {
        0
    }

    fn update(&self, _step: u64, parameters: &mut [f32], gradients: &[f32], _state: &mut [f32]) {
        for (parameter, gradient) in parameters.iter_mut().zip(gradients) {
            *parameter -= self.rate * gradient;
        }
    }
}

/// Adam (Kingma and Ba 2015, algorithm 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// The step size.
    pub rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Keeps the divisor from zero.
    pub epsilon: f32,
}

impl Adam {
    /// With the constants of the paper.
    pub const fn new(rate: f32) -> Self {
        Self { rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

impl Optimizer for Adam {
    fn state(&self) -> usize {
        2
    }

    fn update(&self, step: u64, parameters: &mut [f32], gradients: &[f32], state: &mut [f32]) {
        let (first, second) = state.split_at_mut(parameters.len());
        let power = i32::try_from(step.saturating_add(1)).unwrap_or(i32::MAX);
        let (rest1, rest2) = (1.0 - self.beta1.powi(power), 1.0 - self.beta2.powi(power));
        let moments = first.iter_mut().zip(second);
        for ((parameter, gradient), (m, v)) in parameters.iter_mut().zip(gradients).zip(moments) {
            *m = self.beta1 * *m + (1.0 - self.beta1) * gradient;
            *v = self.beta2 * *v + (1.0 - self.beta2) * gradient * gradient;
            *parameter -= self.rate * (*m / rest1) / ((*v / rest2).sqrt() + self.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_of_adam_is_its_rate_whatever_the_gradient() {
        let (mut parameters, mut state) = ([1.0_f32, 1.0, 0.0], [0.0; 6]);
        Adam::new(0.25).update(0, &mut parameters, &[8.0, -0.5, 0.0], &mut state);
        assert!((parameters[0] - 0.75).abs() < 1e-6 && (parameters[1] - 1.25).abs() < 1e-6);
        assert_eq!(parameters[2].to_bits(), 0);
        let mut parameters = [1.0_f32];
        Sgd { rate: 0.5 }.update(0, &mut parameters, &[1.0], &mut []);
        assert_eq!(parameters[0].to_bits(), 0.5_f32.to_bits());
    }
}
