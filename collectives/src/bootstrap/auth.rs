//! A mutual challenge on a fresh connection: each side proves that it knows the job secret.
//!
//! ```text
//! connector → acceptor   magic (8), version (2), side (1), nonce (32)
//! acceptor → connector   the same
//! connector → acceptor   proof (32)
//! acceptor → connector   verdict (1), proof (32)
//! ```
//! A proof is HMAC-SHA256 over the prover's label, both nonces (the connector's first) and the
//! caller's context. The labels differ and both nonces count, so a proof can neither be reflected
//! to its sender nor replayed; the context ties it to one use of the secret. What follows on the
//! connection is neither encrypted nor signed.

use std::io;
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::secret::Trust;

/// Version of this exchange; magic and version keep their place in all versions.
pub const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"ONEPATH\x1a";
const PREAMBLE_BYTES: usize = 10;
const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;
const HELLO_BYTES: usize = PREAMBLE_BYTES + 1 + NONCE_BYTES;
const REFUSED: u8 = 0;
const ACCEPTED: u8 = 1;

type Nonce = [u8; NONCE_BYTES];

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that connected.
    Connector,
    /// The one that listened.
    Acceptor,
}

impl Side {
    const fn wire(self) -> u8 {
        match self {
            Self::Connector => 1,
            Self::Acceptor => 2,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Connector => Self::Acceptor,
            Self::Acceptor => Self::Connector,
        }
    }

    /// Both have the same length, so that what follows them has a fixed place.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Connector => b"onepath connector proof\0",
            Self::Acceptor => b"onepath acceptor proof\0\0",
        }
    }
}

/// Why a connection did not become trusted.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The connection failed.
    #[error("the connection failed during authentication: {0}")]
    Io(#[source] io::Error),
    /// The other side closed the connection before the end.
    #[error("the other side closed the connection during authentication")]
    Closed,
    /// The other side speaks another protocol.
    #[error("the other side is not onepath: its first bytes are '{}'", first.escape_ascii())]
    NotOnepath {
        /// At most the first 10 bytes.
        first: Vec<u8>,
    },
    /// The other side is of another version.
    #[error("the other side speaks version {theirs} of the handshake, this side version {ours}")]
    VersionMismatch {
        /// This side's.
        ours: u16,
        /// The other side's.
        theirs: u16,
    },
    /// Both sides connected (or both accepted), as when a connection ends at its own start.
    #[error("the other side plays the same part in the handshake")]
    SameSide,
    /// The other side has another secret, or only one side has one.
    #[error(
        "the other side does not have the same job secret: \
         set the same ONEPATH_JOB_SECRET on all ranks, or on none"
    )]
    WrongSecret,
    /// The handshake took too long.
    #[error("the other side did not authenticate within {limit:?}")]
    TimedOut {
        /// The time it had.
        limit: Duration,
    },
    /// The system gave no random numbers.
    #[error("the system gives no random numbers: {0}")]
    NoRandomness(getrandom::Error),
}

impl From<io::Error> for AuthError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Closed } else { Self::Io(error) }
    }
}

/// [`authenticate`] that gives up after `limit`.
pub async fn authenticate_within<S>(
    limit: Duration,
    stream: &mut S,
    side: Side,
    trust: &Trust,
    context: &[u8],
) -> Result<(), AuthError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::time::timeout(limit, authenticate(stream, side, trust, context))
        .await
        .unwrap_or(Err(AuthError::TimedOut { limit }))
}

/// Proves to the other end of `stream` that we know the secret, and has it prove the same.
///
/// Both ends give the same `context`. Waits as long as the other side does: see
/// [`authenticate_within`]. After an error the stream is of no use.
pub async fn authenticate<S>(
    stream: &mut S,
    side: Side,
    trust: &Trust,
    context: &[u8],
) -> Result<(), AuthError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut nonce: Nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(AuthError::NoRandomness)?;
    match side {
        Side::Connector => connect(stream, nonce, trust, context).await,
        Side::Acceptor => accept(stream, nonce, trust, context).await,
    }
}

async fn connect<S>(
    stream: &mut S,
    nonce: Nonce,
    trust: &Trust,
    context: &[u8],
) -> Result<(), AuthError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    send(stream, &hello(Side::Connector, &nonce)).await?;
    check_version(read_version(stream).await?)?;
    let theirs = read_nonce(stream, Side::Connector).await?;
    let challenge = Challenge { trust, connector: nonce, acceptor: theirs, context };
    send(stream, &challenge.proof(Side::Connector)).await?;
    let mut verdict = [0; 1 + PROOF_BYTES];
    stream.read_exact(&mut verdict).await?;
    if verdict[0] == ACCEPTED {
        challenge.verify(Side::Acceptor, &verdict[1..])
    } else {
        Err(AuthError::WrongSecret)
    }
}

async fn accept<S>(
    stream: &mut S,
    nonce: Nonce,
    trust: &Trust,
    context: &[u8],
) -> Result<(), AuthError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let version = read_version(stream).await?;
    let ours = hello(Side::Acceptor, &nonce);
    if let Err(error) = check_version(version) {
        send(stream, &ours[..PREAMBLE_BYTES]).await?;
        close_gently(stream).await?;
        return Err(error);
    }
    let theirs = read_nonce(stream, Side::Acceptor).await?;
    send(stream, &ours).await?;
    let challenge = Challenge { trust, connector: theirs, acceptor: nonce, context };
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await?;
    let mut verdict = [REFUSED; 1 + PROOF_BYTES];
    let result = challenge.verify(Side::Connector, &proof);
    // Only who has proved to know the secret gets a proof to look at.
    if result.is_ok() {
        verdict[0] = ACCEPTED;
        verdict[1..].copy_from_slice(&challenge.proof(Side::Acceptor));
    }
    send(stream, &verdict).await?;
    result
}

fn hello(side: Side, nonce: &Nonce) -> [u8; HELLO_BYTES] {
    let mut hello = [0; HELLO_BYTES];
    hello[..8].copy_from_slice(&MAGIC);
    hello[8..PREAMBLE_BYTES].copy_from_slice(&VERSION.to_le_bytes());
    hello[PREAMBLE_BYTES] = side.wire();
    hello[PREAMBLE_BYTES + 1..].copy_from_slice(nonce);
    hello
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Ends a connection so that the other side still gets what was sent: closing with unread bytes
/// would reset it. Bounded, for the bytes are a stranger's.
pub(super) async fn close_gently<S>(stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const MOST: u64 = 1 << 20;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MOST), &mut tokio::io::sink()).await.map(|_| ())
}

/// Reads magic and version; the first byte that is not ours ends it, so that garbage shorter than
/// a preamble is not waited upon.
async fn read_version<S: AsyncRead + Unpin>(stream: &mut S) -> Result<u16, AuthError> {
    let mut preamble = [0; PREAMBLE_BYTES];
    let mut filled = 0;
    while filled < PREAMBLE_BYTES {
        let count = stream.read(&mut preamble[filled..]).await?;
        if count == 0 {
            return Err(AuthError::Closed);
        }
        filled += count;
        let known = filled.min(MAGIC.len());
        if preamble[..known] != MAGIC[..known] {
            return Err(AuthError::NotOnepath { first: preamble[..filled].to_vec() });
        }
    }
    Ok(u16::from_le_bytes([preamble[8], preamble[9]]))
}

fn check_version(theirs: u16) -> Result<(), AuthError> {
    if theirs == VERSION {
        Ok(())
    } else {
        Err(AuthError::VersionMismatch { ours: VERSION, theirs })
    }
}

/// Reads the rest of a hello, for the side that we are.
async fn read_nonce<S: AsyncRead + Unpin>(stream: &mut S, ours: Side) -> Result<Nonce, AuthError> {
    let mut rest = [0; 1 + NONCE_BYTES];
    stream.read_exact(&mut rest).await?;
    if rest[0] != ours.other().wire() {
        return Err(AuthError::SameSide);
    }
    let mut nonce = [0; NONCE_BYTES];
    nonce.copy_from_slice(&rest[1..]);
    Ok(nonce)
}

/// All that both proofs of one connection are made from.
struct Challenge<'a> {
    trust: &'a Trust,
    connector: Nonce,
    acceptor: Nonce,
    context: &'a [u8],
}

impl Challenge<'_> {
    fn mac(&self, side: Side) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.trust.key())
            .expect("HMAC takes keys of any length");
        for part in [side.label(), &self.connector, &self.acceptor, self.context] {
            mac.update(part);
        }
        mac
    }

    fn proof(&self, side: Side) -> [u8; PROOF_BYTES] {
        self.mac(side).finalize().into_bytes().into()
    }

    /// Compares in constant time.
    fn verify(&self, side: Side, proof: &[u8]) -> Result<(), AuthError> {
        self.mac(side).verify_slice(proof).map_err(|_| AuthError::WrongSecret)
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
