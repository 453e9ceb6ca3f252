#!/usr/bin/env python3
"""posted - a small network without a bus server: a gateway that knows no engine, and two nodes that post to
it what they say. It is restarted, one of them is killed, and they find each other by themselves.

usage: posted.py PATH_OF_ISOCHRONE"""
import json
import os
import re
import signal
import subprocess
import tempfile

import life_tools as t

KEY = re.compile(r"ed25519:[0-9a-f]{64}")
NAMES = ("n0", "n1")
BODY = json.dumps({"model": "m", "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]})


class Network:
    def __init__(self, folder):
        self.folder = folder
        self.public, self.admin = t.free_port(), t.free_port()
        self.admins = {name: t.free_port() for name in NAMES}
        self.engines = {name: t.Engine() for name in NAMES}
        self.nodes = {}
        self.gateway = None
        self.key = KEY.search(self.run("key", "gateway", "--name", "gw", "-o", self.path("gw.key")))[0]
        t.write(self.path("gw.yaml"),
                "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\nbus: {http: true}\n" % (
                    self.public, self.admin))
        for name in NAMES:
            self.run("key", "node", "--name", name, "-o", self.path(name + ".key"))
            t.write(self.path(name + ".yaml"),
                    "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\n"
                    "key: file:%s.key\nstate: .\nauth: none\nengines: [{url: \"%s\", kind: vllm}]\n"
                    "gateways: [{name: gw, key: \"%s\", may: [infer], url: \"http://127.0.0.1:%d\"}]\n"
                    % (t.free_port(), self.admins[name], name, self.engines[name].url, self.key,
                       self.public))

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *args):
        return subprocess.run([t.PROGRAM, *args], capture_output=True, text=True, timeout=t.GUARD_S,
                              check=True).stdout

    def start_gateway(self):
        self.gateway = t.Gateway(self.path("gw.yaml"), self.path("gw.log"))

    def start_node(self, name):
        with open(self.path(name + ".log"), "ab") as out:
            self.nodes[name] = subprocess.Popen([t.PROGRAM, "node", "-f", self.path(name + ".yaml")],
                                                stdout=out, stderr=out)

    def nodes_seen(self):
        text = t.ask("http://127.0.0.1:%d/network/v1/nodes" % self.admin)[2]
        return {n["node"]: n for n in json.loads(text)["nodes"]} if text.startswith("{") else {}

    def is_missed(self, name):
        """It has been silent for a while, or was forgotten after that."""
        seen = self.nodes_seen()
        return seen and (name not in seen or seen[name]["bus_report_age_ms"] > 3000)

    def ready(self, names):
        def are():
            seen = self.nodes_seen()
            return set(seen) == set(names) and all(
                n["models_ready"] == 1 and n["bus_report_age_ms"] is not None for n in seen.values())
        return t.wait_for(are, "%s, and nobody else" % ", ".join(names))

    def log(self, name):
        with open(self.path(name + ".log"), encoding="utf-8") as file:
            return file.read()

    def answered_by(self, requests=8):
        """The nodes that answered so many requests; "" for one that was not."""
        return {(t.ask("http://127.0.0.1:%d/v1/chat/completions" % self.public, BODY)[1]) for _ in range(requests)}

    def close(self):
        for process in [*self.nodes.values(), *([self.gateway.process] if self.gateway else [])]:
            process.kill()
            process.wait()


def tell(network):
    network.start_node("n0")
    t.check(t.wait_for(lambda: "does not hear us: it takes no connections" in network.log("n0"),
                       "a word about it"),
            "a node whose gateway is not there says so")
    network.start_gateway()
    network.start_node("n1")
    t.check(network.ready(NAMES), "a gateway that knows no engine hears of both nodes",
            network.log("gw"), network.log("n0"))
    t.check("" not in network.answered_by(), "and has requests answered by them")
    t.check(t.wait_for(lambda: all(n["rtt_ms"] is not None for n in network.nodes_seen().values()),
                       "round trips"), "the way to each is measured at once", network.nodes_seen())
    t.check(all(n["engine"] == "vllm" for n in network.nodes_seen().values()),
            "and it is known what is behind each", network.nodes_seen())
    metrics = t.ask("http://127.0.0.1:%d/metrics" % network.admins["n0"])[2]
    t.check('isochrone_node_posts_total{gateway="gw",outcome="heard"}' in metrics,
            "the node counts what was heard", metrics)

    network.gateway.process.send_signal(signal.SIGKILL)
    network.gateway.process.wait()
    network.start_gateway()
    t.check(network.ready(NAMES), "the gateway is killed and started: both come back by themselves",
            network.log("gw"), network.log("n0"))
    t.check("hears us" in network.log("n0"), "which they tell")

    network.nodes["n1"].send_signal(signal.SIGTERM)
    network.nodes["n1"].wait(t.GUARD_S)
    t.check(network.ready(("n0",)), "a node that ends says that it is gone", network.nodes_seen())
    network.start_node("n1")
    t.check(network.ready(NAMES), "and is taken again in its next life", network.log("gw"))

    with open(network.path("n1.yaml"), encoding="utf-8") as file:
        text = file.read()
    t.write(network.path("n1.yaml"), text[:text.index("gateways:")])
    network.nodes["n1"].send_signal(signal.SIGHUP)
    t.check(t.wait_for(lambda: network.is_missed("n1"), "silence of n1"),
            "a node whose configuration has the gateway no more tells it nothing", network.log("n1"))
    t.write(network.path("n1.yaml"), text)
    network.nodes["n1"].send_signal(signal.SIGHUP)
    t.check(network.ready(NAMES), "until it has it again", network.log("n1"))

    network.nodes["n0"].kill()
    network.nodes["n0"].wait()
    t.check(t.wait_for(lambda: network.is_missed("n0"), "silence"), "one that is killed is missed",
            network.nodes_seen())
    t.check(network.answered_by() == {"n1"}, "and requests go to the other one",
            network.nodes_seen())


def main():
    with tempfile.TemporaryDirectory() as folder:
        network = Network(folder)
        try:
            tell(network)
        finally:
            network.close()
    t.finish()


main()
