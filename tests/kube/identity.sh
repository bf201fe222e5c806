# shellcheck shell=bash
# shellcheck disable=SC2154 # the settings of tests/kube/plane.sh
# Who may speak to the control plane: its certificates, users with tokens, kubeconfigs (sourced).
#
#   identity_make                                 certificates, keys, users, their kubeconfigs
#   identity_bind                                 what the API server has to be told of them
#   identity_kubeconfig TOKEN [NAMESPACE]         prints a kubeconfig
#   identity_api TOKEN PATH [CURL ARGUMENT...]    one request; $api_type is of its body
#   identity_service_account NAMESPACE NAME       prints a token of a service account, for a day

# NAME USER [GROUP]: the name is that of its files. The API server itself binds the rights of
# system:masters and system:kube-scheduler; `kubelet` gets those of a node in identity_bind, and
# `nobody` has none. Controllers get all, for else each needs a service account before it starts.
readonly identity_users=(
    'admin admin system:masters'
    'controllers system:kube-controller-manager system:masters'
    'scheduler system:kube-scheduler'
    'kubelet kubelet'
    'nobody nobody'
)

# For one day: nothing here lives longer.
identity_certificates() {
    (
        mkdir "$plane/certificates" && cd -- "$plane/certificates" &&
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 \
                -subj /CN=onepath-test-ca -keyout ca.key -out ca.crt \
                -addext keyUsage=critical,keyCertSign,cRLSign &&
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
                -subj /CN=kube-apiserver -keyout server.key -out server.csr &&
            printf '%s\n' 'basicConstraints=CA:FALSE' 'extendedKeyUsage=serverAuth' \
                'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc' >server.ext &&
            openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 \
                -extfile server.ext -out server.crt &&
            openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out accounts.key
    ) >"$plane/logs/openssl" 2>&1 && return 0
    cat "$plane/logs/openssl" >&2
    return 1
}

identity_kubeconfig() {
    cat <<YAML
apiVersion: v1
kind: Config
current-context: onepath
clusters:
- name: onepath
  cluster:
    server: https://127.0.0.1:$apiserver_port
    certificate-authority-data: $(base64 -w 0 "$plane/certificates/ca.crt")
contexts:
- name: onepath
  context: {cluster: onepath, user: onepath, namespace: ${2:-default}}
users:
- name: onepath
  user: {token: "$1"}
YAML
}

identity_make() {
    local line name user group token number=0
    identity_certificates || return 1
    for line in "${identity_users[@]}"; do
        read -r name user group <<<"$line"
        token=$(openssl rand -hex 16)
        number=$((number + 1))
        printf '%s,%s,%d,"%s"\n' "$token" "$user" "$number" "$group" >>"$plane/users.csv"
        printf '%s' "$token" >"$plane/$name.token"
        identity_kubeconfig "$token" >"$plane/$name.kubeconfig"
    done
    ln -s admin.kubeconfig "$plane/kubeconfig"
}

# One user for all nodes, where real ones have one each: tests make nodes as they go.
identity_bind() {
    identity_api "$(<"$plane/admin.token")" \
        /apis/rbac.authorization.k8s.io/v1/clusterrolebindings -o /dev/null --data '{
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "onepath-test-kubelet"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kubelet"}]}'
}

# The token comes to curl in a file: everybody may read the arguments of a process.
identity_api() {
    local token=$1 path=$2
    shift 2
    curl -sS --fail-with-body --noproxy '*' --max-time 10 --cacert "$plane/certificates/ca.crt" \
        -H @<(printf 'Authorization: Bearer %s\n' "$token") -H "Content-Type: ${api_type:-application/json}" "$@" \
        "https://127.0.0.1:$apiserver_port$path"
}

identity_service_account() {
    local answer token
    answer=$(identity_api "$(<"$plane/admin.token")" \
        "/api/v1/namespaces/$1/serviceaccounts/$2/token" -X POST --data \
        '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":86400}}') ||
        { echo "$answer" >&2; return 1; }
    token=$(sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' <<<"$answer")
    [[ -n $token ]] || { echo "no token of $1/$2 in the answer: $answer" >&2; return 1; }
    printf '%s\n' "$token"
}
