# Process 1 of check.sh's namespaces: lays a copy of the system over / and becomes its systemd, which runs
# check-inside.sh and nothing else of its own accord. Arguments: the folder to work in, the system to copy.
set -eu
work=$1
system=$2
root=$work/root

mount -t tmpfs tmpfs "$work/upper"
mkdir "$work/upper/upper" "$work/upper/work"
mount -t overlay -o "lowerdir=$system,upperdir=$work/upper/upper,workdir=$work/upper/work" overlay "$root"
# Before /sys is another one.
cgroups=$(grep -E '^[^ ]+ /sys/fs/cgroup' /proc/self/mounts)
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
echo "$cgroups" | while read -r _ path type options _; do
    case $type in
    tmpfs) options=mode=755 ;;
    cgroup2) options=rw ;;
    # rw,nosuid,…,cpu,cpuacct: what is no hierarchy's name is no option of the file system.
    cgroup) options=$(echo "$options" | tr , '\n' | grep -vE '^(rw|ro|no.*|relatime|xattr|release_agent=.*|clone_children)$' | paste -sd,) ;;
    esac
    case $options in
    name=*) options=none,$options ;;
    esac
    mkdir -p "$root$path"
    mount -t "$type" -o "$options" "$type" "$root$path"
done
mkdir "$root/share"
mount --bind "$work/share" "$root/share"
repository=$(cat "$work/share/repository")
mkdir -p "$root$repository"
mount --bind "$repository" "$root$repository"
ip link set lo up

cat >"$root/etc/systemd/system/check.service" <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh /share/check-inside.sh
ExecStopPost=/bin/systemctl poweroff --force
StandardOutput=append:/share/log
StandardError=append:/share/log
UNIT
printf '[Unit]\nRequires=check.service\nAfter=check.service\n' >"$root/etc/systemd/system/check.target"
ln -sf check.target "$root/etc/systemd/system/default.target"
: >"$root/etc/machine-id"
rm -f "$root/usr/sbin/policy-rc.d"
mkdir -p "$root/etc/docker"
echo '{"bridge": "none", "iptables": false, "ip6tables": false, "data-root": "/run/docker-data", "exec-opts": ["native.cgroupdriver=cgroupfs"]}' \
    >"$root/etc/docker/daemon.json"

cd "$root"
mkdir tmp/old
pivot_root . tmp/old
umount -l /tmp/old
exec env -i container=check PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --show-status=no
