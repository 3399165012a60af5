# shellcheck shell=bash
# A small Debian of its own in a folder, with systemd and rsyslog, for trying packages and services. Sourced, not run; after
# lib.sh. It is fetched once (a minute), and unpacked from then on.

TREE_PACKAGES=systemd,systemd-sysv,dbus,rsyslog,iproute2,init-system-helpers

# make_tree DIR: a fresh one.
make_tree() {
    local kept=$TARGET/tree.tar new
    [[ $EUID -eq 0 ]] || die "a system in a folder is made by root" "sudo $0"
    if [[ ! -e $kept ]]; then
        mkdir -p "$(dirname "$kept")"
        has debootstrap || { say "missing: debootstrap (makes a Debian in a folder)"; apt_install debootstrap; }
        say "fetching a Debian to try things in: about a minute, once"
        new=$(mktemp -d)
        debootstrap --variant=minbase "--include=$TREE_PACKAGES" bookworm "$new" >"$new.log" 2>&1 ||
            die "debootstrap failed" "see $new.log"
        rm -rf "$new"/var/cache/apt/archives/*.deb "$new"/var/lib/apt/lists/* "$new.log"
        tar -C "$new" -cf "$kept.new" . && mv "$kept.new" "$kept"
        rm -rf "$new"
    fi
    mkdir -p "$1"
    tar -C "$1" -xf "$kept"
    # The root of a system, and no longer a private folder.
    chmod 755 "$1"
}
