//! Files of known paths.

#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use onepath_fuzz::{assert_readable, seed};
use onepath_transport::path::file::To;
use onepath_transport::path::{Discovery, PathFile};

const FILES: [&str; 3] = [
    r#"protocol = "tcp"
source = "10.0.0.2"
hops = "1-2"
[[destination]]
to = "10.1.0.2:29500"
last_hops = ["10.201.1.1"]
path = [{ hops = ["*", "10.200.0.1"], ports = [20001, 20007] }]
"#,
    r#"protocol = "udp"
[[destination]]
to = "fd00:1::/32"
[[destination.path]]
name = "second spine"
ports = [20001]
[[destination.path]]
hops = ["fd01::b"]
ports = [20002]
"#,
    "protocol = \"tcp\"\n[[destination]]\nto = \"10.1.0.2\"\npath = []\n",
];

fuzz_target!(init: seed(FILES), |text: &str| match PathFile::parse(text) {
    Err(error) => assert_readable(&error),
    Ok(file) => {
        assert_eq!(PathFile::parse(&file.to_string()).as_ref(), Ok(&file), "{file}");
        let address = |to: &To| match *to {
            To::Port(address) => address,
            To::Prefix { network, .. } => SocketAddr::new(network, 7),
        };
        let asked: Vec<SocketAddr> =
            file.entries().iter().map(|entry| address(&entry.to)).take(64).collect();
        let Some(first) = asked.first() else { return };
        let source = file.source().unwrap_or(first.ip());
        let Discovery::Pinned(table) = file.table(source, &asked) else {
            panic!("each has an entry: {file}");
        };
        assert!(table.unpinned.is_empty(), "{table:?}");
        for (_, _, pinned) in table.entries() {
            assert_ne!(pinned.port, 0);
        }
    }
});
