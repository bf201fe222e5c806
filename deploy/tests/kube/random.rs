//! Seeded clusters, nearly full, with pods arriving while both schedulers are alive.
//!
//! Before: the default scheduler has placed its pods as it does, and ours those that nobody else
//! places. Then ours may step in, and more pods arrive. After: no tier has fewer pods with a node,
//! unless a more urgent one has more; a witness has looked at every event meanwhile.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::objects::{TIERS, Want, budget, leaves, node, node_of, set, tier_of};
use super::stage::{LIMIT, Stage, on_a_plane};

const NODE_CPU_M: u32 = 10_000;

/// One set of equal pods.
#[derive(Clone, Debug)]
struct Set {
    name: String,
    replicas: usize,
    cpu_m: u32,
    tier: usize,
    ours: bool,
    gang: bool,
    budget: bool,
}

/// Nodes and sets from a seed.
fn cluster(seed: u64) -> (usize, Vec<Set>) {
    let mut random = StdRng::seed_from_u64(seed);
    let nodes = random.random_range(3..=6);
    let fill = [0.95, 1.0, 1.05][random.random_range(0..3)];
    let room = (f64::from(NODE_CPU_M) * nodes as f64 * fill) as u32;
    let (mut sets, mut asked) = (Vec::new(), 0);
    while asked < room {
        let replicas = random.random_range(1..=4);
        let cpu_m = random.random_range(5..=40) * 100;
        let (tier, ours) = (random.random_range(0..TIERS), random.random_bool(0.5));
        sets.push(Set {
            name: format!("set-{}", sets.len()),
            replicas,
            cpu_m,
            tier,
            ours,
            gang: ours && replicas > 1 && random.random_bool(0.3),
            // Only where the default scheduler, which may break budgets, preempts nobody.
            budget: tier == 0 && replicas > 1 && random.random_bool(0.5),
        });
        asked += cpu_m * replicas as u32;
    }
    (nodes, sets)
}

async fn make(stage: &Stage, one: &Set) {
    let scheduler = if one.ours { "onepath" } else { "default-scheduler" };
    let want = Want { cpu_m: one.cpu_m, tier: one.tier, scheduler };
    let mut object = set(&one.name, one.replicas, &want, false);
    if one.gang {
        let labels = &mut object["spec"]["template"]["metadata"]["labels"];
        labels["onepath.io/gang"] = one.name.clone().into();
        labels["onepath.io/gang-size"] = one.replicas.to_string().into();
    }
    if one.budget {
        stage.make(&budget(&one.name, 1)).await;
        stage.watchman.keep_ready(&one.name, one.replicas - 1);
    }
    stage.make(&object).await;
}

type Counts = [usize; TIERS];

/// Pods with a node, and pods, by tier.
async fn counts(stage: &Stage) -> (Counts, Counts) {
    let (mut placed, mut all) = ([0; TIERS], [0; TIERS]);
    for pod in stage.pods().await.iter().filter(|pod| !leaves(pod)) {
        if let Some(tier) = tier_of(pod) {
            placed[tier] += usize::from(node_of(pod).is_some());
            all[tier] += 1;
        }
    }
    (placed, all)
}

/// Waits until nothing has changed for so long, and nothing is reserved.
async fn settled(stage: &Stage, pods: usize, quiet: Duration) -> Counts {
    let begun = Instant::now();
    let (mut since, mut last) = (Instant::now(), None);
    loop {
        let (placed, all) = counts(stage).await;
        let reserved = stage.reserved().await;
        let complete = all.iter().sum::<usize>() == pods;
        if last != Some(placed) || !complete || reserved.is_none_or(|nodes| !nodes.is_empty()) {
            (since, last) = (Instant::now(), Some(placed));
        }
        if since.elapsed() >= quiet {
            return placed;
        }
        assert!(begun.elapsed() < LIMIT, "not settled within {} s: {all:?}", LIMIT.as_secs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Pods with a node of each set.
async fn placed_of(stage: &Stage, sets: &[Set]) -> Vec<usize> {
    let mut placed = Vec::new();
    for set in sets {
        placed.push(stage.nodes_of(&set.name).await.len());
    }
    placed
}

/// Early sets, of which so many pods had a node, that have lost some though no more urgent tier has
/// gained; and gangs in part.
async fn wrong(
    stage: &Stage,
    sets: &[Set],
    early: &[usize],
    (before, after): (&Counts, &Counts),
) -> Vec<String> {
    let mut wrong = Vec::new();
    let placed = placed_of(stage, sets).await;
    // Sets that came late hide nothing: each early one is compared by itself.
    for ((set, had), has) in sets.iter().zip(early).zip(&placed) {
        let gained = (0..set.tier).any(|tier| after[tier] > before[tier]);
        if has < had && !gained {
            wrong.push(format!("{has} of {had}: {set:?}"));
        }
    }
    for (gang, placed) in sets.iter().zip(placed).filter(|(set, _)| set.gang) {
        // The default scheduler knows nothing of gangs: what it preempted may lack, and no more.
        let preempted = stage.preempted_of(&gang.name).await.len();
        if placed != 0 && placed + preempted < gang.replicas {
            wrong.push(format!("{placed} of {gang:?}, {preempted} preempted"));
        }
    }
    wrong
}

/// One line of the table, after everything was checked; gives how many pods were evicted.
async fn run(mut stage: Stage, seed: u64) -> usize {
    let (nodes, sets) = cluster(seed);
    for number in 0..nodes {
        stage.make(&node(&format!("node-{number}"), NODE_CPU_M)).await;
    }
    let (early, late) = sets.split_at(sets.len() * 3 / 4);
    let pods = |sets: &[Set]| sets.iter().map(|set| set.replicas).sum::<usize>();
    stage.start_scheduler(&["--patience", "3000"]);
    for one in early {
        make(&stage, one).await;
    }
    let before = settled(&stage, pods(early), Duration::from_secs(3)).await;
    let early_before = placed_of(&stage, early).await;
    stage.end_scheduler().await;
    stage.start_scheduler(&["--patience", "1", "--budget", "1", "--long-budget", "2"]);
    for one in late {
        make(&stage, one).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut after = settled(&stage, pods(&sets), Duration::from_secs(6)).await;
    if !wrong(&stage, &sets, &early_before, (&before, &after)).await.is_empty() {
        // Somebody may only have been slow to go on.
        after = settled(&stage, pods(&sets), Duration::from_secs(20)).await;
    }
    stage.end_scheduler().await;
    let evictions = stage.watchman.report();
    let (_, all) = counts(&stage).await;
    println!(
        "seed {seed}: {nodes} nodes, pods {all:?}, before {before:?}, after {after:?}, \
         {evictions} evicted"
    );
    let wrong = wrong(&stage, &sets, &early_before, (&before, &after)).await;
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    evictions
}

/// `ONEPATH_KUBE_CLUSTERS` clusters, 5 if it is not set, from seed `ONEPATH_KUBE_FIRST_SEED` on, 1
/// if it is not set.
#[test]
fn random_clusters_with_pods_arriving_lose_no_urgent_pod_and_are_never_too_full() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>());
    let number = |name, default| number(name).map_or(default, |it| it.expect("a number"));
    let first = number("ONEPATH_KUBE_FIRST_SEED", 1);
    let clusters = number("ONEPATH_KUBE_CLUSTERS", 5);
    let mut evictions = Some(0);
    for seed in first..first + clusters {
        let evicted = on_a_plane(async move |stage| run(stage, seed).await);
        evictions = evictions.zip(evicted).map(|(sum, evicted)| sum + evicted);
    }
    // Else nothing was tried; one cluster alone may need none.
    assert!(clusters < 5 || evictions != Some(0), "no plan evicted anything");
}
