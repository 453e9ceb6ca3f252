"""layout - the network of `make network`: three gateways in three regions, thirty nodes of four operators
in six, and a NATS server, over which alone gateways know nodes. Each operator's nodes of a region are a
site with its own namespace, and the relay makes the distances; a node is an agent before an emulated
engine, which is on the site's loopback and has no delays of its own."""
import http.client
import json
import os
import resource
import subprocess
import time

import relayed

SEED = 1
GATEWAY_REGIONS = ("us-east", "eu-west", "ap-northeast")
NEXT_GATEWAY = {"us-east": "eu-west", "eu-west": "us-east", "ap-northeast": "us-east"}  # clients'
REGIONS = 6
NODES = 30
FLEET_NODES = 44  # of which those that have nothing but the rare model are left out: it is to be cold
ENGINES = "vllm,vllm,vllm,llama-server,vllm,llama-router,vllm,sglang,vllm,vllm"  # over and over
OPERATORS = ("acme", "bolt", "cirrus", "delta")
RARE_MODEL = "llama-3.1-70b"
RARE_ID = "meta-llama/Llama-3.1-70B-Instruct"
BASE = "10.77.0."  # agent i of the fleet is BASE and i + 1; gateways are 10.77.1., NATS 10.77.2.1
ENGINE_BASE = "127.1.0."  # and its engine this
ENGINE_PORT, PUBLIC_PORT, ADMIN_PORT, NATS_PORT = 9000, 4141, 4142, 4222
NODE_PORT, NODE_ADMIN_PORT = 4143, 4200  # the latter and i, for a site has several
JITTER_MS = 0.3
# What routers of llama-server have in memory the planner decides: so much fits, and models are so large.
ROUTER = "llama-server router"
STEERING_REGION = "ap-northeast"
ROUTER_MEMORY = "280GiB"
ROUTER_MODELS = {"llama-3.1-8b-instruct": "16GiB", "qwen3-32b": "64GiB", "llama-3.1-70b-instruct": "140GiB"}
READY_S = 60.0
NATS_PATHS = ("/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server")


def nats_server():
    return next((p for p in NATS_PATHS if os.access(p, os.X_OK)), None)


def refused():
    """Why there can be no such network on this machine; None: there can."""
    return relayed.refused() or (None if nats_server() else "there is no nats-server")


class Failure(Exception):
    """What stops the whole run, in words."""


class Node:
    def __init__(self, told, index, operator):
        self.name, self.index, self.operator = told["name"], index, operator
        self.region, self.gpu, self.models = told["region"], told["gpu"], told["models"]
        self.is_router = told["kind"] == ROUTER
        self.site = "%s-%s" % (self.region, operator)
        self.address, self.engine_address = BASE + str(index + 1), ENGINE_BASE + str(index + 1)


def choose_nodes(fleet):
    """The first thirty that have more than the rare model; two operators share a region."""
    kept = [(i, n) for i, n in enumerate(fleet) if n["models"] != [RARE_ID]][:NODES]
    regions = sorted({n["region"] for _, n in kept})
    seen = dict.fromkeys(regions, 0)
    nodes = []
    for i, told in kept:
        turn = seen[told["region"]]
        seen[told["region"]] += 1
        nodes.append(Node(told, i, OPERATORS[(regions.index(told["region"]) + turn % 2)
                                             % len(OPERATORS)]))
    if len(nodes) != NODES or len(regions) != REGIONS:
        raise Failure("the fleet of seed %d has %d such nodes in %d regions"
                      % (SEED, len(nodes), len(regions)))
    return nodes


class Network:
    """Started by start(); close() ends all of it."""

    def __init__(self, isochrone, relay, folder):
        self.isochrone, self.relay_program, self.folder = isochrone, relay, folder
        self.processes = []  # (what, process)
        self.relay = self.nats_site = None
        self.operator_keys, self.gateway_keys = {}, {}
        self.nodes, self.gateways = [], {}  # gateways: region -> site
        resource.setrlimit(resource.RLIMIT_NOFILE,
                           (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

    # ---- Starting.

    def fleet_options(self):
        options = ["--seed", str(SEED), "--nodes", str(FLEET_NODES), "--regions", str(REGIONS),
                   "--background", "0", "--engines", ENGINES, "--base", ENGINE_BASE + "1",
                   "--listen-port", str(ENGINE_PORT)]
        for i, region in enumerate(GATEWAY_REGIONS):  # agents call from elsewhere: no delay of its own
            options += ["--gateway", "%s=127.0.0.%d" % (region, 11 + i)]
        return options

    def run(self, *words):
        done = subprocess.run([self.isochrone, *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure("isochrone %s: %s" % (words[0], done.stderr.strip()))
        return done.stdout

    def emulate(self, *options):
        return self.run("emulate", *self.fleet_options(), *options)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, *lines):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return self.path(name)

    def begin(self, site, what, *command):
        with open(self.path(what + ".out"), "w", encoding="utf-8") as out, \
                open(self.path(what + ".err"), "w", encoding="utf-8") as err:
            process = site.popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        self.processes.append((what, process))
        return process

    def start(self):
        self.relay = relayed.Relay(self.relay_program, "--seed", str(SEED))
        self.nodes = choose_nodes(json.loads(self.emulate("--print-fleet"))["nodes"])
        self.nats_site = self.relay.site("bus", "eu-west", "10.77.2.1")
        for i, region in enumerate(GATEWAY_REGIONS):
            self.gateways[region] = self.relay.site("gateway-" + region, region,
                                                    "10.77.1.%d" % (i + 1))
        for name in sorted({n.site for n in self.nodes}):
            here = [n for n in self.nodes if n.site == name]
            site = self.relay.site(name, here[0].region, *[n.address for n in here])
            self.begin(site, "emulate-" + name, self.isochrone, "emulate", *self.fleet_options())
        self.relay.tell("jitter", "*", "*", JITTER_MS)
        self.make_keys()
        self.start_nats()
        for node in self.nodes:
            self.start_node(node)
        self.start_gateways()
        self.wait_ready()

    def make_keys(self):
        """Who is who: operators, who sign for their nodes, and everybody's name on the bus."""
        users = []
        for operator in OPERATORS:
            self.operator_keys[operator] = self.run(
                "key", "operator", "--force", "--name", operator, "-o",
                self.path("operator-%s.key" % operator)).split()[0]
        for n in self.nodes:
            key = self.path(n.name + ".key")
            self.run("key", "node", "--force", "--name", n.name, "-o", key)
            self.run("key", "sign", "--operator", self.path("operator-%s.key" % n.operator), "--node",
                     self.path(n.name + ".pub"), "--label", "region=" + n.region, "--label",
                     "site=" + n.site, "--label", "gpu=" + n.gpu, "--url",
                     "http://%s:%d" % (n.address, NODE_PORT), "--expires", "1d", "-o",
                     self.path(n.name + ".identity"))
            users.append("node %s %s" % (n.name, self.bus_key(n.name)))
        for region in GATEWAY_REGIONS:
            users.append("gateway gw-%s %s" % (region, self.bus_key("gw-" + region)))
            self.gateway_keys[region] = self.run("key", "gateway", "--force", "--name", "gw-" + region,
                                                 "-o", self.path("gw-%s.key" % region)).split()[0]
        self.write("users", *users)

    def bus_key(self, name):
        path = self.path(name + ".nkey")
        if os.path.exists(path):
            os.unlink(path)  # of an earlier run
        return self.run("bus", "key", path).split()[0]

    def start_nats(self):
        config = self.run("bus", "config", self.path("users"), "--listen",
                          "%s:%d" % (self.nats_site.address, NATS_PORT))
        self.begin(self.nats_site, "nats", nats_server(), "-c", self.write("nats.conf", config))

    def kill_nats(self):
        self.kill("nats")

    def kill(self, what):
        process = next(p for w, p in self.processes if w == what)
        process.kill()
        process.wait()
        self.processes.remove((what, process))

    def bus_line(self, name):
        return "bus: {nats: \"nats://%s:%d\", nkey: \"file:%s.nkey\"}" % (
            self.nats_site.address, NATS_PORT, name)

    def steering_lines(self, n):
        """Whom it obeys; what fits, where there is a choice."""
        lines = ["gateways:"]
        lines += ["  - {name: gw-%s, key: \"%s\", may: [infer%s]}" % (
            region, key, ", load, drain" if region == STEERING_REGION else "")
                  for region, key in self.gateway_keys.items()]
        if n.is_router:
            lines += ["memory: " + ROUTER_MEMORY, "models:"]
            lines += ["  %s: {bytes: %s}" % item for item in ROUTER_MODELS.items()]
        return lines

    def start_node(self, n):
        path = self.write(n.name + ".yaml", "key: \"file:%s.key\"" % n.name,
                          "identity: \"file:%s.identity\"" % n.name, "region: " + n.region,
                          "state: .", "auth: none", self.bus_line(n.name),
                          "listen: {public: \"%s:%d\", admin: \"127.0.0.1:%d\"}" % (
                              n.address, NODE_PORT, NODE_ADMIN_PORT + n.index),
                          "engines: [{url: \"http://%s:%d\", gpu: \"%s\"}]" % (
                              n.engine_address, ENGINE_PORT, n.gpu), *self.steering_lines(n))
        self.begin(self.relay.sites[n.site], "node-" + n.name, self.isochrone, "node", "-f", path)

    def start_gateways(self):
        self.emulate("--write-configs", self.folder)  # for the names of the models
        for region, site in self.gateways.items():
            name = "gateway-%s.yaml" % region
            with open(self.path(name), encoding="utf-8") as file:
                models = file.read().partition("models:\n")[2].partition("engines:\n")[0]
            self.write(name, "# A gateway of make network: all it knows of nodes comes over the bus.",
                       "listen: {public: \"%s:%d\", admin: \"127.0.0.1:%d\"}" % (
                           site.address, PUBLIC_PORT, ADMIN_PORT), "auth: none",
                       "region: " + region, "name: gw-" + region,
                       "key: \"file:gw-%s.key\"" % region, self.bus_line("gw-" + region),
                       "operators: {trust: [%s]}" % ", ".join(
                           '"%s"' % key for key in self.operator_keys.values()),
                       "models:", models.rstrip("\n"))
            self.start_gateway(region)

    def start_gateway(self, region):
        what = "gateway-" + region
        self.begin(self.gateways[region], what, self.isochrone, "gateway", "-f",
                   self.path(what + ".yaml"))

    def kill_gateway(self, region):
        self.kill("gateway-" + region)

    def alive(self):
        for what, process in self.processes:
            if process.poll() is not None:
                with open(self.path(what + ".err"), encoding="utf-8") as file:
                    last = (file.read().strip().split("\n") or [""])[-1]
                raise Failure("%s ended with %d: %s" % (what, process.returncode, last))

    def wait_ready(self):
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            self.alive()
            if all(self.ready_nodes(region) == NODES for region in self.gateways):
                return
            time.sleep(0.5)
        raise Failure("after %d s the gateways see %s of %d nodes" % (
            READY_S, [self.ready_nodes(region) for region in self.gateways], NODES))

    def ready_nodes(self, region):
        try:
            return sum(n["state"] == "ready" and n["models_ready"] > 0
                       for n in self.ask(region, "nodes")["nodes"])
        except OSError:
            return 0

    # ---- Asking.

    def sites_of(self, operator):
        return sorted({n.site for n in self.nodes if n.operator == operator})

    def node(self, name):
        return next((n for n in self.nodes if n.name == name), None)

    def http(self, site, address, method, path, body=None):
        c = http.client.HTTPConnection("%s:%d" % address)
        c.sock = site.connect(address, 10.0)
        try:
            c.request(method, path, body=body, headers={"content-type": "application/json"})
            reply = c.getresponse()
            return reply.status, json.loads(reply.read() or b"null")
        finally:
            c.close()

    def ask(self, region, view):
        """What this region's gateway tells: capacity, readiness, demand, nodes, plan or bus."""
        status, told = self.http(self.gateways[region], ("127.0.0.1", ADMIN_PORT), "GET",
                                 "/network/v1/%s" % view + ("?limit=1000" if view == "nodes" else ""))
        if status != 200:
            raise Failure("%s of %s: %s" % (view, region, told))
        return told

    def has_ready(self, region, name, model):
        """Does this region's gateway say that the node has the model ready?"""
        status, told = self.http(self.gateways[region], ("127.0.0.1", ADMIN_PORT), "GET",
                                 "/network/v1/nodes/" + name)
        return status == 200 and any(m["model"] == model and m["state"] == "ready"
                                     for m in told["models"])

    def fault(self, node, **what):
        """Have an emulated engine go wrong, or none: see isochrone emulate --help."""
        status, told = self.http(self.relay.sites[node.site], (node.engine_address, ENGINE_PORT), "POST",
                                 "/emulate/nodes/%d/fault" % node.index, json.dumps(what))
        if status != 200:
            raise Failure("fault of %s: %s" % (node.name, told))

    def close(self):
        for _, process in reversed(self.processes):
            process.terminate()
        for what, process in self.processes:
            try:
                process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                process.terminate()  # a gateway then drops what is open
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    print("%s does not end" % what)
                    process.kill()
        if self.relay is not None:
            self.relay.close()
