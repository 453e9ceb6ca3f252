#!/usr/bin/env python3
"""lifetime - a gateway as a service: what it tells a service manager, sockets it is given, how it
ends, and its access log.

usage: lifetime.py PATH_OF_ISOCHRONE"""
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

import life_tools as t
from life_tools import write

KEY = "sk-nobody-has-this-one"
PROMPT = "the secret of the prompt"


def config(public, admin, engines, more=""):
    listed = "".join("  - {name: e%d, url: \"%s\", region: here, operator: acme}\n" % (i, e.url)
                     for i, e in enumerate(engines))
    return ("listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\n%sengines:\n%s" %
            (public, admin, more, listed))


def path_in(folder, name, text):
    path = os.path.join(folder, name)
    write(path, text)
    return path


# ---- The service manager.

def test_manager(folder, engine):
    public, admin = t.free_port(), t.free_port()
    path = path_in(folder, "m.yaml", config(public, admin, [engine], "threads: 2\n"))
    manager = t.Manager(os.path.join(folder, "notify"))
    gateway = t.Gateway(path, os.path.join(folder, "m.log"), manager=manager,
                        env={"WATCHDOG_USEC": "200000"})
    t.check(t.wait_for(lambda: manager.seen("READY=1"), "READY=1"), "ready")
    t.check(t.wait_for(lambda: len(manager.seen("WATCHDOG=1")) > 3, "WATCHDOG=1"),
            "signs of life")
    mark = manager.mark()
    gateway.signal(signal.SIGHUP)
    t.check(t.wait_for(lambda: manager.seen("READY=1", mark), "READY=1"), "ready after a reload")
    reloading = manager.seen("RELOADING=1", mark)
    t.check(reloading and re.search(r"^MONOTONIC_USEC=\d+$", reloading[0], re.M),
            "and reloading before", manager.got)
    mark = manager.mark()
    gateway.signal(signal.SIGTERM)
    t.check(t.wait_for(lambda: manager.seen("STOPPING=1", mark), "STOPPING=1"), "stopping")
    t.check(t.wait_for(gateway.ended, "the end") == "status 0", "the end")
    # a watchdog of the process that started us is none of ours
    gateway = t.Gateway(path, os.path.join(folder, "m.log"), manager=manager,
                        env={"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"})
    mark = manager.mark()
    t.check(t.wait_for(lambda: manager.seen("READY=1", mark), "READY=1"), "ready once more")
    time.sleep(0.3)
    t.check(not manager.seen("WATCHDOG=1", mark), "no signs of life that nobody asked for")
    gateway.stop()


# ---- Sockets that are given.

def listening(port=0):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", port))
    s.listen(128)
    return s


def test_sockets(folder, engine):
    public, admin, other = listening(), listening(), listening()
    ports = public.getsockname()[1], admin.getsockname()[1]
    path = path_in(folder, "s.yaml", config(*ports, [engine], "threads: 2\n"))
    log = os.path.join(folder, "s.log")
    early = t.Connection(ports[0])  # it waits in the socket until there is a gateway
    early.socket.sendall(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    gateway = t.Gateway(path, log, sockets=[("public", public), ("admin", admin)])
    t.check(early.head()[0] == 200, "whoever came before the gateway is answered", gateway.text())
    t.check(t.wait_ready(ports[0]), "both threads serve one socket")
    t.check(t.get(ports[1], "/metrics")[0] == 200, "the admin side has its own")
    gateway.stop()
    late = t.Connection(ports[0])
    path = path_in(folder, "s.yaml", config(ports[0], t.free_port(), [engine]))
    gateway = t.Gateway(path, log, sockets=[("public", public)])
    late.socket.sendall(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    t.check(late.head()[0] == 200, "the socket outlives the gateway")
    gateway.stop()
    for sockets, words, label in (
            ([("public", other)], "the configuration says listen.public", "another address"),
            ([("isochrone.socket", public)], "is named `isochrone.socket`", "a name not ours"),
            ([("public", early.socket)], "is no listening socket", "no listening socket")):
        gateway = t.Gateway(path, log, sockets=sockets)
        t.check(t.wait_for(gateway.ended, "the end") == "status 1" and words in gateway.text(),
                label, gateway.text())
    for s in (public, admin, other):
        s.close()


# ---- The end.

def test_drain(folder, engine):
    """A stream outlasts limits.drain and is told; the next gateway is told twice to end."""
    for twice in (False, True):
        public, admin = t.free_port(), t.free_port()
        path = path_in(folder, "d.yaml", config(public, admin, [engine], "limits: {drain: %s}\n" %
                                                ("60s" if twice else "700ms")))
        gateway = t.Gateway(path, os.path.join(folder, "d.log"))
        t.check(t.wait_ready(public), "a gateway to end")
        idle = t.Connection(public)
        idle.socket.sendall(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        head = idle.head()[1]
        t.check("connection: close" not in head and idle.body(head) == "ok\n", "one is kept")
        engine.held.clear()
        stream = t.Connection(public)
        stream.send(t.chat(True))
        stream.until(b"w0 ")
        gateway.signal(signal.SIGTERM)
        t.check(t.wait_for(lambda p=admin: "draining" in t.get(p, "/readyz")[1], "draining"),
                "not ready while it drains")
        idle.socket.sendall(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        status, head = idle.head()
        t.check(status == 503 and "connection: close" in head,
                "a kept connection gets its last answer")
        t.check(t.get(public, "/livez")[0] == 0, "no new ones")
        if twice:
            gateway.signal(signal.SIGTERM)
        rest = stream.until(b"0\r\n\r\n").decode()
        t.check("data: {\"error\":" in rest and "gateway_stopping" in rest and "[DONE]" not in rest,
                "a stream that is cut is told so", rest)
        t.check(t.wait_for(gateway.ended, "the end") == "status 0", "the end")
        engine.held.set()


# ---- The access log.

def lines_of(path):
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except OSError:
        return []


def test_access_log(folder, engine):
    public, admin = t.free_port(), t.free_port()
    log, other = os.path.join(folder, "access.log"), os.path.join(folder, "other.log")
    added = subprocess.run([t.PROGRAM, "key", "add", "alice", "--file", "keys.yaml"], capture_output=True, text=True,
                           check=True, cwd=folder)
    key = added.stdout.strip()
    more = "keys: file:keys.yaml\naccess_log: {file: access.log}\n"
    path = path_in(folder, "a.yaml", config(public, admin, [engine], more))
    gateway = t.Gateway(path, os.path.join(folder, "a.log"))
    t.check(t.wait_ready(public), "a gateway with an access log", gateway.text())

    def ask(body, headers=None, path="/v1/chat/completions", method="POST"):
        headers = {"authorization": "Bearer " + key} if headers is None else headers
        return t.get(public, path, method, json.dumps(body) if body is not None else None, headers)

    def logged(count, where=log):
        return t.wait_for(lambda: len(found(where)) >= count and found(where), "%d lines" % count)

    def found(where=log):
        return [l for l in lines_of(where) if l.get("path") not in ("/readyz", None)]

    prompt = {"messages": [{"role": "user", "content": PROMPT}]}
    t.check(ask({"model": "m", **prompt})[0] == 200, "a whole answer")
    t.check(ask({"model": "m", "stream": True, **prompt})[0] == 200, "a stream")
    t.check(ask({"model": "no \"such\"\n\x1b[2J\u202e model", **prompt})[0] == 404, "no model")
    t.check(ask({"model": "m", **prompt}, {"authorization": "Bearer " + KEY})[0] == 401, "no key")
    t.check(ask(None, path="/v1/models/%22%0a?api_key=" + key, method="GET")[0] == 404, "a path")
    lines = logged(5) or []
    t.check(len(lines) == 5, "a line for each", lines)
    whole, stream, unknown, denied, odd = lines
    expected = {"key": "alice", "method": "POST", "path": "/v1/chat/completions", "status": 200,
                "protocol": "HTTP/1.1", "outcome": "complete", "model": "m", "served": "m",
                "stream": False, "node": "e0", "region": "here", "operator": "acme", "attempts": 1,
                "hedged": False, "prompt_tokens": 7, "completion_tokens": 2}
    t.check(expected.items() <= whole.items(), "the whole answer's", whole)
    t.check(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", whole["time"]) and
            re.match(r"127\.0\.0\.1:\d+$", whole["client"]) and
            re.match(r"[0-9a-f]{16}$", whole["id"]) and whole["reason"].startswith("time; "),
            "time, client, id, reason", whole)
    t.check(0 <= whole["queue_ms"] <= whole["ttft_ms"] <= whole["total_ms"], "times", whole)
    t.check(whole["bytes_in"] > 60 and whole["bytes_out"] > 100, "bytes", whole)
    t.check(stream["stream"] and stream["completion_tokens"] == 4 and stream["ttft_ms"] <
            stream["total_ms"], "the stream's", stream)
    t.check(unknown["status"] == 404 and unknown["outcome"] == "error" and
            unknown["error"] == "model_not_found" and "node" not in unknown and
            unknown["model"] == "no \"such\"\n\x1b[2J\u202e model", "a hostile name is escaped",
            unknown)
    t.check(denied["status"] == 401 and "key" not in denied and "id" not in denied, "no key's",
            denied)
    t.check(odd["path"] == "/v1/models/%22%0a" and odd["method"] == "GET", "a path, no query", odd)
    test_odd_ends(public, engine, key, prompt, log)
    with open(log, encoding="utf-8") as file:
        text = file.read()
    t.check(PROMPT not in text and "words" not in text and key not in text and KEY not in text and
            "Bearer" not in text, "neither prompt nor answer nor key is in the file")
    t.check(all(ord(c) >= 32 or c == "\n" for c in text), "nor a control byte")

    os.rename(log, log + ".1")
    gateway.signal(signal.SIGUSR1)
    t.check(t.wait_for(lambda: os.path.exists(log), "a new file"), "SIGUSR1 opens it anew")
    ask({"model": "m", **prompt})
    t.check(logged(1), "and the next lines go there")
    write(path, config(public, admin, [engine], more.replace("access.log", "other.log")))
    status, answer = t.get(admin, "/network/v1/reload", "POST", "")
    t.check(status == 200 and "access_log.file: access.log -> other.log" in answer, "a reload", answer)
    t.check(t.wait_for(lambda: os.path.exists(other), "another file"), "opens another one")
    ask({"model": "m", **prompt})
    gateway.stop()
    t.check(len(found(other)) == 1, "and what is there at the end is written")


def test_odd_ends(public, engine, key, prompt, log):
    """A client that leaves, and bytes that are no request."""
    engine.held.clear()
    leaver = t.Connection(public)
    leaver.send({"model": "m", "stream": True, **prompt}, "x-api-key: %s\r\n" % key)
    leaver.until(b"w0 ")
    leaver.close()
    engine.held.set()
    gone = t.wait_for(lambda: [l for l in lines_of(log) if l["outcome"] == "client_gone"], "a line")
    t.check(gone and gone[0]["key"] == "alice" and gone[0]["node"] == "e0", "a client that left",
            gone)
    nonsense = t.Connection(public)
    nonsense.socket.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nx: " + key.encode() + b"\x01\r\n\r\n")
    t.check(nonsense.head()[0] == 400, "no request")
    refused = t.wait_for(lambda: [l for l in lines_of(log) if l["outcome"] == "refused"], "a line")
    t.check(refused and refused[0]["status"] == 400 and refused[0]["error"] == "malformed_request",
            "is told, too", refused)


# ---- The log.

def text_of(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def test_log(folder, engine):
    """A file of its own, opened anew with the access log's by one signal; level and form by a reload;
    a disk that is full."""
    public, admin = t.free_port(), t.free_port()
    log, stderr = os.path.join(folder, "operator.log"), os.path.join(folder, "o.log")
    access = os.path.join(folder, "o-access.log")
    more = "access_log: {file: o-access.log}\nlog: {file: operator.log%s}\n"
    path = path_in(folder, "o.yaml", config(public, admin, [engine], more % ""))
    gateway = t.Gateway(path, stderr)
    t.check(t.wait_ready(public), "a gateway with a log", gateway.text())
    ready = t.wait_for(lambda: "model m is ready" in text_of(log), "lines")
    t.check(ready and re.search(r"^\d{4}-\d\d-\d\dT[\d:.]+Z info  ", text_of(log), re.M),
            "lines go into its file", text_of(log))

    def metric(name):
        return int(re.search(r"^isochrone_%s (\d+)" % name, t.get(admin, "/metrics")[1], re.M).group(1))

    def reload(form):
        write(path, config(public, admin, [engine], more % form))
        return t.get(admin, "/network/v1/reload", "POST", "")

    quiet = text_of(stderr)
    for name in (log, access):
        os.rename(name, name + ".1")
    gateway.signal(signal.SIGUSR1)
    t.check(t.wait_for(lambda: os.path.exists(log) and os.path.exists(access), "both files"),
            "one signal opens both anew")
    moved = text_of(log + ".1")
    status, answer = reload(", format: json")
    t.check(status == 200 and "log.format: text -> json" in answer, "a reload", answer)
    reload(", format: json")
    last = t.wait_for(lambda: [l for l in text_of(log).splitlines() if l.startswith("{")], "JSON")
    value = json.loads(last[0]) if last else {}
    t.check(set(value) == {"time", "level", "message"} and value["level"] == "info" and
            re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z$", value["time"]), "gives JSON", last)
    t.check(text_of(log + ".1") == moved, "and the file that was moved away gets no more")
    reload(", level: error")
    t.wait_for(lambda: "in all" in text_of(log).partition("info -> error")[2], "the last line of that reload")
    size = len(text_of(log))
    reload(", level: error")
    reload(", level: error, format: json")
    t.check(t.get(admin, "/livez")[0] == 200 and len(text_of(log)) == size, "a level leaves lines out",
            text_of(log)[size:])
    t.check(text_of(stderr) == quiet, "and nothing is on standard error", text_of(stderr))
    t.check(metric("log_lines_total") > 3 and metric("log_dropped_total") == 0, "lines are counted")

    more = more.replace("operator.log", "/dev/full")
    t.check(reload("")[0] == 200, "a reload to a disk that is full")
    gateway.signal(signal.SIGHUP)
    t.check(t.wait_for(lambda: metric("log_dropped_total") > 0, "lines that are lost"), "costs lines")
    t.check(text_of(stderr)[len(quiet):].count("log /dev/full: No space left on device: lines are lost") == 1,
            "is told on standard error, once", text_of(stderr))
    t.check(t.get(public, "/livez")[0] == 200, "and nothing else")
    more = more.replace("/dev/full", os.path.join(folder, "nowhere", "o.log"))
    reload("")
    t.check(t.wait_for(lambda: "nowhere/o.log: No such file or directory: the old file is kept" in
                       text_of(stderr), "an error"), "a path that is wrong, too", text_of(stderr))
    told = subprocess.run([t.PROGRAM, "check", "-f", path], capture_output=True, text=True, check=False)
    t.check(told.returncode == 0 and "nowhere/o.log: warning: cannot be written here" in told.stdout,
            "isochrone check says so before", told.stdout)
    more = "%s"
    t.check(reload("")[0] == 200, "no file")
    t.check(t.wait_for(lambda: "log: no more" in text_of(stderr), "a line"),
            "sends lines to standard error again", text_of(stderr))
    t.check(gateway.stop() == "status 0" and "draining" in text_of(stderr), "the end, too",
            text_of(stderr))

    path = path_in(folder, "o.yaml", config(public, admin, [engine], "log: {file: nowhere/o.log}\n"))
    gateway = t.Gateway(path, stderr)
    t.check(t.wait_for(gateway.ended, "the end") == "status 1" and
            "log %s: No such file or directory: not opened" % os.path.join(folder, "nowhere", "o.log")
            in text_of(stderr), "a log that cannot be opened is no start", text_of(stderr))


def main():
    engine = t.Engine()
    with tempfile.TemporaryDirectory(prefix="isochrone-lifetime-") as folder:
        test_manager(folder, engine)
        test_sockets(folder, engine)
        test_drain(folder, engine)
        test_access_log(folder, engine)
        test_log(folder, engine)
    t.finish()


main()
