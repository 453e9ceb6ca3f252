#!/usr/bin/env python3
"""bus_hostile - whatever comes over the bus, clients notice nothing and people are told: a NATS server without
users, so that everybody may say everything, a gateway, nodes, clients that never try again, and somebody who
replays, forges, floods, takes names, starts again and again; then a bus that dies, and one that lets nobody in.

usage: bus_hostile.py PATH_OF_ISOCHRONE"""
import json
import os
import re
import select
import signal
import socket
import subprocess
import tempfile

import life_tools as t
from nats_server import Server, found

FLOOD = 1500  # reports; 1200 a minute are listened to
LIVES = 8     # within a moment; 6 a minute are


class Bus:
    """A client of the server that says and hears what it likes."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=t.GUARD_S)
        self.data = b""
        self.heard = []  # (subject, body)
        self.socket.sendall(b'CONNECT {"verbose":false}\r\nSUB iso.> 1\r\nPING\r\n')
        t.wait_for(lambda: self.listen() or b"PONG" in self.data, "the server")

    def listen(self):
        """What came until now."""
        while select.select([self.socket], [], [], 0)[0]:
            part = self.socket.recv(65536)
            if not part:
                return
            self.data += part
        while True:
            m = re.search(rb"MSG (\S+) \S+ (?:\S+ )?(\d+)\r\n", self.data)
            if not m or len(self.data) < m.end() + int(m.group(2)) + 2:
                return
            self.heard.append((m.group(1).decode(), self.data[m.end():m.end() + int(m.group(2))].decode()))
            self.data = self.data[m.end() + int(m.group(2)) + 2:]

    def last(self, subject, part=""):
        """The last body on a subject (a pattern) that has this part; None."""
        self.listen()
        return next((body for s, body in reversed(self.heard) if re.fullmatch(subject, s) and part in body), None)

    def await_one(self, subject, part=""):
        return t.wait_for(lambda: self.last(subject, part), "%s with %s" % (subject, part))

    def say(self, subject, *bodies):
        self.socket.sendall(b"".join(b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(b), b)
                                     for b in (body.encode() for body in bodies)))


def run(*args):
    done = subprocess.run([t.PROGRAM, *args], capture_output=True, text=True, timeout=t.GUARD_S, check=False)
    return done.stdout + done.stderr


class Node:
    def __init__(self, name, engine_url, bus_url, key=None):
        key = key or name + ".key"
        run("key", "node", "--name", name, "-o", key)
        self.path, self.log = key + ".yaml", key + ".log"
        t.write(self.path, "key: \"file:%s\"\nstate: .\nauth: none\nbus: {nats: \"%s\"}\n"
                "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\nengines: [{url: \"%s\"}]\n" % (
                    key, bus_url, t.free_port(), t.free_port(), engine_url))
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([t.PROGRAM, "node", "-f", self.path], stderr=log)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(t.GUARD_S)


class Look:
    """What the gateway says, in the words that people see."""

    def __init__(self, admin):
        self.admin = admin

    def refused(self, reason):
        found_ = re.search(r'bus_refused_total{reason="%s"} (\d+)' % reason, t.get(self.admin, "/metrics")[1])
        return int(found_.group(1)) if found_ else 0

    def nodes(self):
        return run("nodes", "--admin", "http://127.0.0.1:%d" % self.admin)

    def tells(self, reason, name, words):
        """It is counted, and stands below the nodes."""
        t.check(t.wait_for(lambda: self.refused(reason) > 0, reason), "%s: counted" % reason)
        text = self.nodes()
        t.check(re.search(r"^%s +\d.* %s" % (name, words), text, re.M), "%s: told" % reason, text)


def start_gateway(folder, name, more):
    public, admin = t.free_port(), t.free_port()
    path = os.path.join(folder, name + ".yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write("name: %s\nlisten: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\n%s" % (
            name, public, admin, more))
    return t.Gateway(path, os.path.join(folder, name + ".log")), public, admin


def check_lies(bus, look, b, engine, url):
    hello, report = bus.await_one("iso.hello.a", "epoch"), bus.await_one(r"iso\.report\..*\.a", '"full":true')
    bus.say("iso.report.local.a", report, report)
    t.check(t.wait_for(lambda: look.refused("repeated") + look.refused("stale") >= 2, "replays"),
            "what is said again is old")
    digit = hello[-10]
    bus.say("iso.hello.a", hello[:-10] + ("1" if digit == "0" else "0") + hello[-9:])
    look.tells("bad_signature", "a", "the node's signature does not fit")
    bus.say("iso.report.local.b", report)
    look.tells("wrong_name", "b", "it came under another name")
    bus.say("iso.report.local.b", report[:-3])
    look.tells("malformed", "b", "no JSON")
    bus.say("iso.report.local.b", report + " " * 4096)
    t.check(t.wait_for(lambda: json.loads(t.get(look.admin, "/network/v1/bus")[1])["bus"]["refused_in"] > 0,
                       "the large one"), "what is too large is not looked at")
    former = bus.await_one(r"iso\.report\..*\.b", '"node":"b"')
    b.stop()
    b.start()
    epoch = json.loads(former)["epoch"]
    t.check(t.wait_for(lambda: json.loads(bus.last(r"iso\.report\..*\.b", '"node":"b"'))["epoch"] > epoch, "another life"),
            "a node starts again")
    bus.say("iso.report.local.b", former)
    look.tells("old_epoch", "b", "of an earlier life")
    twin = Node("a", engine.url, url, key="twin.key")
    look.tells("other_key", "a", "two nodes have this name")
    one = run("nodes", "a", "--admin", "http://127.0.0.1:%d" % look.admin)
    t.check("another node says that it has this name" in one, "and the node itself says so", one)
    twin.stop()


def check_flood(bus, look, url):
    c = Node("c", "http://127.0.0.1:1", url)  # without models: nobody is asked to wait for it
    for life in range(LIVES):
        body = bus.await_one("iso.hello.c")
        c.stop(signal.SIGKILL)
        bus.heard = [h for h in bus.heard if not h[0].endswith(".c")]
        if life + 1 < LIVES:
            c.start()
    look.tells("too_often", "c", "more than one sender may say")
    before, hello = look.refused("too_often"), json.loads(body)
    # of the last life that was heard: the gateway's own word for it
    known = json.loads(t.get(look.admin, "/network/v1/nodes/c")[1])["epoch"]
    bus.say("iso.report.local.c", *['{"v":1,"node":"c","epoch":%d,"seq":%d,"at_us":%d,"state":"ready"}' % (known, i, i)
                                    for i in range(1000, 1000 + FLOOD)])
    t.check(known <= hello["epoch"] and t.wait_for(lambda: look.refused("too_often") > before, "a flood"),
            "a flood of reports: so many are listened to")
    before, read = look.refused("too_often"), look.refused("malformed")
    bus.say("iso.report.local.c", *["{"] * FLOOD)
    t.check(t.wait_for(lambda: look.refused("too_often") - before + look.refused("malformed") - read >= FLOOD, "garbage") and
            look.refused("malformed") - read < FLOOD, "of what comes then most is not even read")


def check_death(server, load, look):
    server.stop()
    t.check(t.wait_for(lambda: '"connected":false' in t.get(look.admin, "/network/v1/bus")[1], "a dead bus"),
            "the bus dies")
    load.more(200)
    text = run("status", "--admin", "http://127.0.0.1:%d" % look.admin)
    t.check("bus" in text and "not connected" in text.lower(), "status says so", text)
    server.start("listen: \"127.0.0.1:%d\"\nmax_payload: 8KB\n" % server.port)
    t.check(t.wait_for(lambda: '"connected":true' in t.get(look.admin, "/network/v1/bus")[1], "the bus"),
            "and is back")
    t.check(t.wait_for(lambda: json.loads(t.get(look.admin, "/network/v1/nodes/a")[1])["bus_report_age_ms"] < 1500,
                       "a report"), "reports are heard again")


def check_wrong_credentials(folder, engine):
    server = Server(folder)
    keys = {name: run("bus", "key", name + ".nkey").strip() for name in ("right", "wrong")}
    with open("users.txt", "w", encoding="utf-8") as file:
        file.write("gateway gw2 %s\n" % keys["right"])
    server.start(run("bus", "config", "users.txt", "--listen", "127.0.0.1:%d" % server.port))
    gateway, public, admin = start_gateway(
        folder, "gw2", "bus: {nats: \"%s\", nkey: \"file:wrong.nkey\"}\nengines: [{url: \"%s\"}]\n" % (
            server.url, engine.url))
    t.check(t.wait_ready(admin), "a gateway that the bus does not let in serves")
    t.check(t.wait_for(lambda: "refused our nkey" in gateway.text(), "a line of the log"), "the log says why", gateway.text())
    text = run("status", "--admin", "http://127.0.0.1:%d" % admin)
    t.check("refused our nkey" in text, "status says why", text)
    t.check(t.get(public, "/v1/chat/completions", "POST", json.dumps(t.chat(False)))[0] == 200, "requests are answered")
    t.check(gateway.stop() == "status 0", "the end", gateway.text()[-500:])
    server.stop()


def check_changed_server(folder, engine):
    """A server that was good, and comes back as one that is not."""
    server = Server(folder)
    keys = {name: run("bus", "key", name + "3.nkey").strip() for name in ("ours", "others")}

    def users(key):
        with open("users.txt", "w", encoding="utf-8") as file:
            file.write("gateway gw3 %s\n" % keys[key])
        return run("bus", "config", "users.txt", "--listen", "127.0.0.1:%d" % server.port)

    server.start(users("ours"))
    gateway, _, admin = start_gateway(
        folder, "gw3", "bus: {nats: \"%s\", nkey: \"file:ours3.nkey\"}\nengines: [{url: \"%s\"}]\n" % (
            server.url, engine.url))
    t.check(t.wait_for(lambda: "connected to NATS" in gateway.text(), "the bus"), "a bus that lets it in", gateway.text())
    server.stop()
    server.start(users("others"))
    t.check(t.wait_for(lambda: "refused our nkey" in gateway.text(), "a line of the log"),
            "is started again with other users: the log says why it is gone", gateway.text())
    server.stop()
    server.start(re.sub("max_payload: *[0-9]+KB", "max_payload: 64", users("ours")))
    t.check(t.wait_for(lambda: "max_payload is too small" in gateway.text(), "a line of the log"),
            "and with too small a limit: the log says so", gateway.text())
    t.check(gateway.text().count("max_payload is too small") < 3 and t.wait_ready(admin), "seldom; it serves on")
    t.check(gateway.stop() == "status 0", "the end", gateway.text()[-500:])
    server.stop()


def main():
    if found() is None:
        print("1..0 # SKIP there is no nats-server")
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        server = Server(folder)
        server.start("listen: \"127.0.0.1:%d\"\nmax_payload: 8KB\n" % server.port)
        bus, engine = Bus(server.port), t.Engine()
        gateway, public, admin = start_gateway(folder, "gw1", "bus: {nats: \"%s\"}\n" % server.url)
        a, b = Node("a", engine.url, server.url), Node("b", engine.url, server.url)
        look = Look(admin)
        t.check(t.wait_ready(admin, 2), "two nodes came by themselves", gateway.text())
        load = t.Load(public, kept=3, fresh=2, streams=2)
        load.more(50)
        check_lies(bus, look, b, engine, server.url)
        check_flood(bus, look, server.url)
        load.more(50)
        check_death(server, load, look)
        load.more(50)
        load.stop()
        t.figure("bus_hostile_failed_requests", len(load.failures), "requests")
        t.check(not load.failures, "no client noticed anything of it", "\n".join(load.failures[:5]))
        check_wrong_credentials(folder, engine)
        check_changed_server(folder, engine)
        for node in (a, b):
            node.stop()
        t.check(gateway.stop() == "status 0", "the end", gateway.text()[-1000:])
        server.stop()
        os.chdir("/")
    t.finish()


if __name__ == "__main__":
    main()
