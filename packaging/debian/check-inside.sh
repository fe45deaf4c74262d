# The life of the package, step by step, run by a systemd of its own (see check.sh). Any failure ends it.
set -eu
name=ovs-port-manager
service=$name.service
cd /share

step() {
    printf '%s\n' "-- $*"
}

fail() {
    printf 'FAILED: %s\n' "$*"
    systemctl --no-pager status $service || :
    journalctl --no-pager -u $service | tail -n 40
    exit 1
}

# expect WHAT COMMAND...: it succeeds within 20 s.
expect() {
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "$what"
        sleep 0.1
    done
}

is() {
    [ "$(systemctl show --value --property="$1" $service)" = "$2" ]
}

# All that packages may have put there, but for what belongs to dpkg and to the services that run.
files() {
    find /bin /boot /etc /lib /opt /sbin /srv /usr /var -xdev \( -path /var/lib/dpkg -o -path /var/lib/containerd \
        -o -path /var/log -o -path /var/cache -o -path /etc/openvswitch \) -prune -o -print | sort
    find /run -maxdepth 1 | sort
    dpkg-query --show --showformat '${Package} ${db:Status-Abbrev}\n' | sort
}

reaches() {
    docker exec one ping -c 1 -W 1 192.168.1.2 && docker exec one ping -c 1 -W 1 fd00::2
}

attached() {
    reaches && $name status
}

step "Docker and Open vSwitch start"
systemctl start docker openvswitch-switch
mkdir -p image/bin
cp busybox image/bin
for applet in sleep ping sh; do ln -s busybox image/bin/$applet; done
tar -C image -c . | docker import - busybox >/dev/null
files >before

step "installed: neither enabled nor started"
dpkg --install package.deb
is ActiveState inactive || fail "it was started"
[ "$(systemctl is-enabled $service 2>&1)" = disabled ] || fail "it was enabled"
[ ! -e /run/$name ] || fail "it ran"
bash -n /usr/share/bash-completion/completions/$name
complaints=$(systemd-analyze verify $service 2>&1) && [ -z "$complaints" ] || fail "systemd-analyze verify: $complaints"
[ -s /usr/share/man/man1/$name-run.1.gz ] || fail "no manual"

step "enabled and started"
systemctl enable --quiet --now $service
is ActiveState active || fail "not active"
is NotifyAccess main || fail "not told that it is ready"
pid=$(systemctl show --value --property=MainPID $service)
tr '\0' ' ' <"/proc/$pid/cmdline"
echo
grep -E '^(Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' "/proc/$pid/status"
grep -q '^CapBnd:.0000000000283800$' "/proc/$pid/status" || fail "other capabilities than the five"
grep -q '^Seccomp:.2$' "/proc/$pid/status" || fail "no filter of system calls"

step "attaches, IPv6 included"
for number in 1 2; do
    word=$([ $number = 1 ] && echo one || echo two)
    docker run --detach --name "$word" --network none --stop-signal KILL \
        --label ovs.ip_address=192.168.1.$number/24,fd00::$number/64 busybox sleep 1000000 >/dev/null
done
expect "one reaches two" attached
$name status
$name doctor || :

step "re-reads its configuration: port security, and a rate, by OpenFlow"
sed -i 's/^port_security: .*/port_security: ovsbr0/' /etc/$name/$name.yaml
systemctl reload $service
expect "the log says so" sh -c "journalctl -u $service | grep -q 're-read the configuration'"
docker run --detach --name three --network none --stop-signal KILL --label ovs.ip_address=192.168.1.3/24 \
    --label ovs.ingress_rate=10M busybox sleep 1000000 >/dev/null
expect "three reaches two" docker exec three ping -c 1 -W 1 192.168.1.2
ovs-ofctl -O OpenFlow13 dump-flows ovsbr0 | grep -q cookie=0x6f76732d706f7274 || fail "no flows guard the port"
ovs-ofctl -O OpenFlow13 dump-meters ovsbr0 | grep -q rate=10000 || fail "no meter"
docker rm --force three >/dev/null

step "is restarted when it is killed, and when it hangs"
mkdir -p /run/systemd/system/$service.d
printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/$service.d/watchdog.conf
systemctl daemon-reload
systemctl kill --signal KILL --kill-who main $service
expect "it is active again" sh -c "systemctl show -p NRestarts --value $service | grep -qx 1 && systemctl is-active -q $service"
pid=$(systemctl show --value --property=MainPID $service)
# Well over the watchdog's time: it is fed.
sleep 5
is MainPID "$pid" || fail "the watchdog struck without need"
kill -STOP "$pid"
expect "the watchdog strikes" sh -c "systemctl show -p NRestarts --value $service | grep -qx 2 && systemctl is-active -q $service"
rm -r /run/systemd/system/$service.d
systemctl daemon-reload
reaches >/dev/null || fail "ports were lost"

step "the drop-ins that the unit speaks of: a control group, and a socket of another user"
mkdir /run/systemd/system/$service.d
printf '[Service]\nGroup=daemon\nEnvironment=OVS_PORT_MANAGER_CONTROL_GROUP=daemon\nCapabilityBoundingSet=CAP_DAC_OVERRIDE\nSystemCallFilter=capset\n' \
    >/run/systemd/system/$service.d/both.conf
systemctl daemon-reload
chown nobody /run/openvswitch/db.sock
chmod 600 /run/openvswitch/db.sock
systemctl restart $service
[ "$(stat -c '%A %U %G' /run/$name/control.sock)" = "srw-rw---- root daemon" ] || fail "no socket of the group"
journalctl -u $service | grep -q 'keeping the capability dac_override' || fail "dac_override was not kept"
reaches >/dev/null || fail "ports were lost"
chown root /run/openvswitch/db.sock
rm -r /run/systemd/system/$service.d
systemctl daemon-reload
systemctl restart $service

step "restarts and detaches containers"
docker restart two >/dev/null
expect "one reaches two again" attached
docker kill two >/dev/null
expect "its port is gone" sh -c '[ -z "$(ovs-vsctl --bare find interface external_ids:container_name=two)" ]'
docker start two >/dev/null
expect "one reaches two again" attached

step "upgraded while it runs: restarted, nothing lost"
pid=$(systemctl show --value --property=MainPID $service)
dpkg --install package.deb
expect "the new one is active" sh -c "systemctl is-active -q $service && ! systemctl show -p MainPID --value $service | grep -qx $pid"
reaches >/dev/null || fail "ports were lost"
grep -q '^port_security: ovsbr0$' /etc/$name/$name.yaml || fail "the configuration was written over"
! journalctl -u $service | grep -iE 'not permitted|denied' || fail "something was forbidden"

step "removed: stopped, its configuration stays"
docker kill one two >/dev/null
expect "their ports are gone" sh -c '[ -z "$(ovs-vsctl --bare find interface external_ids:owner=ovs-port-manager)" ]'
ovs-vsctl del-br ovsbr0
docker rm one two >/dev/null
dpkg --remove $name
[ ! -e "/proc/$pid" ] && ! pidof $name || fail "it still runs"
[ -e /etc/$name/$name.yaml ] || fail "no configuration"
[ ! -e /run/$name ] || fail "its folder in /run is left"

step "purged: nothing left"
dpkg --purge $name
systemctl daemon-reload
files >after
diff before after >difference || fail "something is left: $(head -n 20 difference)"
step "installed from source, by root without a toolchain, and uninstalled"
make --silent -C "$(cat repository)" install
systemctl daemon-reload
systemctl start $service
is ActiveState active || fail "not active"
tr '\0' ' ' <"/proc/$(systemctl show --value --property=MainPID $service)/cmdline"
echo
systemctl stop $service
make --silent -C "$(cat repository)" uninstall
systemctl daemon-reload
files >after
# Folders stay.
diff before after | grep '^[<>]' | cut -c 3- >difference || :
while read -r path; do
    [ -d "$path" ] || fail "it is left: $path"
done <difference

step "installed as the README says"
mkdir -p target/debian bin
cp package.deb target/debian/${name}_0_all.deb
printf '#!/bin/sh\nexec "$@"\n' >bin/sudo
chmod +x bin/sudo
sed -n '/^<!-- deb -->/,/^```$/p' README.md | sed '/^<!--/d; /^```/d' >readme.sh
[ -s readme.sh ] || fail "the README has no commands"
PATH=$PWD/bin:$PATH sh -eux readme.sh </dev/null || fail "the README's commands"
is ActiveState active || fail "not active"

step "all seen"
: >passed
