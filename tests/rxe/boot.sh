# shellcheck shell=bash
# shellcheck disable=SC2154 # the settings of tests/rxe/run
# Starts the machine and waits for its end (sourced by tests/rxe/run).
#
#   boot IMAGE EXTRA FOLDER    IMAGE/{vmlinux,base.cpio}, EXTRA a second archive; leaves in FOLDER
#                              `status` (see guest/main), `console` (the kernel), `results` (a tar)
#
# Under emulation the machine's clock counts instructions, and jumps while the machine has nothing to
# do. Time inside then does not depend on how busy this computer is, nor stops when it does, and a run
# can be repeated. With KVM, or for a shell, it is real time.

readonly boot_ready_s=${ONEPATH_RXE_KVM_S:-20}

boot_qemu() {
    local accelerator=$1 image=$2 initrd=$3 folder=$4 cpu
    case $accelerator in
        kvm) cpu=(-accel kvm -cpu max -smp 2) ;;
        virtual) cpu=(-accel tcg -cpu qemu64 -icount "shift=$shift_bits,sleep=off") ;;
        real) cpu=(-accel tcg -cpu qemu64 -smp 2) ;;
    esac
    : >"$folder/status"
    exec qemu-system-x86_64 -M q35 "${cpu[@]}" -m "$memory_mib" -nodefaults -no-user-config \
        -display none -no-reboot -net none \
        -kernel "$image/vmlinux" -initrd "$initrd" \
        -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr" \
        -serial "file:$folder/console" -device virtio-serial-pci \
        -chardev stdio,id=out,signal=off -device virtconsole,chardev=out \
        -chardev "file,id=status,path=$folder/status" \
        -device virtserialport,chardev=status,name=status \
        -chardev "file,id=results,path=$folder/results" \
        -device virtserialport,chardev=results,name=results
}

boot_ready() { grep -q '^ready ' "$1/status"; }

boot_end() {
    kill "$boot_pid" 2>/dev/null
    wait "$boot_pid" 2>/dev/null
    boot_pid=
}

# Seconds of processor time that the machine took.
boot_spent_s() {
    local fields=()
    read -ra fields 2>/dev/null <"/proc/$boot_pid/stat" || true
    # User and system time, in hundredths of a second on every Linux that there is.
    echo $(((${fields[13]:-0} + ${fields[14]:-0}) / 100))
}

# Waits for the machine's end; 1 when it was not ready or not done in time. The time is the machine's
# processor time, since emulation never idles and this computer may have other things to do; three times
# as many seconds of waiting, not counting those while everything was stopped, are the end in any case.
boot_wait() {
    local folder=$1 ready_s=$2 fifths=0
    while kill -0 "$boot_pid" 2>/dev/null; do
        if [[ $(boot_spent_s) -ge $wall_s || $fifths -ge $((15 * wall_s)) ]]; then
            say "ended: it took longer than $wall_s s"
            break
        fi
        if [[ $fifths -ge $((5 * ready_s)) ]] && ! boot_ready "$folder"; then break; fi
        sleep 0.2
        fifths=$((fifths + 1))
    done
    boot_end
    grep -q '^done ' "$folder/status"
}

# /dev/kvm may be there and still not run a guest, inside another machine for example: what was found
# is kept for as long as this computer is up.
boot_kvm_verdict() {
    local file=$cache/kvm boot
    boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
    if [[ $# -gt 0 ]]; then
        echo "$boot $1" >"$file"
    elif [[ ! -r /dev/kvm || ! -w /dev/kvm ]]; then
        echo no
    elif [[ "$(cat "$file" 2>/dev/null)" == "$boot "* ]]; then
        cut -d ' ' -f 2 "$file"
    else
        echo unknown
    fi
}

boot_one() {
    local accelerator=$1 ready_s=$2 image=$3 initrd=$4 folder=$5
    if [[ $mode == shell ]]; then
        # The shell needs this terminal.
        local saved
        saved=$(stty -g 2>/dev/null)
        stty raw -echo 2>/dev/null
        (boot_qemu "$accelerator" "$image" "$initrd" "$folder")
        [[ -z $saved ]] || stty "$saved"
        return
    fi
    (boot_qemu "$accelerator" "$image" "$initrd" "$folder") </dev/null 2>"$folder/qemu" &
    boot_pid=$!
    boot_wait "$folder" "$ready_s"
}

boot() {
    local image=$1 initrd=$3/initrd folder=$3 kvm=no
    cat -- "$image/base.cpio" "$2" >"$initrd" || return 1
    [[ $acceleration == tcg ]] || kvm=$(boot_kvm_verdict)
    if [[ $kvm != no && $mode != shell ]]; then
        say "starting, with KVM"
        local code=0
        boot_one kvm "$boot_ready_s" "$image" "$initrd" "$folder" || code=1
        if boot_ready "$folder"; then
            boot_kvm_verdict yes
            return "$code"
        fi
        say "KVM does not run a guest here: emulating"
        boot_kvm_verdict no
    fi
    local clock=virtual
    [[ $mode != shell && $real_time == no ]] || clock=real
    [[ $kvm != yes || $mode != shell ]] || clock=kvm
    say "starting, emulated, with ${clock} time"
    boot_one "$clock" "$((3 * wall_s))" "$image" "$initrd" "$folder"
}
