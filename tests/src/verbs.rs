//! Worlds over RDMA, whose devices are those of `ONEPATH_VERBS_DEVICE` or all that there are.

use onepath_collectives::communicator::{Builder, Waiting};
use onepath_transport::verbs::transport::{Spread, VerbsOptions};

use crate::number;

/// Of 4.096 µs × 2^this; 1 s. Emulated ranks share one processor, and so an acknowledgement may
/// take long.
const ACK_TIMEOUT: u8 = 18;

/// What ranks of a test say; `ONEPATH_VERBS_ACK_TIMEOUT` is heeded.
///
/// # Panics
/// When a variable of the environment is wrong.
pub fn options(spread: Spread) -> VerbsOptions {
    let devices = std::env::var("ONEPATH_VERBS_DEVICE").ok();
    let devices = devices.iter().flat_map(|text| text.split(',')).map(|name| name.trim().into());
    let timeout = number("ONEPATH_VERBS_ACK_TIMEOUT").map_or(Ok(ACK_TIMEOUT), u8::try_from);
    VerbsOptions {
        devices: devices.collect(),
        spread,
        ack_timeout: timeout.expect("ONEPATH_VERBS_ACK_TIMEOUT is from 1 to 31"),
        ..VerbsOptions::default()
    }
}

/// A builder over RDMA. Ranks sleep: there are more of them than processors, and where those are
/// emulated, spinning costs real time.
pub fn over(builder: Builder, options: VerbsOptions) -> Builder {
    builder.verbs(options).waiting(Waiting::Sleep)
}
