//! Why an object was not made, and what is left of the others.

use std::fmt;
use std::time::Duration;

use crate::connect::said;

/// Why objects were not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// The name is taken.
    #[error(
        "{object} is there already in namespace {namespace}: another --name would be right, or \
         'kubectl -n {namespace} delete job,service,secret -l onepath.io/job={job}' before{left}"
    )]
    Exists {
        /// Kind and name.
        object: String,
        /// Where.
        namespace: String,
        /// The job.
        job: String,
        /// What is left.
        left: Left,
    },
    /// The server refuses an object.
    #[error("{object} in namespace {namespace}: {problem}{left}")]
    Refused {
        /// Kind and name.
        object: String,
        /// Where.
        namespace: String,
        /// The server's words.
        problem: String,
        /// What is left.
        left: Left,
    },
    /// A signal came before all was made.
    #[error("interrupted: no job was made{left}")]
    Interrupted {
        /// What is left.
        left: Left,
    },
    /// Handlers of signals are refused.
    #[error("{0}")]
    System(#[source] std::io::Error),
}

/// What may be in the cluster still.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Made, and not taken away.
    pub(super) made: Vec<String>,
    /// Made or not: nobody has answered.
    pub(super) doubtful: Option<Box<str>>,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.made.is_empty() {
            write!(f, "; these were made and could not be deleted: {}", self.made.join(", "))?;
        }
        match &self.doubtful {
            Some(object) => write!(f, "; {object} may have been made: it is to be deleted by hand"),
            None => Ok(()),
        }
    }
}

/// Why one object was not made.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What of the object is refused, before the words of the server.
    about: &'static str,
    /// Nobody knows whether it was made.
    pub(super) is_doubtful: bool,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Error(kube::Error),
    Late(Duration),
    Interrupted,
}

/// Whether the same request may go otherwise a moment later: unless the server refuses the request
/// itself.
pub(super) fn may_change(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => !(400..500).contains(&status.code) || status.code == 408,
        _ => true,
    }
}

impl Refusal {
    pub(super) fn new(error: kube::Error) -> Self {
        Self { about: "", is_doubtful: false, cause: Cause::Error(error) }
    }

    /// No answer came in time.
    pub(super) fn late(patience: Duration) -> Self {
        Self { about: "", is_doubtful: false, cause: Cause::Late(patience) }
    }

    /// A signal came before it was tried.
    pub(super) fn interrupted() -> Self {
        Self { about: "", is_doubtful: false, cause: Cause::Interrupted }
    }

    /// The same of a part of the object.
    pub(super) fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Whether a server has answered.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self.cause, Cause::Error(kube::Error::Api(_)))
    }

    /// Whether the object was surely not made by this run.
    pub(super) fn is_final(&self) -> bool {
        match &self.cause {
            Cause::Interrupted => true,
            Cause::Late(_) => false,
            Cause::Error(error) => !may_change(error) && !self.is_exists(),
        }
    }

    /// Whether there is such an object: of somebody else, or of a request of ours whose answer was
    /// lost.
    pub(super) fn is_exists(&self) -> bool {
        matches!(&self.cause, Cause::Error(kube::Error::Api(status)) if status.is_already_exists())
    }

    /// Whether the server's words have these among them.
    pub(super) fn says(&self, words: &str) -> bool {
        matches!(&self.cause, Cause::Error(kube::Error::Api(status))
            if status.message.contains(words))
    }

    /// As what the caller is told.
    pub(super) fn of(
        self,
        object: String,
        namespace: String,
        job: String,
        left: Left,
    ) -> CreateError {
        if self.is_exists() {
            return CreateError::Exists { object, namespace, job, left };
        }
        let problem = match self.cause {
            Cause::Interrupted => return CreateError::Interrupted { left },
            Cause::Late(patience) => format!("no answer within {} s", patience.as_secs()),
            Cause::Error(error) => said(&error),
        };
        CreateError::Refused { object, namespace, problem: self.about.to_owned() + &problem, left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_named() {
        assert_eq!(Left::default().to_string(), "");
        let made = vec!["service/a".to_owned(), "secret/a".to_owned()];
        let left = Left { made, doubtful: Some("job.batch/a-s0".into()) };
        assert_eq!(
            left.to_string(),
            "; these were made and could not be deleted: service/a, secret/a; job.batch/a-s0 may \
             have been made: it is to be deleted by hand"
        );
    }
}
