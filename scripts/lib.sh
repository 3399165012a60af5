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
