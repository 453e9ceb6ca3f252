"""ports - for tests whose gateway is told where to listen."""
import random
import socket


def free_port():
    """Nobody has it. It is below those that the kernel gives to whoever connects: the other tests' connections
    would now and then take it before it is used."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        given_from = int(file.read().split()[0])
    while True:
        port = random.randrange(max(1024, given_from - 20000), given_from) if given_from > 1024 else 0
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return s.getsockname()[1]
