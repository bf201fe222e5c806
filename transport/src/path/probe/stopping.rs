//! How many answers are enough.

/// After how many answers that named `paths` different paths a further path is excluded, up to a
/// probability of `miss`, if all are equally likely.
///
/// With one path more, each of the `paths + 1` stays unseen in `n` answers with probability
/// `(paths / (paths + 1))^n`; by the union bound some one does with at most `paths + 1` times that.
/// This is the stopping rule of the Multipath Detection Algorithm (Veitch, Augustin, Friedman,
/// Teixeira: Failure Control in Multipath Route Tracing, INFOCOM 2009, section II): 6, 11, 16, 21
/// answers at 5%.
pub fn answers_to_exclude(paths: u32, miss: f64) -> u32 {
    let seen = f64::from(paths.max(1));
    ((miss / (seen + 1.0)).ln() / (seen / (seen + 1.0)).ln()).ceil() as u32
}

/// About how many answers fill `missing` places on `short` of `paths` paths.
pub(super) fn answers_to_fill(missing: u32, short: u32, paths: u32) -> u32 {
    (missing * paths).div_ceil(short.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_the_published_one() {
        let table: Vec<u32> = (1..=6).map(|paths| answers_to_exclude(paths, 0.05)).collect();
        assert_eq!(table, [6, 11, 16, 21, 27, 33]);
    }
}
