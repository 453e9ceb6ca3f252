"""posted_tools - a small network without a bus server, as processes: a gateway that knows no engine, and nodes that
post to it what they say."""
import json
import os
import re
import subprocess

import life_tools as t

KEY = re.compile(r"ed25519:[0-9a-f]{64}")
NAMES = ("n0", "n1")
BODY = json.dumps({"model": "m", "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]})


class Network:
    def __init__(self, folder, others=""):
        """others: more gateways of the nodes, as text."""
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
                    "gateways: [%s{name: gw, key: \"%s\", may: [infer], url: \"http://127.0.0.1:%d\"}]\n"
                    % (t.free_port(), self.admins[name], name, self.engines[name].url, others, self.key,
                       self.public))

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *args):
        return subprocess.run([t.PROGRAM, *args], capture_output=True, text=True, timeout=t.GUARD_S,
                              check=True).stdout

    def serve_by(self, name, engine):
        """Another engine, as text, behind a node that has not been started. Where the node listens."""
        with open(self.path(name + ".yaml"), encoding="utf-8") as file:
            text = file.read()
        t.write(self.path(name + ".yaml"), re.sub(r"engines: \[.*\]", "engines: [%s]" % engine, text))
        return int(re.search(r'public: "127.0.0.1:(\d+)"', text)[1])

    def start_gateway(self):
        self.gateway = t.Gateway(self.path("gw.yaml"), self.path("gw.log"))

    def start_node(self, name, env=None):
        with open(self.path(name + ".log"), "ab") as out:
            self.nodes[name] = subprocess.Popen([t.PROGRAM, "node", "-f", self.path(name + ".yaml")],
                                                stdout=out, stderr=out,
                                                env=None if env is None else os.environ | env)

    def end_node(self, name):
        self.nodes[name].terminate()
        self.nodes[name].wait(t.GUARD_S)

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
