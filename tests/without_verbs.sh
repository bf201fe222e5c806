# shellcheck shell=bash
# shellcheck disable=SC2154 # target_dir, and the functions of tests/run
# Runs what needs no RDMA where libibverbs cannot be found, and asks for RDMA there (sourced by
# tests/run). The library is hidden in a mount namespace of its own, by an empty file over it: for root
# and, where the system lets users make namespaces, for others.
#
#   no_verbs    the stage

# The file that the dynamic linker finds for libibverbs; nothing if it finds none.
verbs_file() {
    python3 -c '
import ctypes
try:
    ctypes.CDLL("libibverbs.so.1")
except OSError:
    raise SystemExit
for line in open("/proc/self/maps"):
    if "libibverbs" in line:
        print(line.split(maxsplit=5)[5].strip())
        break'
}

# Hides it; inside the namespace.
hide_verbs() {
    local empty file round
    empty=$(mktemp)
    for round in {1..10}; do
        file=$(verbs_file)
        if [[ -z $file ]]; then
            rm -f -- "$empty"
            echo "libibverbs cannot be opened here, $((round - 1)) files hidden"
            return 0
        fi
        mount --bind -- "$empty" "$file"
        echo "hidden: $file"
    done
    echo "libibverbs is still found, as $file"
    return 1
}

# asks_for_rdma COMMAND...   it must end with status 1 and one line that names the packages
asks_for_rdma() {
    local said code=0
    said=$("$@" 2>&1) || code=$?
    echo "$said"
    [[ $code -eq 1 && $(wc -l <<<"$said") -eq 1 ]] &&
        [[ $said == *libibverbs1* && $said == *ibverbs-providers* ]] && return
    echo "expected: status 1 and one line that names the packages, found status $code: $*"
    return 1
}

without_verbs() {
    local release=$target_dir/release
    hide_verbs
    "$release/onepath-bench" allreduce --ranks 2 --transport tcp --max 64K
    some_tests cargo test --locked --release -p onepath-tests --test conformance -- \
        with_any_number_of_subflows transfers::
    asks_for_rdma "$release/onepath-bench" allreduce --ranks 2 --transport verbs --max 64K
    asks_for_rdma "$release/onepath-bench" paths --to 127.0.0.1 --roce rxe0
    asks_for_rdma "$release/examples/verbs_bandwidth" rxe0 rxe1
}

no_verbs() {
    local file needed reason namespace=(unshare --mount)
    rxe_programs
    for file in "$target_dir"/release/{onepath-bench,examples/verbs_bandwidth}; do
        needed=$(readelf -d "$file" | awk '/NEEDED/ { print $NF }' | paste -sd ' ')
        echo "$file needs $needed"
        if [[ $needed == *ibverbs* ]]; then
            echo "it is linked to libibverbs: it would not start where that is missing"
            return 1
        fi
    done
    [[ $(id -u) -eq 0 ]] || namespace=(unshare --map-root-user --mount)
    reason=$("${namespace[@]}" true 2>&1) || skip "no mount namespace can be made here: $reason"
    echo "outside: $(verbs_file | grep . || echo "libibverbs is not installed")"
    "${namespace[@]}" bash -euo pipefail -c without_verbs
}
