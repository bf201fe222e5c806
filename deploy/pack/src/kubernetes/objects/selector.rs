//! Label selectors and the expressions that node selectors share with them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Which labels an object must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// These, with these values.
    pub match_labels: BTreeMap<String, String>,
    /// And all of these hold.
    pub match_expressions: Vec<Expression>,
}

impl LabelSelector {
    /// Whether labels are as it wants; an empty selector takes everything.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.matches(labels))
    }
}

/// One condition on labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Expression {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    #[serde(default)]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Operator {
    /// Is one of the values.
    In,
    /// Is none of the values, or not there.
    NotIn,
    /// Is there.
    Exists,
    /// Is not there.
    DoesNotExist,
    /// Is a whole number above the only value.
    Gt,
    /// Is a whole number below the only value.
    Lt,
}

impl Expression {
    /// Whether it holds of labels (apimachinery, `labels.Requirement.Matches`).
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.holds(labels.get(&self.key).map(String::as_str))
    }

    /// Whether it holds of a value, or of none.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|value| self.values.iter().any(|one| one == value));
        let numbers = || {
            let [limit] = &self.values[..] else { return None };
            Some((value?.parse::<i64>().ok()?, limit.parse::<i64>().ok()?))
        };
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => numbers().is_some_and(|(value, limit)| value > limit),
            Operator::Lt => numbers().is_some_and(|(value, limit)| value < limit),
        }
    }
}
