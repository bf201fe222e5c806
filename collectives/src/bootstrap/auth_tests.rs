use super::*;
use crate::bootstrap::secret::JobSecret;

const CONTEXT: &[u8] = b"test";

fn secret(text: &str) -> Trust {
    Trust::Secret(JobSecret::new(text.as_bytes().to_vec(), "test").expect("a good secret"))
}

async fn both(
    connector: &Trust,
    acceptor: &Trust,
    contexts: (&[u8], &[u8]),
) -> (Result<(), AuthError>, Result<(), AuthError>) {
    let (mut near, mut far) = tokio::io::duplex(64);
    let near = async move { authenticate(&mut near, Side::Connector, connector, contexts.0).await };
    let far = async move { authenticate(&mut far, Side::Acceptor, acceptor, contexts.1).await };
    tokio::join!(near, far)
}

#[tokio::test]
async fn the_same_secret_or_none_on_both_sides_is_accepted() {
    let trusts = [secret("0123456789abcdef"), Trust::LoopbackOnly, Trust::Insecure];
    for trust in &trusts {
        let (near, far) = both(trust, trust, (CONTEXT, CONTEXT)).await;
        near.and(far).expect("accepted");
    }
    let (near, far) = both(&trusts[1], &trusts[2], (CONTEXT, CONTEXT)).await;
    near.and(far).expect("both have no secret");
}

#[tokio::test]
async fn a_secret_on_one_side_another_secret_or_another_context_is_wrong_on_both_sides() {
    let (a, b) = (secret("0123456789abcdef"), secret("0123456789abcdeX"));
    let same = (CONTEXT, CONTEXT);
    let other: (&[u8], &[u8]) = (CONTEXT, b"other");
    for (connector, acceptor, contexts) in [
        (&a, &b, same),
        (&a, &Trust::Insecure, same),
        (&Trust::Insecure, &a, same),
        (&a, &a, other),
    ] {
        let (near, far) = both(connector, acceptor, contexts).await;
        assert!(matches!(near, Err(AuthError::WrongSecret)), "{near:?}");
        assert!(matches!(far, Err(AuthError::WrongSecret)), "{far:?}");
    }
}

#[tokio::test]
async fn garbage_is_told_apart_from_a_wrong_secret_even_when_it_is_short() {
    for garbage in [&b"GET / HTTP/1.1\r\n"[..], b"x", b"ONEPATX", b"\0"] {
        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_all(garbage).await.expect("write");
        let result = authenticate(&mut far, Side::Acceptor, &Trust::Insecure, CONTEXT).await;
        assert!(matches!(result, Err(AuthError::NotOnepath { .. })), "{result:?}");
    }
}

#[tokio::test]
async fn another_version_is_named_on_both_sides() {
    let (mut near, mut far) = tokio::io::duplex(64);
    let acceptor =
        async move { authenticate(&mut far, Side::Acceptor, &Trust::Insecure, CONTEXT).await };
    let newer = async move {
        let mut hello = hello(Side::Connector, &[7; NONCE_BYTES]);
        hello[8..10].copy_from_slice(&9u16.to_le_bytes());
        near.write_all(&hello).await.expect("write");
        read_version(&mut near).await.expect("the acceptor says its version")
    };
    let (result, told) = tokio::join!(acceptor, newer);
    assert_eq!(told, VERSION);
    assert!(
        matches!(result, Err(AuthError::VersionMismatch { ours: VERSION, theirs: 9 })),
        "{result:?}"
    );

    let (mut near, mut far) = tokio::io::duplex(64);
    let mut other = hello(Side::Acceptor, &[7; NONCE_BYTES]);
    other[8..10].copy_from_slice(&9u16.to_le_bytes());
    far.write_all(&other[..PREAMBLE_BYTES]).await.expect("write");
    let result = authenticate(&mut near, Side::Connector, &Trust::Insecure, CONTEXT).await;
    assert!(matches!(result, Err(AuthError::VersionMismatch { theirs: 9, .. })), "{result:?}");
}

#[tokio::test]
async fn a_connection_that_ends_at_its_own_start_is_no_peer() {
    let (mut near, mut far) = tokio::io::duplex(64);
    far.write_all(&hello(Side::Connector, &[7; NONCE_BYTES])).await.expect("write");
    let result = authenticate(&mut near, Side::Connector, &Trust::Insecure, CONTEXT).await;
    assert!(matches!(result, Err(AuthError::SameSide)), "{result:?}");
}

/// A stranger without the secret takes the acceptor's part and sends a connector's own proof
/// back to it.
#[tokio::test]
async fn a_reflected_proof_is_refused() {
    let trust = secret("0123456789abcdef");
    let (mut near, mut far) = tokio::io::duplex(64);
    let victim = authenticate(&mut near, Side::Connector, &trust, CONTEXT);
    let mirror = async {
        let mut hello = [0; HELLO_BYTES];
        far.read_exact(&mut hello).await.expect("hello");
        hello[PREAMBLE_BYTES] = Side::Acceptor.wire();
        far.write_all(&hello).await.expect("mirrored hello");
        let mut verdict = [ACCEPTED; 1 + PROOF_BYTES];
        far.read_exact(&mut verdict[1..]).await.expect("proof");
        far.write_all(&verdict).await.expect("mirrored proof");
    };
    let (result, ()) = tokio::join!(victim, mirror);
    assert!(matches!(result, Err(AuthError::WrongSecret)), "{result:?}");
}

#[tokio::test]
async fn silence_ends_with_the_time_it_had_and_a_closed_connection_at_once() {
    let (mut near, far) = tokio::io::duplex(64);
    let limit = Duration::from_millis(1);
    let trust = Trust::Insecure;
    let result = authenticate_within(limit, &mut near, Side::Acceptor, &trust, CONTEXT).await;
    assert!(matches!(result, Err(AuthError::TimedOut { .. })), "{result:?}");
    drop(far);
    let result = authenticate(&mut near, Side::Acceptor, &trust, CONTEXT).await;
    assert!(matches!(result, Err(AuthError::Closed)), "{result:?}");
}
