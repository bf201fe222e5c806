//! `lab fabric`: builds a fabric, checks it, says what it found.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::arguments::{FabricArguments, LabFormat};
use super::cpu;
use super::fabric::check::{CheckError, Finding};
use super::fabric::{BuildError, Count, CountError, Fabric, FabricSpec, Imbalance, Link, Spine};
use super::sandbox::{Inside, NOT_ALLOWED};

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub(super) enum InspectError {
    /// There is no fabric.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A check came to no end.
    #[error("the check of the fabric: {0}")]
    Check(#[from] CheckError),
    /// The counters.
    #[error(transparent)]
    Count(#[from] CountError),
    /// Nobody reads the result.
    #[error("the result cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl InspectError {
    /// What the program ends with.
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Build(error) if error.lies_in_the_system() => NOT_ALLOWED,
            _ => crate::FAILURE,
        }
    }
}

/// One direction of a link during the check.
#[derive(Debug, Serialize)]
struct LinkLoad {
    #[serde(flatten)]
    link: Link,
    #[serde(flatten)]
    count: Count,
    drops: u64,
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    fabric: FabricSpec,
    oversubscription: f64,
    rootless: bool,
    build_s: f64,
    passed: bool,
    checks: Vec<Finding>,
    idle: f64,
    cpu_bound: bool,
    balance: Option<Imbalance>,
    links: Vec<LinkLoad>,
}

/// Whether every check passed.
pub(super) fn run(
    spec: FabricSpec,
    arguments: &FabricArguments,
    inside: Inside,
) -> Result<bool, InspectError> {
    let start = Instant::now();
    let mut fabric = Fabric::build(spec)?;
    let build_s = start.elapsed().as_secs_f64();
    let report = inspect(&mut fabric, arguments.controls, inside, build_s)?;
    write(&report, arguments.format, io::stdout().lock())?;
    if let Some(seconds) = arguments.hold {
        hold(&fabric, inside, Duration::from_secs(seconds))?;
    }
    Ok(report.passed)
}

fn inspect(
    fabric: &mut Fabric,
    controls: bool,
    inside: Inside,
    build_s: f64,
) -> Result<Report, InspectError> {
    let before = fabric.snapshot()?;
    let found = fabric.check()?;
    let traffic = fabric.snapshot()?.since(&before);
    let drops = fabric.drops()?;
    let (cpu_bound, idle) = (cpu::is_bound(found.idle), found.idle);
    let mut checks = found.findings;
    if controls {
        checks.extend(fabric.check_controls()?);
    }
    let spines: Vec<Spine> = fabric.spec().spines().collect();
    let links = traffic.links().zip(drops).map(|((link, count), (_, drops))| LinkLoad {
        link,
        count,
        drops,
    });
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        oversubscription: fabric.spec().oversubscription(),
        rootless: inside.rootless,
        build_s,
        passed: checks.iter().all(|finding| finding.passed),
        checks,
        idle,
        cpu_bound,
        balance: traffic.max_over_mean(&spines),
        links: links.collect(),
        fabric: fabric.spec().clone(),
    })
}

fn write(report: &Report, format: LabFormat, mut to: impl Write) -> io::Result<()> {
    match format {
        LabFormat::Table => write!(to, "{report}")?,
        LabFormat::Csv => write!(to, "{}", csv(&report.checks))?,
        LabFormat::Json => {
            serde_json::to_writer_pretty(&mut to, report)?;
            writeln!(to)?;
        }
    }
    to.flush()
}

fn csv(checks: &[Finding]) -> String {
    let mut text = String::from("check,right,of,passed,note\n");
    for Finding { check, right, of, passed, note } in checks {
        let note = note.replace('"', "'");
        writeln!(text, "{check},{right},{of},{passed},\"{note}\"").expect("a string takes all");
    }
    text
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.fabric;
        writeln!(f, "# onepath-bench {}: lab fabric", self.version)?;
        writeln!(
            f,
            "# {} leaves, {} spines, {} hosts, host links {}, uplinks {} ({:.2}:1), mtu {}, \
             queues of {} packets, seed {}",
            spec.leaf_count(),
            spec.spine_count(),
            spec.host_count(),
            spec.rate(),
            spec.uplink_rate(),
            self.oversubscription,
            spec.mtu(),
            spec.queue_packets(),
            spec.seed()
        )?;
        let how = if self.rootless { "without root" } else { "as root" };
        writeln!(f, "# built {how} in {:.2} s", self.build_s)?;
        writeln!(f, "#\n# {:<12} {:>8} {:>8}", "check", "right", "of")?;
        for Finding { check, right, of, passed, note } in &self.checks {
            let verdict = if *passed { "ok    " } else { "FAILED" };
            writeln!(f, "  {check:<12} {right:>8} {of:>8}  {verdict}  {note}")?;
        }
        let bound = if self.cpu_bound { ", the processor was the limit" } else { "" };
        writeln!(f, "# processors idle {:.0}% with all links full{bound}", self.idle * 100.0)?;
        let drops: u64 = self.links.iter().map(|link| link.drops).sum();
        let bytes: u64 = self.links.iter().map(|link| link.count.bytes).sum();
        writeln!(f, "# {} links carried {bytes} bytes, {drops} packets dropped", self.links.len())
    }
}

/// Keeps the fabric, and says on standard error how to enter it.
fn hold(fabric: &Fabric, inside: Inside, span: Duration) -> io::Result<()> {
    let mut to = io::stderr().lock();
    let user = if inside.rootless { " --user --preserve-credentials" } else { "" };
    for (host, address) in fabric.spec().hosts().zip(fabric.addresses()) {
        let (pid, descriptor) = (inside.pid, fabric.host(host).descriptor());
        let leaf = fabric.spec().leaf_of(host);
        writeln!(
            to,
            "host {} {address} leaf {}: \
             nsenter --target {pid}{user} --net=/proc/{pid}/fd/{descriptor}",
            host.0, leaf.0
        )?;
    }
    writeln!(to, "holding the fabric of process {} for {} s", inside.pid, span.as_secs())?;
    drop(to);
    std::thread::sleep(span);
    Ok(())
}
