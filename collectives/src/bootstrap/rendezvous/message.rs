//! What members and store say to each other, each in one frame; numbers in little endian.
//!
//! The beginning of a request (version, rank, key) has the same place in all versions, so that a
//! member of another version can be named.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use onepath_topology::rank::MAX_WORLD_SIZE;

use super::failure::Failure;
use crate::bootstrap::frame::{FrameError, put_frame};

/// Version of the store's protocol.
pub const PROTOCOL_VERSION: u16 = 1;
/// The longest key of an exchange, in bytes.
pub const MAX_KEY_BYTES: usize = 256;
/// The longest blob, in bytes.
pub const MAX_BLOB_BYTES: usize = 64 * 1024;
/// The most parameters of one member.
pub const MAX_PARAMETERS: usize = 64;
/// The longest name of a parameter, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The longest value of a parameter, in bytes.
pub const MAX_VALUE_BYTES: usize = 256;

/// The longest text in any message, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 256;
/// The longest request: all its parts at their longest, and room to spare.
pub(super) const MAX_REQUEST_BYTES: usize =
    1024 + MAX_KEY_BYTES + MAX_PARAMETERS * (4 + MAX_NAME_BYTES + MAX_VALUE_BYTES) + MAX_BLOB_BYTES;
/// The longest first frame of an answer.
pub(super) const MAX_ANSWER_BYTES: usize = 8 * 1024;
/// First byte of an answer after which the blobs follow, a frame each.
pub(super) const GOOD: u8 = 0;

/// A message that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends too early.
    #[error("the message ends too early: {missing} bytes more were expected")]
    Short {
        /// Bytes that are missing.
        missing: usize,
    },
    /// Something goes on after its end.
    #[error("{extra} bytes follow after the end of the message")]
    Extra {
        /// Bytes too many.
        extra: usize,
    },
    /// A part is longer than allowed.
    #[error("the {what} has a length of {length}: at most {maximum} are allowed")]
    TooLong {
        /// The part.
        what: &'static str,
        /// Its length in bytes or items.
        length: usize,
        /// What is allowed.
        maximum: usize,
    },
    /// A text is not UTF-8.
    #[error("the {what} is not UTF-8")]
    NotText {
        /// The part.
        what: &'static str,
    },
    /// The message is of no known kind.
    #[error("there is no message of kind {kind}")]
    Kind {
        /// Its kind.
        kind: u8,
    },
    /// A rank at or above the number of members, or a number of members that is not allowed.
    #[error("rank {rank} of {count} members is out of range")]
    Rank {
        /// The rank.
        rank: u32,
        /// The number of members.
        count: u32,
    },
    /// An answer for another number of members.
    #[error("{count} blobs were answered, {expected} were expected")]
    Count {
        /// Answered.
        count: u32,
        /// Expected.
        expected: u32,
    },
}

impl From<TryGetError> for Malformed {
    fn from(error: TryGetError) -> Self {
        Self::Short { missing: error.requested.saturating_sub(error.available) }
    }
}

/// A member's post to an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Which exchange: at most [`MAX_KEY_BYTES`] bytes.
    pub key: String,
    /// Which member, below `count`.
    pub rank: u32,
    /// How many members take part, from 1 to the largest world size.
    pub count: u32,
    /// Names and values that must be the same for all members; at most [`MAX_PARAMETERS`].
    pub parameters: Vec<(String, String)>,
    /// What the others are to get: at most [`MAX_BLOB_BYTES`] bytes.
    pub blob: Bytes,
    /// How long this member waits for the others; sent in milliseconds.
    pub patience: Duration,
}

/// A request as the store reads it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Post(Post),
    OtherVersion { version: u16, rank: u32, key: String },
}

impl Post {
    /// Checks every bound, so that a mistake is named before anything is sent.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        check_length("key", self.key.len(), MAX_KEY_BYTES)?;
        check_length("blob", self.blob.len(), MAX_BLOB_BYTES)?;
        check_length("list of parameters", self.parameters.len(), MAX_PARAMETERS)?;
        for (name, value) in &self.parameters {
            check_length("name of a parameter", name.len(), MAX_NAME_BYTES)?;
            check_length("value of a parameter", value.len(), MAX_VALUE_BYTES)?;
        }
        if self.rank >= self.count || self.count > MAX_WORLD_SIZE {
            return Err(Malformed::Rank { rank: self.rank, count: self.count });
        }
        Ok(())
    }

    pub(super) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_u16_le(PROTOCOL_VERSION);
        out.put_u32_le(self.rank);
        put_text(&mut out, &self.key);
        out.put_u32_le(self.count);
        out.put_u64_le(self.patience.as_millis().try_into().unwrap_or(u64::MAX));
        out.put_u16_le(self.parameters.len() as u16);
        for (name, value) in &self.parameters {
            put_text(&mut out, name);
            put_text(&mut out, value);
        }
        out.put_u32_le(self.blob.len() as u32);
        out.put_slice(&self.blob);
        out
    }
}

impl Request {
    pub(super) fn decode(mut input: Bytes) -> Result<Self, Malformed> {
        let version = input.try_get_u16_le()?;
        let rank = input.try_get_u32_le()?;
        let key = take_text(&mut input, "key", MAX_KEY_BYTES)?;
        if version != PROTOCOL_VERSION {
            return Ok(Self::OtherVersion { version, rank, key });
        }
        let count = input.try_get_u32_le()?;
        let patience = Duration::from_millis(input.try_get_u64_le()?);
        let number = usize::from(input.try_get_u16_le()?);
        check_length("list of parameters", number, MAX_PARAMETERS)?;
        let mut parameters = Vec::with_capacity(number);
        for _ in 0..number {
            let name = take_text(&mut input, "name of a parameter", MAX_NAME_BYTES)?;
            let value = take_text(&mut input, "value of a parameter", MAX_VALUE_BYTES)?;
            parameters.push((name, value));
        }
        let length = input.try_get_u32_le()? as usize;
        check_length("blob", length, MAX_BLOB_BYTES)?;
        let blob = take(&mut input, length)?;
        check_end(&input)?;
        let post = Post { key, rank, count, parameters, blob, patience };
        post.check()?;
        Ok(Self::Post(post))
    }
}

/// The first frame of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// So many frames with a blob each follow.
    Good {
        count: u32,
    },
    Failed(Failure),
}

impl Answer {
    pub(super) fn decode(mut input: Bytes) -> Result<Self, Malformed> {
        let answer = match input.try_get_u8()? {
            GOOD => Self::Good { count: input.try_get_u32_le()? },
            kind => Self::Failed(Failure::decode(kind, &mut input)?),
        };
        check_end(&input)?;
        Ok(answer)
    }
}

/// The frames that tell all members all blobs; made once and sent to each.
pub(super) fn encode_good<'a>(
    blobs: impl ExactSizeIterator<Item = &'a Bytes> + Clone,
) -> Result<Bytes, FrameError> {
    let total: usize = blobs.clone().map(|blob| 4 + blob.len()).sum();
    let mut out = BytesMut::with_capacity(16 + total);
    let mut head = BytesMut::new();
    head.put_u8(GOOD);
    head.put_u32_le(blobs.len() as u32);
    put_frame(&mut out, &head, MAX_ANSWER_BYTES)?;
    for blob in blobs {
        put_frame(&mut out, blob, MAX_BLOB_BYTES)?;
    }
    Ok(out.freeze())
}

/// The frame that tells a member why there is no result.
pub(super) fn encode_failure(failure: &Failure) -> Bytes {
    let mut content = BytesMut::new();
    failure.encode(&mut content);
    let mut out = BytesMut::new();
    put_frame(&mut out, &content, MAX_ANSWER_BYTES).expect("all parts of a failure are bounded");
    out.freeze()
}

/// Appends a text with its length; what is too long is cut (only texts of our own can be).
pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    let text = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
    out.put_u16_le(text.len() as u16);
    out.put_slice(text.as_bytes());
}

/// Reads a text of at most `maximum` bytes with its length.
pub(super) fn take_text(
    input: &mut Bytes,
    what: &'static str,
    maximum: usize,
) -> Result<String, Malformed> {
    let length = usize::from(input.try_get_u16_le()?);
    check_length(what, length, maximum)?;
    let bytes = take(input, length)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed::NotText { what })
}

fn take(input: &mut Bytes, length: usize) -> Result<Bytes, Malformed> {
    match length.checked_sub(input.len()) {
        None | Some(0) => Ok(input.split_to(length)),
        Some(missing) => Err(Malformed::Short { missing }),
    }
}

fn check_length(what: &'static str, length: usize, maximum: usize) -> Result<(), Malformed> {
    if length > maximum { Err(Malformed::TooLong { what, length, maximum }) } else { Ok(()) }
}

fn check_end(input: &Bytes) -> Result<(), Malformed> {
    if input.is_empty() { Ok(()) } else { Err(Malformed::Extra { extra: input.len() }) }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
