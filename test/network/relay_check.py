"""relay_check - real packets through the relay: that they arrive, in the order of the distances, and
what happens when a site is cut off. How exact the delays are is printed as figures, not judged: that
is the machine's doing.

  relay_check.py RELAY"""
import socket
import statistics
import sys
import threading
import time

import checks
import relayed

PORT = 7000
ECHOES = 25
PATIENCE_S = 30.0  # a guard
CUT_S = 0.5
BULK_BYTES = 4 << 20
SITES = (("here", "eu-west", "10.77.0.1"), ("near", "uk-south", "10.77.0.2"),
         ("middle", "us-east", "10.77.0.3"), ("far", "ap-northeast", "10.77.0.4"))
SET_MS = {"near": 20.0, "middle": 80.0, "far": 220.0}
check = checks.Checks()


def serve(site):
    """Echoes what comes, for each connection by itself."""
    listener = site.socket()
    listener.bind((site.address, PORT))
    listener.listen(16)

    def echo(s):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data := s.recv(65536):
                s.sendall(data)
        except OSError:
            pass
        s.close()

    def accept():
        while True:
            threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def echoes_ms(here, there):
    """Round trips of a connection and of some bytes on it, in ms."""
    began = time.monotonic()
    s = here.connect((there.address, PORT), PATIENCE_S)
    times = [time.monotonic() - began]
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(ECHOES):
        began = time.monotonic()
        s.sendall(b"x")
        if s.recv(1) != b"x":
            return []
        times.append(time.monotonic() - began)
    s.close()
    return [1000 * t for t in times]


def bulk_arrives(here, there):
    data = bytes(range(256)) * (BULK_BYTES // 256)
    s = here.connect((there.address, PORT), PATIENCE_S)
    threading.Thread(target=lambda: s.sendall(data), daemon=True).start()
    back = bytearray()
    while len(back) < len(data):
        piece = s.recv(1 << 20)
        if not piece:
            break
        back += piece
    s.close()
    return bytes(back) == data


def connects(here, there, patience_s):
    try:
        here.connect((there.address, PORT), patience_s).close()
        return True
    except OSError:
        return False


def refuses(relay, *words):
    try:
        relay.tell(*words)
        return False
    except OSError:
        return True


def check_delays(relay, here, others):
    began = time.monotonic()
    medians, errors = {}, []
    for site in others:
        times = echoes_ms(here, site)
        check(len(times) == ECHOES + 1, "bytes come back from " + site.name)
        medians[site.name] = statistics.median(times)
        errors += [abs(t - SET_MS[site.name]) for t in times]
    check(medians["near"] < medians["middle"] < medians["far"], "nearer is sooner: %s" % medians)
    check(all(medians[name] >= ms for name, ms in SET_MS.items()), "never sooner than was set")
    stats = relay.stats()
    print("# figure relay_delay_error_ms %.3f ms" % statistics.median(errors))
    print("# figure relay_late_p99_ms %.2f ms" % stats["late_p99_ms"])
    print("# figure relay_cpu_percent %.1f %% of a core"
          % (100 * stats["cpu_s"] / (time.monotonic() - began)))


def main():
    reason = relayed.refused()
    if reason:
        print("1..0 # SKIP " + reason)
        return 0
    relayed.go_inside()
    relay = relayed.Relay(sys.argv[1])
    sites = [relay.site(*site) for site in SITES]
    here, near = sites[0], sites[1]
    for site in sites[1:]:
        serve(site)
        relay.tell("rtt", "here", site.name, SET_MS[site.name])
    check_delays(relay, here, sites[1:])
    check(bulk_arrives(here, near), "megabytes there and back, byte for byte")
    check(relay.stats()["dropped_full"] == 0, "without a drop")
    relay.tell("cut", "near")
    check(not connects(here, near, CUT_S), "a site that is cut off")
    check(connects(here, sites[2], PATIENCE_S), "others are not")
    check(relay.stats()["dropped_cut"] > 0, "counted")
    relay.tell("join", "near")
    check(connects(here, near, PATIENCE_S), "back again")
    relay.tell("loss", "*", "*", "0.05")
    relay.tell("jitter", "*", "*", "2")
    check(bulk_arrives(here, near), "with loss and jitter all of it arrives, by TCP's doing")
    check(relay.stats()["dropped_lost"] > 0, "and what was lost is counted")
    for words in (("site", "more", "atlantis", "10.77.1.1"), ("site", "near", "eu-west", "10.77.1.1"),
                  ("site", "more", "eu-west", "127.0.0.1"), ("rtt", "here", "near", "-1"),
                  ("rtt", "here", "nowhere", "1"), ("loss", "here", "near", "2"), ("cut",),
                  ("rate", "here", "x"), ("jump",)):
        check(refuses(relay, *words), "refused: " + " ".join(words))
    check(refuses(relay, "site", "late", "eu-west", "10.77.0.9", sites[0].address),
          "refused: a site with another's address")
    relay.tell("site", "late", "eu-west", "10.77.0.9")
    check(True, "which took neither its name nor its own address away")
    check(relay.close() == 0, "it ends with its input")
    return check.end()


if __name__ == "__main__":
    sys.exit(main())
