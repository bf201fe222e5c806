//! The mutual challenge on a fresh connection: whoever does not know the secret is turned away,
//! whatever he says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onepath_collectives::bootstrap::{JobSecret, Side, Trust, authenticate};
use onepath_fuzz::{assert_readable, finished, seed};
use tokio::io::{join, sink};

/// A byte for the side, then a hello of version 1 and a made-up proof.
const SPOKEN: [&[u8]; 3] = [
    b"\x00ONEPATH\x1a\x01\0\x02nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\
      \x01pppppppppppppppppppppppppppppppp",
    b"\x01ONEPATH\x1a\x01\0\x01nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnpppppppppppppppppppppppppppppppp",
    b"\x01ONEPATH\x1a\x02\0",
];

fuzz_target!(init: seed(SPOKEN), |bytes: &[u8]| {
    let Some((&side, spoken)) = bytes.split_first() else { return };
    let side = if side % 2 == 0 { Side::Connector } else { Side::Acceptor };
    let secret = JobSecret::new(b"the job's secret".to_vec(), "the target").expect("long enough");
    let trust = Trust::Secret(secret);
    let mut stream = join(spoken, sink());
    let result = finished(authenticate(&mut stream, side, &trust, b"fuzzing"));
    assert_readable(&result.expect_err("nobody knows the secret"));
});
