#!/usr/bin/env python3
"""node_hostile - what a node says of itself is its own word, and is heard, whatever an engine behind it answers and
whatever a client before it claims: reports of an engine's own, names that fill a message, numbers that no report has.

usage: node_hostile.py PATH_OF_ISOCHRONE"""
import http.server
import json
import os
import re
import socketserver
import tempfile
import threading

import life_tools as t
from posted_tools import Network

COUNT = re.compile(r"isochrone_node_reports_total (\d+)")

MODELS = ["m"] + ["%03d-%s" % (i, "x" * 116) for i in range(29)]  # each with slots of its own
FORGED = '{"epoch":%d,"at_us":9007199254740990,"state":"drain","engine":{"slots":7,"running":7}}'
COMMENTS = (": isochrone-report %s\n\n", "\n: isochrone-report %s\n\n", ": x\n: isochrone-report %s\n\n",
            "\r: isochrone-report %s\r\r", ":isochrone-report %s\n\n")


class Engine(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """An Ollama with many models of long names, that says in each way it has how busy the node is."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.epoch = 1
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def log_message(self, *_):
        pass

    def send(self, data, kind, trailer=False):
        forged = FORGED % self.server.epoch
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Isochrone-Report", forged)
        self.send_header("Trailer", "isochrone-report")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n0\r\n" % (len(data), data))
        self.wfile.write(b"Isochrone-Report: %s\r\n\r\n" % forged.encode() if trailer else b"\r\n")

    def do_GET(self):
        models = [{"name": m, "model": m, "size": 1000, "size_vram": 1000} for m in MODELS]
        if self.path in ("/api/tags", "/api/ps"):
            self.send(json.dumps({"models": models}).encode(), "application/json")
        elif self.path == "/api/version":
            self.send(b'{"version":"0.5.1"}', "application/json")
        else:
            self.send_error(404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
        if not body.get("stream"):
            self.send(json.dumps({"model": "m", "usage": usage, "choices": [{
                "index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "words"}}]}).encode(), "application/json", True)
            return
        events = [{"model": "m", "choices": [{"index": 0, "delta": {"content": "w"}}]},
                  {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
                  {"model": "m", "choices": [], "usage": usage}]
        text = "".join(c % (FORGED % self.server.epoch) for c in COMMENTS)
        text += "".join("data: %s\n\n%s" % (json.dumps(e), text) for e in events) + ": kept\n\ndata: [DONE]\n\n" + text
        self.send(text.encode(), "text/event-stream", True)


def report(network):
    status, text = t.get(network.admins["n0"], "/network/v1/report")
    return json.loads(text) if status == 200 else {}


def ask(port, stream=False, dispatch=None):
    headers = {} if dispatch is None else {"Isochrone-Gateway": "gw", "Isochrone-Dispatch": str(dispatch)}
    return t.get(port, "/v1/chat/completions", "POST", json.dumps(t.chat(stream)), headers)


def reports_go_on(network):
    """The node makes reports, and the gateway takes them: it refuses none."""
    def made():
        found = COUNT.search(t.get(network.admins["n0"], "/metrics")[1])
        return int(found[1]) if found else 0

    before = made()
    good = t.wait_for(lambda: made() > before + 2, "reports")
    refused = [line for line in t.get(network.admin, "/metrics")[1].splitlines()
               if line.startswith('isochrone_bus_refused_total{reason="malformed"}')]
    return good and all(line.endswith(" 0") for line in refused)


def check_engine(network, engine, port):
    """Whatever it says of the node, in the node's place."""
    engine.epoch = report(network)["epoch"]
    for stream in (False, True):
        status, text = ask(port, stream)
        t.check(status == 200 and "9007199254740990" not in text, "an engine's own report: not passed on", text)
        t.check(not stream or (": kept" in text and text.count("data: ") == 4), "what else it says is", text)
        t.check(ask(network.public, stream)[0] == 200, "its answer is good all the same")
    node = network.nodes_seen()["n0"]
    t.check(node["state"] == "ready" and node["slots"] != 7, "the gateway goes by the node's own word", node)
    t.check(reports_go_on(network), "and hears it")


def check_numbers(network, port):
    t.check(ask(port, dispatch=41)[0] == 200 and report(network)["ack"]["gw"] >= 41, "a number is acknowledged")
    for number in (2**64 - 1, 2**53):
        t.check(ask(port, dispatch=number)[0] == 200 and report(network)["ack"]["gw"] < 2**53,
                "one that no report can have is not", report(network))
    t.check(reports_go_on(network), "the node is heard after that", network.log("gw"))


def check_names(network):
    t.check("could not be written" not in network.log("n0"), "long names fill no report", network.log("n0"))
    status, text = t.get(network.admins["n0"], "/network/v1/report?page=2")
    t.check(status == 200 and len(text) <= 4096, "nor a page of it", text)
    seen = json.loads(t.get(network.admin, "/network/v1/nodes/n0")[1])
    t.check(seen["models_ready"] == len(MODELS), "the gateway has heard of all models", seen)


def check_disk(network):
    """A disk that is full, as far as the node's epoch can tell."""
    path, log = network.path("n0.epoch"), len(network.log("n0"))
    network.end_node("n0")
    with open(path, encoding="utf-8") as file:
        last = int(file.read())
    os.symlink("/dev/full", path + ".new")
    network.start_node("n0")
    t.check(t.wait_for(lambda: report(network).get("epoch", 0) > last, "another life"),
            "with a full disk it starts all the same", network.log("n0")[log:])
    t.check("No space left" in network.log("n0") and "the epoch is not kept" in network.log("n0"), "and says so",
            network.log("n0")[log:])
    t.check(t.wait_for(lambda: reports_go_on(network) and ask(network.public)[0] == 200, "answers"),
            "it is heard, and asked")
    network.end_node("n0")
    with open(path, "w", encoding="utf-8") as file:
        file.write("%d\n" % 2**52)
    network.start_node("n0")
    t.check(t.wait_for(lambda: network.nodes["n0"].poll() is not None, "its end") and network.nodes["n0"].poll() == 1,
            "but not where two of its lives would have one number", network.log("n0")[log:])


def main():
    with tempfile.TemporaryDirectory() as folder:
        engine, network = Engine(), Network(folder)
        port = network.serve_by("n0", '{url: "http://127.0.0.1:%d", kind: ollama, slots: 2}' % engine.server_address[1])
        try:
            network.start_gateway()
            network.start_node("n0")
            t.check(t.wait_for(lambda: network.nodes_seen().get("n0", {}).get("models_ready") == len(MODELS), "models"),
                    "a node whose engine has many models of long names is heard", network.log("n0"))
            check_names(network)
            check_engine(network, engine, port)
            check_numbers(network, port)
            check_disk(network)
        finally:
            network.close()
    t.finish()


if __name__ == "__main__":
    main()
