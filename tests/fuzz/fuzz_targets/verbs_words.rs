//! What a rank says to another one over RDMA: its queue pairs, letters, immediates.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_transport::verbs::transport::Hello;
use onepath_transport::verbs::transport::hello::{HELLO_BYTES, LaneCard};
use onepath_transport::verbs::transport::letter::{LETTER_BYTES, Letter, LetterError, Matter};
use onepath_transport::verbs::transport::word::Word;
use onepath_transport::verbs::{
    Gid, GidType, LinkLayer, Packet, PathMtu, QueuePairNumber, RemoteRegion,
};

fn seeds() -> Vec<Vec<u8>> {
    let number = QueuePairNumber::new(17).expect("24 bits");
    let hello = |lanes| Hello {
        slots: 16,
        slot_bytes: 32 << 10,
        link: LinkLayer::Ethernet,
        mtu: PathMtu::Bytes4096,
        gid: Gid([7; 16]),
        kind: GidType::RoceV2,
        lid: 0,
        region: RemoteRegion { address: 1 << 40, bytes: 1 << 21, key: 9 },
        lanes: vec![LaneCard { number, first: Packet::new(5) }; lanes],
    };
    let closed = Matter::Closed { received: 8, queue_pair: 18, first: 6 };
    let letter = |matter| Letter { lane: 3, generation: 1, matter }.encode().to_vec();
    let words = [Word::Data { slot: 9 }, Word::Credit { slots: 5 }, Word::Letter { place: 2 }];
    let words = words.map(|word| word.encode().to_le_bytes().to_vec());
    [hello(1).encode(), hello(16).encode(), letter(closed), letter(Matter::Ready)]
        .into_iter()
        .chain(words)
        .collect()
}

fuzz_target!(init: seed(seeds()), |bytes: &[u8]| {
    match Hello::decode(bytes) {
        Ok(hello) => {
            assert!((1..=16).contains(&hello.lanes.len()) && hello.slots > 0, "{hello:?}");
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }
        Err(error) => assert_readable(&error),
    }
    if let Some(head) = bytes.first_chunk::<HELLO_BYTES>()
        && let Ok(rest) = Hello::rest(head)
    {
        assert!(rest <= 16 * 8, "{rest}");
    }
    if let Some(letter) = bytes.first_chunk::<LETTER_BYTES>() {
        let mut letter = *letter;
        // With a wrong check nothing else would be tried.
        if let Err(LetterError::Check { expected, .. }) = Letter::decode(&letter) {
            letter[20..24].copy_from_slice(&expected.to_le_bytes());
        }
        match Letter::decode(&letter) {
            Ok(letter) => assert_eq!(Letter::decode(&letter.encode()), Ok(letter)),
            Err(error) => assert_readable(&error),
        }
    }
    if let Some(word) = bytes.first_chunk() {
        let number = u32::from_le_bytes(*word);
        match Word::decode(number) {
            Ok(word) => assert_eq!(word.encode(), number),
            Err(error) => assert_readable(&error),
        }
    }
});
