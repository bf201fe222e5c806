# shellcheck shell=bash
# Installs Debian packages, for scripts that need programs which may be missing (sourced).

# packages COMMAND:PACKAGE...   installs each package whose command is missing, or says which it needs;
#                               a COMMAND that begins with / is a file, or a pattern of files
packages() {
    local pair missing=() as_root=()
    for pair in "$@"; do
        if [[ $pair == /* ]]; then
            compgen -G "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
        else
            command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
        fi
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    [[ $(id -u) -eq 0 ]] || as_root=(sudo -n)
    if ! command -v apt-get >/dev/null || ! ${as_root[@]+"${as_root[@]}"} true 2>/dev/null; then
        echo "missing and not installable here, please install: ${missing[*]}"
        return 1
    fi
    ${as_root[@]+"${as_root[@]}"} apt-get update -q
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"
}
