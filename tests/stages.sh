# Stages with a time budget, for tests/run (sourced).
#
#   stage NAME BUDGET_MINUTES COMMAND...   runs COMMAND (a program or a function of the script)
#   require_stages DEFINE NAME...          exits 2 unless the function DEFINE has stages so named
#   finish_stages                          prints the table and returns 1 if a stage failed
#
# A stage fails when its command fails, runs past its budget (its whole process group is killed) or
# leaves processes behind. A command that cannot run here calls `skip REASON`.
# Set before: stages_list=yes (names only), stages_only and stages_skip (arrays of names).

stages_list=no
stages_only=()
stages_skip=()
stages_table=()
stages_failed=0
stages_micros=0
stages_running=
readonly stages_skip_code=75

skip() {
    printf 'skipped: %s\n' "$*"
    exit "$stages_skip_code"
}

stages_contains() {
    local wanted=$1 name
    shift
    for name in "$@"; do [[ $name == "$wanted" ]] && return 0; done
    return 1
}

stages_end_group() {
    kill -"$1" -- "-$stages_running" 2>/dev/null
}

# Living members of the stage's process group; zombies are their parent's business.
stages_left_behind() {
    ps -eo pgid=,stat=,pid=,args= |
        awk -v group="$stages_running" '$1 == group && $2 !~ /^Z/ { $1 = ""; print }'
}

stages_interrupted() {
    trap - INT TERM
    if [[ -n $stages_running ]]; then
        stages_end_group TERM
        sleep 1
        stages_end_group KILL
    fi
    echo "== interrupted" >&2
    exit 130
}
trap stages_interrupted INT TERM

# Functions reach the stage's own shell through the environment.
stages_run() {
    local seconds=$1
    shift
    local functions
    mapfile -t functions < <(compgen -A function)
    export -f "${functions[@]}"
    export stages_skip_code
    # timeout makes itself the leader of a process group, so $! names the group.
    timeout --kill-after=10 "$seconds" bash -euo pipefail -c '"$@"' stage "$@" </dev/null 2>&1 &
    stages_running=$!
    wait "$stages_running"
    local code=$?
    # A process that is just ending gets a moment.
    [[ -z $(stages_left_behind) ]] || sleep 0.5
    if [[ -n $(stages_left_behind) ]]; then
        echo "processes of this stage were still running after its end:"
        stages_left_behind
        stages_end_group KILL
        [[ $code -ne 0 ]] || code=1
    fi
    stages_running=
    return "$code"
}

stages_minutes() {
    awk -v micros="$1" 'BEGIN { printf "%.1f", micros / 6e7 }'
}

stages_note() {
    local line
    printf -v line '%-14s %8s %8s  %s' "$@"
    stages_table+=("$line")
}

stage() {
    local name=$1 budget=$2
    shift 2
    if [[ $stages_list == yes ]]; then
        printf '%-14s %5s min\n' "$name" "$budget"
        return 0
    fi
    if [[ ${#stages_only[@]} -gt 0 ]] && ! stages_contains "$name" "${stages_only[@]}"; then
        return 0
    fi
    printf '\n== %s\n' "$name"
    if [[ ${#stages_skip[@]} -gt 0 ]] && stages_contains "$name" "${stages_skip[@]}"; then
        echo "skipped: on request"
        stages_note "$name" - "$budget" "skipped on request"
        return 0
    fi
    local seconds start spent minutes code=0 result
    seconds=$(awk -v minutes="$budget" 'BEGIN { printf "%d", minutes * 60 }')
    start=${EPOCHREALTIME/[.,]/}
    stages_run "$seconds" "$@" || code=$?
    spent=$((${EPOCHREALTIME/[.,]/} - start))
    stages_micros=$((stages_micros + spent))
    minutes=$(stages_minutes "$spent")
    if [[ $code -eq 0 ]]; then
        result=ok
    elif [[ $code -eq $stages_skip_code ]]; then
        result=skipped
    elif [[ $spent -ge $((seconds * 1000000)) ]]; then
        result="FAILED, ran past its budget"
    else
        result="FAILED with status $code"
    fi
    [[ $result == FAILED* ]] && stages_failed=$((stages_failed + 1))
    printf '== %s: %s in %s min (budget %s)\n' "$name" "$result" "$minutes" "$budget"
    stages_note "$name" "$minutes" "$budget" "$result"
}

require_stages() {
    local define=$1 known name
    shift
    known=$(stages_list=yes && "$define" | awk '{ print $1 }')
    for name in "$@"; do
        if ! grep -qxF -- "$name" <<<"$known"; then
            echo "there is no stage '$name'; the stages are:" $known >&2
            exit 2
        fi
    done
}

finish_stages() {
    printf '\n%-14s %8s %8s  %s\n' stage minutes budget result
    printf '%s\n' "${stages_table[@]}"
    printf '%-14s %8s\n' total "$(stages_minutes "$stages_micros")"
    [[ $stages_failed -eq 0 ]] && return 0
    echo "$stages_failed failed"
    return 1
}
