use super::*;
use crate::limits::{Limit, Way};
use crate::measure::Summary;

fn heading() -> Heading {
    Heading {
        version: "1.2.3",
        collective: "allreduce",
        ranks: 4,
        transport: "tcp".to_owned(),
        algorithm: "auto".to_owned(),
        channels: 1,
        data_type: "f32",
        redop: Some("sum"),
        root: None,
        seed: 7,
        places: vec![RankPlace { rank: 0, pid: 42, host: "node".to_owned() }],
    }
}

fn row() -> Row {
    let times = Summary { iterations: 60, mean_us: 1000.0, median_us: 990.0, p99_us: 1500.0 };
    let result = PlaceResult::new(times, 1 << 20, 1.5, Some(0));
    let way = Way { chunk_bytes: 65536, connections: 2 };
    Row {
        size: 1 << 20,
        count: 1 << 18,
        out_of_place: Some(result),
        in_place: Some(result),
        limit: Some(Limit { moved_bytes: 3 << 19, median_us: 495.0, way }),
        payload: None,
    }
}

fn print(format: Format, rows: Vec<Row>) -> String {
    let mut to = Vec::new();
    let mut printer = Printer::start(format, heading(), &mut to).expect("a vector takes all");
    for row in rows {
        printer.row(row).expect("a vector takes all");
    }
    printer.finish(&[]).expect("a vector takes all");
    String::from_utf8(to).expect("only text is written")
}

#[test]
fn bandwidths_are_bytes_by_the_mean_time() {
    let result = row().in_place.expect("the row is in place too");
    assert!((result.algbw_gbps - 1.048_576).abs() < 1e-9);
    assert!((result.busbw_gbps - 1.572_864).abs() < 1e-9);
    assert_eq!(row().limit_fraction(), Some(0.5));
}

#[test]
fn csv_has_the_named_fields_in_every_line_and_a_line_for_each_placement() {
    let text = print(Format::Csv, vec![row(), Row { out_of_place: None, limit: None, ..row() }]);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
    let field = |line: usize, name: &str| {
        lines[line][lines[0].iter().position(|field| *field == name).expect("the field is named")]
    };
    assert_eq!(field(1, "placement"), "out-of-place");
    assert_eq!(field(2, "placement"), "in-place");
    assert_eq!(field(2, "limit_fraction"), "0.5000");
    assert_eq!(field(3, "limit_fraction"), "");
    assert_eq!(field(3, "wrong"), "0");
    assert_eq!(field(3, "median_us").parse(), Ok(990.0));
}

#[test]
fn json_is_one_document_with_all_that_is_needed_to_repeat_the_run() {
    let text = print(Format::Json, vec![row(), row()]);
    let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(document["seed"], 7);
    assert_eq!(document["type"], "f32");
    assert_eq!(document["rows"].as_array().map(Vec::len), Some(2));
    assert_eq!(document["rows"][0]["in_place"]["median_us"], 990.0);
    assert_eq!(document["rows"][0]["limit"]["way"]["connections"], 2);
}

#[test]
fn the_peers_rows_have_their_six_fields_and_nothing_else() {
    let text = print(Format::Peers, vec![Row { out_of_place: None, ..row() }]);
    assert_eq!(text, "onepath,4,1048576,60,990.00,1500.00\n");
}

#[test]
fn a_table_s_lines_are_as_long_as_its_names_and_its_notes_begin_with_a_hash() {
    let text = print(Format::Table, vec![Row { limit: None, ..row() }]);
    let lines: Vec<&str> = text.lines().collect();
    let names = lines.iter().position(|line| line.contains("algbw")).expect("there are names");
    let first = lines.iter().position(|line| !line.starts_with('#')).expect("there is a row");
    assert_eq!(lines[names].len(), lines[first].len(), "{text}");
    assert!(text.contains("seed 7") && text.contains("rank   0  pid      42  on node"));
    assert!(text.ends_with("# Wrong elements: 0 OK\n# Average bus bandwidth: 1.573 GB/s\n"));
}

#[test]
fn wrong_elements_are_told_below_the_table() {
    let mut wrong = row();
    wrong.in_place.as_mut().expect("the row is in place too").wrong = Some(3);
    assert!(print(Format::Table, vec![wrong]).contains("# Wrong elements: 3 FAILED"));
}

#[test]
fn the_payload_of_a_call_over_queue_pairs_stands_beside_the_least_possible() {
    let payload = Payload { least: 1_572_864, most: 1_572_864, minimum: 1_572_864.0 };
    let rows = vec![Row { payload: Some(payload), ..row() }];
    let text = print(Format::Table, rows.clone());
    let line = "call of 1048576 bytes: 1572864 to 1572864, minimum 1572864\n";
    assert!(text.contains(line), "{text}");
    let document: serde_json::Value =
        serde_json::from_str(&print(Format::Json, rows)).expect("it is JSON");
    assert_eq!(document["rows"][0]["payload"]["minimum"], 1_572_864.0);
    assert!(!print(Format::Json, vec![row()]).contains("payload"));
}
