# Holds one lab and clears everything away once the lab is dead, however it died.
# Arguments: the verb (run or remove), the lab's folder, its cgroup, the script of its init process.
#
# `run` reads stdin through the init process: the owner holds the other end of that pipe, so the
# owner's death, whatever its cause, ends the init process, and the kernel then kills all the others.
set -u
verb=$1
folder=$2
cgroup=$3

# Removes the lab's folder in every cgroup hierarchy, deepest first (version 1 and 2).
# The kernel may need a moment after a process's end until its cgroup counts as empty.
remove_cgroups() {
    tries=0
    while [ "$tries" -lt 100 ]; do
        left=no
        for top in "/sys/fs/cgroup/$cgroup" /sys/fs/cgroup/*/"$cgroup"; do
            [ -d "$top" ] || continue
            find "$top" -depth -type d -exec rmdir {} \; 2>/dev/null
            [ -d "$top" ] && left=yes
        done
        [ "$left" = no ] && return
        tries=$((tries + 1))
        sleep 0.05
    done
    echo "cannot remove the cgroup $cgroup" >&2
}

status=0
if [ "$verb" = run ]; then
    # A handler, not '' (ignore): an ignored signal would stay ignored in all daemons of the lab.
    trap : HUP INT QUIT TERM
    unshare --net --mount --pid --fork --kill-child sh -c "$4" init "$folder"
    status=$?
fi
remove_cgroups
rm -rf --one-file-system -- "$folder"
exit "$status"
