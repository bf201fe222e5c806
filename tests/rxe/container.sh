#!/usr/bin/env bash
# Assembles the root file system of a container image as its Containerfile says, where there is no
# container engine: the packages of its last stage and what they depend on, by the apt of the
# machine's image, and what it copies from the build stage.
#
#   tests/rxe/container.sh CONTAINERFILE OUT TARGET
#   tests/rxe/container.sh --base CONTAINERFILE       only fetches and unpacks the packages
#
# OUT is the folder that stands for /out of the build stage. TARGET becomes a tar whose file .container
# has the image's user and entry point, for tests/rxe/verbs/container. Of the base image there is only
# what the packages depend on: nothing else of it runs. Status 75: it cannot be done here.
set -euo pipefail
rxe_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/packages.sh
source "$rxe_dir/../packages.sh"
# shellcheck source=tests/rxe/image.sh
source "$rxe_dir/image.sh"
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/onepath/rxe

fail() { echo "container.sh: $*" >&2; exit 1; }

# The instructions of the last stage, a line each, without comments.
instructions() {
    sed -E '/^[[:space:]]*#/d' "$1" |
        awk '{ line = line $0 } /\\$/ { sub(/\\$/, " ", line); next } { print line; line = "" }' |
        awk '/^FROM / { count = 0 } NF { lines[count++] = $0 }
             END { for (i = 0; i < count; i++) print lines[i] }'
}

# install_of RUN   the packages of `apt-get update && apt-get install OPTIONS PACKAGES && ...`
install_of() {
    awk '{
        for (i = 1; i <= NF; i++) {
            if ($i == "&&") found = 0
            if (found && $i !~ /^-/) print $i
            if ($i == "install") found = 1
        }
    }' <<<"$1"
}

understand() {
    local name rest
    packages=() copies=() user='' entry=''
    while read -r name rest; do
        case $name in
            FROM) [[ $rest == */debian:$image_suite-slim ]] || fail "'$rest' is not Debian $image_suite" ;;
            RUN) mapfile -t -O "${#packages[@]}" packages < <(install_of "$rest") ;;
            COPY) [[ $rest == "--from=build /out/"* ]] || fail "not understood: COPY $rest"
                copies+=("${rest#--from=build /out/}") ;;
            USER) [[ $rest =~ ^[0-9]+:[0-9]+$ ]] || fail "USER $rest: numbers are understood"
                user=$rest ;;
            ENTRYPOINT) entry=$(python3 -c 'import json, sys; [one] = json.loads(sys.argv[1]); print(one)' \
                "$rest") ;;
            *) fail "not understood: $name $rest" ;;
        esac
    done < <(instructions "$1")
    [[ ${#packages[@]} -gt 0 && ${#copies[@]} -gt 0 && -n $user && -n $entry ]] ||
        fail "$1 lacks packages, COPY, USER or ENTRYPOINT"
}

# The packages' files, once for each list.
base() {
    local folder=$1 file files path
    image_apt_setup "$cache/apt" || fail "Debian's package lists cannot be fetched"
    files=$(image_download "$cache/debs" "${packages[@]}") || fail "packages cannot be fetched"
    mkdir -p "$folder"/usr/{bin,sbin,lib,lib64}
    for path in bin sbin lib lib64; do ln -s "usr/$path" "$folder/$path"; done
    for file in $files; do
        dpkg-deb --fsys-tarfile "$cache/debs/$file" | tar -x -C "$folder" --keep-directory-symlink \
            --exclude='./usr/share/*' --exclude='./usr/lib/systemd/*' --exclude='*/gconv/*' ||
            fail "$file cannot be unpacked"
    done
    mkdir -p "$folder"/{dev,proc,sys,tmp,run,etc}
}

main() {
    local base_only=no hash copy target
    [[ ${1:-} != --base ]] || { base_only=yes && shift && set -- "$1" / /; }
    [[ $# -eq 3 && -r $1 && -d $2 ]] || fail "needs a Containerfile, a folder and a target"
    command -v apt-get >/dev/null || { echo "skipped: no apt-get" && exit 75; }
    understand "$1"
    echo "packages: ${packages[*]}; user $user; entry point $entry"
    hash=$(cat -- "$rxe_dir/image.sh" "${BASH_SOURCE[0]}" - <<<"${packages[*]}" | sha256sum | cut -c 1-16)
    root=$cache/container-$hash
    mkdir -p "$cache"
    exec 9>"$cache/lock" && flock 9
    if [[ ! -d $root ]]; then
        rm -rf -- "$root.part" && mkdir "$root.part"
        base "$root.part"
        mv -- "$root.part" "$root"
    fi
    exec 9>&-
    [[ $base_only == no ]] || return 0
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' EXIT
    for copy in "${copies[@]}"; do
        target=$work${copy#* }
        mkdir -p "${target%/*}"
        cp -- "$2/${copy%% *}" "$target"
        strip "$target"
    done
    printf '%s=%q\n' uid "${user%:*}" gid "${user#*:}" entry "$entry" >"$work/.container"
    tar -c --owner=0 --group=0 -C "$root" . -f "$3"
    tar -r --owner=0 --group=0 -C "$work" .container usr -f "$3"
    echo "$(($(stat -c %s "$3") >> 20)) MiB"
}

main "$@"
