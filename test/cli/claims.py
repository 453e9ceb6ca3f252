#!/usr/bin/env python3
"""claims - what a node says, held against what comes: two agents before emulated engines, one of which begins to
say what is not so. It loses its share, the other one takes it, no client notices, and people are told why.

usage: claims.py PATH_OF_ISOCHRONE"""
import collections
import json
import os
import re
import subprocess
import tempfile

import life_tools as t

KEY = re.compile(r"ed25519:[0-9a-f]{64}")
NAMES = ("n0", "n1")
ENGINES = 12


class Network:
    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.public, self.admin, self.port = t.free_port(), t.free_port(), t.free_port()
        self.start("emulate", "emulate", "--nodes", str(ENGINES), "--regions", "1", "--only-vllm",
                   "--background", "0", "--listen-port", str(self.port))
        self.engines, self.model = self.two_alike()

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, log, *args):
        with open(self.path(log + ".log"), "ab") as out:
            self.processes.append(subprocess.Popen([t.PROGRAM, *args], stdout=out, stderr=out))

    def run(self, *args):
        return subprocess.run([t.PROGRAM, *args], capture_output=True, text=True, timeout=t.GUARD_S,
                              check=True).stdout

    def two_alike(self):
        """Two engines with one model on one kind of GPU."""
        def seen():
            status, _, text = t.ask("http://127.1.0.1:%d/emulate/nodes" % self.port)
            return text if status == 200 else None
        kinds = collections.defaultdict(list)
        for i, node in enumerate(json.loads(t.wait_for(seen, "engines"))["nodes"]):
            kinds[(node["models"][0]["name"], node["gpu"])].append(i)
        most = max(kinds.values(), key=len)
        model = json.loads(t.ask("http://127.1.0.%d:%d/v1/models" % (most[0] + 1, self.port))[2])
        return most[:2], model["data"][0]["id"]

    def open(self):
        key = KEY.search(self.run("key", "gateway", "--name", "gw", "-o", self.path("gw.key")))[0]
        t.write(self.path("gw.yaml"), "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\n" % (
            self.public, self.admin))
        self.start("gw", "gateway", "-f", self.path("gw.yaml"))
        for name, engine in zip(NAMES, self.engines):
            self.run("key", "node", "--name", name, "-o", self.path(name + ".key"))
            t.write(self.path(name + ".yaml"),
                    "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\n"
                    "key: file:%s.key\nstate: .\nauth: none\n"
                    "engines: [{url: \"http://127.1.0.%d:%d\"}]\n"
                    "gateways: [{name: gw, key: \"%s\", may: [infer], url: \"http://127.0.0.1:%d\"}]\n"
                    % (t.free_port(), t.free_port(), name, engine + 1, self.port, key, self.admin))
            self.start(name, "node", "-f", self.path(name + ".yaml"))
        return t.wait_for(lambda: sum(n["models_ready"] for n in self.nodes().values()) == 2, "two nodes")

    def nodes(self):
        text = t.ask("http://127.0.0.1:%d/network/v1/nodes" % self.admin)[2]
        return {n["node"]: n for n in json.loads(text)["nodes"]} if text.startswith("{") else {}

    def fault(self, name, fault):
        engine = self.engines[NAMES.index(name)]
        return t.ask("http://127.1.0.1:%d/emulate/nodes/%d/fault" % (self.port, engine),
                   json.dumps({"fault": fault}))[0] == 200

    def load(self, requests):
        """How many were answered by whom; "" for those that were not."""
        body = json.dumps({"model": self.model, "max_tokens": 2,
                           "messages": [{"role": "user", "content": "hello"}]})
        url = "http://127.0.0.1:%d/v1/chat/completions" % self.public
        return collections.Counter(t.ask(url, body)[1] for _ in range(requests))

    def shown(self, *args):
        return self.run(*args, "--admin", "http://127.0.0.1:%d" % self.admin)

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


def lies(network, liar, honest, fault, claim, words):
    """The liar does so until it is found out; then its share is looked at."""
    before = network.nodes()[liar]["claims"]["broken"][claim]
    t.check(network.fault(liar, fault), "%s: engine of %s" % (fault, liar))
    asked = collections.Counter()

    def is_found():
        asked.update(network.load(5))
        return network.nodes()[liar]["claims"]["broken"][claim] > before
    t.check(t.wait_for(is_found, "a broken claim"), "%s: it is found out" % fault, network.nodes()[liar])
    asked.update(network.load(40))
    t.check(asked[honest] == sum(asked.values()),
            "%s: no client notices, the honest node answers all" % fault, asked)
    nodes = network.nodes()
    t.check(nodes[liar]["word"] < 1 and nodes[honest]["word"] == 1,
            "%s: its word counts less, the other's whole" % fault, nodes)
    text = network.shown("nodes", liar)
    t.check("its word" in text and words in text, "%s: `nodes` tells what it said, and what came" % fault, text)
    t.check("its word" not in network.shown("nodes", honest), "%s: and nothing of the other" % fault)
    table = network.shown("nodes")
    t.check("WORD" in table, "%s: the list has a column for it" % fault, table)
    network.fault(liar, "none")


def tell(network):
    t.check(network.open(), "two agents post what they say to a gateway")
    counts = network.load(60)
    liar = max(NAMES, key=lambda name: counts[name])
    honest = NAMES[1 - NAMES.index(liar)]
    t.check(counts[""] == 0 and counts[liar] >= 20, "both tell the truth: all is answered", counts)
    t.check(all(n["word"] == 1 for n in network.nodes().values()), "their words count whole")
    t.check("WORD" not in network.shown("nodes"), "and there is no word about it")
    lies(network, liar, honest, "missing", "ready", "said that a model was ready")
    t.check(t.wait_for(lambda: network.load(5)[liar] > 0, "the one that was denied"),
            "it has the model again: it is asked again by and by")
    lies(network, liar, honest, "full", "room", "turned ours away")
    metrics = t.ask("http://127.0.0.1:%d/metrics" % network.admin)[2]
    t.check("isochrone_nodes_doubted 1\n" in metrics and
            not re.search(r'claims_broken\{claim="(load|tokens|ack)"\} [1-9]', metrics),
            "metrics count them, by kind", metrics)


def main():
    with tempfile.TemporaryDirectory() as folder:
        network = Network(folder)
        try:
            tell(network)
        finally:
            network.close()
    t.finish()


main()
