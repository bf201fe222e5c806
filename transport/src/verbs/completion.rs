//! What became of a work request.

use super::raw::constants::{
    IBV_WC_BAD_RESP_ERR, IBV_WC_FATAL_ERR, IBV_WC_GENERAL_ERR, IBV_WC_INV_EEC_STATE_ERR,
    IBV_WC_INV_EECN_ERR, IBV_WC_LOC_ACCESS_ERR, IBV_WC_LOC_EEC_OP_ERR, IBV_WC_LOC_LEN_ERR,
    IBV_WC_LOC_PROT_ERR, IBV_WC_LOC_QP_OP_ERR, IBV_WC_LOC_RDD_VIOL_ERR, IBV_WC_MW_BIND_ERR,
    IBV_WC_RDMA_WRITE, IBV_WC_RECV, IBV_WC_RECV_RDMA_WITH_IMM, IBV_WC_REM_ABORT_ERR,
    IBV_WC_REM_ACCESS_ERR, IBV_WC_REM_INV_RD_REQ_ERR, IBV_WC_REM_INV_REQ_ERR, IBV_WC_REM_OP_ERR,
    IBV_WC_RESP_TIMEOUT_ERR, IBV_WC_RETRY_EXC_ERR, IBV_WC_RNR_RETRY_EXC_ERR, IBV_WC_SEND,
    IBV_WC_SUCCESS, IBV_WC_TM_ERR, IBV_WC_TM_RNDV_INCOMPLETE, IBV_WC_WITH_IMM, IBV_WC_WR_FLUSH_ERR,
};
use super::raw::types::ibv_wc;

/// A work request that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The id that was posted with it. After an error all unsignalled requests of the queue before
    /// it have ended too, whether they did their work or not.
    pub id: u64,
    /// The number of the queue pair.
    pub queue_pair: u32,
    /// What was done, or why not.
    pub outcome: Result<Done, CompletionError>,
}

/// Work that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// A SEND: the peer's receive request has the bytes.
    Sent,
    /// An RDMA WRITE, with or without immediate: the bytes are with the peer's device.
    Written,
    /// A receive request took a SEND.
    Received {
        /// How many bytes are in its memory.
        bytes: u32,
        /// The immediate, if the SEND had one.
        immediate: Option<u32>,
    },
    /// A receive request took the immediate of an RDMA WRITE, whose bytes are in place.
    WriteArrived {
        /// How many bytes the RDMA WRITE had.
        bytes: u32,
        /// The immediate.
        immediate: u32,
    },
    /// Something that this binding never posts, by its number in `enum ibv_wc_opcode`.
    Other(u32),
}

/// Declares the statuses with their numbers, and the way back from a number.
macro_rules! statuses {
    ($($(#[$attribute:meta])* $name:ident = $number:ident,)*) => {
        /// Why a work request was not done (`enum ibv_wc_status`; InfiniBand Architecture
        /// Specification, volume 1, section 11.6.2). Its queue pair is in the error state
        /// afterwards.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[non_exhaustive]
        pub enum CompletionError {
            $($(#[$attribute])* $name,)*
            /// A status that this version does not know, by its number.
            #[error("completion status {0}, which this version does not know")]
            Unknown(u32),
        }

        impl CompletionError {
            fn from_raw(status: u32) -> Self {
                match status {
                    $($number => Self::$name,)*
                    unknown => Self::Unknown(unknown),
                }
            }
        }
    };
}

statuses! {
    /// The memory of a receive request is too short for the message, or a message is longer than
    /// the port allows.
    #[error("local length error: the message does not fit into its memory or is too long")]
    LocalLength = IBV_WC_LOC_LEN_ERR,
    /// The request makes no sense for its queue pair.
    #[error("local queue pair operation error: the request does not fit its queue pair")]
    LocalOperation = IBV_WC_LOC_QP_OP_ERR,
    /// Of reliable datagrams, which no device has.
    #[error("local end-to-end context operation error")]
    LocalEndToEndOperation = IBV_WC_LOC_EEC_OP_ERR,
    /// A span is not in a region of the queue pair's protection domain, or the region does not
    /// allow the access.
    #[error("local protection error: a span is outside of its memory region, or of its rights")]
    LocalProtection = IBV_WC_LOC_PROT_ERR,
    /// The queue pair went into the error state before the request was done. Says nothing of why:
    /// the first completion with another status does.
    #[error("flushed: the queue pair was in the error state before the request was done")]
    Flushed = IBV_WC_WR_FLUSH_ERR,
    /// Of memory windows, which we do not use.
    #[error("memory window bind error")]
    MemoryWindowBind = IBV_WC_MW_BIND_ERR,
    /// The peer's device answered something that the protocol does not allow.
    #[error("bad response: the peer's device broke the protocol")]
    BadResponse = IBV_WC_BAD_RESP_ERR,
    /// The own device could not write what arrived to the memory meant for it.
    #[error("local access error: memory meant for a remote operation cannot be reached")]
    LocalAccess = IBV_WC_LOC_ACCESS_ERR,
    /// The peer's device refused the request: its queue pair does not allow it, or the message is
    /// too long for the receive request.
    #[error("remote invalid request: the peer's queue pair does not allow it, or it is too long")]
    RemoteInvalidRequest = IBV_WC_REM_INV_REQ_ERR,
    /// The remote key is wrong, or the range is not inside its region.
    #[error("remote access error: wrong remote key, or outside of the peer's memory region")]
    RemoteAccess = IBV_WC_REM_ACCESS_ERR,
    /// The peer's device failed in the middle.
    #[error("remote operation error: the peer's device could not complete the request")]
    RemoteOperation = IBV_WC_REM_OP_ERR,
    /// The peer did not acknowledge after all retries: it is gone, or the path to it is.
    #[error("retries exhausted: no acknowledgement; the peer or the path to it is dead")]
    RetryExceeded = IBV_WC_RETRY_EXC_ERR,
    /// The peer had no receive request ready after all retries.
    #[error("receiver not ready: the peer posted no receive request in time")]
    ReceiverNotReady = IBV_WC_RNR_RETRY_EXC_ERR,
    /// Of reliable datagrams, which no device has.
    #[error("local reliable datagram domain violation")]
    LocalDomainViolation = IBV_WC_LOC_RDD_VIOL_ERR,
    /// Of reliable datagrams, which no device has.
    #[error("remote invalid reliable datagram request")]
    RemoteInvalidDatagramRequest = IBV_WC_REM_INV_RD_REQ_ERR,
    /// The peer gave the operation up.
    #[error("remote abort: the peer gave the operation up")]
    RemoteAbort = IBV_WC_REM_ABORT_ERR,
    /// Of reliable datagrams, which no device has.
    #[error("invalid end-to-end context number")]
    InvalidEndToEndNumber = IBV_WC_INV_EECN_ERR,
    /// Of reliable datagrams, which no device has.
    #[error("invalid end-to-end context state")]
    InvalidEndToEndState = IBV_WC_INV_EEC_STATE_ERR,
    /// The device or its driver has a fault.
    #[error("fatal error of the device")]
    Fatal = IBV_WC_FATAL_ERR,
    /// The answer to the request did not come in time.
    #[error("response timed out")]
    ResponseTimeout = IBV_WC_RESP_TIMEOUT_ERR,
    /// The device says no more than that.
    #[error("general error of the device")]
    General = IBV_WC_GENERAL_ERR,
    /// Of tag matching, which we do not use.
    #[error("tag matching error")]
    TagMatching = IBV_WC_TM_ERR,
    /// Of tag matching, which we do not use.
    #[error("tag matching rendezvous incomplete")]
    TagMatchingRendezvous = IBV_WC_TM_RNDV_INCOMPLETE,
}

impl CompletionError {
    /// Whether another path to the same peer may do better: the packets got lost, or this says
    /// nothing of the cause. All others are faults of requests, of memory or of a device, which
    /// would come again.
    pub fn is_of_the_path(self) -> bool {
        matches!(self, Self::RetryExceeded | Self::ResponseTimeout | Self::Flushed)
    }
}

impl Completion {
    pub(super) fn from_raw(raw: &ibv_wc) -> Self {
        let outcome = match raw.status {
            IBV_WC_SUCCESS => Ok(done(raw)),
            status => Err(CompletionError::from_raw(status)),
        };
        Self { id: raw.wr_id, queue_pair: raw.qp_num, outcome }
    }
}

fn done(raw: &ibv_wc) -> Done {
    let immediate = u32::from_be(raw.imm_data);
    match raw.opcode {
        IBV_WC_SEND => Done::Sent,
        IBV_WC_RDMA_WRITE => Done::Written,
        IBV_WC_RECV => {
            let has_one = raw.wc_flags & IBV_WC_WITH_IMM != 0;
            Done::Received { bytes: raw.byte_len, immediate: has_one.then_some(immediate) }
        }
        IBV_WC_RECV_RDMA_WITH_IMM => Done::WriteArrived { bytes: raw.byte_len, immediate },
        other => Done::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(status: u32, opcode: u32) -> ibv_wc {
        let imm_data = 0x0102_0304_u32.to_be();
        ibv_wc { wr_id: 9, status, opcode, byte_len: 77, imm_data, qp_num: 17, ..ibv_wc::default() }
    }

    #[test]
    fn a_write_with_immediate_arrives_with_its_length_and_number() {
        let completion = Completion::from_raw(&raw(IBV_WC_SUCCESS, IBV_WC_RECV_RDMA_WITH_IMM));
        assert_eq!((completion.id, completion.queue_pair), (9, 17));
        let arrived = Done::WriteArrived { bytes: 77, immediate: 0x0102_0304 };
        assert_eq!(completion.outcome, Ok(arrived));
    }

    #[test]
    fn a_send_has_an_immediate_only_if_the_flag_says_so() {
        let mut raw = raw(IBV_WC_SUCCESS, IBV_WC_RECV);
        let outcome = Completion::from_raw(&raw).outcome;
        assert_eq!(outcome, Ok(Done::Received { bytes: 77, immediate: None }));
        raw.wc_flags = IBV_WC_WITH_IMM;
        let outcome = Completion::from_raw(&raw).outcome;
        assert_eq!(outcome, Ok(Done::Received { bytes: 77, immediate: Some(0x0102_0304) }));
    }

    #[test]
    fn every_status_of_the_header_has_a_name_of_its_own_and_a_meaning() {
        let errors: Vec<_> = (1..=23).map(CompletionError::from_raw).collect();
        for (at, error) in errors.iter().enumerate() {
            assert!(!matches!(error, CompletionError::Unknown(_)), "status {}", at + 1);
            assert!(!errors[..at].contains(error), "{error:?} twice");
            assert!(!error.to_string().is_empty());
        }
        assert_eq!(CompletionError::from_raw(24), CompletionError::Unknown(24));
    }

    #[test]
    fn after_an_error_only_id_and_queue_pair_are_read() {
        let completion = Completion::from_raw(&raw(IBV_WC_RETRY_EXC_ERR, 12345));
        assert_eq!(completion.outcome, Err(CompletionError::RetryExceeded));
        assert!(CompletionError::RetryExceeded.is_of_the_path());
        assert!(!CompletionError::RemoteAccess.is_of_the_path());
    }
}
