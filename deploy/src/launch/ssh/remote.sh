# One rank on this host, started over a connection: as long as standard input is open it is to run.
# Before this stand: job rank grace workdir, the rank's variables (exported), and its command as
# "$@". The first line of standard input is the job's secret, which is on no command line.
umask 077
folder=${XDG_RUNTIME_DIR:-}
[ -d "$folder" ] && [ -w "$folder" ] || folder=${TMPDIR:-/tmp}
folder=$folder/onepath-$job-$rank
IFS= read -r secret || exit 255
mkdir -m 700 -- "$folder" || exit 126
trap 'rm -rf -- "$folder"' EXIT
printf '%s\n' "$secret" >"$folder/secret" || exit 126
unset secret
ONEPATH_JOB_SECRET_FILE=$folder/secret
export ONEPATH_JOB_SECRET_FILE
cd -- "$workdir" || exit 126
# A session of its own is a process group of its own: what the rank starts is ended with it.
exec 3<&0
if command -v setsid >/dev/null 2>&1; then
    setsid -- "$@" </dev/null 3<&- &
    child=$! group=-$child
else
    "$@" </dev/null 3<&- &
    child=$! group=$child
fi
trap 'kill -TERM "$group" 2>/dev/null' HUP INT TERM
(
    trap - EXIT
    trap '' HUP INT
    cat <&3 >/dev/null
    kill -TERM "$group"
    sleep "$grace"
    kill -KILL "$group"
) >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$child" 2>/dev/null
status=$?
# A signal to this shell ends its wait, not the rank.
while kill -0 "$child" 2>/dev/null; do
    wait "$child" 2>/dev/null
    status=$?
done
kill "$watcher" 2>/dev/null
kill -KILL "$group" 2>/dev/null
exit "$status"
