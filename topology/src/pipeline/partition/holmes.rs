//! Holmes' rule (arXiv 2312.03549): layers in proportion to the clusters' end-to-end speed.

/// Why the rule gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum HolmesError {
    /// Every stage has at least one layer.
    #[error("{stages} stages for {layers} layers: there must be a layer for each stage")]
    Stages {
        /// How many stages.
        stages: usize,
        /// How many layers.
        layers: usize,
    },
    /// A speed that is none.
    #[error("the speed of stage {stage} is {value}: it must be a positive, finite number")]
    Speed {
        /// Which stage.
        stage: usize,
        /// What was given.
        value: f64,
    },
    /// The factor.
    #[error("alpha is {0}: it must be a positive, finite number")]
    Alpha(f64),
    /// The last stage, or a very slow one, would be empty.
    #[error("alpha {alpha} leaves stage {stage} with {layers} layers: it must have at least 1")]
    Empty {
        /// The factor.
        alpha: f64,
        /// Which stage.
        stage: usize,
        /// What it would get; below 0 when the others took more than there are.
        layers: i64,
    },
}

/// `N_i = ⌊alpha · S_i / ΣS · N⌋` layers for each stage but the last, which takes the rest.
///
/// `speeds` are measured end to end, networks included (TFLOPS of a homogeneous run), as Holmes
/// takes them; the costs of [`super::exact()`] are compute alone, with networks as terms of their
/// own. Neither may be used for the other.
pub fn holmes(layers: usize, speeds: &[f64], alpha: f64) -> Result<Vec<usize>, HolmesError> {
    let stages = speeds.len();
    if stages == 0 || stages > layers {
        return Err(HolmesError::Stages { stages, layers });
    }
    if !alpha.is_finite() || alpha <= 0.0 {
        return Err(HolmesError::Alpha(alpha));
    }
    let wrong = speeds.iter().position(|speed| !speed.is_finite() || *speed <= 0.0);
    if let Some(stage) = wrong {
        return Err(HolmesError::Speed { stage, value: speeds[stage] });
    }
    let sum: f64 = speeds.iter().sum();
    let mut counts: Vec<i64> = speeds[..stages - 1]
        .iter()
        .map(|speed| (alpha * speed / sum * layers as f64).floor() as i64)
        .collect();
    counts.push(layers as i64 - counts.iter().sum::<i64>());
    let empty = counts.iter().position(|count| *count < 1);
    if let Some(stage) = empty {
        return Err(HolmesError::Empty { alpha, stage, layers: counts[stage] });
    }
    Ok(counts.into_iter().map(|count| count as usize).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_1_gives_the_repositorys_own_examples() {
        assert_eq!(holmes(30, &[197.0, 160.0], 1.0), Ok(vec![16, 14]));
        assert_eq!(holmes(48, &[197.0, 160.0], 1.0), Ok(vec![26, 22]));
    }

    #[test]
    fn alpha_above_1_moves_layers_to_the_faster_stage() {
        assert_eq!(holmes(30, &[197.0, 160.0], 1.05), Ok(vec![17, 13]));
    }

    #[test]
    fn a_rule_that_empties_the_last_stage_is_refused() {
        let error = holmes(30, &[197.0, 160.0], 2.0).expect_err("33 of 30 layers");
        assert_eq!(error, HolmesError::Empty { alpha: 2.0, stage: 1, layers: -3 });
        assert!(holmes(30, &[197.0, 0.0], 1.0).is_err());
        assert!(holmes(1, &[1.0, 1.0], 1.0).is_err());
    }
}
