use super::*;

fn plan() -> serde_json::Value {
    let node = |host: &str, cluster: &str, rank: usize, nic: (&str, &str)| {
        serde_json::json!({
            "host": host, "cluster": cluster, "first_rank": rank, "ranks": 1,
            "interfaces": { nic.0: nic.1, "ethernet": "eth0" },
        })
    };
    let network = |clusters: &[&str], kind: &str, rate: f64| {
        serde_json::json!({
            "clusters": clusters, "kind": kind, "rate": rate, "latency": 2000, "total": null,
        })
    };
    serde_json::json!({
        "format": "onepath-placement/1",
        "name": "test",
        "degrees": {
            "tensor": 1, "data": 1, "pipeline": 2, "micro_batch": 1, "virtual_stages": 1,
        },
        "order": "tp-cp-ep-dp-pp",
        "micro_batches": 4,
        "stages": [
            { "first_layer": 0, "layers": 2, "first_rank": 0, "ranks": 1 },
            { "first_layer": 2, "layers": 3, "first_rank": 1, "ranks": 1 },
        ],
        "nodes": [
            node("a", "ib", 0, ("infiniband", "ib0")),
            node("b", "roce", 1, ("roce", "bond0")),
        ],
        "networks": [
            network(&["ib"], "infiniband", 25e9),
            network(&["roce"], "roce", 25e9),
            network(&["ib", "roce"], "ethernet", 3e9),
        ],
        "groups": [],
    })
}

#[test]
fn a_plan_is_read() {
    let plan = PlanOfJob::parse("x.json", &plan().to_string()).expect("it is right");
    assert_eq!((plan.ranks(), plan.layers()), (2, 5));
    assert_eq!(plan.network("roce", "ib").map(|n| n.kind), Some(NetworkKind::Ethernet));
}

#[test]
fn wrong_plans_are_told_in_one_line() {
    let cases: [(&str, serde_json::Value, &str); 12] = [
        ("/format", "onepath-placement/9".into(), "onepath-placement/1"),
        ("/degrees/tensor", 8.into(), "degrees.tensor: 8"),
        ("/degrees/data", 0.into(), "from 1 to 64"),
        ("/degrees/pipeline", u32::MAX.into(), "from 1 to 64"),
        ("/degrees/virtual_stages", 0.into(), "virtual_stages"),
        ("/order", "dp-pp".into(), "tp-cp-ep-dp-pp"),
        ("/micro_batches", 0.into(), "micro_batches is 0"),
        ("/stages/1/first_layer", 3.into(), "one after the other"),
        ("/stages/1/layers", 0.into(), "a layer for each virtual stage"),
        ("/nodes/1/first_rank", 5.into(), "nodes: b"),
        ("/nodes/0/interfaces/infiniband", "a b; c".into(), "up to 15 letters"),
        ("/networks/2/rate", 0.into(), "rates of 1"),
    ];
    for (field, value, part) in cases {
        let mut wrong = plan();
        *wrong.pointer_mut(field).expect(field) = value;
        let error = PlanOfJob::parse("x.json", &wrong.to_string()).expect_err(field).to_string();
        assert!(error.contains(part) && error.contains("x.json"), "{field}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let text = plan().to_string();
    for cut in [0, 1, 40, text.len() - 1] {
        let error = PlanOfJob::parse("x.json", &text[..cut]).expect_err("it is cut").to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let mut lacking = plan();
    lacking.as_object_mut().expect("an object").remove("networks");
    let error = PlanOfJob::parse("x.json", &lacking.to_string()).expect_err("it lacks one");
    assert!(error.to_string().contains("networks"), "{error}");
}
