# shellcheck shell=bash
# shellcheck disable=SC2154 # the settings of tests/rxe/run
# Puts together what a run brings into the machine, as an archive on top of the image's: its first
# process, `fabric`, the plan, programs and their libraries (sourced by tests/rxe/run).
#
#   bundle FOLDER    leaves FOLDER/bundle.cpio and FOLDER/plan, by the settings of the command line
#
# An archive is the fastest way in: the kernel unpacks 30 MB in a fraction of a second, while a shared
# folder (9p, virtiofs) costs a round trip for each page that a program touches.

bundle_bring() {
    local root=$1 file=$2 name to
    # shellcheck disable=SC2034 # read by image_libraries_of
    local image_has=("$image/root")
    [[ -r $file && -f $file ]] || { echo "there is no program or file '$file'" >&2; return 1; }
    name=$(basename -- "$file")
    to=$root/guest/bin/$name
    if [[ -e $to ]]; then
        cmp -s -- "$file" "$root/guest/from/$name" && return 0
        echo "two different programs are called '$name'" >&2
        return 1
    fi
    mkdir -p "$root/guest/from"
    ln -s -- "$(realpath -- "$file")" "$root/guest/from/$name"
    cp -L -- "$file" "$to" || return 1
    if objdump -f "$to" >/dev/null 2>&1; then
        # Debug information can be many times the rest.
        strip --strip-debug "$to" 2>/dev/null
        chmod +x "$to"
        image_libraries_of "$root" "$file" \
            "/usr/lib/$image_triplet" "/lib/$image_triplet" /usr/lib64 /lib64 || return 1
    fi
}

# bundle_line ROOT PROGRAM ARGUMENT...   brings the program if it is a file, prints the command
bundle_line() {
    local root=$1 program=$2
    shift 2
    if [[ $program == */* ]]; then
        bundle_bring "$root" "$program" || return 1
        program=$(basename -- "$program")
    fi
    # Printable without quotes where that means the same.
    printf '%s' "$program"
    [[ $# -eq 0 ]] || printf ' %q' "$@"
    echo
}

bundle_plan() {
    local root=$1 program line words
    for program in "${programs[@]}"; do bundle_line "$root" "$program" || return 1; done
    [[ ${#command[@]} -eq 0 ]] || bundle_line "$root" "${command[@]}" || return 1
    [[ -n $list ]] || return 0
    while read -r line || [[ -n $line ]]; do
        [[ -n $line && $line != \#* ]] || continue
        # Quotes in a line mean what they mean to a shell; nothing else does.
        mapfile -t words < <(xargs -n 1 printf '%s\n' <<<"$line")
        bundle_line "$root" "${words[@]}" || return 1
    done <"$list"
}

bundle() {
    local folder=$1 root=$1/bundle file
    mkdir -p "$root/guest/bin" || return 1
    cp -- "$rxe_dir/guest/init" "$root/init" && cp -- "$rxe_dir/guest/main" "$root/guest/main" &&
        cp -- "$rxe_dir/guest/fabric" "$root/guest/bin/fabric" || return 1
    for file in ${bring[@]+"${bring[@]}"}; do bundle_bring "$root" "$file" || return 1; done
    bundle_plan "$root" >"$folder/plan" || return 1
    cp -- "$folder/plan" "$root/guest/plan" || return 1
    printf '%s=%q\n' mode "$mode" limit_s "$limit_s" mtu "$mtu" rate "$rate" >"$root/guest/settings"
    rm -rf -- "$root/guest/from"
    chmod +x "$root/init" "$root"/guest/bin/*
    image_pack "$root" >"$folder/bundle.cpio"
}
