# shellcheck shell=bash
# shellcheck disable=SC2154 # bin_of, of binaries.sh
# The processes of one control plane, in one folder (sourced by tests/kube/run and tests/kube/ctl).
#
#   plane_make FOLDER          a new plane there, of the programs in `bin_of`; starts nothing
#   plane_open FOLDER          one that is there
#   plane_up                   starts all and waits until it serves; status 98: a port was taken
#   plane_start NAME           etcd, apiserver, controllers or scheduler, and waits until it serves
#   plane_stop NAME [SIGNAL]   ends it, by KILL if need be; TERM is the default
#   plane_end                  ends every process of the plane, and what was run on it
#
# Each process carries ONEPATH_KUBE_MEMBER=FOLDER in its environment, whoever started it: a test may
# restart the API server and end before it. Nothing else tells whom a process belongs to.

plane=''
readonly plane_ready_s=120 plane_patience_s=10 plane_port_taken=98

# Controllers without which objects that tests use would stay as they are. Not node-lifecycle: fake
# nodes send no heartbeats, and it would find them dead. That of daemon sets also keeps the index of
# pods by nodes that taint-eviction needs; that of cluster roles fills `view`, `edit` and `admin`.
readonly plane_controllers=(
    job-controller cronjob-controller replicaset-controller deployment-controller
    statefulset-controller daemonset-controller disruption-controller taint-eviction-controller
    pod-garbage-collector-controller garbage-collector-controller ttl-after-finished-controller
    namespace-controller serviceaccount-controller root-ca-certificate-publisher-controller
    endpointslice-controller resourcequota-controller clusterrole-aggregation-controller
)

# Below the ports that kernels give to clients, which would come and go.
plane_free_port() {
    local port
    while true; do
        port=$((15000 + RANDOM % 15000))
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

plane_make() {
    plane=$1
    etcd_port=$(plane_free_port)
    etcd_peer_port=$(plane_free_port)
    apiserver_port=$(plane_free_port)
    mkdir "$plane"/{logs,pids} &&
        # To be read inside a function, where `declare` would be local.
        declare -p bin_of etcd_port etcd_peer_port apiserver_port extra_controllers |
        sed 's/^declare /declare -g /' >"$plane/settings" &&
        identity_make
}

plane_open() {
    [[ -r $1/settings ]] || { echo "there is no control plane in '$1'" >&2; return 1; }
    plane=$(cd -- "$1" && pwd)
    # shellcheck source=/dev/null
    source "$plane/settings"
}

# Arguments of a process of the plane, one a line.
plane_command() {
    local certificates=$plane/certificates
    case $1 in
        etcd)
            printf '%s\n' "${bin_of[etcd]}" --name onepath --data-dir "$plane/etcd" \
                --listen-client-urls "http://127.0.0.1:$etcd_port" \
                --advertise-client-urls "http://127.0.0.1:$etcd_port" \
                --listen-peer-urls "http://127.0.0.1:$etcd_peer_port" \
                --initial-advertise-peer-urls "http://127.0.0.1:$etcd_peer_port" \
                --initial-cluster "onepath=http://127.0.0.1:$etcd_peer_port" \
                --unsafe-no-fsync --log-level warn
            ;;
        apiserver)
            # No other host is to be told where this one is. With --shutdown-send-retry-after it
            # does not wait a minute for watches when it is to end, but 2 s.
            printf '%s\n' "${bin_of[kube-apiserver]}" \
                --etcd-servers "http://127.0.0.1:$etcd_port" \
                --bind-address 127.0.0.1 --advertise-address 127.0.0.1 \
                --endpoint-reconciler-type none --secure-port "$apiserver_port" \
                --tls-cert-file "$certificates/server.crt" \
                --tls-private-key-file "$certificates/server.key" \
                --client-ca-file "$certificates/ca.crt" \
                --token-auth-file "$plane/users.csv" --authorization-mode RBAC \
                --service-account-issuer https://kubernetes.default.svc \
                --service-account-key-file "$certificates/accounts.key" \
                --service-account-signing-key-file "$certificates/accounts.key" \
                --service-cluster-ip-range 10.0.0.0/24 \
                --disable-admission-plugins TaintNodesByCondition \
                --shutdown-send-retry-after --profiling=false
            ;;
        controllers)
            local IFS=,
            printf '%s\n' "${bin_of[kube-controller-manager]}" \
                --kubeconfig "$plane/controllers.kubeconfig" --leader-elect=false --secure-port 0 \
                --root-ca-file "$certificates/ca.crt" \
                --service-account-private-key-file "$certificates/accounts.key" \
                --controllers "${plane_controllers[*]}${extra_controllers:+,$extra_controllers}"
            ;;
        scheduler)
            printf '%s\n' "${bin_of[kube-scheduler]}" --kubeconfig "$plane/scheduler.kubeconfig" \
                --leader-elect=false --secure-port 0
            ;;
    esac
}

# Whether a process belongs to this plane; a number may have come to somebody else.
plane_is_member() {
    grep -qzxF "ONEPATH_KUBE_MEMBER=$plane" "/proc/$1/environ" 2>/dev/null
}

plane_members() {
    grep -lzxF "ONEPATH_KUBE_MEMBER=$plane" /proc/[0-9]*/environ 2>/dev/null | cut -d / -f 3
}

# Number of the process of that name, if it lives.
plane_pid() {
    local pid
    pid=$(cat "$plane/pids/$1" 2>/dev/null) && plane_is_member "$pid" && echo "$pid"
}

plane_serves() {
    case $1 in
        etcd) curl -sf --noproxy '*' --max-time 2 -o /dev/null "http://127.0.0.1:$etcd_port/health" ;;
        apiserver) identity_api "$(<"$plane/admin.token")" /readyz -o /dev/null 2>/dev/null ;;
        # What pods need before they can be made.
        controllers)
            identity_api "$(<"$plane/admin.token")" \
                /api/v1/namespaces/default/serviceaccounts/default -o /dev/null 2>/dev/null
            ;;
        # It looks for what it missed when it starts.
        scheduler) true ;;
    esac
}

plane_start() {
    local name=$1 command pid log=$plane/logs/$1 limit
    if plane_pid "$name" >/dev/null; then
        echo "$name is running" >&2
        return 1
    fi
    mapfile -t command < <(plane_command "$name")
    printf '== %s: %s\n' "$(date +%T)" "${command[*]}" >>"$log"
    ONEPATH_KUBE_MEMBER=$plane "${command[@]}" >>"$log" 2>&1 </dev/null 9>&- &
    pid=$!
    # Else the shell would report each end.
    disown "$pid"
    echo "$pid" >"$plane/pids/$name"
    # Until the program has replaced this shell it does not look like a member.
    while kill -0 "$pid" 2>/dev/null && ! plane_is_member "$pid"; do sleep 0.01; done
    limit=$((SECONDS + plane_ready_s))
    until plane_serves "$name"; do
        if ! plane_is_member "$pid"; then
            grep -q 'address already in use' "$log" && return "$plane_port_taken"
            plane_complain "$name" "ended while it started"
            return 1
        fi
        if [[ $SECONDS -ge $limit ]]; then
            plane_complain "$name" "does not serve after $plane_ready_s s"
            return 1
        fi
        sleep 0.05
    done
}

plane_complain() {
    tail -n 20 "$plane/logs/$1" >&2
    echo "kube: $1 $2; above is the end of its log" >&2
}

plane_stop() {
    local name=$1 pid tenths
    pid=$(plane_pid "$name") || return 0
    kill -"${2:-TERM}" "$pid" 2>/dev/null
    for ((tenths = plane_patience_s * 10; tenths > 0; tenths--)); do
        plane_is_member "$pid" || break
        sleep 0.1
    done
    if plane_is_member "$pid"; then
        echo "kube: $name did not end within $plane_patience_s s and is killed" >&2
        kill -KILL "$pid" 2>/dev/null
        while plane_is_member "$pid"; do sleep 0.01; done
    fi
    rm -f -- "$plane/pids/$name"
}

plane_up() {
    local name
    for name in etcd apiserver; do
        plane_start "$name" || return
    done
    identity_bind || return 1
    for name in controllers scheduler; do
        plane_start "$name" || return
    done
}

# Its data are for nothing any more, so the plane is killed; what was run on it may end by itself.
plane_end() {
    local name pid tenths members
    : >"$plane/ending"
    for name in etcd apiserver controllers scheduler; do
        pid=$(plane_pid "$name") && kill -KILL "$pid" 2>/dev/null
    done
    for ((tenths = 40; tenths > 0; tenths--)); do
        mapfile -t members < <(plane_members)
        [[ ${#members[@]} -gt 0 ]] || return 0
        if [[ $tenths -eq 39 ]]; then kill -TERM "${members[@]}" 2>/dev/null; fi
        if [[ $tenths -le 10 ]]; then kill -KILL "${members[@]}" 2>/dev/null; fi
        sleep 0.1
    done
}
