#!/bin/bash
# What bin/demo and bin/test share; sourced by both, run by nobody.
#    ie: source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
set -euo pipefail

usage() {
    # the comment at the head of the script that sources this file
    sed -n '2,/^set -euo/{/^# shellcheck/d;/^#/s/^# \{0,1\}//p;}' "$0"
}

root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
venv=$root/.venv

say() {
    printf -- '---> %s\n' "$*" >&2
}

# usage: fail CODE SENTENCE
fail() {
    say "${@:2}"
    exit "$1"
}

# usage: step TEXT COMMAND...
#    ie: step "Installing packages" pip install -r requirements.txt
# Runs what takes a while: on a terminal one line with a moving clock, elsewhere a line before and one after. What the
# command prints is shown only if it fails.
step() {
    local text=$1 begun=$SECONDS clock='' code=0 output; shift
    if [[ -t 2 ]]; then
        show_clock "$text" "$begun" &
        clock=$!
    else
        say "$text ..."
    fi
    output=$("$@" 2>&1 </dev/null) || code=$?
    if [[ -n $clock ]]; then
        kill "$clock" 2>/dev/null || :      # it ends by itself when this script does
        wait "$clock" 2>/dev/null || :      # 143: we have just ended it
        printf '\r\e[K' >&2
    fi
    if (( code == 0 )); then
        say "$text: done, $((SECONDS - begun)) s"
    else
        say "$text: failed with $code after $((SECONDS - begun)) s"
        tail -n 30 <<<"$output" >&2
    fi
    return "$code"
}

# usage: show_clock TEXT BEGUN &
show_clock() {
    while kill -0 $$ 2>/dev/null; do
        printf '\r\e[K---> %s ... %d s' "$1" "$((SECONDS - $2))" >&2
        sleep 1
    done
}

# usage: make_venv run|dev
#    ie: make_venv dev
# Leaves a .venv that holds what the lock files say, with this checkout importable in it; `dev` adds what luigid's history
# and bin/test need. The second call finds its stamps and is done at once. Calls at the same time wait for each other.
make_venv() {
    local python more=() lock
    [[ $1 != dev ]] || more=(luigid-requirements.txt dev-requirements.txt)
    if ! are_current requirements.txt ${more[@]+"${more[@]}"}; then
        find_python
        (
            # the lock belongs to the open file, which this subshell holds until it ends
            exec 9<"$root/bin/common.sh"
            "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
            is_current requirements.txt ||
                step "Making .venv from requirements.txt with $("$python" --version)" build_venv
            for lock in ${more[@]+"${more[@]}"}; do
                is_current "$lock" || step "Adding $lock to .venv" install "$lock"
            done
        )
    fi
    PATH="$venv/bin:$PATH"
}

# usage: are_current LOCKFILE...
are_current() {
    local lock
    for lock; do is_current "$lock" || return 1; done
}

# usage: is_current LOCKFILE
is_current() {
    [[ -x $venv/bin/python && -f $venv/$1.stamp ]] && [[ $(<"$venv/$1.stamp") == "$(stamp "$1")" ]] &&
        "$venv/bin/python" -c '' 2>/dev/null       # the Python it was made with may have gone
}

# usage: stamp LOCKFILE
# The folder is part of it: the scripts in a .venv that was moved still call the Python of the old place.
stamp() {
    { printf '%s\n' "$root"; cat -- "$root/$1"; } | cksum
}

build_venv() {
    rm -rf -- "$venv" &&
        "$python" -m venv "$venv" &&
        install requirements.txt
}

# usage: install LOCKFILE
install() {
    "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --require-hashes -r "$root/$1" &&
        printf '%s\n' "$root" >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/scc.pth" &&
        stamp "$1" >"$venv/$1.stamp"
}

# Leaves in `python` the first Python that SCC can run on and that can make a virtual environment.
find_python() {
    local name version rejected=()
    for name in python3 python3.13 python3.12 python3.11; do
        # a name that exists may still not run: pyenv's stand-ins
        version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        case $version in
            3.11 | 3.12 | 3.13) ;;
            *) rejected+=("$name is $version"); continue ;;
        esac
        if ! makes_venvs "$name" && can_install; then
            step "Installing Debian's python3-venv" apt_install python3-venv || :      # asked again below
        fi
        makes_venvs "$name" || { rejected+=("$name lacks venv (Debian's python3-venv)"); continue; }
        python=$(command -v "$name")
        return
    done
    local found=none; (( ${#rejected[@]} == 0 )) || { found=$(printf '; %s' "${rejected[@]}"); found=${found:2}; }
    fail 78 "SCC needs Python 3.11, 3.12 or 3.13 on the PATH (Luigi 3.8 refuses 3.14); found: $found"
}

# usage: makes_venvs PYTHON
# Debian's python3 has ensurepip in a package of its own.
makes_venvs() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

# usage: need_package NAME...
#    ie: need_package shellcheck prometheus-pushgateway         Debian packages that are named like their command
# Installs what is missing where that is possible. What stays missing is named: its tests skip, or, with CI=true, all fails.
need_package() {
    local name missing=()
    for name; do is_installed "$name" || missing+=("$name"); done
    (( ${#missing[@]} > 0 )) || return 0
    if can_install; then
        step "Installing ${missing[*]} (Debian packages)" apt_install "${missing[@]}" || :     # named one by one below
    fi
    local lacking=0
    for name in "${missing[@]}"; do
        is_installed "$name" || { say "missing and not installable here: Debian package $name"; lacking=1; }
    done
    (( lacking == 0 )) || [[ ${CI:-} != true ]] || fail 1 "CI=true allows no missing package"
}

# usage: is_installed PACKAGE
# Debian keeps PostgreSQL's programs off the PATH.
is_installed() {
    case $1 in
        postgresql) command -v postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' ;;
        *)          command -v "$1" ;;
    esac >/dev/null
}

can_install() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null
}

# usage: apt_install PACKAGE...
apt_install() {
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@")
    "${install[@]}" || { apt-get update && "${install[@]}"; }     # a fresh machine has no package lists
}

# Drops from the environment what points at real systems: a demo or a test must not reach them by accident.
forget_real_systems() {
    local name
    for name in $(compgen -e); do
        case $name in
            ELOQUA_* | SALESFORCE_* | SCC_* | SLACK_* | LUIGI* | PUSHGATEWAY_URL | JOB_NAME) unset "$name" ;;
        esac
    done
}
