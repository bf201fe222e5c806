//! Length-prefixed frames: a `u32` length in little endian, then so many bytes.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of the length before each frame.
pub const HEADER_BYTES: usize = 4;

/// How much memory is reserved at once: a length is a claim until the bytes have come.
const RESERVE_BYTES: usize = 64 * 1024;

/// Why a frame was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The connection ended between two frames.
    #[error("the other side closed the connection")]
    Closed,
    /// The connection ended inside a frame.
    #[error("the connection ended after {received} of {length} bytes of a frame")]
    Truncated {
        /// Bytes that came, of header and content together.
        received: usize,
        /// Bytes that were to come.
        length: usize,
    },
    /// The length is above the maximum.
    #[error("a frame of {length} bytes is too long: at most {maximum} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest that is allowed here.
        maximum: usize,
    },
}

/// Reads one frame of at most `maximum` bytes. Not safe to cancel: bytes read so far are lost.
pub async fn read_frame<R>(reader: &mut R, maximum: usize) -> Result<Bytes, FrameError>
where
    R: AsyncRead + Unpin,
{
    let mut header = BytesMut::with_capacity(HEADER_BYTES);
    read_until(reader, &mut header, HEADER_BYTES).await?;
    let length = match header[..] {
        [] => return Err(FrameError::Closed),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]) as usize,
        _ => {
            return Err(FrameError::Truncated { received: header.len(), length: HEADER_BYTES });
        }
    };
    if length > maximum {
        return Err(FrameError::TooLong { length, maximum });
    }
    let mut content = BytesMut::new();
    read_until(reader, &mut content, length).await?;
    if content.len() < length {
        let received = HEADER_BYTES + content.len();
        return Err(FrameError::Truncated { received, length: HEADER_BYTES + length });
    }
    Ok(content.freeze())
}

/// Fills `buffer` to `length` bytes, or to fewer if the stream ends before.
async fn read_until<R>(reader: &mut R, buffer: &mut BytesMut, length: usize) -> io::Result<()>
where
    R: AsyncRead + Unpin,
{
    while buffer.len() < length {
        let missing = length - buffer.len();
        buffer.reserve(missing.min(RESERVE_BYTES));
        let mut limited = (&mut *reader).take(missing as u64);
        if limited.read_buf(buffer).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Writes one frame of at most `maximum` bytes and flushes it.
pub async fn write_frame<W>(
    writer: &mut W,
    content: &[u8],
    maximum: usize,
) -> Result<(), FrameError>
where
    W: AsyncWrite + Unpin,
{
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + content.len().min(maximum));
    put_frame(&mut frame, content, maximum)?;
    writer.write_all(&frame).await?;
    writer.flush().await?;
    Ok(())
}

/// Appends one frame of at most `maximum` bytes to `buffer`.
pub fn put_frame(buffer: &mut BytesMut, content: &[u8], maximum: usize) -> Result<(), FrameError> {
    let length = content.len();
    match u32::try_from(length) {
        Ok(number) if length <= maximum => {
            buffer.extend_from_slice(&number.to_le_bytes());
            buffer.extend_from_slice(content);
            Ok(())
        }
        _ => Err(FrameError::TooLong { length, maximum }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_arrive_as_they_were_written_and_then_the_end() {
        let (mut near, mut far) = tokio::io::duplex(7);
        let frames = [vec![], vec![1], vec![2; 1000]];
        let sent = frames.clone();
        let writer = async move {
            for frame in &sent {
                write_frame(&mut near, frame, 1000).await.expect("write");
            }
        };
        let reader = async {
            for frame in &frames {
                assert_eq!(read_frame(&mut far, 1000).await.expect("read"), frame[..]);
            }
            assert!(matches!(read_frame(&mut far, 1000).await, Err(FrameError::Closed)));
        };
        tokio::join!(writer, reader);
    }

    #[tokio::test]
    async fn a_frame_above_the_maximum_is_neither_written_nor_read() {
        let mut out = Vec::new();
        let error = write_frame(&mut out, &[0; 11], 10).await.expect_err("too long");
        assert!(matches!(error, FrameError::TooLong { length: 11, maximum: 10 }));
        assert!(out.is_empty());
        let error = read_frame(&mut &u32::MAX.to_le_bytes()[..], 10).await.expect_err("too long");
        assert!(matches!(error, FrameError::TooLong { length: 0xffff_ffff, maximum: 10 }));
    }

    #[tokio::test]
    async fn a_cut_frame_is_told_with_both_lengths() {
        let error = read_frame(&mut &[3, 0, 0, 0, 9][..], 10).await.expect_err("cut");
        assert!(matches!(error, FrameError::Truncated { received: 5, length: 7 }), "{error}");
        let error = read_frame(&mut &[3, 0][..], 10).await.expect_err("cut");
        assert!(matches!(error, FrameError::Truncated { received: 2, length: 4 }), "{error}");
    }
}
