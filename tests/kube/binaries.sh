# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # what tests/kube/run reads and sets
# Finds or builds etcd and the programs of the control plane (sourced by tests/kube/run).
#
#   binaries CACHE   sets `bin_of[NAME]` for each of $binaries_names; from the folder
#                    KUBEBUILDER_ASSETS if it has them, else from CACHE/KEY, else built there
#
# Status 75 and `binaries_reason` when they are not there and cannot be built here.

readonly binaries_names=(etcd kube-apiserver kube-controller-manager kube-scheduler)
declare -A bin_of=()
binaries_reason=''

binaries_version() {
    awk '$1 == "k8s.io/kubernetes" && $2 ~ /^v/ { print $2; exit }' "$kube_dir/plane/go.mod"
}

# Whatever changes the programs changes the key: the modules, the flags below, the processor.
binaries_key() {
    local sum
    sum=$({
        cat "$kube_dir"/plane/go.{mod,sum}
        binaries_ldflags "$(binaries_version)"
    } | sha256sum)
    printf '%s-%s-%s' "$(binaries_version)" "$(uname -m)" "${sum:0:12}"
}

binaries_package() {
    case $1 in
        etcd) echo go.etcd.io/etcd/server/v3 ;;
        *) echo "k8s.io/kubernetes/cmd/$1" ;;
    esac
}

# Unless it is told, a program says it were v0.0.0-master, which clients take for a very old server.
binaries_ldflags() {
    local version=$1 package flags='-s -w' minor
    minor=${version#v*.}
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1"
        flags+=" -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean"
    done
    printf '%s' "$flags"
}

binaries_go() {
    local place
    for place in "$(command -v go)" /usr/local/go/bin/go /usr/lib/go/bin/go; do
        [[ -x $place ]] && "$place" version >/dev/null 2>&1 && echo "$place" && return 0
    done
    return 1
}

# binaries_build FOLDER NAME...   leaves the programs in FOLDER, which is there when all are
#
# The build's own cache takes several times what the programs take, so it is kept only until they are
# there: a build that was interrupted goes on where it was.
binaries_build() {
    local folder=$1 work=$1.building go name version
    shift
    if ! go=$(binaries_go); then
        binaries_reason="no Go toolchain to build $* with, and no KUBEBUILDER_ASSETS that has them"
        return 75
    fi
    version=$(binaries_version)
    mkdir -p "$folder" "$work" || return 1
    local build=(env -C "$kube_dir/plane" CGO_ENABLED=0 GOFLAGS='' GOWORK=off
        GOCACHE="$work/gocache" nice -n 10 "$go")
    say "fetching the modules of $version"
    if ! "${build[@]}" list -deps -mod=readonly tool >/dev/null 2>"$work/list"; then
        grep -v '^go: downloading' "$work/list" >&2
        binaries_reason="the modules to build $* from cannot be had: $(tail -n 1 "$work/list")"
        return 75
    fi
    for name in "$@"; do
        say "building $name"
        "${build[@]}" build -mod=readonly -trimpath -buildvcs=false \
            -ldflags "$(binaries_ldflags "$version")" -o "$work/$name" "$(binaries_package "$name")" &&
            mv -- "$work/$name" "$folder/$name" || return 1
    done
    say "built in $SECONDS s; the build's cache was $(du -sh "$work/gocache" | cut -f 1)"
    rm -rf -- "$work"
}

# What is neither in the given folder nor in the cache yet, one a line.
binaries_missing() {
    local folder=$1 name
    for name in "${binaries_names[@]}"; do
        bin_of[$name]=$folder/$name
        [[ -x ${KUBEBUILDER_ASSETS:-}/$name ]] && bin_of[$name]=$KUBEBUILDER_ASSETS/$name
        [[ -x ${bin_of[$name]} ]] || missing+=("$name")
    done
}

binaries() {
    local folder code=0 missing=()
    folder=$1/$(binaries_key)
    binaries_missing "$folder"
    [[ ${#missing[@]} -gt 0 ]] || return 0
    mkdir -p "$1" || return 1
    # Of two that find it missing, the second waits and then finds it.
    exec {binaries_lock}>"$1/lock"
    if ! flock -n "$binaries_lock"; then
        say "waiting for another build"
        flock "$binaries_lock"
    fi
    missing=()
    binaries_missing "$folder"
    [[ ${#missing[@]} -eq 0 ]] || binaries_build "$folder" "${missing[@]}" || code=$?
    exec {binaries_lock}>&-
    return "$code"
}
