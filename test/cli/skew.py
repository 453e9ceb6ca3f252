#!/usr/bin/env python3
"""skew - clocks that are an hour off, between processes: a node's, and another gateway's. Who is refused says so,
with how much it is; the others go on; with a right clock it is taken. By LD_PRELOAD (clock_shift.c).

usage: skew.py PATH_OF_ISOCHRONE PATH_OF_CLOCK_SHIFT"""
import json
import os
import subprocess
import sys
import tempfile

import life_tools as t
from posted_tools import KEY, Network

HOUR = 3600


def shifted(seconds):
    """The environment of a process whose clock is so far off."""
    return {"LD_PRELOAD": os.path.abspath(sys.argv[2]), "CLOCK_SHIFT_S": str(seconds),
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}


class Other:
    """A gateway that posts to the network's what it is asked for."""

    def __init__(self, network):
        self.path = network.path
        self.admin = t.free_port()
        key = KEY.search(network.run("key", "gateway", "--name", "other", "-o", self.path("other.key")))[0]
        with open(self.path("gw.yaml"), "a", encoding="utf-8") as file:
            file.write("key: file:gw.key\ngateways: [{name: other, key: \"%s\"}]\nname: gw\n" % key)
        t.write(self.path("other.yaml"),
                "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\nname: other\nkey: file:other.key\n"
                "engines: []\ngateways: [{name: gw, key: \"%s\", url: \"http://127.0.0.1:%d\"}]\n" % (
                    t.free_port(), self.admin, network.key, network.public))
        self.process = None

    def start(self, env):
        with open(self.path("other.log"), "ab") as out:
            self.process = subprocess.Popen([t.PROGRAM, "gateway", "-f", self.path("other.yaml")], stdout=out,
                                            stderr=out, env=os.environ | env)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def bus(network):
    text = t.ask("http://127.0.0.1:%d/network/v1/bus" % network.admin)[2]
    return json.loads(text) if text.startswith("{") else {}


def refused(network, name):
    return [row for row in bus(network).get("refused_last", []) if row.get("node") == name]


def tell(network, other):
    network.start_gateway()
    network.start_node("n0")
    t.check(network.ready(("n0",)), "a node whose clock is right is taken", network.log("gw"))
    for hours, word in ((-1, "old"), (1, "ahead")):
        network.start_node("n1", shifted(hours * HOUR))
        told = t.wait_for(lambda: word in network.log("gw") and "n1" in network.log("gw"), "a refusal")
        t.check(told and t.wait_for(lambda: "does not hear us: clock" in network.log("n1"), "its own word"),
                "one %s hour off is refused, and told so" % hours, network.log("gw"), network.log("n1"))
        t.check(set(network.nodes_seen()) == {"n0"}, "it is no node", network.nodes_seen())
        t.check("36" in network.log("gw").split("n1", 1)[1].split(" s ")[0], "by how much is said", network.log("gw"))
        network.nodes["n1"].kill()
        network.nodes["n1"].wait()
    t.check(network.answered_by() == {"n0"}, "requests go on")
    other.start(shifted(-HOUR))
    t.check(t.wait_for(lambda: bus(network).get("peers_refused", {}).get("clock"), "a refusal"),
            "what a gateway an hour behind says is refused", bus(network), network.log("gw"))
    t.check(bus(network)["gateways"] == 1, "it does not count", bus(network))
    other.stop()
    other.start({})
    t.check(t.wait_for(lambda: bus(network)["gateways"] == 2, "the other gateway"),
            "with a right clock it is heard", bus(network), network.log("gw"))
    network.start_node("n1")
    t.check(network.ready(("n0", "n1")), "so is the node", network.log("gw"), network.log("n1"))


def main():
    with tempfile.TemporaryDirectory() as folder:
        network = Network(folder)
        other = Other(network)
        try:
            tell(network, other)
        finally:
            other.stop()
            network.close()
    t.finish()


main()
