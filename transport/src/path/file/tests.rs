use super::*;

const GOOD: &str = r#"
protocol = "tcp"
source = "10.0.0.2"

[[destination]]
to = "10.1.0.2:29500"
last_hops = ["10.201.1.1"]
path = [
    { hops = ["10.200.0.1"], ports = [20001, 20007] },
    { hops = ["10.201.0.1"], ports = [20002] },
]

[[destination]]
to = "10.1.0.0/16"
path = [{ name = "second spine", ports = [20003] }]
"#;

fn source() -> IpAddr {
    IpAddr::from([10, 0, 0, 2])
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn the_example_of_the_documentation_is_right() {
    let doc = include_str!("mod.rs").split("```").nth(1).expect("an example");
    let text: String =
        doc.lines().skip(1).map(|line| line[3..].trim_start().to_owned() + "\n").collect();
    let file = PathFile::parse(&text).expect("the example is right");
    assert_eq!(file.entries().len(), 1);
    assert_eq!(file.entries()[0].paths.len(), 2);
}

#[test]
fn the_longest_prefix_and_the_port_decide() {
    let file = PathFile::parse(GOOD).expect("it is right");
    let asked = [at("10.1.0.2:29500"), at("10.1.0.2:29501"), at("10.1.7.7:1"), at("10.2.0.2:1")];
    let Discovery::Pinned(table) = file.table(source(), &asked) else { panic!("it has paths") };
    let (leaf, exact) = table.find(asked[0]).expect("there");
    assert_eq!(leaf.paths.len(), 2);
    let ports: Vec<u16> = exact.ports[0].iter().map(|pinned| pinned.port).collect();
    assert_eq!(ports, [20001, 20007]);
    let (leaf, _) = table.find(asked[1]).expect("there");
    assert_eq!(leaf.paths, [PathId::Named("second spine".to_owned())]);
    assert_eq!(leaf.destinations.len(), 2, "both of one entry");
    assert_eq!(
        table.unpinned,
        [Unpinned { destination: asked[3], reason: UnpinnedReason::NotInFile }]
    );
}

#[test]
fn a_file_of_another_source_pins_nothing() {
    let file = PathFile::parse(GOOD).expect("it is right");
    let other = IpAddr::from([10, 0, 0, 3]);
    let expected = Discovery::Unpinned { reason: UnpinnedReason::NotInFile };
    assert_eq!(file.table(other, &[at("10.1.0.2:29500")]), expected);
}

#[test]
fn a_table_survives_saving() {
    let file = PathFile::parse(GOOD).expect("it is right");
    assert_eq!(PathFile::parse(&file.to_string()).as_ref(), Ok(&file));
    let asked = [at("10.1.0.2:29500")];
    let Discovery::Pinned(table) = file.table(source(), &asked) else { panic!("it has paths") };
    let again = PathFile::parse(&PathFile::of(&table).to_string()).expect("it was written so");
    assert_eq!(again.table(source(), &asked), Discovery::Pinned(table));
}

#[test]
fn every_error_is_one_line_with_field_value_and_what_is_right() {
    let entry = |body: &str| format!("protocol = \"tcp\"\n[[destination]]\n{body}\n");
    let path = |body: &str| entry(&format!("to = \"10.1.0.2\"\npath = [{body}]"));
    let long = "x".repeat(65);
    for (text, expected) in [
        ("protocol = \"sctp\"".to_owned(), &["protocol", "sctp", "tcp, udp or roce"][..]),
        ("protocol = 7".to_owned(), &["line 1", "integer `7`", "string"]),
        ("protocol = \"tcp\"\n\nspines = 4".to_owned(), &["line 3", "spines", "destination"]),
        ("protocol = \"tcp\"\nhops = \"3-2\"".to_owned(), &["hops", "3-2", "1-3"]),
        ("protocol = \"tcp\"\nsource = \"h0\"".to_owned(), &["source", "h0", "IPv4"]),
        (entry("to = \"10.1.0.2/33\""), &["destination[0].to", "10.1.0.2/33", "10.1.0.0/16"]),
        (entry("to = \"10.1.0.2/16\""), &["destination[0].to", "10.1.0.2/16", "are 0"]),
        (entry("to = \"10.1.0.2:0\""), &["destination[0].to", "10.1.0.2:0"]),
        (entry("to = \"10.1.0.2\""), &["destination[0].path", "0", "1 to 256"]),
        (path("{ ports = [1] }"), &["destination[0].path[0]", "either hops or a name"]),
        (path("{ name = \"\", ports = [1] }"), &["path[0].name", "1 to 64"]),
        (path(&format!("{{ name = \"{long}\", ports = [1] }}")), &["path[0].name", "1 to 64"]),
        (path("{ hops = [\"*\"], ports = [1] }"), &["path[0].hops", "at least one"]),
        (path("{ hops = [\"1.1.1.1\", \"*\"], ports = [1] }"), &["path[0].hops", "there are 1"]),
        (path("{ hops = [\"s1\"], ports = [1] }"), &["path[0].hops[0]", "s1", "IPv6"]),
        (path("{ name = \"a\", ports = [] }"), &["path[0].ports", "1 to 256"]),
        (path("{ name = \"a\", ports = [1, 65536] }"), &["ports[1]", "65536", "65535"]),
        (path("{ name = \"a\", ports = [0] }"), &["ports[0]", "0", "from 1"]),
        (
            path("{ name = \"a\", ports = [5] }, { name = \"b\", ports = [5] }"),
            &["path[1].ports[0]", "5", "one path"],
        ),
        (
            path("{ name = \"a\", ports = [5] }, { name = \"a\", ports = [6] }"),
            &["path[1]", "'a'", "one list"],
        ),
        (
            path("{ name = \"a\", ports = [49151] }").replace("tcp", "roce"),
            &["path[0].ports[0]", "49151", "49152", "flow label"],
        ),
        (
            entry("to = \"10.1.0.2:4790\"").replace("tcp", "roce"),
            &["destination[0].to", "10.1.0.2:4790", "4791"],
        ),
    ] {
        let error = PathFile::parse(&text).expect_err(&text).to_string();
        assert!(!error.contains('\n'), "{error}");
        for part in expected {
            assert!(error.contains(part), "{part:?} is missing in: {error}");
        }
    }
}

#[test]
fn an_entry_twice_is_an_error() {
    let entry = "[[destination]]\nto = \"10.1.0.2\"\npath = [{ name = \"a\", ports = [5] }]\n";
    let error = PathFile::parse(&format!("protocol = \"udp\"\n{entry}{entry}")).expect_err("twice");
    assert_eq!(
        error.to_string(),
        "destination[1].to: 10.1.0.2/32 has an entry before: one entry with all paths would be \
         right"
    );
}

#[test]
fn a_value_of_several_lines_is_told_in_one() {
    let text = "protocol = \"\"\"p\"\n.n]]]]]]]]]].otocol = \"tcp\".\"*\"\"\"";
    let error = PathFile::parse(text).expect_err("no protocol is called so").to_string();
    assert!(!error.contains('\n'), "{error}");
}
