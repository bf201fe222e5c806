# shellcheck shell=bash
# shellcheck disable=SC2154 # the settings of tests/rxe/run
# Builds the machine's image from Debian packages: a kernel that qemu starts without decompressing
# it, and an initramfs with the modules and programs below (sourced by tests/rxe/run).
#
#   image_build CACHE    leaves CACHE/image-HASH/{vmlinux,base.cpio,versions}, sets `image` to it
#
# Packages come from Debian 13 whatever this machine runs, through an apt of their own that knows
# nothing of this machine's packages: the guest is the same everywhere, and nothing is installed.
# Debian 13 because its kernel is a 6.12: rdma_rxe of 6.1 loses connections under load.

readonly image_suite=trixie
readonly image_kernel=linux-image-amd64
readonly image_packages=(
    busybox-static bash iproute2 iputils-ping ibverbs-utils ibverbs-providers rdmacm-utils perftest
)
# What people look around with, and what a program may open at run time.
readonly image_programs=(
    bin/bash bin/ip bin/ss sbin/tc bin/rdma bin/ping bin/rping
    bin/ibv_devices bin/ibv_devinfo bin/ibv_{rc,uc,ud,srq}_pingpong
    bin/ib_{write,read,send,atomic}_{bw,lat}
)
readonly image_libraries=(libibverbs.so.1 librdmacm.so.1 libgcc_s.so.1)
# A whole kernel package is 400 MB.
readonly image_modules=(
    drivers/infiniband/core drivers/infiniband/sw/rxe net/ipv4/udp_tunnel.ko net/ipv6/ip6_udp_tunnel.ko
    fs/configfs drivers/net/veth.ko
    net/sched/sch_netem.ko net/sched/sch_tbf.ko crypto/crc32 lib/libcrc32c.ko
)
readonly image_triplet=x86_64-linux-gnu

# An apt that keeps everything below a folder; -qq leaves only errors.
image_apt() {
    APT_CONFIG=$image_apt_dir/apt.conf "$@" 2> >(grep -v '^W:' >&2)
}

image_apt_setup() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    image_apt_dir=$1
    [[ -r $keyring ]] || packages "$keyring:debian-archive-keyring" >&2 || return 1
    mkdir -p "$image_apt_dir"/{lists/partial,archives/partial,etc/preferences.d} || return 1
    : >"$image_apt_dir/status"
    echo "deb [signed-by=$keyring] http://deb.debian.org/debian $image_suite main" \
        >"$image_apt_dir/sources.list"
    cat >"$image_apt_dir/apt.conf" <<CONF
Dir "$image_apt_dir";
Dir::Etc "$image_apt_dir/etc";
Dir::Etc::SourceList "$image_apt_dir/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$image_apt_dir";
Dir::State::status "$image_apt_dir/status";
Dir::Cache "$image_apt_dir";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
CONF
    image_apt apt-get update -qq
}

# Fetches packages and all that they need into a folder, and prints the names of the files: with an
# empty list of installed packages apt names them all. What is there already is not fetched again.
image_download() {
    local folder=$1 names files
    shift
    files=$(image_apt apt-get install -qq --print-uris "$@" | awk '{ print $2 }')
    names=$(cut -d _ -f 1 <<<"$files")
    # shellcheck disable=SC2086
    [[ -n $names ]] && mkdir -p "$folder" && (cd -- "$folder" && image_apt apt-get download -qq $names) &&
        echo "$files"
}

image_user_space() {
    local folder=$1 debs=$2 files file
    files=$(image_download "$debs" "${image_packages[@]}") || return 1
    echo "$files" >>"$folder/versions.part"
    for file in $files; do
        dpkg-deb --fsys-tarfile "$debs/$file" |
            tar -x -C "$folder/packages" \
                --exclude='./usr/share/*' --exclude='./usr/lib/systemd/*' || return 1
    done
}

# The package of the kernel alone: what it needs is for starting it from a disk.
image_kernel_files() {
    local folder=$1 debs=$2 package file path wanted=('./boot/vmlinuz-*' '*/modules.builtin*' '*/modules.order')
    package=$(image_apt apt-cache depends "$image_kernel" | awk '/Depends: linux-image/ { print $2; exit }')
    [[ -n $package ]] && (cd -- "$debs" && image_apt apt-get download -qq "$package") || return 1
    file=$(cd -- "$debs" && find . -name "${package}_*.deb" | sort -V | tail -n 1)
    echo "${file#./}" >>"$folder/versions.part"
    for path in "${image_modules[@]}"; do wanted+=("*/kernel/$path*"); done
    dpkg-deb --fsys-tarfile "$debs/$file" |
        tar -x -C "$folder/kernel" --wildcards "${wanted[@]}" || return 1
    # Busybox's modprobe reads no compressed modules.
    find "$folder/kernel" -name '*.ko.xz' -exec xz -d {} + &&
        find "$folder/kernel" -name '*.ko' -exec strip --strip-debug {} +
}

# The kernel proper out of its self-extracting form: under emulation, decompressing takes seconds.
image_vmlinux() {
    python3 - "$1" "$2" <<'PYTHON'
import subprocess, sys
data = open(sys.argv[1], "rb").read()
for magic, command in ((b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b\x08", "gzip")):
    at = data.find(magic)
    while at >= 0:
        done = subprocess.run([command, "-dc"], input=data[at:], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        if done.stdout[:4] == b"\x7fELF":
            open(sys.argv[2], "wb").write(done.stdout)
            sys.exit(0)
        at = data.find(magic, at + 1)
sys.exit("no kernel found in " + sys.argv[1])
PYTHON
}

# image_libraries_of ROOT FILE FOLDER...   copies the libraries that FILE needs, and what they need,
# from the first folder that has them; those that ROOT or the folders of `image_has` hold are there.
image_libraries_of() {
    local root=$1 file=$2 name folder from have
    shift 2
    while read -r name; do
        for have in "$root" ${image_has[@]+"${image_has[@]}"}; do
            [[ ! -e $have/usr/lib/$image_triplet/$name ]] || continue 2
        done
        from=
        for folder in "$@"; do
            if [[ -e $folder/$name ]]; then from=$folder/$name && break; fi
        done
        if [[ -z $from ]]; then
            echo "$name, which $file needs, was not found" >&2
            return 1
        fi
        mkdir -p "$root/usr/lib/$image_triplet"
        cp -L -- "$from" "$root/usr/lib/$image_triplet/$name"
        image_libraries_of "$root" "$from" "$@" || return 1
    done < <(objdump -p "$file" 2>/dev/null | awk '$1 == "NEEDED" { print $2 }')
}

image_root() {
    local folder=$1 root=$1/root from=$1/packages/usr path image_has=()
    local libraries=$from/lib/$image_triplet
    mkdir -p "$root"/{proc,sys,dev,run,tmp,root,guest,etc/libibverbs.d,usr/bin,usr/lib64} \
        "$root/usr/lib/$image_triplet/libibverbs"
    for path in bin lib lib64; do ln -s "usr/$path" "$root/$path"; done
    for path in usr/sbin sbin; do ln -s "/usr/bin" "$root/$path"; done
    for path in bin/busybox "${image_programs[@]}"; do
        cp -L -- "$from/$path" "$root/usr/bin/" || return 1
        image_libraries_of "$root" "$from/$path" "$libraries" || return 1
    done
    for path in "${image_libraries[@]}"; do
        cp -L -- "$libraries/$path" "$root/usr/lib/$image_triplet/" || return 1
        image_libraries_of "$root" "$libraries/$path" "$libraries" || return 1
    done
    cp -L -- "$libraries/ld-linux-x86-64.so.2" "$root/usr/lib64/" &&
        cp -- "$libraries"/libibverbs/librxe-rdmav*.so "$root/usr/lib/$image_triplet/libibverbs/" || return 1
    # Not over iproute2, bash and ping, which can do more.
    for path in $("$root/usr/bin/busybox" --list); do
        [[ -e $root/usr/bin/$path ]] || ln -s busybox "$root/usr/bin/$path"
    done
    echo 'driver rxe' >"$root/etc/libibverbs.d/rxe.driver"
    echo 'root:x:0:0:root:/root:/bin/bash' >"$root/etc/passwd"
    cp -r -- "$folder/kernel/usr/lib/modules" "$root/usr/lib/" || return 1
    "$root/usr/bin/busybox" depmod -b "$root" "$(ls "$root/usr/lib/modules")"
}

# image_pack FOLDER   writes it as an archive that the kernel unpacks; archives may be concatenated.
image_pack() {
    (cd -- "$1" && find . -print0 | LC_ALL=C sort -z | cpio --null -o -H newc -R 0:0 --quiet)
}

image_make() {
    local folder=$1 cache=$2
    image_apt_setup "$cache/apt" || { echo "Debian's package lists cannot be fetched" >&2; return 1; }
    mkdir -p "$folder"/{packages,kernel}
    image_user_space "$folder" "$cache/debs" ||
        { echo "the guest's packages cannot be fetched or unpacked" >&2; return 1; }
    image_kernel_files "$folder" "$cache/debs" ||
        { echo "the guest's kernel cannot be fetched or unpacked" >&2; return 1; }
    image_vmlinux "$folder"/kernel/boot/vmlinuz-* "$folder/vmlinux" || return 1
    image_root "$folder" || { echo "the guest's root folder cannot be put together" >&2; return 1; }
    image_pack "$folder/root" >"$folder/base.cpio" || return 1
    rm -rf -- "$folder"/{kernel,packages}
    mv -- "$folder/versions.part" "$folder/versions"
}

image_build() {
    local cache=$1 hash
    hash=$(sha256sum <"$rxe_dir/image.sh" | cut -c 1-16)
    image=$cache/image-$hash
    mkdir -p "$cache" || return 1
    # Two runs at once build it once.
    exec 9>"$cache/lock" && flock 9
    if [[ ! -e $image/versions ]]; then
        say "building the image (once: about 130 MB of downloads)"
        rm -rf -- "$image" "$image.part" && mkdir -p "$image.part" || return 1
        if ! image_make "$image.part" "$cache" || ! mv -- "$image.part" "$image"; then
            rm -rf -- "$image.part"
            return 1
        fi
    fi
    exec 9>&-
}
