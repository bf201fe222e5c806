use proptest::prelude::*;

use super::*;

fn world(ranks: u64) -> WorldSize {
    WorldSize::new(ranks).expect("a world size")
}

fn largest() -> CostTable {
    let mut rows = CostTable::modelled(world(65_536), Model::default()).rows().to_vec();
    for row in &mut rows {
        row.times = vec![Nanos(MAX_INTEGER); MAX_SIZES];
    }
    let sizes = (0..MAX_SIZES as u64).rev().map(|i| Bytes(MAX_INTEGER - i)).collect();
    let name = "x".repeat(MAX_NAME_BYTES);
    CostTable::measured(world(65_536), 65_536, &name, Model::default(), sizes, rows)
        .expect("the largest table is right")
}

#[test]
fn a_table_survives_writing_and_reading() {
    let modelled = [1, 2, 4, 65_536].map(|n| CostTable::modelled(world(n), Model::default()));
    for table in modelled.into_iter().chain([largest()]) {
        let bytes = table.encode();
        assert!(bytes.len() <= MAX_ENCODED_BYTES, "{} bytes", bytes.len());
        assert_eq!(CostTable::decode(&bytes).as_ref(), Ok(&table));
    }
}

/// What reading says of a small table in which `from` is `to`.
fn error_of(from: &str, to: &str) -> String {
    let text = "format = 1\nranks = 4\nhosts = 2\ntransport = \"tcp\"\nsizes = [1024, 8192]\n\
        [model]\nalpha_ns = 15000\noverhead_ns = 2000\nbeta_bytes_per_second = 3e9\n\
        gamma_bytes_per_second = 1e10\nincast = 0.001\n\
        [[row]]\ncollective = \"broadcast\"\nalgorithm = \"ring\"\nnanos = [5, 6]\n\
        [[row]]\ncollective = \"all_reduce\"\nalgorithm = \"tree\"\nnanos = [7, 8]\n";
    assert!(CostTable::from_str(text).is_ok() && text.contains(from));
    let error = CostTable::from_str(&text.replacen(from, to, 1));
    error.expect_err("the change makes the table wrong").to_string()
}

/// A change to a right table, and what the error says of it.
const WRONG: [(&str, &str, &str); 17] = [
    ("format = 1", "format = 2", "format = 2 is not known: this version reads format = 1"),
    ("ranks = 4", "ranks = 0", "ranks = 0 is wrong: it must be 1 to 65536"),
    ("hosts = 2", "hosts = 5", "hosts = 5 is wrong: it must be from 1 to the number of ranks"),
    ("\"tcp\"", "\"t p\"", "transport = \"t p\" is wrong: it must be 1 to 32 letters"),
    ("3e9", "0.0", "model.beta_bytes_per_second = 0 is wrong: it must be above 0 and finite"),
    ("0.001", "nan", "model.incast = NaN is wrong: it must be 0 to 1"),
    ("[1024, 8192]", "[]", "sizes has 0 entries: it must have 1 to 64"),
    ("[1024, 8192]", "[9, 9]", "sizes[2] = 9 is wrong: sizes must rise from 1"),
    ("\"broadcast\"", "\"cast\"", "row 1: collective 'cast' is not known: use one of all_red"),
    ("\"tree\"", "\"bush\"", "row 2: algorithm 'bush' is not known: use one of ring, halv"),
    (
        "\"ring\"",
        "\"one-shot\"",
        "row 1: algorithm = \"one-shot\" is wrong: broadcast has ring, direct, tree",
    ),
    ("[7, 8]", "[7]", "row 2: nanos has 1 entries: it must have 2, one for each size"),
    ("[7, 8]", "[7, 0]", "row 2: nanos[2] = 0 is wrong: it must be 1 to"),
    (
        "\"all_reduce\"\nalgorithm = \"tree\"",
        "\"broadcast\"\nalgorithm = \"ring\"",
        "row 2 repeats broadcast by ring: each may have one row",
    ),
    ("hosts = 2", "hosts = \"two\"", "the cost table cannot be read: TOML parse error at line 3"),
    ("hosts = 2", "", "missing field `hosts`"),
    ("hosts = 2", "hosts = 2\nhost = 3", "unknown field `host`"),
];

#[test]
fn wrong_tables_are_refused_with_field_value_and_remedy() {
    for (from, to, expected) in WRONG {
        let message = error_of(from, to);
        assert!(message.contains(expected), "{message:?} should contain {expected:?}");
    }
}

#[test]
fn bytes_that_are_no_table_are_refused() {
    let long = vec![b'#'; MAX_ENCODED_BYTES + 1];
    assert_eq!(CostTable::decode(&long), Err(TableError::TooLong { length: long.len() }));
    assert_eq!(CostTable::decode(b"ab\xff"), Err(TableError::NotText { at: 2 }));
}

proptest! {
    #[test]
    fn damaged_tables_never_panic(at in 0_usize..2_000, byte in any::<u8>()) {
        let mut bytes = CostTable::modelled(world(4), Model::default()).encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(table) = CostTable::decode(&bytes) {
            let _ = table.choose(Class::AllReduce, Bytes(1_000), world(4));
        }
    }
}
