# Starts the ranks of this pod, and ends all when one fails or the pod is to end. The pod's exit
# status is that of a rank that failed. Kubernetes sets JOB_COMPLETION_INDEX, the pod's template the
# rest.
before=$((JOB_COMPLETION_INDEX * ONEPATH_RANKS_PER_POD))
first=$((ONEPATH_STAGE_FIRST_RANK + before))
LOCAL_WORLD_SIZE=$((ONEPATH_STAGE_RANKS - before))
[ "$LOCAL_WORLD_SIZE" -le "$ONEPATH_RANKS_PER_POD" ] || LOCAL_WORLD_SIZE=$ONEPATH_RANKS_PER_POD
export LOCAL_WORLD_SIZE
ranks='' code=0 asked='' timer=''

# One rank, in a shell of its own. A rank that was asked to end is not to blame for how it does.
rank() {
    over='' child=''
    trap 'over=yes; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM
    "$@" </dev/null &
    child=$!
    [ -z "$over" ] || kill -TERM "$child" 2>/dev/null
    wait "$child" 2>/dev/null
    status=$?
    # A signal to this shell ends its wait, not the rank.
    while kill -0 "$child" 2>/dev/null; do
        wait "$child" 2>/dev/null
        status=$?
    done
    [ -z "$over" ] && [ "$status" -ne 0 ] || exit 0
    echo "onepath: rank $RANK exited with status $status" >&2
    if [ -w /dev/termination-log ]; then
        echo "rank $RANK exited with status $status" >>/dev/termination-log
    fi
    # This shell ends when it is asked to, like the others. Below, 127 has another meaning.
    [ "$status" -ne 127 ] || status=126
    trap 'exit "$status"' TERM
    kill -USR1 "$$"
    sleep 3600 >/dev/null 2>&1 &
    wait "$!"
    exit "$status"
}

end() {
    for each in $ranks; do
        kill -TERM "$each" 2>/dev/null
    done
    [ -z "$timer" ] || return 0
    (sleep "$ONEPATH_GRACE" && kill -USR2 "$$") >/dev/null 2>&1 &
    timer=$!
}

# As the first process of a container this shell ends all others with itself.
finish() {
    [ -z "$asked" ] || code=143
    [ -z "$timer" ] || kill "$timer" 2>/dev/null
    exit "$code"
}

# The grace time is over: the status of one that has ended counts.
expired() {
    for each in $ranks; do
        if [ "$code" -eq 0 ] && ! kill -0 "$each" 2>/dev/null; then
            wait "$each" 2>/dev/null
            code=$?
            [ "$code" -ne 127 ] || code=0
        fi
    done
    [ "$code" -ne 0 ] || code=137
    finish
}

# Until all have started a signal is only noted: `end` starts a process, and $! would be that one.
told=''
trap 'told=yes' USR1
trap 'told=yes asked=yes' TERM INT
trap expired USR2
LOCAL_RANK=0
while [ "$LOCAL_RANK" -lt "$LOCAL_WORLD_SIZE" ]; do
    RANK=$((first + LOCAL_RANK))
    export RANK LOCAL_RANK
    rank "$@" &
    ranks="$ranks $!"
    LOCAL_RANK=$((LOCAL_RANK + 1))
done
trap end USR1
trap 'asked=yes; end' TERM INT
[ -z "$told" ] || end
for process in $ranks; do
    wait "$process" 2>/dev/null
    status=$?
    # Above 128 it may be a signal to this shell that ended the wait. The next one says 127 of a
    # rank that was waited for, or in some shells the same again.
    while [ "$status" -gt 128 ]; do
        wait "$process" 2>/dev/null
        again=$?
        [ "$again" -ne 127 ] || break
        [ "$again" -ne "$status" ] || kill -0 "$process" 2>/dev/null || break
        status=$again
    done
    [ "$code" -ne 0 ] || code=$status
done
finish
