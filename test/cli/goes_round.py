#!/usr/bin/env python3
"""goes_round - engines whose URL leads back to a gateway: to itself, to two of each other, through a node agent. A
request that comes back ends there and is tried elsewhere; where there is nothing else, it ends in words.

usage: goes_round.py PATH_OF_ISOCHRONE"""
import json
import os
import re
import subprocess
import tempfile

import life_tools as t

REQUESTS = 40
PORTS = {name: (t.free_port(), t.free_port()) for name in ("a", "b", "agent")}


def url(name):
    return "http://127.0.0.1:%d" % PORTS[name][0]


def write(folder, name, engines, more=""):
    path = os.path.join(folder, name + ".yaml")
    t.write(path, "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\nengines: [%s]\n%s" % (
        *PORTS[name], ", ".join('{name: e%d, url: "%s", kind: openai}' % e for e in enumerate(engines)), more))
    return path


def ask(name):
    return t.get(PORTS[name][0], "/v1/chat/completions", "POST", json.dumps(t.chat(False)))


def went_round(name):
    """How many requests a gateway refused with 508, which is the only rare status here."""
    found = re.findall(r'isochrone_requests_total\{[^}]*code="other"\} (\d+)', t.get(PORTS[name][1], "/metrics")[1])
    return sum(map(int, found))


def check(gateway, name, engine, label):
    before = len(engine.bodies)
    answers = [ask(name) for _ in range(REQUESTS)]
    t.check(all(status == 200 for status, _ in answers), "%s: all are answered" % label,
            [a for a in answers if a[0] != 200][:3], gateway.text()[-1000:])
    t.check(len(engine.bodies) - before <= 2 * REQUESTS, "by one engine, and none many times")
    t.check(t.wait_for(lambda: "isochrone_requests_in_flight 0" in t.get(PORTS[name][1], "/metrics")[1], "the end of all"),
            "nothing goes on")


def main():
    with tempfile.TemporaryDirectory() as folder:
        engine = t.Engine()
        a = t.Gateway(write(folder, "a", [url("a"), engine.url]), os.path.join(folder, "a.log"))
        t.check(t.wait_ready(PORTS["a"][1], 2), "a gateway that is its own engine", a.text())
        check(a, "a", engine, "itself")
        t.check(went_round("a") > 0, "it was asked, and refused", t.get(PORTS["a"][1], "/metrics")[1][:3000])
        key = os.path.join(folder, "agent.key")
        subprocess.run([t.PROGRAM, "key", "node", "--name", "agent", "-o", key], check=True, capture_output=True)
        with open(os.path.join(folder, "agent.log"), "ab") as log:
            agent = subprocess.Popen([t.PROGRAM, "node", "-f", write(
                folder, "agent", [url("a")], "key: \"file:%s\"\nauth: none\n" % key)], stderr=log)
        b = t.Gateway(write(folder, "b", [url("a"), engine.url]), os.path.join(folder, "b.log"))
        t.check(t.wait_ready(PORTS["b"][1], 2), "another one, which asks the first", b.text())
        write(folder, "a", [url("b"), url("agent")])
        a.stop()
        before = len(engine.bodies)
        a = t.Gateway(os.path.join(folder, "a.yaml"), os.path.join(folder, "a.log"))
        t.check(t.wait_ready(PORTS["a"][1], 2), "and is asked by it, and by itself through an agent", a.text())
        check(a, "a", engine, "by way of another")
        t.check(len(engine.bodies) > before, "which has the engine")
        b.stop()
        status, text = ask("a")
        t.check(status >= 400 and json.loads(text)["error"]["message"] != "", "without it there is an error", status, text)
        agent.terminate()
        agent.wait(t.GUARD_S)
        t.check(a.stop() == "status 0", "the end", a.text()[-1000:])
    t.finish()


main()
