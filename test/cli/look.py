#!/usr/bin/env python3
"""look - the commands that ask a gateway: status, nodes, capacity, readiness, demand, explain. First against a
server that answers by script (also wrongly, with hostile names, or not at all), then against a real
gateway in front of emulated engines.

usage: look.py PATH_OF_ISOCHRONE"""
import fcntl
import http.server
import json
import os
import pty
import re
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
import urllib.error
import urllib.request

from life_tools import PROGRAM, check, finish, skip
from ports import free_port

LOOKS = ("status", "nodes", "capacity", "readiness", "demand", "explain")
TOKEN = "letmein"


def environment(**more):
    keep = {k: v for k, v in os.environ.items()
            if k not in ("ISOCHRONE_ADMIN", "ISOCHRONE_ADMIN_TOKEN", "COLUMNS", "NO_COLOR")}
    return {**keep, "TERM": "xterm", **more}


def run(*args, **env):
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=60,
                          env=environment(**env), check=False)
    return done.returncode, done.stdout, done.stderr


def run_on_terminal(columns, *args, **env):
    """What a terminal of this width would show."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([PROGRAM, *args], stdin=slave, stdout=slave, stderr=slave,
                          env=environment(**env)) as child:
        os.close(slave)
        out = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            out += data
        child.wait(timeout=60)
    os.close(master)
    return out.decode().replace("\r\n", "\n")


# ---- What the scripted gateway says.

def node(name, region, **more):
    return {"node": name, "index": 0, "url": "http://10.0.0.1:8000", "engine": "vllm",
            "region": region, "operator": "acme", "site": "s1", "gpu": "h100", "state": "ready",
            "ejected": False, "slots": 64, "own_outstanding": 1, "report_age_ms": 250.4,
            "running": 3, "waiting": 0, "queue_tokens": 0, "kv_tokens_used": 5000,
            "kv_tokens_cap": 20000, "rtt_ms": 12.34, "residual": 1.1, "p_fail": 0.01,
            "prefill_tok_s": 20000, "decode_tok_s": 2500, "free_prefill_tok_s": 12345,
            "free_decode_tok_s": 1234.4, "models_ready": 1, **more}


def candidate(name, why, cost_ms, net_ms=10, queue_ms=0, priced=True):
    first_ms = net_ms + queue_ms + 40 if priced else 0
    return {"node": name, "region": "eu-west", "why": why, "hit_tokens": 0, "ext_ms": 0,
            "late_ms": 0, "kv_ms": 0, "fail_ms": 0, "cost_ms": cost_ms,
            "terms": {"net_ms": net_ms, "ready_ms": 0, "queue_ms": queue_ms,
                      "prefill_ms": 30 if priced else 0, "step_ms": 10 if priced else 0,
                      "first_ms": first_ms, "done_ms": 10 * first_ms, "sigma_ms": 3}}


LONG = "a-node-with-a-very-long-name-in-the-middle-of-nowhere-0001"
EVIL = "m\x1b[2J\u202e\u9eb7\x9b1m"
NODES = [node("b-2", "us-east", ejected=True, ejected_for="5xx", ejected_left_ms=21000), node("b-1", "us-east", state="drain"),
         node("b-3", "us-east", engine="unknown", models_ready=0),
         node(LONG, "eu-west", report_age_ms=None)]
REGIONS_READY = [{"region": "us-east", "absent": 0, "downloading": 0, "on_disk": 0, "loading": 2,
                  "sleeping": 0, "ready": 1, "failed": 0, "ready_in_ms": 4200.0}]
REGIONS_ROOM = [{"region": "us-east", "nodes_ready": 1, "prefill_tok_s": 20000,
                 "decode_tok_s": 2500, "free_prefill_tok_s": 12345.6, "free_decode_tok_s": 1000,
                 "requests_s": 9.1, "extra_requests_s": 4.25, "extra_prefill_tok_s": 12345.6,
                 "extra_decode_tok_s": 850, "limited_by": "decode", "prompt_tokens": 3000,
                 "uncached_tokens": 2904.8, "output_tokens": 200, "pool": "large", "pool_models": 3,
                 "correction": 0.91, "checked": {
                     "ago_ms": 60000, "windows": 55, "told_requests_s": 16, "held_requests_s": 12.5,
                     "broke_requests_s": 14, "error_percent": 20.4}}]
REGIONS_IDLE = [{**REGIONS_ROOM[0], "pool_models": 1, "checked": None}]
REGIONS_ASK = [{"region": "us-east", "requests_s": 2.5, "usual_requests_s": 2, "ahead_requests_s": 3,
                "trend_requests_s_min": 0, "prompt_tok_s": 1200, "output_tok_s": 400,
                "told_requests_s": 1.5, "told_usual_requests_s": 1, "told_by": ["gw-2", "gw-3", 7],
                "told_by_count": 4}]
DECISION = {"attempt": 1, "model": "tiny", "rule": "time", "mode": "time", "node": "far", "considered": 4,
            "prompt_tokens": 400.2, "hit_tokens": 0, "output_tokens": 180,
            "candidates": [candidate("far", "chosen", 112), candidate("lot", "tied", 113),
                           candidate("costly", "slower", 400, 11), candidate("near", "slower", 520,
                                                                             2, 310),
                           candidate("bare", "absent", 0, 3, 0, False)]}
OUTCOME = {"at_s": 1, "class": "normal", "not_granted": "", "predicted_first_ms": 50, "actual_first_ms": 61.4, "actual_ms": 2345,
           "failure": "none", "refusal": "none"}
METRICS = """# TYPE isochrone_requests_total counter
isochrone_requests_total{model="tiny",code="200"} 40
isochrone_requests_total{model="tiny",code="502"} 2
isochrone_requests_total{model="gone",code="200"} 7
this line is none
isochrone_requests_in_flight 2
isochrone_ttft_seconds_bucket{le="0.128"} 10
isochrone_ttft_seconds_bucket{le="0.256"} 90
isochrone_ttft_seconds_bucket{le="0.512"} 100
isochrone_ttft_seconds_bucket{le="+Inf"} 100
isochrone_ttft_seconds_sum 20
isochrone_ttft_seconds_count 100
isochrone_ttft_error_seconds_sum 1.6
isochrone_ttft_error_seconds_count 100
"""
ID, RETRIED, REFUSED = "00000000000001a7", "00000000000001a8", "00000000000001a9"
FULLEST = "00000000000001aa"


def error(status, message, code="y"):
    return status, json.dumps({"error": {"message": message, "type": "x", "code": code}})


ANSWERS = {
    "/readyz": (200, json.dumps({"ready": True, "reason": "", "nodes": 4})),
    "/metrics": (200, METRICS),
    "/network/v1/bus": (200, json.dumps({"configured": False, "members": 0})),
    "/network/v1/readiness": (200, json.dumps({"models": [
        {"model": "tiny", "regions": REGIONS_READY}, {"model": EVIL, "regions": REGIONS_READY}]})),
    "/network/v1/capacity": (200, json.dumps({"models": [
        {"model": "tiny", "regions": REGIONS_ROOM}, {"model": EVIL, "regions": REGIONS_ROOM}]})),
    "/network/v1/demand": (200, json.dumps({"gateway": "us", "gateways": 3, "models": [
        {"model": "tiny", "regions": REGIONS_ASK}, {"model": EVIL, "regions": REGIONS_ASK}]})),
    "/network/v1/nodes/b-2": (200, json.dumps({**NODES[0], "models": [
        {"model": "tiny", "engine_name": EVIL, "state": "ready"}]})),
    "/network/v1/explain/" + ID: (200, json.dumps({"id": ID,
                                                   "attempts": [{**DECISION, **OUTCOME}]})),
    "/network/v1/explain/" + RETRIED: (200, json.dumps({"id": RETRIED, "attempts": [
        {**DECISION, **OUTCOME, "failure": "connect", "actual_first_ms": None, "actual_ms": None},
        {**DECISION, **OUTCOME, "attempt": 2}]})),
    "/network/v1/explain/" + FULLEST: (200, json.dumps({"id": FULLEST, "attempts": [
        {**DECISION, **OUTCOME, "mode": "goal", "class": "low", "not_granted": "priority",
         "candidates": [candidate("far", "chosen", 112), candidate("near", "busier_fits", 90, 2)]}]})),
    "/network/v1/explain/" + REFUSED: (200, json.dumps({"id": REFUSED, "attempts": [
        {**OUTCOME, "candidates": [], "refusal": "full"}]})),
}


class Scripted(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers = ANSWERS
    asked = []  # (method, path, headers, body)

    def log_message(self, *_):
        pass

    def answer_of(self, path, body):
        path, _, query = path.partition("?")
        if path == "/network/v1/nodes" and path not in self.answers:
            first = int(re.search(r"from=(\d+)", query).group(1))  # two nodes a page
            page = [{**n, "index": i} for i, n in enumerate(NODES)][first:first + 2]
            after = first + 2 if first + 2 < len(NODES) else None
            return 200, json.dumps({"nodes": page, "next": after})
        if path == "/network/v1/explain" and path not in self.answers and body is not None:
            return 200, json.dumps({"decision": DECISION})
        return self.answers.get(path, error(404, "no such request among the recent ones"))

    def do(self, body=None):
        self.asked.append((self.command, self.path, dict(self.headers), body))
        status, text = self.answer_of(self.path, body)
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.do()

    def do_POST(self):
        self.do(self.rfile.read(int(self.headers["Content-Length"])))


class Server:
    """A scripted gateway for a while; some answers replaced."""

    def __init__(self, **replaced):
        handler = type("Handler", (Scripted,), {"answers": {**ANSWERS, **replaced}, "asked": []})
        self.handler = handler
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.handle_error = lambda *_: None  # a client that has had enough hangs up
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


# ---- Options and what can go wrong on the way.

def check_options():
    for word in LOOKS:
        code, out, err = run(word, "--jsno", ID)
        check(code == 2 and out == "" and "did you mean `--json`?" in err, word + " --jsno", err)
        code, out, err = run(word, "--help")
        check(code == 0 and out.index("  isochrone " + word) < out.index("--admin"),
              word + " --help: examples first")
    for args, words in ((("nodes", "a", "b"), "`b`"), (("nodes", "--admin"), "a value is missing"),
                        (("status", "x"), "`x`"), (("nodes", "--json=yes"), "no value is taken"),
                        (("nodes", "A/../x"), "no name"), (("nodes", "-x"), "no option `-x`"),
                        (("explain",), "which request?"), (("explain", "12"), "16 hexadecimal"),
                        (("explain", ID, "--model", "m"), "one question"),
                        (("explain", ID, "--max-tokens", "1"), "go with --model"),
                        (("explain", "-m", "m", "--prompt-bytes", "-1"), "whole number"),
                        (("explain", "-m", "m", "--max-tokens", "0"), "whole number"),
                        (("nodes", "--admin", "ftp://a"), "https"),
                        (("nodes", "--admin", "http://"), "no admin address"),
                        (("nodes", "--token", TOKEN), "file:PATH")):
        code, out, err = run(*args)
        check(code == 2 and out == "" and words in err, "wrong use: " + " ".join(args), err)


def check_failures():
    port = free_port()
    code, out, err = run("nodes", "--admin", "http://127.0.0.1:%d" % port)
    check(code == 1 and out == "" and "no gateway answers at 127.0.0.1:%d: is it running?" % port
          in err, "nobody there", err)
    code, _, err = run("explain", "-f", "nothing.json", "--admin", "127.0.0.1:1")
    check(code == 1 and "nothing.json" in err, "a body that is not there", err)
    code, _, err = run("nodes", "--token", "file:nothing")
    check(code == 1 and "nothing" in err, "a token that is not there", err)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def garbage():
            peer, _ = listener.accept()
            peer.recv(4096)
            peer.sendall(b"SSH-2.0-x\r\n\r\n")
            peer.close()
        thread = threading.Thread(target=garbage)
        thread.start()
        code, _, err = run("nodes", "--admin", "127.0.0.1:%d" % listener.getsockname()[1])
        thread.join()
        check(code == 1 and "no gateway" in err, "no HTTP", err)
    path = "/network/v1/capacity"
    for label, answer, words in (
            ("no JSON", (200, "hello"), "not JSON"), ("a list", (200, "[1]"), "not JSON"),
            ("another server", (404, "<html>"), "status 404"),
            ("deep nesting", (200, "[" * 100000), "not JSON"),
            ("the gateway's own error", error(403, "not\x1b[2J you"), "not?[2J you"),
            ("a token is needed", error(401, "send the token"), "--token file:PATH"),
            ("too large", (200, " " * (17 << 20)), "too large")):
        with Server(**{path: answer}) as s:
            code, out, err = run("capacity", "--admin", s.url)
            check(code == 1 and out == "" and words in err and "\x1b" not in err, label, err)
    for text in ("{}", '{"models":7}', '{"models":[7,{"model":3,"regions":{"a":1}},{"regions":[]}]}'):
        with Server(**{path: (200, text), "/network/v1/readiness": (200, text),
                       "/network/v1/demand": (200, text), "/network/v1/bus": (200, text)}) as s:
            for word in ("capacity", "readiness", "demand", "status"):
                check(run(word, "--admin", s.url)[0] == 0, "%s copes with %s" % (word, text))
    endless = json.dumps({"nodes": [], "next": 0})
    refused = json.dumps({"refused_nodes": [
        {"node": "n1", "reason": "other_key", "words": "two nodes \x1b[2J", "times": 3, "ago_ms": 2100},
        {"node": "n2", "reason": "malformed", "words": "long ago", "times": 1, "ago_ms": 3600000}, 7]})
    with Server(**{"/network/v1/nodes": (200, endless), "/network/v1/bus": (200, refused)}) as s:
        code, out, _ = run("nodes", "--admin", s.url)
        check(code == 0 and "no nodes" in out and len(s.handler.asked) == 2, "pages that go nowhere")
        check("two nodes ?[2J" in out and "n2" not in out, "who was refused lately, and why", out)


def check_token(s):
    with open("token", "w", encoding="utf-8") as file:
        file.write(TOKEN + "\n")
    for args, env in ((("--token", "file:token", "--admin", s.url), {}),
                      ((), {"ISOCHRONE_ADMIN": s.url, "ISOCHRONE_ADMIN_TOKEN": "file:token"})):
        s.handler.asked.clear()
        code, _, err = run("capacity", *args, **env)
        headers = {k.lower(): v for k, v in s.handler.asked[0][2].items()}
        check(code == 0 and headers.get("authorization") == "Bearer " + TOKEN,
              "the token's file is read and sent", err)
    s.handler.asked.clear()
    run("capacity", ISOCHRONE_ADMIN=s.url)
    check("authorization" not in {k.lower() for k in s.handler.asked[0][2]}, "and none without")
    code, _, _ = run("capacity", "--admin", s.url, ISOCHRONE_ADMIN="http://127.0.0.1:1")
    check(code == 0, "the option wins over the environment")
    code, _, err = run("capacity", "--admin", s.url.replace("127.0.0.1", "localhost"))
    check(code == 0, "a name, of whose addresses only one answers", err)


# ---- What they show.

def check_views(s):
    code, out, err = run("capacity", "--admin", s.url)
    lines = out.splitlines()
    check(code == 0 and err == "" and lines[0].split() == [
        "MODEL", "REGION", "NODES", "EXTRA", "READ", "WRITE", "ERROR", "LIMIT", "SHARES", "REACHED"],
          "capacity", out)
    check(lines[-1].split() == ["tiny", "us-east", "1", "4.2", "12.3k", "850", "+20", "%",
                                "decode", "2", "12..14"], "a row, rounded", out)
    check("\x1b" not in out and "\u202e" not in out and "\x9b" not in out and "m?[2J" in out,
          "hostile names cannot reach the terminal", repr(out))
    _, out, _ = run("capacity", "--admin", s.url, COLUMNS="80")
    check(max(map(len, out.splitlines())) <= 80 and "12..14" in out, "capacity in 80 columns", out)
    idle = json.dumps({"models": [{"model": "tiny", "regions": REGIONS_IDLE}]})
    with Server(**{"/network/v1/capacity": (200, idle)}) as other:
        _, out, _ = run("capacity", "--admin", other.url)
        check(out.splitlines()[0].split()[-1] == "LIMIT",
              "what was never checked nor is shared is left out", out)
    told = json.dumps({"slo": {"ttft_p90_ms": 1000, "ttft_p90_ms_per_prompt_token": 1, "tpot_p90_ms": 60},
                       "models": [{"model": "tiny", "regions": [
                           {**REGIONS_IDLE[0], "expected_error_percent": 15, "limited_by": "kv"}]}]})
    with Server(**{"/network/v1/capacity": (200, told)}) as other:
        _, out, _ = run("capacity", "--admin", other.url)
        check("~15 %" in out and "memory" in out,
              "what was not checked has the error that is usual, and a limit in words", out)
        check("1.0 s + 1.0 ms a prompt token" in out and "60 ms between tokens" in out
              and max(map(len, out.splitlines())) <= 80, "and it says within which goals", out)
    _, out, _ = run("capacity", "tiny", "--admin", s.url)
    check("tiny" in out and "m?" not in out, "one model", out)
    check("EXTRA is 0" not in out, "nothing is said of 0 where there is none", out)
    full = [{**REGIONS_ROOM[0], "extra_requests_s": 0, "extra_prefill_tok_s": 0, "extra_decode_tok_s": 0}]
    models = [{"model": "tiny", "regions": REGIONS_ROOM}, {"model": "late", "regions": full}]
    with Server(**{"/network/v1/capacity": (200, json.dumps(
            {"models": models, "slo": {"ttft_p90_ms": 1000, "tpot_p90_ms": 60}}))}) as other:
        _, out, _ = run("capacity", "--admin", other.url)
        check("EXTRA is 0 where" in out and "FREE of" in out and max(map(len, out.splitlines())) <= 80,
              "0 beside what is free is explained", out)
        _, out, _ = run("capacity", "tiny", "--admin", other.url)
        check("EXTRA is 0" not in out, "not beside another model", out)
    code, out, err = run("capacity", "tny", "--admin", s.url)
    check(code == 1 and out == "" and "did you mean `tiny`?" in err, "no such model", err)
    _, out, _ = run("readiness", "--admin", s.url)
    check(out.splitlines()[0].split() == ["MODEL", "REGION", "READY", "LOADING", "NEXT"]
          and "4.2" in out, "readiness leaves out states that nobody is in", out)
    _, out, _ = run("demand", "--admin", s.url)
    check(out.splitlines()[-1].split(None, 8) == ["tiny", "us-east", "2.5", "2", "3", "1200", "400",
                                                  "1.5", "gw-2, gw-3 and 2 more"], "demand", out)
    check("\x1b" not in out and "gw-2" in out, "nor those of gateways", repr(out))
    for word in ("capacity", "readiness", "demand"):
        _, out, _ = run(word, "--json", "--admin", s.url)
        check(out == ANSWERS["/network/v1/" + word][1] + "\n", word + " --json is the gateway's")


def check_nodes(s):
    code, out, err = run("nodes", "--admin", s.url)
    lines = out.splitlines()
    check(code == 0 and err == "", "nodes", err)
    check([l.split()[0] for l in lines[2:6]] == [LONG, "b-1", "b-2", "b-3"],
          "all pages, by region and name, uncut", out)
    check("drain" in lines[3] and "ejected" in lines[4] and "no answer" in lines[5], "states", out)
    check(lines[2].split()[3:] == ["h100", "ready", "3", "0", "25", "12", "1234", "-"],
          "figures, rounded", out)
    check(lines[-1] == "4 nodes, 1 ready", "and a sum", out)
    for columns in (76, 80):
        _, out, _ = run("nodes", "--admin", s.url, COLUMNS=str(columns))
        check(max(map(len, out.splitlines())) <= columns and "0001" in out and ".." in out,
              "%d columns: the middle of names goes" % columns, out)
    _, out, _ = run("nodes", "--json", "--admin", s.url)
    check([n["node"] for n in json.loads(out)["nodes"]] == [n["node"] for n in NODES],
          "--json joins the pages")
    code, out, _ = run("nodes", "b-2", "--admin", s.url)
    check(code == 0 and out.startswith("b-2: ejected\n") and "http://10.0.0.1:8000" in out
          and "\x1b" not in out and "tiny" in out and "with `5xx`: out for 21" in out, "one node", out)
    _, out, _ = run("nodes", "b-2", "--json", "--admin", s.url)
    check(json.loads(out)["node"] == "b-2", "one node as JSON")
    mute = {**NODES[0], "ejected": False, "silent_ms": 41000, "models": []}
    with Server(**{"/network/v1/nodes/b-2": (200, json.dumps(mute))}) as other:
        code, out, _ = run("nodes", "b-2", "--admin", other.url)
        check(code == 0 and out.startswith("b-2: silent\n") and " for 41" in out, "a silent node", out)
    code, out, err = run("nodes", "c-9", "--admin", s.url)
    check(code == 1 and out == "" and "isochrone nodes: no such" in err, "not there", err)
    none = error(404, "there is no node of this name", "node_not_found")
    paths = ["/network/v1/nodes/" + p for p in ("b-33", "eu", "a-node", "b-33/drain")]
    with Server(**{p: none for p in paths}) as other:
        code, out, err = run("nodes", "b-33", "--admin", other.url)
        check(code == 1 and out == "" and err.endswith("of this name; did you mean `b-3`?\n"),
              "a mistyped node, on the second page", err)
        _, _, err = run("drain", "--node", "b-33", "--admin", other.url)
        check(err.endswith("of this name; did you mean `b-3`?\n"), "likewise where it is to do something", err)
        _, _, err = run("nodes", "eu", "--admin", other.url)
        check(err.endswith("of this name\n"), "nothing comes near", err)


def check_colours(s):
    try:
        os.close(pty.openpty()[1])
    except OSError as error:  # a chroot or container without /dev/pts
        skip("colours on a terminal", str(error))
        return
    out = run_on_terminal(80, "nodes", "--admin", s.url)
    check("\x1b[31mejected\x1b[0m" in out, "colours on a terminal", repr(out))
    plain = re.sub(r"\x1b\[\d*m", "", out)
    check(max(map(len, plain.splitlines())) <= 80 and plain.count(" " * 2) > 20,
          "whose width is kept", plain)
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        check("\x1b" not in run_on_terminal(80, "nodes", "--admin", s.url, **env),
              "none with %s" % env)
    check("\x1b" not in run("status", "--admin", s.url)[1], "none in a pipe")


def check_status(s):
    code, out, err = run("status", "--admin", s.url)
    check(code == 0 and err == "" and out.splitlines()[0] == "1/4 nodes ready, 2 models, 2 requests "
          "in flight, p95 TTFT 380 ms, predicted within 8 %", "status", out, err)
    rows = {l.split()[0]: l.split()[1:] for l in out.splitlines() if l}
    check(rows["tiny"] == ["1", "2", "42", "2", "12.3k", "1000"], "a line a model", out)
    code, out, _ = run("status", "--json", "--admin", s.url)
    data = json.loads(out)
    check(code == 0 and data["ready"] is True and data["nodes_ready"] == 1
          and data["ttft_p95_ms"] == 384 and round(data["ttft_error_percent"]) == 8
          and data["models"][0]["requests"] == 42, "as JSON", out)
    with Server(**{"/metrics": (200, "isochrone_self_suspicion 1\n")}) as other:
        _, out, _ = run("status", "--admin", other.url)
        check("it may be this gateway" in out, "a gateway that suspects itself", out)
        check("late" not in out, "nothing of second tries, as there were none", out)
    for bus, words in (({"connected": True, "error": ""}, "\nbus: 3 nodes, 1 proven, 2 silent\n"),
                       ({"connected": False, "error": "refused\x1b[2J"}, "bus: not connected: refused?[2J\n")):
        page = {"configured": True, "bus": bus, "in_fleet": 3, "proven": 1, "silent": 2}
        with Server(**{"/network/v1/bus": (200, json.dumps(page))}) as other:
            _, out, _ = run("status", "--admin", other.url)
            check(words in out, "the bus in a line", out)
    late = "isochrone_late_attempts_total 7\nisochrone_hedges_total 5\nisochrone_hedges_won_total 3\n"
    with Server(**{"/metrics": (200, late)}) as other:
        _, out, _ = run("status", "--admin", other.url)
        check("\n7 late first tokens, 5 tried at a second node, which was first 3 times\n" in out,
              "second tries in a line", out)
        _, out, _ = run("status", "--json", "--admin", other.url)
        data = json.loads(out)
        check((data["late_attempts"], data["hedges"], data["hedges_won"]) == (7, 5, 3),
              "and as JSON", out)
    starting = {"/readyz": (503, json.dumps({"ready": False, "reason": "no engine has a model"})),
                "/metrics": (200, "")}
    with Server(**starting) as other:
        code, out, _ = run("status", "--admin", other.url)
        check(code == 1 and out.startswith("not ready: no engine has a model\n")
              and "TTFT" not in out and "predicted" not in out, "not ready is status 1", out)


def check_explain(s):
    code, out, err = run("explain", ID, "--admin", s.url)
    lines = out.splitlines()
    check(code == 0 and err == "" and lines[0].startswith("tiny, rule time: 4 nodes; some 400 tokens"),
          "explain an id", out, err)
    check(lines[1] == "far in eu-west: first token predicted in 50 ms, came in 61 ms; all in 2.3 s",
          "what came", out)
    check(lines[2] == "nearest: near in eu-west, 2.0 ms away: longer queue, 310 ms more",
          "why not the nearest", out)
    rows = [l.split() for l in lines[6:]]
    check([r[0] for r in rows] == ["far", "lot", "costly", "near", "bare"], "losers by cost", out)
    check(" ".join(rows[2][-3:]) == "288 ms more" and "lot" in rows[1][-1]
          and rows[4][2:] == ["3", "-", "-", "-", "-", "-", "-", "lacks", "the", "model"], "in words", out)
    _, out, _ = run("explain", ID, "--admin", s.url, COLUMNS="80")
    check(max(map(len, out.splitlines())) <= 80, "80 columns", out)
    _, out, _ = run("explain", RETRIED, "--admin", s.url)
    check("it failed: connect" in out and "\nattempt 2: tiny" in out, "a retry", out)
    _, out, _ = run("explain", FULLEST, "--admin", s.url)
    check("tiny, rule time, the fullest that meets the deadline: 4 nodes" in out and "kept free" in out,
          "a deadline", out)
    check(out.splitlines()[1] == "its key did not grant: priority; class low", "what its key did not grant", out)
    _, out, _ = run("explain", REFUSED, "--admin", s.url)
    check(out == "not sent to any node: every node is at its limit\n", "a refusal", out)
    code, _, err = run("explain", "0000000000000001", "--admin", s.url)
    check(code == 1 and "no such request" in err, "an unknown id", err)
    s.handler.asked.clear()
    code, out, _ = run("explain", "--model", "tiny", "--prompt-bytes", "5000", "--max-tokens", "9",
                       "--admin", s.url)
    body = json.loads(s.handler.asked[0][3])
    check(s.handler.asked[0][:2] == ("POST", "/network/v1/explain") and body["model"] == "tiny"
          and len(body["messages"][0]["content"]) == 5000 and body["max_tokens"] == 9, "a dry run")
    check("far in eu-west: first token in 50 ms, the last in 500 ms" in out, "and its words", out)
    with open("body.json", "w", encoding="utf-8") as file:
        file.write('{"model": "x"}')
    s.handler.asked.clear()
    code, out, _ = run("explain", "-f", "body.json", "--json", "--admin", s.url)
    check(s.handler.asked[0][3] == b'{"model": "x"}' and json.loads(out) == {"decision": DECISION},
          "of a body, as JSON", out)
    none = error(404, "this model does not exist here", "model_not_found")
    with Server(**{"/network/v1/explain": none}) as other:
        code, out, err = run("explain", "--model", "tniy", "--admin", other.url)
        check(code == 1 and out == "" and err.endswith("not exist here; did you mean `tiny`?\n"),
              "a mistyped model", err)
        _, _, err = run("explain", "-f", "body.json", "--admin", other.url)
        check(err.endswith("not exist here\n"), "of a body nothing is guessed", err)


# ---- The real thing.

def get(url, body=None):
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.headers, response.read()


def wait_ready(admin, children):
    for _ in range(300):
        if any(child.poll() is not None for child in children):
            return False
        try:
            ready = json.loads(get(admin + "/network/v1/readiness")[1])
            if sum(r["ready"] for m in ready["models"] for r in m["regions"]) >= 4:
                return True
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.1)
    return False


def check_live(children):
    engines, public, admin = free_port(), free_port(), free_port()
    emulate = ["emulate", "--nodes", "8", "--regions", "3", "--listen-port", str(engines), "--base",
               "127.5.0.1", "--gateway", "us-east=127.0.0.1,127.0.0.1:%d,127.0.0.1:%d"
               % (public, admin)]
    check(run(*emulate, "--write-configs", ".")[0] == 0, "a configuration")
    config = [name for name in os.listdir(".") if name.startswith("gateway-")][0]
    for args in (emulate, ["gateway", "-f", config]):
        with open("log", "a", encoding="utf-8") as log:
            children.append(subprocess.Popen([PROGRAM, *args], stdout=log, stderr=log))
    url = "http://127.0.0.1:%d" % admin
    with open("log", encoding="utf-8") as log:
        check(wait_ready(url, children), "a gateway over emulated engines", log.read())
    code, out, err = run("status", "--admin", url)
    check(code == 0 and "/8 nodes ready" in out, "status of it", out, err)
    models = json.loads(run("readiness", "--json", "--admin", url)[1])["models"]
    model = [m["model"] for m in models if any(r["ready"] for r in m["regions"])][0]
    body = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
    headers, _ = get("http://127.0.0.1:%d/v1/chat/completions" % public, json.dumps(body).encode())
    code, out, err = run("explain", headers["x-request-id"], "--admin", url)
    check(code == 0 and headers["isochrone-node"] + " in " in out and " chosen" in out
          and "all in" in out, "explain of an answer's id", out, err)
    code, out, err = run("explain", "-m", model, "--prompt-bytes", "100000", "--admin", url)
    check(code == 0 and " chosen" in out, "a dry run at it", out, err)
    code, out, err = run("explain", "-m", "nothing", "--admin", url)
    check(code == 1 and out == "" and "does not exist" in err, "of no model", err)
    for word in ("nodes", "capacity", "readiness"):
        code, out, err = run(word, "--admin", url, COLUMNS="80")
        check(code == 0 and len(out.splitlines()) > 3 and max(map(len, out.splitlines())) <= 80,
              word + " of it in 80 columns", out, err)
    name = json.loads(run("nodes", "--json", "--admin", url)[1])["nodes"][0]["node"]
    code, out, err = run("nodes", name, "--admin", url)
    check(code == 0 and out.startswith(name + ": "), "and one of its nodes", out, err)


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    check_options()
    check_failures()
    with Server() as scripted:
        check_token(scripted)
        check_views(scripted)
        check_nodes(scripted)
        check_colours(scripted)
        check_status(scripted)
        check_explain(scripted)
    started = []
    try:
        check_live(started)
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=60)
    os.chdir("/")
finish()
