#!/usr/bin/env python3
"""e06_live - E6 on real sockets: many models, nodes with memory for few of them, bursts. Emulated engines (Ollama and
llama-server's router), an agent beside each, a NATS server, two gateways; once with gateways that plan and steer,
once with gateways that may not: then engines load what they are asked for, in place of what was idle longest.
The same requests for both. Ends with 0 also on a machine that was too busy: then it says that the run is void.

usage: e06_live.py PATH_OF_ISOCHRONE PATH_OF_LOADGEN FOLDER [--models N] [--rate R] [--seconds S] [--seed N]
                    [--only ARM]

All that is started runs on loopback and ends with it. What programs wrote is in FOLDER. Parameters:"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

NODES, IN_MEMORY = 10, 4  # 40 places; all models but two are asked for; a node has at most 24 on its disk
KINDS = "ollama,llama-router"
SLOTS = {"ollama": ", slots: 4"}  # of each model: it does not tell (a router does), so its node's file has to
MODEL_BYTES = 8030000000  # of the 8B and its versions, the only ones that are asked for
REGION = "us-east"  # all of it is one site: distances are what loopback has
GATEWAYS = ("gw-a", "gw-b")
ZIPF = 0.9  # popularity
BURST_FACTOR, BURST_S, BURSTS_A_MINUTE = 3, 30, 4
PROMPT_MEDIAN, PROMPT_SIGMA, OUTPUT = 400, 0.6, 96  # tokens
WARMUP_S, SETTLE_S, DRAIN_S = 40, 5, 30  # the first are not counted; the last may take so long
GOAL_MS, GOAL_MS_A_TOKEN = 1000.0, 1.0  # of the first token: E6's
BUSY_MAX = 70.0  # percent of the machine: with more, times are those of the machine
ENGINE_PORT, NATS_PORT, GATEWAY_PORT, NODE_PORT = 9270, 4870, 4871, 4900
ARMS = ("plan", "on-demand")
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # of the run, and of all that it started


def nats_server():
    for path in ("/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"):
        if os.access(path, os.X_OK):
            return path
    return None


def end(number, _frame):
    raise SystemExit(128 + number)


class Arm:
    """One run: what it started, and where its files are."""

    def __init__(self, options, name):
        self.options, self.name = options, name
        self.folder = os.path.join(options.folder, name)
        self.processes = []
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for number in ENDS:  # who is impatient waits for this, too
            signal.signal(number, signal.SIG_IGN)
        for _ in range(2):  # a gateway drops what is open when it is asked again
            for p in self.processes:
                if p.poll() is None:
                    p.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        for p in self.processes:
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        for number in ENDS:
            signal.signal(number, end)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, *lines):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return self.path(name)

    def run(self, *args):
        done = subprocess.run([self.options.isochrone, *args], check=False, cwd=self.folder, text=True,
                              capture_output=True)
        if done.returncode != 0:
            raise SystemExit("%s: %s" % (args[0], done.stderr.strip()))
        return done.stdout

    def begin(self, name, *args):
        with open(self.path(name + ".out"), "w", encoding="utf-8") as out:
            self.processes.append(subprocess.Popen(args, cwd=self.folder, stdout=out, stderr=out,
                                                   stdin=subprocess.DEVNULL))

    def fleet_options(self):
        options = ["--seed", str(self.options.seed), "--nodes", str(NODES), "--regions", "1",
                   "--background", "0", "--engines", KINDS, "--models", str(self.options.models), "--models-max",
                   str(IN_MEMORY), "--listen-port", str(ENGINE_PORT)]
        return options + ["--gateway", REGION + "=127.0.0.11"]

    def bus(self):
        return "bus: {nats: \"nats://127.0.0.1:%d\"}" % NATS_PORT

    def start(self):
        self.begin("nats", nats_server(), "-a", "127.0.0.1", "-p", str(NATS_PORT))
        fleet = json.loads(self.run("emulate", *self.fleet_options(), "--print-fleet"))["nodes"]
        self.run("emulate", *self.fleet_options(), "--write-configs", self.folder)
        self.begin("emulate", self.options.isochrone, "emulate", *self.fleet_options(), "--log",
                   self.path("emulate.jsonl"))
        keys = [self.run("key", "gateway", "--name", g, "-o", g + ".key").split()[0] for g in GATEWAYS]
        for i, node in enumerate(fleet):
            self.start_node(i, node, keys)
        for i, name in enumerate(GATEWAYS):
            self.start_gateway(i, name)

    def start_node(self, i, node, keys):
        name = "n%d" % i
        self.run("key", "node", "--name", name, "-o", name + ".key")
        self.write(name + ".yaml", "key: \"file:%s.key\"" % name, "state: .", "auth: none",
                   "region: " + REGION, self.bus(),
                   "memory: %d" % (IN_MEMORY * MODEL_BYTES + MODEL_BYTES // 2),
                   "models:", *["  \"%s\": {bytes: %d}" % (m, MODEL_BYTES) for m in node["models"]
                                if "own" in m or "8b" in m],
                   "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}" % (
                       NODE_PORT + 2 * i, NODE_PORT + 2 * i + 1),
                   "gateways:", *["  - {name: %s, key: \"%s\", may: [infer, load]}" % (g, k)
                                  for g, k in zip(GATEWAYS, keys)],
                   "labels: {gpu: \"%s\"}" % node["gpu"], "engines: [{url: \"%s\"%s}]" % (
                       node["url"], SLOTS.get(node["kind"], "")))
        self.begin(name, self.options.isochrone, "node", "-f", name + ".yaml")

    def start_gateway(self, i, name):
        with open(self.path("gateway-%s.yaml" % REGION), encoding="utf-8") as file:
            models = file.read().partition("models:\n")[2].partition("engines:\n")[0]  # and their aliases
        self.write(name + ".yaml", "name: " + name, "region: " + REGION, self.bus(), "auth: none",
                   "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}" % (
                       GATEWAY_PORT + 2 * i, GATEWAY_PORT + 2 * i + 1),
                   *(["key: \"file:%s.key\"" % name] if self.name == "plan" else []),
                   "models:", models.rstrip("\n"))
        self.begin(name, self.options.isochrone, "gateway", "-f", name + ".yaml")

    def ask(self, i, path):
        url = "http://127.0.0.1:%d%s" % (GATEWAY_PORT + 2 * i + 1, path)
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def wait_ready(self):
        """Every gateway has every node with a model in memory, and hears the other one."""
        for _ in range(600):
            for p in self.processes:
                if p.poll() is not None:
                    raise SystemExit("%s: %s ended" % (self.name, " ".join(p.args[:3])))
            try:
                if all(self.ask(i, "/readyz")["ready_placements"] >= NODES and
                       self.ask(i, "/network/v1/bus")["gateways"] == len(GATEWAYS)
                       for i in range(len(GATEWAYS))):
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit("%s: not all is ready after a minute" % self.name)

    def load(self):
        names = ["llama-3.1-8b"] + ["own-%02d" % m for m in range(3, self.options.models)]
        weights = [1.0 / (i + 1) ** ZIPF for i in range(len(names))]
        seconds = WARMUP_S + self.options.seconds
        args = [self.options.loadgen, "--seed", str(self.options.seed), "--seconds", str(seconds), "--drain",
                str(DRAIN_S), "--settle", str(SETTLE_S), "--prompt-tokens", str(PROMPT_MEDIAN), "--prompt-sigma",
                str(PROMPT_SIGMA), "--max-tokens", str(OUTPUT), "--bursts", "%d:%d:%d" % (
                    BURSTS_A_MINUTE * seconds // 60, BURST_FACTOR, BURST_S),
                "--out", self.path("results.jsonl")]
        for name, weight in zip(names, weights):
            args += ["--model", "%s:%.4f" % (name, self.options.rate * weight / sum(weights))]
        for i, name in enumerate(GATEWAYS):
            args += ["--target", "%s:1=127.0.0.1:%d,127.0.0.1:%d" % (
                name, GATEWAY_PORT + 2 * i, GATEWAY_PORT + 2 * i + 1)]
        for p in self.processes:
            args += ["--pid", str(p.pid)]
        print("%s: %s" % (self.name, subprocess.run(args, check=True, text=True, cwd=self.folder,
                                                    stdout=subprocess.PIPE).stdout.strip()), flush=True)

    def directives(self):
        return [d for i in range(len(GATEWAYS)) for d in self.ask(i, "/network/v1/plan")["directives"]]

    def judge(self, directives):
        """After the end: the emulator's log is whole."""
        with open(self.path("results.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        run, results = lines[-1], [r for r in lines[:-1] if r["sent_ms"] >= 1000.0 * WARMUP_S]
        ttft = sorted(r["ttft_ms"] if r["end"] == "ok" else max(r["ttft_ms"] or 0.0, 1000.0 * DRAIN_S)
                      for r in results)
        slow = sum(r["end"] != "ok" or r["ttft_ms"] > GOAL_MS + GOAL_MS_A_TOKEN * r["prompt_tokens"]
                   for r in results)
        with open(self.path("emulate.jsonl"), encoding="utf-8") as file:
            cold = sum(json.loads(line)["truth"]["load_left_ms"] > 0.0 for line in file)
        return {"p50": ttft[len(ttft) // 2], "p99": ttft[int(len(ttft) * 0.99)], "count": len(results),
                "failed": sum(r["end"] != "ok" for r in results), "slow": 100.0 * slow / len(results), "cold": cold,
                "busy": run["host_busy_percent"], "other": run["host_other_percent"],
                "directives": directives}


def show(name, r):
    done = sum(d["state"] == "done" for d in r["directives"])
    print("%-10s %6d requests  p50 %5.0f ms  p99 %6.0f ms  slow %5.2f %%  failed %d  reached a cold model %d  directives %d "
          "(%d done)  host busy %.0f %%" % (name, r["count"], r["p50"], r["p99"], r["slow"], r["failed"], r["cold"],
                                          len(r["directives"]), done, r["busy"]))


def figures(by_name):
    ours, other = by_name["plan"], by_name["on-demand"]
    print("figure e6_live_p99_ttft_on_demand_over_ours %.2f ratio" % (other["p99"] / ours["p99"]))
    print("figure e6_live_slow_for_no_warm_copy_percent %.2f %%" % ours["slow"])
    print("figure e6_live_slow_for_no_warm_copy_on_demand_percent %.2f %%" % other["slow"])
    print("figure e6_live_directives %d directives" % len(ours["directives"]))
    busy = max(ours["busy"], other["busy"])
    print("figure host_busy_percent %.0f %%" % busy)
    if busy > BUSY_MAX:
        print("void: the machine was busier than %.0f %%: these times are its own" % BUSY_MAX)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.partition("usage: ")[2].partition("\n")[0])
    parser.add_argument("isochrone", type=os.path.abspath)
    parser.add_argument("loadgen", type=os.path.abspath)
    parser.add_argument("folder", type=os.path.abspath)
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--rate", type=float, default=50.0)  # requests a second in all
    parser.add_argument("--seconds", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=ARMS)
    options = parser.parse_args()
    if nats_server() is None:
        print("skipped: there is no nats-server")
        return 0
    for number in ENDS:
        signal.signal(number, end)
    by_name = {}
    for name in ARMS if options.only is None else (options.only,):
        with Arm(options, name) as arm:
            arm.start()
            arm.wait_ready()
            arm.load()
            directives = arm.directives()
        by_name[name] = arm.judge(directives)
        show(name, by_name[name])
    if options.only is None:
        figures(by_name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
