//! What comes in: which packets, which pieces of which chunks, and when to say so.
//!
//! | file | what it holds |
//! |---|---|
//! | `window` | which packet numbers came, as bits; what acknowledgements say |
//! | `schedule` | when an acknowledgement is due |
//! | `inbox` | chunks that are arriving: each byte once, credit |
//! | `early` | bytes whose place is not known yet |
mod early;
mod inbox;
mod schedule;
mod window;

pub use early::EarlyBuffer;
pub use inbox::{ChunkNumber, IncomingPiece};
pub(super) use inbox::{Inbox, Taken, rounded};
pub(super) use schedule::AckSchedule;
pub(super) use window::{ReceiveWindow, Seen};
