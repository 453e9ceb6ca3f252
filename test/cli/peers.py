#!/usr/bin/env python3
"""peers - gateways that hear each other without a bus server: each posts to those that its configuration names.
What the clients of one ask for the other hears; one that nobody names is refused; one that ends is missed.

usage: peers.py PATH_OF_ISOCHRONE"""
import json
import os
import re
import subprocess
import tempfile

import life_tools as t

KEY = re.compile(r"ed25519:[0-9a-f]{64}")
NAMES = ("gw-a", "gw-b", "gw-c")  # nobody has gw-c in its list


class Network:
    def __init__(self, folder):
        os.chdir(folder)
        self.engine = t.Engine()
        self.public = {name: t.free_port() for name in NAMES}
        self.admin = {name: t.free_port() for name in NAMES}
        self.keys = {name: KEY.search(self.run("key", "gateway", "--name", name, "-o", name + ".key"))[0]
                     for name in NAMES}
        self.processes = {}
        for name in NAMES:
            t.write(name + ".yaml", self.config(name))

    def run(self, *args):
        return subprocess.run([t.PROGRAM, *args], capture_output=True, text=True, timeout=t.GUARD_S,
                              check=True).stdout

    def config(self, name):
        others = ["{name: %s, key: \"%s\", url: \"http://127.0.0.1:%d\"}" % (n, self.keys[n], self.public[n])
                  for n in NAMES[:2] if n != name]
        return """listen: {public: "127.0.0.1:%d", admin: "127.0.0.1:%d"}
name: %s
key: file:%s.key
state: .
bus: {http: true}
gateways: [%s]
engines: [{name: n0, url: "%s", kind: vllm}]
""" % (self.public[name], self.admin[name], name, name, ", ".join(others), self.engine.url)

    def start(self, name):
        with open(name + ".log", "ab") as out:
            self.processes[name] = subprocess.Popen([t.PROGRAM, "gateway", "-f", name + ".yaml"], stdout=out,
                                                    stderr=out)
        t.wait_ready(self.admin[name])

    def ask(self, name, path):
        return json.loads(t.get(self.admin[name], path)[1])

    def gateways(self, name):
        return self.ask(name, "/network/v1/bus")["gateways"]

    def told(self, name):
        """Requests a second that others were heard to be asked for."""
        return sum(r["told_requests_s"] or 0.0 for m in self.ask(name, "/network/v1/demand")["models"]
                   for r in m["regions"])

    def end(self):
        for p in self.processes.values():
            p.kill()
            p.wait()


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def main():
    with tempfile.TemporaryDirectory() as folder:
        n = Network(folder)
        try:
            n.start("gw-a")
            n.start("gw-b")
            t.check(t.wait_for(lambda: n.gateways("gw-a") == n.gateways("gw-b") == 2, "the other one"),
                    "two gateways hear each other", text_of("gw-a.log"), text_of("gw-b.log"))
            told = n.run("status", "--admin", "http://127.0.0.1:%d" % n.admin["gw-a"])
            t.check("gateways beside this one: gw-b" in told, "which the status says", told)
            done = subprocess.run([t.PROGRAM, "nodes", "--admin", "http://127.0.0.1:%d" % n.public["gw-a"]],
                                  capture_output=True, text=True, timeout=t.GUARD_S, check=False)
            t.check(done.returncode == 1 and "a gateway's admin side?" in done.stderr, "the public side has no status",
                    done.stderr)
            t.check("gateway gw-b hears us" in text_of("gw-a.log"), "and the log", text_of("gw-a.log"))
            for _ in range(5):
                t.get(n.public["gw-a"], "/v1/chat/completions", "POST", json.dumps(t.chat(False)),
                      {"content-type": "application/json"})
            t.check(t.wait_for(lambda: n.told("gw-b") > 0.0, "demand"), "one hears what the other is asked for")
            n.start("gw-c")
            t.check(t.wait_for(lambda: "does not hear us: unproven: the listener's configuration names no such gateway"
                               in text_of("gw-c.log"), "a refusal"),
                    "who is named by nobody is refused, and told", text_of("gw-c.log"))
            t.check("gateway gw-c: what it says is refused" in text_of("gw-a.log"), "on both sides",
                    text_of("gw-a.log"))
            t.check(n.gateways("gw-a") == 2, "and is not counted")
            n.processes["gw-b"].kill()
            n.processes["gw-b"].wait()
            t.check(t.wait_for(lambda: n.gateways("gw-a") == 1, "silence"), "one that was killed is missed")
            n.start("gw-b")
            t.check(t.wait_for(lambda: n.gateways("gw-a") == n.gateways("gw-b") == 2, "the other one"),
                    "and heard again when it is back", text_of("gw-a.log"))
        finally:
            n.end()
            os.chdir("/")
    t.finish()


if __name__ == "__main__":
    main()
