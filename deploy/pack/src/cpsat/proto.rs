//! The parts of `cp_model.proto` and `sat_parameters.proto` of OR-Tools that are used here.
//!
//! Names and numbers are those of OR-Tools 9.15; unknown fields are passed over, and numbers of
//! fields are never given to others.

/// `CpModelProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Model {
    #[prost(message, repeated, tag = "2")]
    pub(super) variables: Vec<Variable>,
    #[prost(message, repeated, tag = "3")]
    pub(super) constraints: Vec<Constraint>,
    #[prost(message, optional, tag = "4")]
    pub(super) objective: Option<Goal>,
    #[prost(message, optional, tag = "6")]
    pub(super) solution_hint: Option<Hint>,
}

/// `IntegerVariableProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Variable {
    /// Pairs of least and largest values.
    #[prost(int64, repeated, tag = "2")]
    pub(super) domain: Vec<i64>,
}

/// `ConstraintProto`, of which only linear ones are used.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Constraint {
    #[prost(message, optional, tag = "12")]
    pub(super) linear: Option<Linear>,
}

/// `LinearConstraintProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Linear {
    #[prost(int32, repeated, tag = "1")]
    pub(super) vars: Vec<i32>,
    #[prost(int64, repeated, tag = "2")]
    pub(super) coeffs: Vec<i64>,
    /// Pairs of least and largest values of the sum.
    #[prost(int64, repeated, tag = "3")]
    pub(super) domain: Vec<i64>,
}

/// `CpObjectiveProto`: the least sum is wanted.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Goal {
    #[prost(int32, repeated, tag = "1")]
    pub(super) vars: Vec<i32>,
    #[prost(int64, repeated, tag = "4")]
    pub(super) coeffs: Vec<i64>,
}

/// `PartialVariableAssignment`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Hint {
    #[prost(int32, repeated, tag = "1")]
    pub(super) vars: Vec<i32>,
    #[prost(int64, repeated, tag = "2")]
    pub(super) values: Vec<i64>,
}

/// `SatParameters`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Parameters {
    #[prost(int32, optional, tag = "31")]
    pub(super) random_seed: Option<i32>,
    #[prost(double, optional, tag = "36")]
    pub(super) max_time_in_seconds: Option<f64>,
    #[prost(bool, optional, tag = "135")]
    pub(super) catch_sigint_signal: Option<bool>,
    #[prost(int32, optional, tag = "206")]
    pub(super) num_workers: Option<i32>,
}

/// `CpSolverResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(enumeration = "Status", tag = "1")]
    pub(super) status: i32,
    #[prost(int64, repeated, tag = "2")]
    pub(super) solution: Vec<i64>,
    #[prost(double, tag = "4")]
    pub(super) best_objective_bound: f64,
    #[prost(int64, tag = "11")]
    pub(super) num_conflicts: i64,
    #[prost(int64, tag = "12")]
    pub(super) num_branches: i64,
    #[prost(string, tag = "20")]
    pub(super) solution_info: String,
}

/// `CpSolverStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Status {
    Unknown = 0,
    ModelInvalid = 1,
    Feasible = 2,
    Infeasible = 3,
    Optimal = 4,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{Constraint, Linear, Parameters};

    #[test]
    fn messages_are_written_as_the_format_says() {
        // Field 12 of length 9: fields 1, 2 and 3, each packed; -1 takes ten bytes as int64.
        let linear = Linear { vars: vec![3], coeffs: vec![2], domain: vec![0, 7] };
        let constraint = Constraint { linear: Some(linear) };
        let bytes = [0x62, 10, 0x0a, 1, 3, 0x12, 1, 2, 0x1a, 2, 0, 7];
        assert_eq!(constraint.encode_to_vec(), bytes);
        // Field 206 has number 206 << 3 = 1648 = 0xf0 0x0c as varint.
        let one = Parameters { num_workers: Some(1), ..Parameters::default() };
        assert_eq!(one.encode_to_vec(), [0xf0, 0x0c, 1]);
    }
}
