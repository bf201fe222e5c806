#!/usr/bin/env bash
# Checks tests/stages.sh itself: prints one line a check, exit 1 at the first that fails.
set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")" || exit 1

# Runs a script of stages given on standard input; leaves `output` and `status`.
run() {
    local script
    script="source ./stages.sh"$'\n'"$(cat)"$'\n'"finish_stages"
    status=0
    output=$(bash -uo pipefail -c "$script" 2>&1) || status=$?
}

expect() {
    local what=$1 wanted_status=$2 pattern
    shift 2
    for pattern in "$@"; do
        if ! grep -qE -- "$pattern" <<<"$output"; then
            printf 'not ok: %s: no line matches "%s" in:\n%s\n' "$what" "$pattern" "$output"
            exit 1
        fi
    done
    if [[ $status -ne $wanted_status ]]; then
        printf 'not ok: %s: status %s, not %s:\n%s\n' "$what" "$status" "$wanted_status" "$output"
        exit 1
    fi
    echo "ok: $what"
}

run <<<'stage good 1 echo hello'
expect "a good stage passes and stands in the table" 0 \
    '^== good$' '^hello$' '^== good: ok in 0\.0 min \(budget 1\)$' '^good +0\.0 +1  ok$' '^total +0\.0$'

run <<<'stage bad 1 false; stage next 1 echo reached'
expect "a failed stage fails the run, the next one still runs" 1 \
    '^== bad: FAILED with status 1 ' '^reached$' '^next .* ok$' '^1 failed$'

run <<<'f() { false; echo unreachable; }; stage body 1 f'
expect "a failure in the middle of a function fails the stage" 1 '^== body: FAILED'

run <<<'f() { false | cat; }; stage pipe 1 f'
expect "a failure in a pipe fails the stage" 1 '^== pipe: FAILED'

run <<<'f() { sleep 31.07 & sleep 32.07; }; stage slow 0.02 f'
expect "a stage past its budget is killed" 1 '^== slow: FAILED, ran past its budget'
if pgrep -fx 'sleep 3[12]\.07' >/dev/null; then
    echo "not ok: its children live on"
    exit 1
fi

run <<<'f() { sleep 33 & }; stage stray 1 f'
expect "a stage that leaves a process behind fails" 1 'still running' '^== stray: FAILED'

run <<<'f() { skip "no such kernel"; }; stage bare 1 f'
expect "a skipped stage gives its reason and does not fail the run" 0 \
    '^skipped: no such kernel$' '^bare .* skipped$'

run <<<'stages_skip=(a); stage a 1 false; stage b 1 true'
expect "--skip leaves one stage out and says so" 0 '^skipped: on request$' '^a .* skipped on request$'

run <<<'stages_only=(b); stage a 1 false; stage b 1 true'
expect "--only runs one stage" 0 '^== b: ok'

run <<<'define() { stage a 1 true; }; require_stages define b'
expect "an unknown name is refused before anything runs" 2 "^there is no stage 'b'; .*: a$"

run <<<'f() { read -r line || echo "end of input"; }; stage input 1 f'
expect "a stage has no standard input" 0 '^end of input$'
