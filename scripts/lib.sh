# shellcheck shell=bash
# What the scripts share: where things are, and how they speak. Sourced, not run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Where cargo builds, as cargo itself sees it from the top of the tree.
TARGET=${CARGO_TARGET_DIR:-target}
[[ $TARGET == /* ]] || TARGET=$ROOT/$TARGET

# A shell that reads no profile does not know where rustup and cargo put their programs.
if [[ -n ${HOME:-} && -d $HOME/.cargo/bin && :$PATH: != *:$HOME/.cargo/bin:* ]]; then
    PATH=$HOME/.cargo/bin:$PATH
fi
# Tools that scripts/setup built for this checkout, at the version it names.
PATH=$TARGET/tools/bin:$PATH
export PATH

say() { printf '%s\n' "$*" >&2; }

# die WHAT [REMEDY]
die() {
    say "${0##*/}: $1"
    [[ -z ${2:-} ]] || say "  remedy: $2"
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# at_least HAVE NEED: whether version HAVE is NEED or newer.
at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif has sudo; then
        if [[ -t 0 ]]; then sudo "$@"; else sudo -n "$@"; fi
    else
        die "not root, and there is no sudo" "run as root: $*"
    fi
}
apt_install() {
    has apt-get || die "this machine has no apt-get" "install by its own means: $*"
    local get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0)
    # The lists of a fresh machine are empty and those of an old one name files that are gone: then fetch them, and again.
    as_root "${get[@]}" install --no-install-recommends "$@" >&2 && return
    say "refreshing the package lists"
    as_root "${get[@]}" update >&2
    as_root "${get[@]}" install --no-install-recommends "$@" >&2 ||
        die "apt-get could not install: $*" "see its message above; then run this again"
}
