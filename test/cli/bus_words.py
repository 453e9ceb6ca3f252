#!/usr/bin/env python3
"""bus_words - the words about the bus, as people use them, with a real NATS server: keys made, its configuration written,
tried and listened to.

usage: bus_words.py PATH_OF_ISOCHRONE"""
import json
import os
import re
import select
import signal
import stat
import subprocess
import tempfile
import time

from life_tools import PROGRAM, check, finish
from nats_server import Server, found
from ports import free_port

PATIENCE = 60  # seconds, a guard


def run(*args, **env):
    done = subprocess.run([PROGRAM, "bus", *args], capture_output=True, text=True, timeout=PATIENCE,
                          env={**os.environ, **env}, check=False)
    return done.returncode, done.stdout, done.stderr


def check_wrong_use():
    for label, args, why in (
            ("no word", [], "isochrone bus check"), ("a mistyped word", ["chekc"], "did you mean `check`?"),
            ("no bus", ["check"], "where is it?"), ("no URL", ["check", "--bus", "10.0.0.1"], "nats://HOST:PORT"),
            ("a mistyped option", ["watch", "--jsno"], "did you mean `--json`?"),
            ("no pattern", ["watch", "iso report", "--bus", "nats://127.0.0.1"], "is no pattern"),
            ("no number", ["watch", "--count", "many", "--bus", "nats://127.0.0.1"], "--count is a number"),
            ("a password where all can read it", ["check", "--bus", "nats://127.0.0.1", "--user", "u",
                                                  "--password", "p"], "--password file:PATH"),
            ("a key without a file", ["key"], "in which file?"), ("nobody's configuration", ["config"], "of which users?")):
        code, out, err = run(*args, ISOCHRONE_BUS="")
        check(code == 2 and out == "" and why in err, label, code, out, err)


def make_config(port):
    keys = {}
    for name in ("op", "gw1", "a", "b"):
        code, out, err = run("key", name + ".nkey")
        keys[name] = out.strip()
        check(code == 0 and re.fullmatch("U[A-Z2-7]{55}", keys[name]) is not None, "a key for " + name, err)
    seed = open("a.nkey", encoding="ascii").read()
    check(re.fullmatch("SU[A-Z2-7]{56}\n", seed) is not None and stat.S_IMODE(os.stat("a.nkey").st_mode) == 0o600,
          "the seed is in the file, for its owner only")
    code, out, err = run("key", "a.nkey")
    check(code == 1 and "is there already" in err and open("a.nkey", encoding="ascii").read() == seed,
          "a seed is not written over", err)
    with open("users.txt", "w", encoding="utf-8") as file:
        file.write("# who may come in\nwatcher operator %(op)s\ngateway gw1 %(gw1)s\nnode a %(a)s\nnode b %(b)s\n" % keys)
    code, out, err = run("config", "users.txt", "--listen", "127.0.0.1:%d" % port)
    check(code == 0 and keys["b"] in out and '"iso.report.*.b"' in out, "a configuration", err)
    with open("bad.txt", "w", encoding="utf-8") as file:
        file.write("node a %(a)s\nnode b %(a)s\n" % keys)
    code, bad, err = run("config", "bad.txt")
    check(code == 1 and bad == "" and "bad.txt: two users have the key" in err, "one key for two", err)
    code, _, err = run("config", "users.txt", "--listen", 'x"\nport: 1')
    check(code == 2 and "is no address" in err, "no address", err)
    return out


def check_check(url):
    code, out, err = run("check", "--bus", url, "--nkey", "a.nkey", "--name", "a")
    check(code == 0 and re.search(r"^connected to NATS \d+\.\d+\.\d+ at 127\.0\.0\.1:\d+$", out, re.M) is not None
          and re.search(r"back: \d+\.\d ms$", out, re.M) is not None, "a node is connected", out, err)
    check(re.search(r"^may hear iso\.report\.> +no$", out, re.M) is not None
          and re.search(r"^may hear iso\.ctl\.a +yes$", out, re.M) is not None, "what it may hear", out)
    code, out, err = run("check", "--json", "--bus", url, "--nkey", "a.nkey", "--name", "a", "--publish", "iso.report.eu.b")
    found = json.loads(out)
    check(code == 0 and found["says"] == {"iso.report.eu.b": False} and found["hears"]["iso.report.>"] is False
          and found["hears"]["iso.ctl.a"] is True, "not under another's name", out, err)
    code, out, err = run("check", "--json", "--publish", "iso.report.eu.a", "--name", "a", ISOCHRONE_BUS=url, ISOCHRONE_BUS_NKEY="a.nkey")
    check(code == 0 and json.loads(out)["says"] == {"iso.report.eu.a": True}, "under its own", out, err)
    code, out, err = run("check", "--json", "--bus", url, "--nkey", "gw1.nkey", "--name", "gw1")
    hears = json.loads(out)["hears"]
    check(code == 0 and all(hears[s] for s in hears if not s.startswith("iso.ctl")), "a gateway hears all", out, err)
    for extra in ([], ["--json"]):
        code, out, err = run("check", "--bus", url, "--nkey", "a.nkey", "--name", "gw1", *extra)
        check(code == 1 and "yes" not in out and "true}" not in out and (extra or "not permitted as `gw1`: is that our name there" in out),
              "under another's name nothing is known, and that is told", out, err)
    code, out, err = run("check", "--bus", url)
    check(code == 1 and out == "" and "wants credentials" in err, "nobody comes in without a key", err)
    run("key", "stranger.nkey")
    code, out, err = run("check", "--bus", url, "--nkey", "stranger.nkey", "--json")
    check(code == 1 and json.loads(out)["connected"] is False and "refused our nkey U" in out, "nor with any key", out, err)
    with open("password", "w", encoding="ascii") as file:
        file.write("guessed\n")
    code, out, err = run("check", "--bus", url, "--user", "root", "--password", "file:password")
    check(code == 1 and "refused user `root`" in err, "nor with a password that is none", err)
    os.chmod("a.nkey", 0o644)
    code, out, err = run("check", "--bus", url, "--nkey", "a.nkey")
    check(code == 2 and "chmod 600" in err, "a seed that others can read", err)
    os.chmod("a.nkey", 0o600)


def watch(url, *args):
    return subprocess.Popen([PROGRAM, "bus", "watch", *args, "--bus", url, "--nkey", "op.nkey"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def say(url, subject):
    return run("check", "--bus", url, "--nkey", "a.nkey", "--name", "a", "--publish", subject)[0]


def check_watch(url, server, config):
    code, out, err = run("watch", "--bus", url, "--nkey", "a.nkey", "--name", "a")
    check(code == 1 and out == "" and 'Permissions Violation for Subscription to "iso.>"' in err,
          "who may not hear does not wait for ever", out, err)
    child = watch(url, "iso.report.>", "--json", "--count", "1")
    until = time.monotonic() + PATIENCE
    while child.poll() is None and time.monotonic() < until:
        say(url, "iso.report.eu.a")
    out, err = child.communicate(timeout=PATIENCE)
    message = json.loads(out.splitlines()[0]) if out else {}
    check(child.returncode == 0 and message.get("subject") == "iso.report.eu.a" and message.get("text") == ""
          and message.get("time_ms", 0) > 1e12 and len(out.splitlines()) == 1, "a message is shown", out, err)
    child = watch(url)
    server.stop()
    server.start(config)
    until = time.monotonic() + PATIENCE
    seen = ""
    while "iso.gone.a" not in seen and time.monotonic() < until:
        say(url, "iso.gone.a")
        if select.select([child.stdout], [], [], 0.1)[0]:
            seen += os.read(child.stdout.fileno(), 65536).decode()
    check(re.search(r"^\d\d:\d\d:\d\d\.\d{3} iso\.gone\.a $", seen, re.M) is not None,
          "the server was killed and is back: so are the messages", seen)
    child.send_signal(signal.SIGINT)
    child.wait(PATIENCE)
    check(child.returncode == 0, "it ends when it is told to", child.stderr.read())


def check_status(url):
    """A gateway with a node's key may hear nothing: whoever asks how it is has to be told."""
    admin = "127.0.0.1:%d" % free_port()
    with open("gw1.yaml", "w", encoding="utf-8") as file:
        file.write("name: a\nlisten: {public: \"127.0.0.1:%d\", admin: \"%s\"}\n"
                   "bus: {nats: \"%s\", nkey: file:a.nkey}\n" % (free_port(), admin, url))
    gateway = subprocess.Popen([PROGRAM, "gateway", "-f", "gw1.yaml"], stderr=subprocess.DEVNULL)
    out, until = "", time.monotonic() + PATIENCE
    while "bus: the server does not permit it" not in out and time.monotonic() < until:
        out = subprocess.run([PROGRAM, "status", "--admin", "http://" + admin], capture_output=True, text=True,
                             timeout=PATIENCE, check=False).stdout
    gateway.kill()
    gateway.wait()
    check("Permissions Violation" in out and "bus: 0 nodes" in out, "status says what the server does not permit", out)


def main():
    if found() is None:
        print("1..0 # SKIP there is no nats-server (Debian: nats-server)")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        check_wrong_use()
        server = Server(folder)
        url = server.url
        code, out, err = run("check", "--bus", url)
        check(code == 1 and "Connection refused" in err, "there is no server", out, err)
        config = make_config(server.port)
        server.start(config)
        try:
            check_check(url)
            check_status(url)
            check_watch(url, server, config)
        finally:
            server.stop()
        os.chdir("/")
    finish()


main()
