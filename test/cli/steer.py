#!/usr/bin/env python3
"""steer - gateways that steer nodes, as people run them: NATS, agents beside emulated engines, two
gateways that they obey and one that they do not; by hand, by plan, and when a gateway dies.

usage: steer.py PATH_OF_ISOCHRONE"""
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time

import life_tools as t

OLLAMA = "llama3.1:8b"


class World:
    """Processes by name; their ports; everything ends with it."""

    def __init__(self, folder):
        self.folder, self.processes, self.ports = folder, {}, {}
        self.nats = t.free_port()

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, name, *args):
        self.processes[name] = subprocess.Popen(
            list(args), cwd=self.folder, stdout=subprocess.DEVNULL,
            stderr=open(self.path(name + ".log"), "w", encoding="utf-8"))

    def log(self, name):
        with open(self.path(name + ".log"), encoding="utf-8") as file:
            return file.read()

    def end(self, name, kill=True):
        process = self.processes.pop(name)
        (process.kill if kill else process.terminate)()
        process.wait(t.GUARD_S)

    def end_all(self):
        for name in list(self.processes):
            self.end(name)

    def key(self, kind, name):
        done = run(None, "key", kind, "--name", name, "-o", self.path(name + ".key"))
        return done.stdout.split()[0]

    def gateway(self, name, bus=None):
        self.ports[name] = (t.free_port(), t.free_port())
        os.mkdir(self.path(name + ".state"))
        t.write(self.path(name + ".yaml"),
                "name: %s\nkey: file:%s.key\nstate: %s.state\n"
                "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\n"
                "bus: {%s}\n" % (name, name, name, *self.ports[name],
                                  bus or "nats: \"nats://127.0.0.1:%d\"" % self.nats))
        self.start(name, t.PROGRAM, "gateway", "-f", name + ".yaml")

    def node(self, name, engine, gateways, more="", over_http=False, slots=""):
        """gateways: names, keys and, over HTTP, where they listen."""
        self.key("node", name)
        t.write(self.path(name + ".yaml"),
                "key: file:%s.key\nstate: .\nauth: none\n"
                "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\n"
                "%sengines: [{url: \"%s\"%s}]\ngateways:\n%s%s"
                % (name, t.free_port(), t.free_port(),
                   "" if over_http else "bus: {nats: \"nats://127.0.0.1:%d\"}\n" % self.nats, engine, slots,
                   "".join("  - {name: %s, key: \"%s\", may: [infer, load, drain]%s}\n"
                           % (g[0], g[1], "".join(", url: \"%s\"" % url for url in g[2:]))
                           for g in gateways), more))
        self.start(name, t.PROGRAM, "node", "-f", name + ".yaml")

    def admin(self, gateway):
        return "http://127.0.0.1:%d" % self.ports[gateway][1]

    def get(self, gateway, path, side=1, body=None):
        """Status and JSON; (0, {}) where nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[gateway][side],
                                                timeout=t.GUARD_S)
        try:
            connection.request("POST" if body is not None else "GET", path,
                               json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except OSError:
            return 0, {}
        finally:
            connection.close()

    def steering(self, gateway, node):
        return self.get(gateway, "/network/v1/nodes/" + node)[1].get("steering", "")


def run(admin, *args):
    return subprocess.run([t.PROGRAM, *args] + (["--admin", admin] if admin else []),
                          capture_output=True, text=True, timeout=3 * t.GUARD_S, check=False)


def says(done, *words):
    return all(word in done.stdout + done.stderr for word in words)


def engine(world, name, *options):
    """Emulated engines: their URLs by node number."""
    port = t.free_port()
    world.start(name, t.PROGRAM, "emulate", "--nodes", "6", "--regions", "1", "--background", "0",
                "--listen-port", str(port), *options)
    return ["http://127.1.0.%d:%d" % (i + 1, port) for i in range(6)]


def test_nothing(world):
    done = run(world.admin("gw1"), "plan")
    t.check(done.returncode == 0 and says(done, "no node is steered", "no node agents are there"),
            "without nodes plan says why there is nothing", done.stdout, done.stderr)
    done = run(world.admin("gw1"), "load", OLLAMA, "--node", "o1")
    t.check(done.returncode == 1 and says(done, "no node of this name"), "nobody can be asked",
            done.stderr)


def test_who(world):
    """One of the two, and both know which."""
    def agreed():
        words = [world.steering(g, "o1") for g in ("gw1", "gw2")]
        return sorted(words) in (["by gateway gw1", "by this gateway"],
                                 ["by gateway gw2", "by this gateway"])
    t.check(t.wait_for(agreed, "one gateway that steers"), "one of two gateways steers the node",
            world.steering("gw1", "o1"), world.steering("gw2", "o1"))
    t.check("does not let this gateway load" in world.steering("gw3", "o1"),
            "the third one knows why it does not", world.steering("gw3", "o1"))
    t.check(t.wait_for(lambda: "how large `m" in world.steering("gw1", "v3"), "words"),
            "a node that does not say how large its model is is not steered",
            world.steering("gw1", "v3"))
    t.check(t.wait_for(lambda: "how much memory" in world.steering("gw1", "o2"), "words"),
            "nor is one that does not say how much memory it has", world.steering("gw1", "o2"))


def test_by_hand(world):
    admin = world.admin("gw1")
    done = run(admin, "pin", OLLAMA, "--node", "o1")
    t.check(done.returncode == 0 and says(done, "pinned on o1"), "a model is pinned", done.stderr)
    done = run(admin, "nodes", "o1")
    t.check(says(done, "ready, pinned"), "and shown so", done.stdout)
    done = run(admin, "unload", OLLAMA, "--node", "o1")
    t.check(done.returncode == 1 and says(done, "refused", "the model is pinned: unpin it first"),
            "and not unloaded then, in the node's words", done.stdout, done.stderr)
    done = run(admin, "unpin", OLLAMA, "--node", "o1")
    t.check(done.returncode == 0, "until it is let go", done.stderr)
    done = run(admin, "unload", OLLAMA, "--node", "o1")
    t.check(done.returncode == 0 and says(done, "unloaded"), "it is unloaded", done.stderr)
    done = run(world.admin("gw2"), "load", OLLAMA, "--node", "o1")
    t.check(done.returncode == 0 and says(done, "ready on o1", "loading"),
            "and loaded by the other gateway, with what is on its way", done.stdout, done.stderr)
    done = run(admin, "load", OLLAMA, "--node", "o1", "--json")
    shown = json.loads(done.stdout)
    t.check(done.returncode == 0 and shown["state"] == "done" and shown["model_state"] == "ready",
            "what is so already is done; as JSON", done.stdout)
    models = world.get("gw1", "/network/v1/nodes/o1")[1]["models"]
    t.check([(m["slots"], m["requests"]) for m in models if m["model"] == OLLAMA] == [(4, 0)],
            "an Ollama's slots are of each model", models)
    models = world.get("gw1", "/network/v1/nodes/o2")[1]["models"]
    t.check([m["slots"] for m in models if m["model"] == OLLAMA] == [1] and
            "unless `slots` says" in world.log("o2") and "unless `slots` says" not in world.log("o1"),
            "of one whose slots nobody said, one, and the log has it", models)
    done = run(admin, "nodes", "o1")
    t.check(done.returncode == 0 and says(done, "HERE", "SLOTS"), "and shown", done.stdout)
    done = run(admin, "load", "nobodys:1b", "--node", "o1")
    t.check(done.returncode == 1 and says(done, "failed", "not found"),
            "what the engine does not have fails in the engine's words", done.stderr)
    done = run(admin, "unload", "llama3.1:8d", "--node", "o1")
    t.check(done.returncode == 1 and says(done, "did you mean `%s`?" % OLLAMA), "a mistyped model gets the nearest",
            done.stderr)
    done = run(admin, "load", OLLAMA)
    t.check(done.returncode == 2 and says(done, "which node? --node NAME"), "of which node is asked", done.stderr)
    done = run(admin, "wake", "--node", "o1")
    t.check(done.returncode == 1 and says(done, "refused", "Ollama"), "what it cannot is said",
            done.stderr)
    done = run(admin, "drain", "--node", "o2")
    state = world.get("gw1", "/network/v1/nodes/o2")[1].get("state")
    t.check(done.returncode == 0 and state == "drain", "a drain is followed until it is reported",
            done.stderr, state)
    t.check(run(admin, "ready", "--node", "o2").returncode == 0, "and its end")
    done = run(admin, "plan")
    t.check(says(done, "nobodys:1b", "asked", "o1: load nobodys:1b: ", "not found"), "plan shows all of it", done.stdout)
    os.environ["COLUMNS"] = "80"
    done = run(admin, "plan")
    t.check(says(done, "o1: unload %s: the model is pinned: unpin it first\n" % OLLAMA),
            "what was said is whole in a narrow window, too", done.stdout)
    del os.environ["COLUMNS"]
    t.check(run(admin, "load", "--node", "o1").returncode == 2 and
            run(admin, "load", OLLAMA, "--node", "O 1").returncode == 2 and
            run(admin, "drain", "x", "--node", "o1").returncode == 2, "wrong use is told")


def test_rival(world, url):
    """Two nodes with one name hear what is asked of it; without users a NATS server lets both answer."""
    run(None, "key", "node", "--name", "o1", "-o", world.path("rival.key"))
    t.write(world.path("rival.yaml"),
            "key: file:rival.key\nauth: none\nlisten: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\n"
            "bus: {nats: \"nats://127.0.0.1:%d\"}\nengines: [{url: \"%s\"}]\n"
            % (t.free_port(), t.free_port(), world.nats, url))
    world.start("rival", t.PROGRAM, "node", "-f", "rival.yaml")
    t.check(t.wait_for(lambda: says(run(world.admin("gw1"), "nodes", "o1"), "another node says that it has this name"),
                       "the other"), "the other one is refused, and shown")
    seen = []

    def answered():
        seen.append(run(world.admin("gw1"), "unpin", OLLAMA, "--node", "o1"))
        return says(seen[-1], "it may have been done", "another node that says it has this name")
    t.check(t.wait_for(answered, "its answer") and not any(says(done, "another life") for done in seen),
            "what it answers in the name of the first is not taken", [done.stderr for done in seen])
    world.end("rival")


def test_refused(world):
    done = run(world.admin("gw3"), "load", OLLAMA, "--node", "o1")
    t.check(done.returncode == 1 and says(done, "does not name that gateway's key"),
            "a gateway that the node does not know is refused in words", done.stderr)
    status, answer = world.get("gw1", "/network/v1/nodes/o1/explode", body={})
    t.check(status == 404 and "load, unload" in answer["error"]["message"], "no such action", answer)
    status, answer = world.get("gw1", "/network/v1/nodes/o1/load", body={"model": 3})
    t.check(status == 400, "a model that is no name", answer)
    status, answer = world.get("gw1", "/network/v1/nodes/o1/load", body={})
    t.check(status == 400 and "which model" in answer["error"]["message"], "no model", answer)
    t.check(world.get("gw1", "/network/v1/directives/999")[0] == 404, "no such directive")


def test_plan(world):
    """A model that no node has awake, and that somebody asks for: one node gets it, by plan."""
    for node in ("v1", "v2"):
        done = run(world.admin("gw1"), "sleep", "--node", node)
        t.check(done.returncode == 0 and says(done, "asleep"), "%s sleeps" % node, done.stderr)
    model = world.get("gw1", "/network/v1/nodes/v1")[1]["models"][0]["model"]
    t.check(t.wait_for(lambda: "by this gateway" in (world.steering("gw1", "v1"),
                                                     world.steering("gw2", "v1")), "steered"),
            "who sleeps can be steered")

    def answered():
        time.sleep(0.3)
        return world.get("gw1", "/v1/chat/completions", 0,
                         {"model": model, "max_tokens": 2,
                          "messages": [{"role": "user", "content": "hello"}]})[0] == 200
    t.check(t.wait_for(answered, "an answer"), "who asks for it is answered after a while")
    done = [d for g in ("gw1", "gw2") for d in world.get(g, "/network/v1/plan")[1]["directives"]
            if d["by"] == "plan" and d["action"] == "load"]
    t.check(len(done) == 1 and done[0]["model"] == model and done[0]["reason"] in
            ("ready_nowhere", "spilled"), "because plan had it woken, on one node", done)
    t.check(t.wait_for(lambda: [d for g in ("gw1", "gw2") for d in
                                world.get(g, "/network/v1/plan")[1]["directives"]
                                if d["by"] == "plan" and d["state"] == "done" and d["took_ms"] > 0],
                       "its end"), "and that it was done is told, and how long it took")

    def states():
        return sorted(world.get("gw1", "/network/v1/nodes/" + n)[1]["models"][0]["state"]
                      for n in ("v1", "v2"))
    t.check(t.wait_for(lambda: states() == ["dormant", "ready"], "one ready"),
            "the other one sleeps on", states())


def test_hidden_sleep(world):
    """SGLang does not tell that it sleeps: its agent remembers; and one that only says yes is found out."""
    admin = world.admin("gw1")

    def state(node):
        return world.get("gw1", "/network/v1/nodes/" + node)[1]["models"][0]["state"]
    done = run(admin, "sleep", "--node", "s1")
    t.check(done.returncode == 0 and t.wait_for(lambda: state("s1") == "dormant", "dormant"),
            "who does not tell that it sleeps is known to", done.stderr, state("s1"))
    done = run(admin, "wake", "--node", "s1")
    t.check(done.returncode == 0 and t.wait_for(lambda: state("s1") == "ready", "ready"), "and wakes",
            done.stderr, state("s1"))
    done = run(admin, "sleep", "--node", "s2")
    t.check(done.returncode == 1 and says(done, "would say yes and keep its memory") and
            state("s2") == "ready", "who would only say yes is not asked", done.stdout, done.stderr)


def test_takeover(world):
    steers = "gw1" if world.steering("gw1", "v2") == "by this gateway" else "gw2"
    other = "gw2" if steers == "gw1" else "gw1"
    t.check(world.steering(other, "o1") != "", "a gateway looks on")
    world.end(steers)
    t.check(t.wait_for(lambda: world.steering(other, "o1") == "by this gateway", "another one"),
            "the gateway that steers dies: the other one does", world.steering(other, "o1"))
    world.end("o1", kill=False)
    t.check(t.wait_for(lambda: world.get(other, "/network/v1/nodes/o1")[0] == 404, "it left"),
            "a node leaves")
    done = run(world.admin(other), "load", OLLAMA, "--node", "o1")
    t.check(done.returncode == 1 and says(done, "this node left"), "and is not asked any more",
            done.stderr)


def test_http(world, engine_url):
    """No bus: the node posts what it says, the gateway asks it at its URL."""
    key = world.key("gateway", "gw4")
    world.gateway("gw4", "http: true")
    url = "http://127.0.0.1:%d" % world.ports["gw4"][0]
    world.node("h1", engine_url, [("gw4", key, url)], "memory: 100GiB\n", over_http=True)
    t.check(t.wait_for(lambda: world.steering("gw4", "h1") == "by this gateway", "steered"),
            "a node without a bus is steered", world.steering("gw4", "h1"))
    done = run(world.admin("gw4"), "unload", OLLAMA, "--node", "h1")
    t.check(done.returncode == 0 and says(done, "unloaded on h1"), "and asked at its URL",
            done.stdout, done.stderr)
    world.end("h1")
    done = run(world.admin("gw4"), "load", OLLAMA, "--node", "h1")
    t.check(done.returncode == 1 and says(done, "is not reached: it takes no connections"),
            "one that crashed is not reached", done.stderr)


def main():
    if shutil.which("nats-server") is None:
        t.skip("steering over a bus", "there is no nats-server")
        t.finish()
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        try:
            world.start("nats", "nats-server", "-a", "127.0.0.1", "-p", str(world.nats))
            keys = {name: world.key("gateway", name) for name in ("gw1", "gw2", "gw3")}
            for name in keys:
                world.gateway(name)
            obeyed = [(name, keys[name]) for name in ("gw1", "gw2")]
            t.wait_for(lambda: world.get("gw1", "/network/v1/bus")[1].get("bus", {}).get("connected"),
                       "the bus")
            test_nothing(world)
            ollamas = engine(world, "ollamas", "--engines", "ollama", "--models-max", "2")
            vllms = engine(world, "vllms", "--engines", "vllm", "--dev-mode")
            size = "memory: 100GiB\nmodels: {\"meta-llama/Llama-3.1-8B-Instruct\": {bytes: 15GiB}}\n"
            world.node("o1", ollamas[0], obeyed, "memory: 100GiB\n", slots=", slots: 4")
            world.node("o2", ollamas[1], obeyed)
            world.node("v1", vllms[0], obeyed, size)
            world.node("v2", vllms[3], obeyed, size)
            world.node("v3", vllms[2], obeyed, "memory: 200GiB\n")
            t.check(t.wait_for(lambda: all(
                world.get(g, "/network/v1/nodes/" + n)[1].get("models")
                for g in keys for n in ("o1", "o2", "v1", "v2", "v3")), "nodes"),
                    "agents come to all gateways")
            test_refused(world)
            test_by_hand(world)
            test_rival(world, ollamas[0])
            run(world.admin("gw1"), "sleep", "--node", "v3")
            test_who(world)
            test_plan(world)
            world.node("s1", engine(world, "sglangs", "--engines", "sglang", "--dev-mode")[0], obeyed)
            world.node("s2", engine(world, "plain", "--engines", "sglang")[0], obeyed)
            t.check(t.wait_for(lambda: all(
                world.get("gw1", "/network/v1/nodes/" + n)[1].get("models") for n in ("s1", "s2")),
                               "two more"), "two more come")
            test_hidden_sleep(world)
            test_takeover(world)
            test_http(world, ollamas[2])
        finally:
            world.end_all()
    t.finish()


main()
