"""relayed - a network of namespaces on this machine, driven from Python: the relay (relay.c), programs
and sockets within its sites. All of it runs in a process namespace of its own, so that whatever was
started ends with its first process, however that ended, and no namespace is left behind."""
import ctypes
import json
import os
import socket
import subprocess
import sys

INSIDE = "ISOCHRONE_NETWORK_INSIDE"  # set for the process that unshare started
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def unshare_command():
    command = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return command if os.geteuid() == 0 else command + ["--map-root-user"]


# What the relay does for a site: a namespace of its own, and a device in it.
PROBE = """
import ctypes, fcntl, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(%d) != 0:
    sys.exit("a network namespace is refused: " + os.strerror(ctypes.get_errno()))
try:
    fcntl.ioctl(os.open("/dev/net/tun", os.O_RDWR), 0x400454ca, struct.pack("16sH22x", b"net0", 0x1001))
except OSError as error:
    sys.exit("a TUN device is refused: " + error.strerror)
""" % CLONE_NEWNET


def refused():
    """Why this machine has no such networks; None: it has them."""
    try:
        done = subprocess.run(unshare_command() + [sys.executable, "-c", PROBE], capture_output=True,
                              text=True, timeout=20, check=False)
    except OSError as error:
        return "no unshare: %s" % error
    if done.returncode == 0:
        return None
    last = (done.stderr.strip().split("\n") or ["?"])[-1]
    return last if "refused" in last else "namespaces are refused: " + last


def go_inside():
    """Begin this program again in namespaces of its own; within them, do nothing."""
    if os.environ.get(INSIDE) != "1":
        command = unshare_command() + [sys.executable] + sys.argv
        os.execvpe(command[0], command, dict(os.environ, **{INSIDE: "1"}))


class Site:
    """A place with its own network; address is the first of its addresses."""

    def __init__(self, name, region, addresses, path):
        self.name, self.region, self.addresses, self.path = name, region, addresses, path
        self.address = addresses[0]

    def popen(self, command, **how):
        """A program that runs here."""
        return subprocess.Popen(["nsenter", "--net=" + self.path, *command], **how)

    def socket(self, kind=socket.SOCK_STREAM):
        """A socket that is here, for the calling thread, which stays where it was."""
        with open("/proc/thread-self/ns/net", encoding="ascii") as back, \
                open(self.path, encoding="ascii") as here:
            if libc.setns(here.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return socket.socket(socket.AF_INET, kind)
            finally:
                if libc.setns(back.fileno(), CLONE_NEWNET) != 0:
                    os._exit(3)  # nowhere: nothing that follows would be true

    def connect(self, address, patience_s):
        s = self.socket()
        s.settimeout(patience_s)
        try:
            s.connect(address)
        except OSError:
            s.close()
            raise
        return s


class Relay:
    def __init__(self, program, *options):
        self.process = subprocess.Popen([program, *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.sites = {}

    def tell(self, *words):
        """One command; what was answered, or an OSError with the reason."""
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()
        verdict, _, rest = self.process.stdout.readline().strip().partition(" ")
        if verdict != "ok":
            raise OSError("relay: %s: %s" % (" ".join(map(str, words)), rest or "it has ended"))
        return rest

    def site(self, name, region, *addresses):
        path = self.tell("site", name, region, *addresses)
        self.sites[name] = Site(name, region, addresses, path)
        return self.sites[name]

    def stats(self):
        return json.loads(self.tell("stats"))

    def close(self):
        self.process.stdin.close()
        return self.process.wait(timeout=20)
