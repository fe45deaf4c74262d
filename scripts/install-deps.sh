#!/bin/sh
# Installs what the tests, the demo, the benchmarks and the check of the Debian package run besides Rust
# itself: a Docker engine, Open vSwitch, a static busybox and a few small tools.
#
#   scripts/install-deps.sh           install what is missing (Debian and Ubuntu)
#   scripts/install-deps.sh --check   only say what is missing; status 1 if anything is
#
# It installs nothing when all is there, and says what it installs before it does.
# It starts and enables no service: the tests run daemons of their own, and whether the machine
# itself shall run Docker or Open vSwitch is for its operator to decide. Services that were there
# before are left as they are.
set -eu

PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# Each line: the command or file, the package that has it, what it is for.
needs='
dockerd       docker.io           the Docker engine of the end-to-end tests
docker        docker.io           the client of that engine
containerd    containerd          started by that engine
runc          runc                started by containerd
ovsdb-server  openvswitch-common  the database of Open vSwitch
ovsdb-tool    openvswitch-common  makes an empty database
ovs-appctl    openvswitch-common  asks and steers the daemons of Open vSwitch
ovs-ofctl     openvswitch-common  shows ports and flows in tests
ovs-pki       openvswitch-common  makes certificates for the tests of ssl
openssl       openssl             used by ovs-pki
/usr/share/ovn/ovn-nb.ovsschema ovn-central another schema for the tests of the code generator
ovs-docker    openvswitch-common  compared with its namesake of this program
uuidgen       uuid-runtime        used by ovs-docker
ovs-vswitchd  openvswitch-switch  the switch of the end-to-end tests
ovs-vsctl     openvswitch-switch  judges the product from outside
busybox       busybox-static      the contents of the test image; must be static
ip            iproute2            judges the product from outside
iperf3        iperf3              measures rates in tests
tcpdump       tcpdump             sees packets in tests
ethtool       ethtool             sets offloads in test containers
prometheus    prometheus          scrapes the metrics in tests
promtool      prometheus          judges the metrics
/usr/bin/python3 python3          sends frames in tests
curl          curl                asks the daemon in the commands of docs/
docker-compose docker-compose     starts the examples and the image in tests
lintian       lintian             judges the Debian package
systemd-analyze systemd           judges its unit
/lib/systemd/systemd systemd      runs the unit, in a copy of the system
readelf       binutils            tells that the shipped program is static
unshare       util-linux          makes the namespaces of the tests
nsenter       util-linux          enters them
setpriv       util-linux          takes rights away in tests
mount         mount               gives them a /proc and a /run of their own
tar           tar                 packs the test image
cc            gcc                 links Rust programs
make          make                runs the Makefile
'

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

has() {
    case $1 in
    # A dynamic busybox finds no libraries inside a container.
    busybox) command -v busybox >/dev/null && busybox_is_static ;;
    # As a program of its own, or as a plug-in of the client.
    docker-compose) command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1 ;;
    /*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

# The loader lists the libraries of dynamic programs only. Runs busybox, as ldd would.
busybox_is_static() {
    ! LD_TRACE_LOADED_OBJECTS=1 busybox true 2>/dev/null | grep -q '=>'
}

# The missing lines of the table.
missing() {
    say "$needs" | while read -r name package reason; do
        if [ -n "$name" ] && ! has "$name"; then
            say "$name $package $reason"
        fi
    done
}

# The packages for these lines, each once.
packages_for() {
    say "$1" | while read -r name package _; do
        # From Debian 13 on the client is a package of its own.
        if [ "$name" = docker ] && is_available docker-cli; then
            package=docker-cli
        fi
        # On Ubuntu the package of the plain name is the old one.
        if [ "$name" = docker-compose ] && is_available docker-compose-v2; then
            package=docker-compose-v2
        fi
        say "$package"
        # Without recommended packages gcc comes without the C library's headers and start files.
        if [ "$name" = cc ]; then
            say libc6-dev
        fi
    done | sort -u
}

is_available() {
    apt-cache show --no-all-versions "$1" >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 "$@"
}

# While this file stands, the packages' own scripts start nothing (deb-systemd-invoke, invoke-rc.d).
policy=/usr/sbin/policy-rc.d
block_starts() {
    if [ -e "$policy" ] || [ -L "$policy" ]; then
        say "$policy exists already and stays in force: it decides which services may start now."
        return
    fi
    trap 'unblock_starts' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\n# Temporary, made by %s.\nexit 101\n' "$0" |
        as_root sh -c "cat >$policy && chmod 755 $policy"
}

unblock_starts() {
    as_root rm -f "$policy"
    trap - EXIT
}

# Undoes what the packages' scripts have enabled for the next start of the machine.
disable_services_of() {
    for package in "$@"; do
        dpkg -L "$package" | while read -r file; do
            case $file in
            */systemd/system/*@.*) ;;
            */systemd/system/*.service | */systemd/system/*.socket)
                disable_unit "${file##*/}"
                ;;
            /etc/init.d/*)
                as_root update-rc.d "${file##*/}" disable >/dev/null 2>&1 || true
                ;;
            esac
        done
    done
}

disable_unit() {
    # Only "enabled": for static and other units is-enabled succeeds too.
    if command -v systemctl >/dev/null && [ "$(systemctl is-enabled "$1" 2>&1)" = enabled ]; then
        say "disabling $1; to run it: systemctl enable --now $1"
        as_root systemctl disable --quiet "$1" </dev/null
    fi
}

install_missing() {
    apt_get update --quiet
    # shellcheck disable=SC2046 # one word a package
    set -- $(packages_for "$1")
    say "Installing: $*"

    # "Inst NAME (VERSION …" is new; "Inst NAME [OLD] (VERSION …" is an upgrade; "Remv NAME …".
    plan=$(apt_get install --simulate --no-install-recommends "$@")
    new=$(say "$plan" | sed -n 's/^Inst \([^ ]*\) (.*/\1/p' | xargs)
    removed=$(say "$plan" | sed -n 's/^Remv \([^ ]*\).*/\1/p' | xargs)
    say "All new packages, with what they depend on: $new"
    if [ -n "$removed" ]; then
        # busybox-static replaces busybox and can do all that it can. Nothing else is expected.
        [ "$removed" = busybox ] || fail "apt would remove $removed; please install by hand: $*"
        say "busybox-static takes the place of the package busybox."
    fi

    block_starts
    apt_get install --yes --quiet --no-install-recommends "$@"
    unblock_starts
    # shellcheck disable=SC2086 # one word a package
    disable_services_of $new
}

case ${1-} in
'' | --check) ;;
*) fail "unknown argument $1; there is only --check" ;;
esac

lines=$(missing)
if [ -z "$lines" ]; then
    say "Everything is there."
    exit 0
fi
say "Missing:"
say "$lines" | while read -r name package reason; do
    say "  $name ($package): $reason"
done
if [ "${1-}" = --check ]; then
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    fail "this system has no apt-get. Please install by other means the commands listed above;" \
        "the names in brackets are Debian's packages."
fi
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    fail "installing needs root, and there is no sudo"
fi
install_missing "$lines"

lines=$(missing)
if [ -n "$lines" ]; then
    fail "still missing after the installation:
$lines"
fi
say "Everything is there now."
