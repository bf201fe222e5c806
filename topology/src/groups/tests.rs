use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::cluster::file::Document;
use crate::cluster::{ClusterId, Inventory, NetworkKind, gigabits};
use crate::{Rank, WorldSize};

/// Groups as the definition says: the ranks whose other coordinates agree. Coordinates come from
/// an odometer that counts through all ranks.
fn naive(order: &[(Dimension, u32)], along: &[Dimension]) -> Vec<Vec<u32>> {
    let ranks: u32 = order.iter().map(|&(_, degree)| degree).product();
    let mut wheel = vec![0; order.len()];
    let mut groups: BTreeMap<Vec<u32>, Vec<u32>> = BTreeMap::new();
    for rank in 0..ranks {
        let fixed =
            order.iter().zip(&wheel).filter(|((dimension, _), _)| !along.contains(dimension));
        groups.entry(fixed.map(|(_, &at)| at).collect()).or_default().push(rank);
        for (at, &(_, degree)) in wheel.iter_mut().zip(order) {
            *at += 1;
            if *at < degree {
                break;
            }
            *at = 0;
        }
    }
    let mut groups: Vec<Vec<u32>> = groups.into_values().collect();
    groups.sort();
    groups
}

fn numbers(groups: &[Vec<Rank>]) -> Vec<Vec<u32>> {
    groups.iter().map(|group| group.iter().map(|rank| rank.number()).collect()).collect()
}

/// All subsets of the dimensions but the empty one.
fn subsets() -> impl Iterator<Item = Vec<Dimension>> {
    (1_u32..32).map(|bits| {
        let chosen = Dimension::ALL.into_iter().enumerate();
        chosen.filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, dimension)| dimension).collect()
    })
}

fn permutations(items: &[Dimension]) -> Vec<Vec<Dimension>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for &first in items {
        let rest: Vec<Dimension> = items.iter().copied().filter(|&item| item != first).collect();
        for mut order in permutations(&rest) {
            order.insert(0, first);
            all.push(order);
        }
    }
    all
}

fn order_of(dimensions: &[Dimension]) -> RankOrder {
    let names: Vec<&str> = dimensions.iter().map(|dimension| dimension.name()).collect();
    names.join("-").parse().expect("a permutation is an order")
}

#[test]
fn documented_examples_come_out() {
    // parallel_state: 16 GPUs, tp 2, pp 4.
    let degrees = Degrees { tensor: 2, pipeline: 4, ..Degrees::default() };
    let world = WorldSize::new(16).expect("16 ranks");
    let layout = Layout::new(world, &degrees, RankOrder::default()).expect("2 · 4 divides 16");
    let data = numbers(&GroupKind::Data.groups(&layout));
    assert_eq!(data[..3], [vec![0, 2], vec![1, 3], vec![4, 6]]);
    let pipeline = numbers(&GroupKind::Pipeline.groups(&layout));
    assert_eq!(pipeline[1], [1, 5, 9, 13]);
    assert_eq!(numbers(&GroupKind::Tensor.groups(&layout))[7], [14, 15]);
    // generate_masked_orthogonal_rank_groups: 8 GPUs, tp-pp-dp of 2 each.
    let order: RankOrder = "tp-pp-dp".parse().expect("an order");
    let degrees = Degrees { tensor: 2, pipeline: 2, ..Degrees::default() };
    let world = WorldSize::new(8).expect("8 ranks");
    let layout = Layout::new(world, &degrees, order).expect("an order without cp and ep");
    let data = numbers(&GroupKind::Data.groups(&layout));
    assert_eq!(data, [[0, 4], [1, 5], [2, 6], [3, 7]]);
}

#[test]
fn holmes_formulas_give_the_same_groups() {
    // N = 64, t = 2, p = 4: DP group of stage s, offset j: {s·N/p + j + k·t};
    // PP group i: {i + k·N/p}.
    let (n, t, p) = (64, 2, 4);
    let degrees = Degrees { tensor: t, pipeline: p, ..Degrees::default() };
    let world = WorldSize::new(u64::from(n)).expect("64 ranks");
    let layout = Layout::new(world, &degrees, RankOrder::default()).expect("2 · 4 divides 64");
    let data: Vec<Vec<u32>> = (0..p)
        .flat_map(|s| (0..t).map(move |j| (0..n / p / t).map(|k| s * n / p + j + k * t).collect()))
        .collect();
    assert_eq!(numbers(&GroupKind::Data.groups(&layout)), data);
    let pipeline: Vec<Vec<u32>> =
        (0..n / p).map(|i| (0..p).map(|k| i + k * n / p).collect()).collect();
    assert_eq!(numbers(&GroupKind::Pipeline.groups(&layout)), pipeline);
}

#[test]
fn all_groups_of_all_120_orders_equal_the_definition() {
    let degree = |dimension| match dimension {
        Dimension::Tensor | Dimension::Expert => 2,
        Dimension::Context => 3,
        Dimension::Data => 5,
        Dimension::Pipeline => 4,
    };
    let orders = permutations(&Dimension::ALL);
    assert_eq!(orders.len(), 120);
    for dimensions in orders {
        let grid = Grid::new(&order_of(&dimensions), degree).expect("all dimensions are there");
        let order: Vec<_> = dimensions.iter().map(|&d| (d, degree(d))).collect();
        for along in subsets() {
            assert_eq!(numbers(&grid.groups(&along)), naive(&order, &along), "{along:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn groups_up_to_10752_ranks_equal_the_definition(
        order in Just(Dimension::ALL.to_vec()).prop_shuffle(),
        picks in prop::array::uniform9(0_usize..5),
        subset in 1_usize..32,
    ) {
        // 10,752 = 2^9 · 3 · 7: each prime factor goes to some dimension, some of the twos to none.
        let mut degrees = [1_u32; 5];
        for (pick, factor) in picks.iter().zip([2, 2, 2, 2, 3, 7, 2, 2, 8]) {
            degrees[*pick] *= factor;
        }
        let degree = |dimension| degrees[dimension as usize];
        let grid = Grid::new(&order_of(&order), degree).expect("all dimensions are there");
        prop_assert_eq!(grid.ranks(), 10_752);
        let along = subsets().nth(subset - 1).expect("31 subsets");
        let sizes: Vec<_> = order.iter().map(|&d| (d, degree(d))).collect();
        let groups = grid.groups(&along);
        prop_assert_eq!(numbers(&groups), naive(&sizes, &along));
        for group in groups.iter().step_by(1 + groups.len() / 50) {
            for &rank in group.iter().step_by(1 + group.len() / 3) {
                prop_assert_eq!(&grid.group_of(rank, &along), group);
            }
        }
    }

    #[test]
    fn experts_partition_the_ranks_of_each_stage(
        tensor in 0_u32..3, context in 0_u32..2, expert in 0_u32..4, own in 0_u32..3,
        stages in 1_u32..8,
    ) {
        let degrees = Degrees {
            tensor: 1 << tensor,
            context: 1 << context,
            expert: 1 << expert,
            pipeline: stages,
            expert_tensor: Some(1 << own),
        };
        let world = WorldSize::new(u64::from(stages) * 128).expect("a world");
        let layout = Layout::new(world, &degrees, RankOrder::default()).expect("powers of two");
        for kind in GroupKind::ALL {
            let groups = kind.groups(&layout);
            let mut all: Vec<Rank> = groups.concat();
            all.sort_unstable();
            prop_assert_eq!(all, world.ranks().collect::<Vec<_>>());
        }
        let stage = |rank| layout.dense().coordinate(rank, Dimension::Pipeline);
        for group in GroupKind::ExpertTensorExpert.groups(&layout) {
            prop_assert!(group.iter().all(|&rank| stage(rank) == stage(group[0])));
        }
        prop_assert_eq!(
            layout.expert().groups(&[Dimension::Pipeline]),
            layout.dense().groups(&[Dimension::Pipeline])
        );
    }
}

#[test]
fn wrong_degrees_and_orders_say_what_would_be_right() {
    let world = WorldSize::new(64).expect("64 ranks");
    let layout = |degrees: Degrees, order: &str| {
        let order = order.parse().expect("an order");
        Layout::new(world, &degrees, order).expect_err("wrong").to_string()
    };
    let one = Degrees::default();
    assert_eq!(
        layout(Degrees { tensor: 3, ..one }, "tp-cp-ep-dp-pp"),
        "64 ranks are no multiple of tp · cp · pp = 3: a multiple would be right"
    );
    assert_eq!(
        layout(Degrees { expert: 5, ..one }, "tp-cp-ep-dp-pp"),
        "64 ranks are no multiple of expert tp · ep · pp = 5: a multiple would be right"
    );
    assert_eq!(
        layout(Degrees { pipeline: 0, ..one }, "tp-dp"),
        "pp is 0: at least 1 would be right"
    );
    assert_eq!(
        layout(Degrees { pipeline: 2, ..one }, "tp-dp"),
        "order 'tp-dp' has no pp, whose degree is 2: add it"
    );
    let experts = Degrees { tensor: 4, expert: 2, pipeline: 2, expert_tensor: Some(1), ..one };
    assert!(layout(experts, "tp-pp-ep-dp-cp").contains("an order that ends in pp"));
    let error = |order: &str| order.parse::<RankOrder>().expect_err("wrong").to_string();
    assert!(error("tp-xp").starts_with("order: 'xp' is no dimension: tp, cp, ep, dp and pp"));
    assert_eq!(error("tp-dp-tp"), "order: 'tp' stands there twice: once would be right");
    assert!(error("").starts_with("order: '' is no dimension"));
}

/// A kind of NIC with its rate.
type Rate = (&'static str, u32);

/// Nodes of 8 GPUs; `hosts` is a line of the file.
fn pool(hosts: &str, nics: &[Rate]) -> String {
    let nic = |(kind, rate): &Rate| {
        let device = if *kind == "ethernet" { "interface = \"eth0\"" } else { "hca = \"m0\"" };
        format!("[[cluster.nodes.nic]]\nkind = \"{kind}\"\nrate_gbit_s = {rate}\n{device}\n")
    };
    let nics: Vec<String> = nics.iter().map(nic).collect();
    let nodes = "[[cluster.nodes]]\ngpu = \"A100\"\ngpus = 8\nmemory_gib = 80\n";
    format!("{nodes}{hosts}\n{}", nics.concat())
}

fn parse(text: &str) -> Inventory {
    Document::parse(text, None).unwrap_or_else(|error| panic!("{error}\n{text}")).inventory
}

/// Clusters in a row: name, nodes, NICs.
fn inventory(clusters: &[(&str, u32, &[Rate])], total: Option<u32>) -> Inventory {
    let cluster = |(name, nodes, nics): &(&str, u32, &[Rate])| {
        let pool = pool(&format!("count = {nodes}"), nics);
        format!("[[cluster]]\nname = \"{name}\"\n{pool}")
    };
    let total = total.map_or(String::new(), |total| format!("total_gbit_s = {total}\n"));
    let link = |pair: &[(&str, u32, &[Rate])]| {
        let (a, b) = (pair[0].0, pair[1].0);
        format!("[[link]]\nbetween = [\"{a}\", \"{b}\"]\nrate_gbit_s = 25\n{total}")
    };
    let parts: Vec<String> =
        clusters.iter().map(cluster).chain(clusters.windows(2).map(link)).collect();
    parse(&parts.concat())
}

const IB: &[Rate] = &[("infiniband", 200), ("ethernet", 25)];
const ROCE: &[Rate] = &[("roce", 200), ("ethernet", 25)];

fn selected(inventory: &Inventory, nodes: &[u32]) -> Selection {
    let nodes: Vec<_> = nodes.iter().map(|&node| crate::cluster::NodeId(node)).collect();
    select(inventory, &nodes).expect("there is a network")
}

#[test]
fn groups_get_the_network_that_all_members_share() {
    let both = inventory(&[("ib", 4, IB), ("roce", 4, ROCE)], None);
    let network = |nodes: &[u32]| {
        let selection = selected(&both, nodes);
        (selection.carrier, selection.rate, selection.fallback_from)
    };
    let ib = Carrier::Network(NetworkKind::InfiniBand);
    assert_eq!(network(&[0, 1, 3]), (ib, gigabits(200.0), None));
    assert_eq!(network(&[4, 7]), (Carrier::Network(NetworkKind::Roce), gigabits(200.0), None));
    let fallback = Some(NetworkKind::InfiniBand);
    let ethernet = Carrier::Network(NetworkKind::Ethernet);
    assert_eq!(network(&[3, 4]), (ethernet, gigabits(25.0), fallback));
    assert_eq!(network(&[2]).0, Carrier::Node);
    assert_eq!(selected(&both, &[3, 4]).reason.to_string(), "the link ib - roce");
    assert_eq!(selected(&both, &[0, 1]).reason, Reason::Alike);
}

#[test]
fn a_mixed_cluster_falls_back_and_names_the_slowest_node() {
    let text = "[[cluster]]\nname = \"c\"\n";
    let mixed = parse(&format!(
        "{text}{}{}",
        pool("hosts = \"a[1-2]\"", IB),
        pool("hosts = \"b[1-2]\"", &[("roce", 100), ("ethernet", 10)])
    ));
    let selection = selected(&mixed, &[0, 1, 2]);
    assert_eq!(selection.carrier, Carrier::Network(NetworkKind::Ethernet));
    assert_eq!(selection.rate, gigabits(10.0));
    assert_eq!(selection.reason.to_string(), "the NICs of b1 are the slowest");
    assert_eq!(selection.fallback_from, Some(NetworkKind::InfiniBand));
    let apart = parse(&format!(
        "{text}{}{}",
        pool("hosts = \"a1\"", &[("infiniband", 200)]),
        pool("hosts = \"b1\"", &[("ethernet", 10)])
    ));
    let nodes = [crate::cluster::NodeId(0), crate::cluster::NodeId(1)];
    let error = select(&apart, &nodes).expect_err("nothing in common").to_string();
    assert!(error.starts_with("'a1' and 'b1' have no network in common"), "{error}");
}

#[test]
fn a_shared_line_is_the_slowest_when_many_nodes_use_it() {
    let both = inventory(&[("ib", 4, IB), ("roce", 4, ROCE)], Some(100));
    let selection = selected(&both, &[0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(selection.rate, gigabits(12.5));
    assert_eq!(selection.reason.to_string(), "the link ib - roce, which all nodes share");
}

/// Kinds of tp 8, dp 2, pp 4.
const USED: [&str; 5] = ["tp", "dp", "pp", "tp-pp", "tp-dp"];

#[test]
fn clusters_hold_contiguous_ranks_and_only_pipelines_cross() {
    let three = inventory(&[("a", 2, IB), ("b", 4, ROCE), ("c", 2, IB)], None);
    let order = [ClusterId(1), ClusterId(0), ClusterId(2)];
    let placement = Placement::of_clusters(&three, &order).expect("all GPUs");
    let cluster = |rank| three.pool_of(placement.seat(rank).node).cluster();
    let clusters: Vec<ClusterId> = placement.world().ranks().map(cluster).collect();
    let mut runs = clusters.clone();
    runs.dedup();
    assert_eq!(runs, order);
    let degrees = Degrees { tensor: 8, pipeline: 4, ..Degrees::default() };
    let layout =
        Layout::new(placement.world(), &degrees, RankOrder::default()).expect("8 · 4 divides 64");
    let used: Vec<GroupKind> =
        GroupKind::ALL.into_iter().filter(|kind| kind.is_used(&layout)).collect();
    assert_eq!(used.iter().map(|kind| kind.name()).collect::<Vec<_>>(), USED);
    let groups = survey(&three, &layout, &placement, &used).expect("networks");
    assert!(groups.iter().all(|group| !group.is_bad_fallback()));
    let pipelines = groups.iter().filter(|group| group.kind == GroupKind::Pipeline);
    assert!(pipelines.clone().count() == 16);
    for group in pipelines {
        assert_eq!(group.selection.carrier, Carrier::Network(NetworkKind::Ethernet));
    }
    // With stages that do not end where clusters end, data-parallel groups cross.
    let degrees = Degrees { tensor: 8, pipeline: 1, ..Degrees::default() };
    let layout =
        Layout::new(placement.world(), &degrees, RankOrder::default()).expect("8 divides 64");
    let used: Vec<GroupKind> =
        GroupKind::HEAVY.into_iter().filter(|kind| kind.is_used(&layout)).collect();
    let groups = survey(&three, &layout, &placement, &used).expect("networks");
    assert!(groups.iter().filter(|group| group.is_bad_fallback()).count() == 8);
}

#[test]
fn nodes_keep_their_ranks_together() {
    let two = inventory(&[("a", 2, IB), ("b", 2, ROCE)], None);
    let placement = Placement::along(&two, &[(1, 12), (0, 8)]).expect("enough GPUs");
    let nodes: Vec<(u32, u32, u32)> =
        placement.nodes().iter().map(|(node, rank, n)| (node.0, rank.number(), *n)).collect();
    assert_eq!(nodes, [(2, 0, 8), (3, 8, 4), (0, 12, 8)]);
    let whole = Placement::along(&two, &[(0, 6), (0, 6)]).expect("a node each");
    assert_eq!(whole.seat(Rank::new(6)), Seat { node: crate::cluster::NodeId(1), gpu: 0 });
    let scattered = Placement::along(&two, &[(0, 4), (1, 4), (0, 4)]);
    assert!(matches!(scattered, Err(PlacementError::Scattered { .. })), "{scattered:?}");
    let full = Placement::along(&two, &[(0, 17)]).expect_err("16 GPUs").to_string();
    assert_eq!(full, "pool 0 has 16 GPUs, 17 are wanted: at most 16 would be right");
    assert!(matches!(Placement::along(&two, &[(5, 1)]), Err(PlacementError::Unknown { .. })));
    assert!(matches!(Placement::along(&two, &[]), Err(PlacementError::World(_))));
}
