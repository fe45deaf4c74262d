#!/bin/sh
# Checks a Debian package: lintian, systemd-analyze, and its whole life under a real systemd with a real Docker
# and Open vSwitch: installed, started, used, upgraded, removed, purged.
#
#   packaging/debian/check.sh FILE.deb [ROOT]
#
# The machine stays as it was: all of it happens in namespaces, in a copy of this system that is kept in memory
# and gone at the end (an overlay over /). Needs root, lintian, systemd, docker.io and openvswitch-switch. ROOT
# is the root of another system to copy, of another release of Debian say, as debootstrap makes it.
set -eu

deb=$(realpath "$1")
system=$(realpath "${2-/}")
here=$(dirname "$(realpath "$0")")
unit=$here/../systemd/ovs-port-manager.service
# In tenths.
most_exposure=29

say() {
    printf '\n== %s\n' "$*"
}

say "lintian"
in_changelog=$(sed -n '1s/.*(\(.*\)).*/\1/p' "$here/changelog")
[ "$(dpkg-deb --field "$deb" Version)" = "$in_changelog" ] ||
    { echo "packaging/debian/changelog has version $in_changelog, the package another"; exit 1; }
lintian --allow-root --fail-on error "$deb"

work=$(mktemp -d)
group=ovs-port-manager-check-$$
clean() {
    status=$?
    # Deepest first; a cgroup counts as empty a moment after its last process.
    for try in 1 2 3 4 5 6 7 8 9 10; do
        find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} + 2>/dev/null || :
        [ -n "$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$group")" ] || break
        sleep "0.$try"
    done
    rm -rf "$work"
    exit $status
}
trap clean EXIT
trap 'exit 130' INT TERM

say "systemd-analyze"
systemd-analyze security --offline=true --threshold=$most_exposure "$unit" >"$work/exposure" ||
    { cat "$work/exposure"; exit 1; }
tail -n 1 "$work/exposure"

say "The package's life under systemd, in a copy of $system"
mkdir "$work/upper" "$work/root" "$work/share"
cp "$deb" "$work/share/package.deb"
cp "$here/check-inside.sh" "$here/../../README.md" "$(command -v busybox)" "$work/share/"
realpath "$here/../.." >"$work/share/repository"
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
    if [ -e "$hierarchy/cgroup.procs" ] && mountpoint -q "$hierarchy"; then
        mkdir "$hierarchy/$group"
        # A cpuset without them takes no process.
        for file in cpuset.cpus cpuset.mems; do
            if [ -e "$hierarchy/tasks" ] && [ -e "$hierarchy/$file" ]; then
                cat "$hierarchy/$file" >"$hierarchy/$group/$file"
            fi
        done
    fi
done
# In a shell of its own, which goes into the cgroup and so is the root of the new cgroup namespace.
GROUP=$group WORK=$work sh -c '
    for procs in /sys/fs/cgroup/"$GROUP"/cgroup.procs /sys/fs/cgroup/*/"$GROUP"/cgroup.procs; do
        [ ! -e "$procs" ] || echo $$ >"$procs"
    done
    exec timeout --signal=KILL 300 unshare --mount --pid --fork --kill-child --net --uts --ipc --cgroup \
        --propagation private sh "$1" "$WORK" "$2"
' sh "$here/check-boot.sh" "$system" >"$work/boot.log" 2>&1 || :
cat "$work/share/log" 2>/dev/null || cat "$work/boot.log"
[ -e "$work/share/passed" ]
