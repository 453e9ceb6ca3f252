#!/usr/bin/env python3
"""control - `isochrone load`, `unload`, `sleep` and `wake` against emulated engines of every kind: what
each can, what it refuses and in which words, what its own routes show afterwards, and that a gateway in
front sees the same states.

usage: control.py PATH_OF_ISOCHRONE"""
import json
import os
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request

import life_tools as t

KINDS = ("vllm", "sglang", "llama-server", "llama-router", "ollama")
NODES = 10  # two of each kind, but the second vLLM and so on have another model
SMALL, MIDDLE = "meta-llama/Llama-3.1-8B-Instruct", "qwen3-32b"
IN_MEMORY = ("llama-3.1-8b-instruct", "llama3.1:8b")  # at first, of a router and an Ollama
FAST, SLOW = 0.05, 10  # times the modelled time: loads need not take long, answers may


def get(url, body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=t.GUARD_S) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def run(*args):
    done = subprocess.run([t.PROGRAM, *args], capture_output=True, text=True, timeout=t.GUARD_S,
                          check=False)
    return done.returncode, done.stdout, done.stderr


class Fleet:
    def __init__(self, *options):
        self.port = t.free_port()
        self.child = subprocess.Popen(
            [t.PROGRAM, "emulate", "--nodes", str(NODES), "--regions", "1", "--engines", ",".join(KINDS),
             "--background", "0", "--listen-port", str(self.port), *options], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        t.wait_for(self.is_up, "the fleet")
        for i in range(NODES):
            self.pace(i, FAST)

    def pace(self, node, factor):
        get("http://127.0.0.1:%d/emulate/nodes/%d/fault" % (self.port, node),
            json.dumps({"fault": "slow", "factor": factor}).encode())

    def is_up(self):
        try:
            return get("http://127.0.0.1:%d/emulate/late" % self.port)[0] == 200
        except OSError:
            return False

    def url(self, kind, round_=0):
        return "http://127.1.0.%d:%d" % (1 + KINDS.index(kind) + round_ * len(KINDS), self.port)

    def end(self):
        self.child.terminate()
        self.child.wait()


def expect(label, code, words, *args):
    """Run a command; its exit code, and these words somewhere in what it says."""
    got, out, err = run(*args)
    good = got == code and all(word in out + err for word in words)
    t.check(good, label, "exit %d" % got, out, err)
    return out


def chat(url, model, tokens, result):
    """One answer; appended to result: its status, or 0 when the connection broke."""
    body = json.dumps({"model": model, "max_tokens": tokens, "ignore_eos": True,
                       "messages": [{"role": "user", "content": "hi"}]}).encode()
    try:
        result.append(get(url + "/v1/chat/completions", body)[0])
    except OSError:
        result.append(0)


def running(url):
    return '"is_processing":true' in get(url + "/slots?model=" + IN_MEMORY[0])[1]


def check_router(fleet):
    url = fleet.url("llama-router")

    def state(model):
        models = json.loads(get(url + "/models")[1])["data"]
        return [m["status"]["value"] for m in models if m["id"] == model][0]

    expect("a router loads", 0, [MIDDLE + ": ready", "llama.cpp server"], "load", MIDDLE, "--engine", url)
    t.check((state(MIDDLE), state(IN_MEMORY[0])) == ("loaded", "unloaded"),
            "with room for one the other gave way")
    expect("again is done already", 0, [": ready"], "load", MIDDLE, "--engine", url)
    expect("a router unloads", 0, [": on_disk"], "unload", MIDDLE, "--engine", url)
    expect("what is unloaded already, too", 0, [": on_disk"], "unload", MIDDLE, "--engine", url)
    t.check(state(MIDDLE) == "unloaded", "so its own list says")
    expect("a mistyped model", 1, ["did you mean `qwen3-32b`?"], "load", "qwen3-23b", "--engine", url)
    expect("part of a name", 1, ["did you mean `llama-3.1-8b-instruct`?"], "load", "llama-3.1-8b",
           "--engine", url)
    expect("no order to sleep", 1, ["--sleep-idle-seconds"], "sleep", MIDDLE, "--engine", url)
    expect("the small one again", 0, [": ready"], "load", IN_MEMORY[0], "--engine", url)
    fleet.pace(KINDS.index("llama-router"), SLOW)
    answers = []
    asks = threading.Thread(target=chat, args=(url, IN_MEMORY[0], 4000, answers))
    asks.start()
    t.wait_for(lambda: running(url), "a long answer begins")
    out = expect("no room while all are busy", 1, ["model limit reached"], "load", MIDDLE, "--engine",
                 url, "--json")
    t.check(json.loads(out)["result"] == "refused" and "limit" in json.loads(out)["words"],
            "also as JSON", out)
    expect("unload ends what runs", 0, [": on_disk"], "unload", IN_MEMORY[0], "--engine", url)
    asks.join(t.GUARD_S)
    t.check(answers == [0], "its client sees the end", answers)
    t.check(get(url + "/models/load", b'{"model":"none"}')[0] == 404, "the engine knows no such model")
    expect("one without a router", 1, ["--models-dir"], "load", IN_MEMORY[0], "--engine",
           fleet.url("llama-server"))


def check_ollama(fleet):
    url = fleet.url("ollama")

    def loaded():
        return [m["name"] for m in json.loads(get(url + "/api/ps")[1])["models"]]

    out = expect("Ollama loads", 0, [], "load", "qwen3:32b", "--engine", url, "--json")
    told = json.loads(out)
    t.check((told["kind"], told["model"], told["action"], told["result"], told["state"]) ==
            ("ollama", "qwen3:32b", "load", "done", "ready") and told["took_ms"] > 0, "in JSON", out)
    t.check(loaded() == ["qwen3:32b"], "the other gave way", loaded())
    t.check(len(json.loads(get(url + "/api/tags")[1])["models"]) == 3, "all stay on disk")
    expect("Ollama unloads", 0, ["qwen3:32b: on_disk"], "unload", "qwen3:32b", "--engine", url)
    t.check(loaded() == [], "nothing is in memory")
    expect("no sleep", 1, ["unload"], "sleep", "--engine", url)
    expect("no adapters", 1, ["Modelfile"], "load", "x", "--lora", "/x", "--engine", url)
    status, text = get(url + "/api/generate", b'{"model":"none"}')
    t.check(status == 404 and json.loads(text)["error"] == "model 'none' not found", "an unknown model")
    answers = []
    asks = threading.Thread(target=chat, args=(url, IN_MEMORY[1], 2000, answers))
    asks.start()
    t.wait_for(loaded, "a request loads its model")
    expect("Ollama unloads what is used", 0, [": on_disk"], "unload", IN_MEMORY[1], "--engine", url)
    asks.join(t.GUARD_S)
    t.check(answers == [200], "after its last answer", answers)
    t.check(t.wait_for(lambda: loaded() == [], "it leaves"), "and then it is gone")


def check_vllm(fleet):
    url = fleet.url("vllm")

    def sleeps():
        return json.loads(get(url + "/is_sleeping")[1])["is_sleeping"]

    expect("vLLM does not load", 1, ["started with"], "load", SMALL, "--engine", url)
    expect("vLLM sleeps", 0, [SMALL + ": dormant"], "sleep", "--engine", url)
    t.check(sleeps(), "it says so")
    expect("vLLM wakes", 0, [SMALL + ": ready"], "wake", SMALL, "--engine", url)
    t.check(not sleeps(), "it says so")
    expect("wake what is awake", 0, [": ready"], "wake", "--engine", url)
    expect("an adapter", 0, ["mine: ready"], "load", "mine", "--lora", "/adapters/mine", "--engine", url)
    t.check('"parent":"%s"' % SMALL in get(url + "/v1/models")[1], "is listed")
    answers = []
    chat(url, "mine", 4, answers)
    t.check(answers == [200], "and answers", answers)
    expect("twice is once", 0, ["mine: ready"], "load", "mine", "--lora", "/adapters/mine", "--engine", url)
    expect("another name is none", 1, ["did you mean `mine`?"], "unload", "mime", "--lora", "--engine", url)
    expect("it goes", 0, ["mine: absent"], "unload", "mine", "--lora", "--engine", url)
    chat(url, "mine", 4, answers)
    t.check(answers == [200, 404], "and answers no more", answers)


def check_sglang(fleet):
    url = fleet.url("sglang")
    expect("SGLang sleeps", 0, [": dormant", "SGLang"], "sleep", "--engine", url)
    expect("SGLang wakes", 0, [": ready"], "wake", "--engine", url)
    expect("SGLang takes an adapter", 0, ["a: ready"], "load", "a", "--lora", "/a", "--engine", url)
    expect("again", 0, ["a: ready"], "load", "a", "--lora", "/a", "--engine", url)
    expect("and gives it back", 0, ["a: absent"], "unload", "a", "--lora", "--engine", url)


def check_use():
    nobody = "http://127.0.0.1:%d" % t.free_port()
    expect("nobody there", 1, ["no model server"], "load", "m", "--engine", nobody)
    expect("no engine said", 2, ["--engine"], "load", "m")
    expect("no model said", 2, ["which model"], "unload", "--engine", nobody)
    expect("no URL", 2, ["http://HOST:PORT"], "wake", "--engine", "nowhere")
    expect("TLS", 2, ["http://"], "wake", "--engine", "https://127.0.0.1:1")
    expect("no such time", 2, ["--timeout"], "sleep", "--timeout", "0", "--engine", nobody)
    expect("a secret on the command line", 2, ["file:PATH"], "wake", "--engine", nobody, "--key", "sk-1")
    expect("a mistyped option", 2, ["did you mean `--engine`?"], "wake", "--engin", nobody)


def check_key(fleet):
    """What is asked with --key carries it; an engine that asks for none does not mind."""
    with open("key", "w", encoding="utf-8") as file:
        file.write("sk-engine\n")
    expect("with a key", 0, [": dormant"], "sleep", "--engine", fleet.url("vllm", 1), "--key", "file:key")
    expect("and back", 0, [": ready"], "wake", "--engine", fleet.url("vllm", 1), "--key", "file:key")


def check_gateway(fleet):
    """A gateway's view of the same: the states that its poll reads."""
    public, admin = t.free_port(), t.free_port()
    t.write("gateway.yaml", """listen: {public: "127.0.0.1:%d", admin: "127.0.0.1:%d"}
engines:
  - {name: o, url: "%s"}
  - {name: v, url: "%s"}
  - {name: s, url: "%s"}
""" % (public, admin, fleet.url("ollama"), fleet.url("vllm"), fleet.url("sglang")))
    child = subprocess.Popen([t.PROGRAM, "gateway", "-f", "gateway.yaml"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    base = "http://127.0.0.1:%d/network/v1/nodes/" % admin

    def states(node):
        try:
            models = json.loads(get(base + node)[1]).get("models", [])
        except OSError:
            models = []
        return {m["engine_name"]: m["state"] for m in models}

    def comes(label, node, model, state):
        t.check(t.wait_for(lambda: states(node).get(model) == state, label), label, states(node))

    comes("an Ollama's models are on disk", "o", "qwen3:32b", "on_disk")
    run("load", "qwen3:32b", "--engine", fleet.url("ollama"))
    comes("what was loaded is ready", "o", "qwen3:32b", "ready")
    run("unload", "qwen3:32b", "--engine", fleet.url("ollama"))
    comes("and on disk again", "o", "qwen3:32b", "on_disk")
    comes("vLLM is ready", "v", SMALL, "ready")
    run("sleep", "--engine", fleet.url("vllm"))
    comes("it is seen to sleep", "v", SMALL, "dormant")
    answers = []
    for _ in range(8):
        chat("http://127.0.0.1:%d" % public, SMALL, 4, answers)
    t.check(answers == [200] * 8, "nothing is sent there: another answers", answers)
    run("wake", "--engine", fleet.url("vllm"))
    comes("and to wake", "v", SMALL, "ready")
    comes("SGLang is ready", "s", SMALL, "ready")
    node = json.loads(get(base + "s")[1])
    t.check(node["engine"] == "sglang" and node["slots"] == 256 and node["kv_tokens_cap"] > 0,
            "and tells its load", node)
    child.terminate()
    t.check(child.wait() == 0, "the gateway ends well")


def check_node(fleet):
    """An Ollama does not tell that it loads a model: the agent before it does, while somebody waits for that."""
    public, admin = t.free_port(), t.free_port()
    url = "http://127.0.0.1:%d" % public

    def state():
        try:
            models = json.loads(get(url + "/network/v1/report")[1]).get("models", [])  # none: it is not asked yet
        except OSError:
            return "nobody"
        return next((m["state"] for m in models if m["id"] == "qwen3:32b"), "absent")

    fleet.pace(NODES - 1, 0.3)
    run("key", "node", "--name", "n1", "-o", "n1.key")
    t.write("node.yaml", """key: file:n1.key
state: .
auth: none
listen: {public: "127.0.0.1:%d", admin: "127.0.0.1:%d"}
engines: [{url: "%s"}]
""" % (public, admin, fleet.url("ollama", 1)))
    node = subprocess.Popen([t.PROGRAM, "node", "-f", "node.yaml"], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
    try:
        t.check(t.wait_for(lambda: state() == "on_disk", "an agent"), "a model on the disk of an Ollama")
        result = []
        asks = threading.Thread(target=chat, args=(url, "qwen3:32b", 4, result))
        asks.start()
        t.check(t.wait_for(lambda: state() == "loading", "a load"), "who waits for it makes it one that loads")
        asks.join()
        t.check(result == [200], "and is answered", result)
        t.check(t.wait_for(lambda: state() == "ready", "the model"), "then it is ready")
    finally:
        node.terminate()
        node.wait()


def main():
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        fleet = Fleet("--models-max", "1", "--dev-mode")
        try:
            check_router(fleet)
            check_ollama(fleet)
            check_vllm(fleet)
            check_sglang(fleet)
            check_key(fleet)
            check_gateway(fleet)
            check_node(fleet)
        finally:
            fleet.end()
        plain = Fleet()
        expect("vLLM without dev mode", 1, ["VLLM_SERVER_DEV_MODE=1"], "sleep", "--engine",
               plain.url("vllm"))
        expect("nor adapters", 1, ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"], "load", "a", "--lora", "/a",
               "--engine", plain.url("vllm"))
        expect("nor SGLang's memory saver", 1, ["--enable-memory-saver"], "sleep", "--engine",
               plain.url("sglang"))
        plain.end()
        check_use()
        os.chdir("/")
    t.finish()


if __name__ == "__main__":
    main()
