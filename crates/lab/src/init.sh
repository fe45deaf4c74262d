# The init process of one lab: process 1 of its PID namespace.
# It prepares the namespaces, says so in the file "init", reaps orphans, and ends at the end of stdin.
set -e
folder=$1

# Still the outer /proc: this is the number by which the owner knows this process.
read -r pid _ </proc/self/stat

mount -t proc proc /proc
# Hides the sockets of the machine's own daemons, containerd's and Docker's above all.
mount -t tmpfs -o mode=755 tmpfs /run
# The engine writes a key here, and containerd would make a folder in /opt. Both do without.
if [ -d /etc/docker ]; then
    mount -t tmpfs -o mode=755 tmpfs /etc/docker
fi
if [ -d /opt ]; then
    mount --rbind /opt /opt
    mount -o remount,bind,ro /opt
fi
ip link set lo up

exec 3<&0 </dev/null
cat <&3 >/dev/null &
echo "$pid" >"$folder/init.new"
mv "$folder/init.new" "$folder/init"
# While it waits for its own child, the shell reaps every orphan too.
wait "$!"
