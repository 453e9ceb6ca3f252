#!/usr/bin/env python3
"""up - `isochrone up` and `isochrone gateway` as people run them: what is found, what is printed, that it
serves, how it stops, and what it refuses to start with.

usage: up.py PATH_OF_ISOCHRONE"""
import http.server
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

from life_tools import PROGRAM, check, finish
from nats_server import found
from ports import free_port

PATIENCE = 60  # seconds, a guard
HOSTILE = 'x");print("bad")#\x9b2J'


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers /v1/models and chat completions, nothing else."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": name, "object": "model"}
                                                         for name in (HOSTILE, "tiny-1b")]})
        else:
            self.answer(404, {"error": {"message": "no"}})

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(200, {"model": "tiny-1b", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hello"},
             "finish_reason": "stop"}]})


def get(url, body=None):
    try:
        request = urllib.request.Request(url, data=body)
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_ready(base):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if get(base + "/readyz")[0] == 200:
            return True
        time.sleep(0.02)
    return False


def fails(*args):
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=PATIENCE,
                          check=False)
    return done.returncode, done.stdout + done.stderr


def check_up(engine):
    port = free_port()
    base = "http://127.0.0.1:%d" % port
    up = subprocess.Popen([PROGRAM, "up", "--engine", engine, "--listen", "127.0.0.1:%d" % port],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(wait_ready(base), "up is ready")
    status, body = get(base + "/v1/chat/completions", json.dumps(
        {"model": "tiny-1b", "messages": [{"role": "user", "content": "hi"}]}).encode())
    check(status == 200 and json.loads(body)["choices"][0]["message"]["content"] == "hello",
          "and answers")
    check('"engine":"openai"' in get(base + "/network/v1/nodes")[1], "and tells of its nodes")
    up.send_signal(signal.SIGTERM)
    out, err = up.communicate(timeout=PATIENCE)
    check(up.returncode == 0, "SIGTERM ends it with 0: " + err.replace("\n", " | "))
    check("tiny-1b" in out and 'base_url="http://127.0.0.1:%d/v1"' % port in out,
          "what to paste was printed")
    check('create(model="tiny-1b"' in out and 'model: "tiny-1b"' in out,
          "with a name that is no code")
    check("\x9b" not in out and 'x");print("bad")#?2J\n' in out,
          "names of engines do not drive the terminal: " + repr(out[:200]))
    code, text = fails("up", "--engine", engine, "--listen", "0.0.0.0:%d" % port)
    check(code == 1 and "isochrone gateway" in text, "up serves this machine only")
    code, text = fails("up", "--engine", "ftp://x")
    check(code == 2 and "ftp://x" in text, "a URL that is none")


def check_ollama():
    """It does not tell how many requests it runs at once; the environment may."""
    port, engines = free_port(), free_port()
    emulate = subprocess.Popen([PROGRAM, "emulate", "--engines", "ollama", "--nodes", "6", "--regions", "1",
                                "--background", "0", "--listen-port", str(engines)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE
    while get("http://127.1.0.1:%d/api/ps" % engines)[0] != 200 and time.monotonic() < until:
        time.sleep(0.02)
    for parallel, slots, words in ((None, 1, "at once: 1 (OLLAMA_NUM_PARALLEL is not set here)"), ("3", 3, "at once: 3 (OLLAMA_NUM_PARALLEL)")):
        env = {k: v for k, v in os.environ.items() if k != "OLLAMA_NUM_PARALLEL"}
        if parallel is not None:
            env["OLLAMA_NUM_PARALLEL"] = parallel
        up = subprocess.Popen([PROGRAM, "up", "--engine", "http://127.1.0.1:%d" % engines,
                               "--listen", "127.0.0.1:%d" % port],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        base = "http://127.0.0.1:%d" % port
        good = wait_ready(base) and wait_page(base, "/network/v1/nodes/engine-1", '"slots":%d,"requests"' % slots)
        up.send_signal(signal.SIGTERM)
        out, err = up.communicate(timeout=PATIENCE)
        good = good and words in out
        check(good, "an Ollama with OLLAMA_NUM_PARALLEL %s%s" % (parallel, "" if good else repr(out[:200] + err)))
    emulate.terminate()
    emulate.wait(PATIENCE)


def wait_page(base, path, text):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if text in get(base + path)[1]:
            return True
        time.sleep(0.02)
    return False


def wait_closed(port):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) != 0:
                return True
        time.sleep(0.02)
    return False


def start_with_bus():
    """The process, where it serves, the words of the node's command, and the bus's port."""
    port = free_port()
    up = subprocess.Popen([PROGRAM, "up", "--nats", "start", "--engine", "http://127.0.0.1:1", "--listen",
                           "127.0.0.1:%d" % port], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    base, words = "http://127.0.0.1:%d" % port, ""
    for line in up.stdout:
        words += line.strip().rstrip("\\") + " " if words or line.startswith("  isochrone node") else ""
        if "--gateway" in words or "Serving on" in line:
            break
    words = words.split()
    return up, base, words, int(words[words.index("--bus") + 1].rpartition(":")[2])


def check_obeys(base, words):
    """The node obeys the gateway that the printed command names, whose key is kept."""
    path = os.path.join(os.environ["XDG_STATE_HOME"], "isochrone", "gateway.key")
    check(os.stat(path).st_mode & 0o777 == 0o600, "the gateway's key is its owner's only")
    code, text = fails("key", "show", path)
    name, _, key = words[words.index("--gateway") + 1].partition("=")
    check(code == 0 and name == "up" and key in text, "and is what the command names", text)
    for word, state in (("drain", "drain"), ("ready", "ready")):
        code, text = fails(word, "--node", "node-1", "--admin", base)
        check(code == 0 and wait_state(base, state), "the node obeys: %s" % word, text)


def wait_state(base, state):
    """node-1 has it, or comes to have it."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        nodes = json.loads(get(base + "/network/v1/nodes")[1])["nodes"]
        if [node["state"] for node in nodes if node["node"] == "node-1"] == [state]:
            return True
        time.sleep(0.02)
    return False


def check_bad_key():
    """What is no key of a gateway is not written over."""
    path = os.path.join(os.environ["XDG_STATE_HOME"], "isochrone", "gateway.key")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write("not a key\n")
    code, text = fails("up", "--nats", "nats://127.0.0.1:1", "--engine", "http://127.0.0.1:1", "--listen",
                       "127.0.0.1:%d" % free_port())
    check(code == 1 and "gateway.key is not the secret key of a gateway" in text, "a file that is no key", text)
    os.unlink(path)
    state, home = os.environ.pop("XDG_STATE_HOME"), os.environ.pop("HOME", None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, text = fails("up", "--nats", "nats://127.0.0.1:1", "--engine", "http://127.0.0.1:1", "--listen",
                           "127.0.0.1:%d" % taken.getsockname()[1])
    check(code == 1 and "no place to keep a key" in text, "without a place for it there is none", text)
    os.environ.update({"XDG_STATE_HOME": state, **({"HOME": home} if home else {})})


def check_bus(engine):
    for words, why in ((("--nats", "http://x:1"), "nats://HOST:PORT"), (("--nkey", "f"), "--nats URL"),
                       (("--nats", "start", "--nkey", "f"), "--nats URL"), (("--nats",), "a value is missing")):
        code, text = fails("up", *words)
        check(code == 2 and why in text, "up %s" % " ".join(words))
    check_bad_key()
    code, text = fails("node", "--engine", engine, "--key", "k", "--gateway", "up")
    check(code == 2 and "NAME=KEY" in text, "a node's gateway without its key", text)
    if found() is None:
        code, text = fails("up", "--nats", "start", "--listen", "127.0.0.1:%d" % free_port())
        check(code == 1 and "install" in text, "without nats-server it says what to install")
        return
    up, base, words, bus = start_with_bus()
    check(wait_page(base, "/network/v1/bus", '"connected":true'), "up with a bus of its own")
    words[words.index("--engine") + 1] = engine
    node = subprocess.Popen([PROGRAM] + words[1:] + ["--listen", "127.0.0.1:%d" % free_port()],
                            stderr=subprocess.DEVNULL)
    check(wait_page(base, "/network/v1/nodes", '"source":"bus"'), "the node of the printed command comes by itself")
    wait_ready(base)
    status, body = get(base + "/v1/chat/completions", json.dumps(
        {"model": "tiny-1b", "messages": [{"role": "user", "content": "hi"}]}).encode())
    check(status == 200, "and answers: " + body)
    check_obeys(base, words)
    node.send_signal(signal.SIGTERM)
    check(node.wait(timeout=PATIENCE) == 0 and wait_page(base, "/network/v1/nodes", '"nodes":[{"node":"engine-1"'),
          "it goes")
    up.send_signal(signal.SIGTERM)
    check(up.wait(timeout=PATIENCE) == 0 and wait_closed(bus), "the server ends with the gateway")
    with open(words[words.index("--nkey") + 1], encoding="ascii") as file:
        seed = file.read()
    key = words[words.index("--gateway") + 1]
    up, base, words, bus = start_with_bus()
    check(words[words.index("--gateway") + 1] == key, "its own key is kept")
    check(wait_page(base, "/network/v1/bus", '"connected":true'), "again")
    with open(words[words.index("--nkey") + 1], encoding="ascii") as file:
        check(file.read() == seed, "with the same keys")
    up.kill()
    up.wait(timeout=PATIENCE)
    check(wait_closed(bus), "the server ends also when the gateway is killed")


def check_gateway(engine):
    with open("open.yaml", "w", encoding="utf-8") as file:
        file.write("listen: {public: \"0.0.0.0:0\", admin: \"127.0.0.1:0\"}\n"
                   "engines: [{url: \"%s\"}]\n" % engine)
    code, text = fails("gateway", "-f", "open.yaml")
    check(code == 1 and "auth: none" in text, "off loopback it wants keys, or `auth: none`")
    with open("unbuilt.yaml", "w", encoding="utf-8") as file:
        file.write("models: {m: {accept: {quantization: [fp8]}}}\nengines: [{url: \"%s\"}]\n" % engine)
    code, text = fails("gateway", "-f", "unbuilt.yaml")
    check(code == 1 and "`accept`" in text, "keys of parts that are not built are named")
    code, text = fails("gateway", "-f", "unbuilt.yaml", "--rule", "tiem")
    check(code == 2 and "did you mean `time`" in text, "a mistyped rule")
    code, text = fails("gateway")
    check(code == 2 and "-f FILE" in text, "no configuration")


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    engine = "http://127.0.0.1:%d" % server.server_address[1]
    with tempfile.TemporaryDirectory() as directory:
        os.environ["XDG_STATE_HOME"] = directory  # not this person's own
        os.chdir(directory)
        check_up(engine)
        check_ollama()
        check_bus(engine)
        check_gateway(engine)
        os.chdir("/")
    finish()


if __name__ == "__main__":
    main()
