#!/usr/bin/env python3
"""usage - what keys used is counted, shown, and still there after a stop, a kill and a damaged file.

usage: usage.py PATH_OF_ISOCHRONE"""
import http.server
import json
import os
import signal
import sqlite3
import stat
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from life_tools import PROGRAM, check, finish
from ports import free_port

PATIENCE = 60  # seconds, a guard


class Engine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer({"object": "list", "data": [{"id": m, "object": "model"} for m in ("tiny", "big")]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.answer({"model": asked["model"], "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107,
                      "prompt_tokens_details": {"cached_tokens": 64}}})


def run(*args):
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr


def get(url, body=None, **headers):
    try:
        request = urllib.request.Request(url, data=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_for(what, label):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if what():
            check(True, label)
            return
        time.sleep(0.02)
    check(False, label)


class Gateway:
    """One that runs, on ports of its own that it keeps over restarts."""

    def __init__(self, engine_port):
        self.public, self.admin = ("http://127.0.0.1:%d" % free_port() for _ in range(2))
        with open("gateway.yaml", "w", encoding="utf-8") as file:
            file.write("listen: {public: \"%s\", admin: \"%s\"}\nkeys: file:keys.yaml\nstate: state/here\n"
                       "threads: 2\nengines: [{url: \"http://127.0.0.1:%d\", kind: openai}]\n"
                       % (self.public[7:], self.admin[7:], engine_port))
        self.child = None

    def start(self):
        with open("log", "ab") as log:
            self.child = subprocess.Popen([PROGRAM, "gateway", "-f", "gateway.yaml"], stderr=log)
        wait_for(lambda: get(self.public + "/readyz")[0] == 200, "a gateway is ready")

    def stop(self, how=signal.SIGTERM):
        self.child.send_signal(how)
        self.child.wait(PATIENCE)

    def ask(self, key, model="tiny"):
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "h"}]}).encode()
        return get(self.public + "/v1/chat/completions", body, authorization="Bearer " + key)[0]

    def usage(self, *args):
        code, out, err = run("usage", "--admin", self.admin, "--json", *args)
        return json.loads(out)["rows"] if code == 0 else err

    def requests(self, key):
        rows = self.usage("--by", "key", "--key", key)
        return rows[0]["requests"] if isinstance(rows, list) and rows else 0


def check_counts(gateway, alice, bob):
    sent = [gateway.ask(alice), gateway.ask(alice), gateway.ask(alice, "big"), gateway.ask(bob),
            gateway.ask(bob, "none"), gateway.ask("isk-nobody")]
    check(sent == [200, 200, 200, 200, 404, 401], "requests of two keys and a stranger", sent)
    wait_for(lambda: gateway.requests("alice") == 3 and gateway.requests("bob") == 2, "they are written down")
    rows = gateway.usage()
    check(rows[0] == {"key": "alice", "model": "tiny", "requests": 2, "failed": 0, "refused": 0,
                      "prompt_tokens": 200, "cached_tokens": 128, "output_tokens": 14}, "by key and model", rows)
    check([(r["key"], r["model"], r["requests"], r["refused"]) for r in rows[1:]] ==
          [("alice", "big", 1, 0), ("bob", "tiny", 1, 0), ("bob", "", 1, 1)], "most tokens first; what was refused", rows)
    check(sum(r["requests"] for r in gateway.usage("--by", "hour")) == 5, "by hour", gateway.usage("--by", "hour"))
    check(gateway.usage("--since", "0s", "--by", "model")[0]["model"] == "tiny", "of this hour")
    about = os.stat("state/here/usage.db")
    check(stat.S_IMODE(about.st_mode) == 0o600 and stat.S_IMODE(os.stat("state/here").st_mode) == 0o700,
          "the file is its owner's, and beside the configuration")


def check_words(gateway):
    code, out, err = run("usage", "--admin", gateway.admin)
    check(code == 0 and "alice" in out and "(none)" in out and out.splitlines()[0].split()[:2] == ["KEY", "MODEL"],
          "a table", out + err)
    code, out, _ = run("usage", "--admin", gateway.admin, "--by", "hour")
    check(code == 0 and "HOUR" in out and ":00" in out and "alice" not in out, "another one", out)
    code, out, _ = run("usage", "--admin", gateway.admin, "--key", "carol")
    check(code == 0 and "nothing" in out, "nobody's", out)
    for args in (("--since", "yesterday"), ("--by", "node")):
        code, out, err = run("usage", "--admin", gateway.admin, *args)
        check(code == 1 and out == "" and args[0][2:] in err, "the gateway says what is wrong: " + args[1], err)
    for args in (("--since", "1 h"), ("--by", "key&x"), ("--key", "A"), ("--kye", "a"), ("x",)):
        check(run("usage", *args)[0] == 2, "wrong use: " + " ".join(args))
    code, out, _ = run("usage", "--help")
    check(code == 0 and out.index("  isochrone usage") < out.index("--admin"), "examples first")


def check_own(gateway, alice):
    status, text = get(gateway.public + "/network/v1/usage?by=key,model&key=bob", x_api_key=alice)
    rows = json.loads(text)["rows"]
    check(status == 200 and {r["key"] for r in rows} == {"alice"} and len(rows) == 2,
          "a key sees its own usage, whatever it asks for", text)
    check(get(gateway.public + "/network/v1/usage")[0] == 401, "who has none sees nothing")
    check(get(gateway.public + "/network/v1/usage?since=-1", x_api_key=alice)[0] == 400, "a time that is none")


def check_restarts(gateway, bob):
    before = gateway.requests("bob")
    for _ in range(4):
        gateway.ask(bob)
    gateway.stop()
    check(gateway.child.returncode == 0, "it is stopped before a second is over")
    gateway.start()
    check(gateway.requests("bob") == before + 4, "what was counted last is there", gateway.usage())
    for _ in range(5):
        gateway.ask(bob)
    wait_for(lambda: gateway.requests("bob") == before + 9, "five more are written")
    for _ in range(6):
        gateway.ask(bob)
    gateway.stop(signal.SIGKILL)
    gateway.start()
    after = gateway.requests("bob") - before
    check(9 <= after <= 15, "killed, it loses what was not written yet and nothing else", after)


def check_damage(gateway, bob):
    gateway.stop()
    for name in os.listdir("state/here"):
        os.unlink("state/here/" + name)
    with open("state/here/usage.db", "wb") as file:
        file.write(b"no database at all" * 1000)
    gateway.start()
    check([gateway.ask(bob) for _ in range(3)] == [200] * 3, "a damaged file stops nobody")
    wait_for(lambda: "isochrone_usage_writes 0\n" in get(gateway.admin + "/metrics")[1], "a metric tells of it")
    with open("log", encoding="utf-8") as file:
        check("usage.db: file is not a database" in file.read(), "and the log")
    check(get(gateway.admin + "/network/v1/usage")[0] == 503, "it cannot be read")
    os.unlink("state/here/usage.db")
    check(gateway.ask(bob) == 200, "taken away")
    wait_for(lambda: gateway.requests("bob") == 4, "it is made anew, and nothing was forgotten meanwhile")
    check("isochrone_usage_writes 1\n" in get(gateway.admin + "/metrics")[1] and
          "isochrone_usage_lost_total 0\n" in get(gateway.admin + "/metrics")[1], "the metric says so, too")
    db = sqlite3.connect("state/here/usage.db")
    check(db.execute("PRAGMA integrity_check").fetchone() == ("ok",), "a sound file")
    db.close()


def check_up(engine_port):
    port = free_port()
    env = {**os.environ, "XDG_STATE_HOME": os.path.abspath("home")}
    env.pop("STATE_DIRECTORY", None)
    base = "http://127.0.0.1:%d" % port
    with subprocess.Popen([PROGRAM, "up", "--engine", "http://127.0.0.1:%d" % engine_port, "--listen",
                           "127.0.0.1:%d" % port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          env=env) as child:
        wait_for(lambda: get(base + "/readyz")[0] == 200, "up is ready")
        get(base + "/v1/chat/completions", json.dumps({"model": "tiny", "messages": [
            {"role": "user", "content": "h"}]}).encode())
        child.terminate()
        child.wait(PATIENCE)
    db = sqlite3.connect("home/isochrone/usage.db")
    check(db.execute("SELECT key, model, requests FROM usage").fetchall() == [("", "tiny", 1)],
          "up keeps it where programs of people keep theirs")
    db.close()


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    engine_port = server.server_address[1]
    alice, bob = (run("key", "add", name)[1].strip() for name in ("alice", "bob"))
    gateway = Gateway(engine_port)
    gateway.start()
    try:
        check_counts(gateway, alice, bob)
        check_words(gateway)
        check_own(gateway, alice)
        check_restarts(gateway, bob)
        check_damage(gateway, bob)
        check_up(engine_port)
    finally:
        gateway.stop()
        server.shutdown()


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    main()
    os.chdir("/")
finish()
