#!/usr/bin/env python3
"""node - `isochrone node` as people run it: a key, a file, an engine, a gateway before it, and its end.

usage: node.py PATH_OF_ISOCHRONE"""
import http.client
import json
import os
import re
import signal
import subprocess
import tempfile

import life_tools as t

MODEL = re.compile(r'"id":\s*"([^"]+)"')


def ask(port, method, path, body=None):
    """Status and text; (0, reason) where nobody listens."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=t.GUARD_S)
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError as error:
        return 0, str(error)
    finally:
        connection.close()


def run(*args):
    return subprocess.run([t.PROGRAM, *args], capture_output=True, text=True, timeout=t.GUARD_S,
                          check=False)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def reload(node, path, text, log, admin):
    """Its file is written anew, wrong once; then as it was."""
    def has(line):
        return lambda: line in ask(admin, "GET", "/metrics")[1]

    def hup(new, word):
        count = read(log).count(word)
        t.write(path, new)
        node.send_signal(signal.SIGHUP)
        return t.wait_for(lambda: read(log).count(word) > count, word)

    slots = re.search("\nisochrone_node_slots [0-9]+\n", ask(admin, "GET", "/metrics")[1])[0]
    t.check(hup(text + "guard: {requests_max: 3}\n", "reload: done") and
            t.wait_for(has("\nisochrone_node_slots 3\n"), "the guard"),
            "SIGHUP: its configuration is read again", read(log))
    t.check("guard.requests_max: none -> 3" in read(log), "and what differs is told", read(log))
    t.check(hup(text + "guard: {requests_max: 4}\ngaurd: {}\n", "the old configuration is kept") and
            "did you mean" in read(log) and has("\nisochrone_node_slots 3\n")(),
            "one with a mistake is not taken, nothing of it", read(log))
    t.check(hup(text.replace("127.1.0.1", "127.1.0.2"), "reload: done") and
            "engines: changed" in read(log) and
            t.wait_for(lambda: re.search("takes nothing new.*is gone", read(log), re.S),
                       "another engine"),
            "an engine takes the place of another one", read(log))
    t.check(has(slots)() and ask(admin, "GET", "/readyz")[0] == 200, "and the rest is as it was")
    many = ", ".join('{url: "http://127.0.0.1:%d"}' % (port + 1) for port in range(65))
    t.check(hup(re.sub("engines: .*", "engines: [%s]" % many, text), "the old configuration is kept")
            and "more than 64 engines" in read(log) and has(slots)(),
            "too many are not taken, none of them", read(log))
    t.check(hup(text.replace("state: .", "state: elsewhere"), "reload: done") and
            "state: . -> elsewhere (with the next process: restart)" in read(log),
            "what needs a restart is told", read(log))
    hup(text, "reload: done")


def main():
    engine, public, admin = t.free_port(), t.free_port(), t.free_port()
    with tempfile.TemporaryDirectory() as folder:
        key, path = os.path.join(folder, "node.key"), os.path.join(folder, "node.yaml")
        config = ("listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\"}\n"
                  "key: file:node.key\nidentity: file:node.identity\nstate: .\nauth: none\n"
                  "engines: [{url: \"http://127.1.0.1:%d\"}]\n" % (public, admin, engine))
        t.write(path, config)
        done = run("node", "-f", path)
        t.check(done.returncode == 1 and "node.key" in done.stderr, "without its key it says so",
                done.stderr)
        t.check(run("key", "node", "--name", "ams1-gpu0", "-o", key).returncode == 0, "a key")
        operator, record = os.path.join(folder, "acme.key"), os.path.join(folder, "node.identity")
        run("key", "operator", "--name", "acme", "-o", operator)
        sign = ("key", "sign", "--operator", operator, "--node", key[:-3] + "pub", "-o", record)
        run(*sign, "--url", "http://127.0.0.1:%d" % public, "--expires", "4d")
        done = run("check", "-f", path)
        t.check(done.returncode == 0 and re.search("warning: the record expires in [34] days", done.stdout),
                "that its record ends soon is a warning", done.stdout, done.stderr)
        emulate = subprocess.Popen([t.PROGRAM, "emulate", "--nodes", "6", "--regions", "1",
                                    "--only-vllm", "--background", "0", "--listen-port", str(engine)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        log = os.path.join(folder, "log")
        with open(log, "wb") as out:
            node = subprocess.Popen([t.PROGRAM, "node", "-f", path], stdout=out, stderr=out)
        try:
            t.check(t.wait_for(lambda: ask(admin, "GET", "/readyz")[0] == 200, "a node that is ready"),
                    "it finds its engine")
            report = json.loads(ask(public, "GET", "/network/v1/report")[1])
            t.check(report["node"] == "ams1-gpu0" and report["full"] and report["state"] == "ready",
                    "and reports", report)
            t.check(len(re.findall("the record expires in [34] days: have its operator sign it anew", read(log))) == 1 and
                    "isochrone_node_identity_expires_seconds " in ask(admin, "GET", "/metrics")[1],
                    "and told while it runs", read(log))
            models = MODEL.findall(ask(public, "GET", "/v1/models")[1])
            body = json.dumps({"model": models[0], "max_tokens": 4,
                               "messages": [{"role": "user", "content": "hello"}]})
            status, text = ask(public, "POST", "/v1/chat/completions", body)
            t.check(status == 200 and "choices" in text, "a request goes through", text)
            t.check(ask(public, "GET", "/emulate/nodes")[0] == 404, "nothing else does")
            reload(node, path, config, log, admin)
            done = run("node", "--drain", "--admin", "http://127.0.0.1:%d" % admin)
            t.check(done.returncode == 0 and "drains" in done.stdout, "a drain is asked for",
                    done.stderr)
            t.check(node.wait(t.GUARD_S) == 0, "and it ends well", read(log))
            t.check(os.path.exists(os.path.join(folder, "ams1-gpu0.epoch")), "its epoch is kept")
            done = run("node", "--engine", "http://127.1.0.1:%d" % engine, "--name", "other", "--key",
                       key, "--listen", "127.0.0.1:%d" % public)
            t.check(done.returncode == 1 and "ams1-gpu0" in done.stderr,
                    "without a file: another name than the key's", done.stderr)
            done = run("node", "--drain", "--admin", "http://127.0.0.1:%d" % admin)
            t.check(done.returncode == 1 and done.stderr != "", "then nobody is there")
        finally:
            for process in (node, emulate):
                process.kill()
                process.wait()
    done = run("node")
    t.check(done.returncode == 2 and "-f FILE" in done.stderr, "no file is wrong use")
    done = run("node", "--darin")
    t.check(done.returncode == 2 and "--drain" in done.stderr, "a mistyped option")
    t.finish()


main()
