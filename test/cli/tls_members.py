#!/usr/bin/env python3
"""tls_members - a node that comes by itself over HTTPS: it is reached by the pin of its record and by nothing else,
and what it says is believed by its certificate as well as by its signature. And the other way round: it lets in
the gateway whose pin its file has, which shows it the certificate of its public side, the new one after a reload.
All keys are made here, for this run.

usage: tls_members.py PATH_OF_ISOCHRONE"""
import http.client
import json
import os
import signal
import ssl
import subprocess
import tempfile

import life_tools as t
from tls import make, make_root


def run(*args):
    done = subprocess.run([t.PROGRAM, *args], capture_output=True, text=True, timeout=t.GUARD_S, check=False)
    t.check(done.returncode == 0, "isochrone " + " ".join(args[:2]), done.stderr)
    return done.stdout


def make_record(pin, port):
    run("key", "sign", "--operator", "operator.key", "--node", "node.pub", "--url", "https://127.0.0.1:%d" % port,
        "--pin", pin, "--label", "region=eu-west", "-o", "node.identity")


def post(port, own, body):
    """A report to the gateway's public side, with a client certificate (None: without): status and answer."""
    context = ssl.create_default_context(cafile="root.crt")
    if own:
        context.load_cert_chain(own + ".crt", own + ".key")
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=t.GUARD_S, context=context)
    connection.request("POST", "/network/v1/bus/report", body)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def chat(port, body):
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=t.GUARD_S,
                                             context=ssl.create_default_context(cafile="root.crt"))
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    return connection.getresponse().status


def start_node(engine, port, admin, gateway, identity="identity: file:node.identity\n", gateway_pin=""):
    pin = ", pin: \"%s\"" % gateway_pin if gateway_pin else ""
    t.write("node.yaml", "key: file:node.key\nstate: .\n" + ("" if pin else "auth: none\n") + identity +
            "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\", tls: {cert: file:node-tls.crt, key: "
            "file:node-tls.key}}\nengines: [{url: \"%s\"}]\ngateways:\n  - {name: gw, key: \"%s\", may: [infer], "
            "url: \"https://127.0.0.1:%d\", ca: file:root.crt%s}\n" % (
                port, admin, engine.url, run("key", "gateway", "--force", "--name", "gw", "-o", "gw.key").split()[0],
                gateway, pin))
    with open("node.log", "ab") as log:
        return subprocess.Popen([t.PROGRAM, "node", "-f", "node.yaml"], stderr=log)


def log_of_node():
    with open("node.log", encoding="utf-8") as file:
        return file.read()


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_root("root")
        gateway_pin = make("gw-tls", "root")
        make("alice", "root")
        pin = make("node-tls", "root", "DNS:whoever")
        operator = run("key", "operator", "--name", "acme", "-o", "operator.key").split()[0]
        run("key", "node", "--name", "ams1", "-o", "node.key")
        engine, port, node_admin, public, admin = t.Engine(), *[t.free_port() for _ in range(4)]
        make_record(pin, port)
        t.write("gateway.yaml", "listen: {public: \"127.0.0.1:%d\", admin: \"127.0.0.1:%d\", tls: {cert: "
                "file:gw-tls.crt, key: file:gw-tls.key, client_ca: file:root.crt, client_auth: optional}}\n"
                "bus: {http: true}\noperators: {trust: [\"%s\"]}\n" % (public, admin, operator))
        gateway = t.Gateway("gateway.yaml", "gateway.log")
        t.wait_for(lambda: t.get(admin, "/livez")[0] == 200, "a gateway")
        node = start_node(engine, port, node_admin, public)
        t.check(t.wait_ready(admin), "a node comes by itself, over HTTPS both ways", gateway.text())
        t.check("node ams1: is here, at https://127.0.0.1:%d, proven, of acme" % port in gateway.text(),
                "which the log says", gateway.text())
        t.check('"proven":true' in t.get(admin, "/network/v1/nodes/ams1")[1], "its operator vouches")
        t.check(chat(public, t.chat(False)) == 200, "a request is answered")
        report = t.get(node_admin, "/network/v1/report")[1]
        t.check(json.loads(report)["labels"]["region"] == "eu-west", "it is where its operator says", report)
        for own, unproven in ((None, True), ("alice", True), ("node-tls", False)):
            status, text = post(public, own, report)
            t.check((status == 401 and '"verdict":"unproven"' in text) == unproven,
                    "its report, with certificate: %s" % own, status, text)
        node.terminate()
        node.wait(t.GUARD_S)
        make_record(make("other", "root"), port)  # a record that has another pin than what it shows
        node = start_node(engine, port, node_admin, public)
        t.check(t.wait_for(lambda: "its key is not the pinned one" in gateway.text(), "a line of the log"),
                "who has another key than its record says is asked nothing", gateway.text())
        t.check(chat(public, t.chat(False)) != 200, "nor is a request sent")
        node.terminate()
        node.wait(t.GUARD_S)
        node = start_node(engine, port, node_admin, public, "")
        t.check(t.wait_for(lambda: chat(public, t.chat(False)) == 200, "an answer"),
                "who has no record is known by the key that it shows", gateway.text())
        t.check('"proven":false' in t.get(admin, "/network/v1/nodes/ams1")[1], "and unproven")
        node.terminate()
        node.wait(t.GUARD_S)
        make_record(pin, port)
        node = start_node(engine, port, node_admin, public, gateway_pin=gateway_pin)
        t.check(t.wait_for(lambda: chat(public, t.chat(False)) == 200, "an answer"),
                "a node lets in the gateway whose pin it has", gateway.text(), log_of_node())
        node.terminate()
        node.wait(t.GUARD_S)
        new_pin = make("gw-new", "root")
        node = start_node(engine, port, node_admin, public, gateway_pin=new_pin)
        t.check(t.wait_for(lambda: "ams1" in t.get(admin, "/network/v1/nodes")[1], "a hello") and
                chat(public, t.chat(False)) != 200, "and no other one", gateway.text(), log_of_node())
        for end in (".crt", ".key"):
            os.replace("gw-new" + end, "gw-tls" + end)
        gateway.process.send_signal(signal.SIGHUP)
        t.check(t.wait_for(lambda: chat(public, t.chat(False)) == 200, "an answer"),
                "a new certificate is shown after a reload", gateway.text(), log_of_node())
        node.terminate()
        node.wait(t.GUARD_S)
        t.check(gateway.stop() == "status 0", "the end", gateway.text()[-1000:])
        os.chdir("/")
    t.finish()


if __name__ == "__main__":
    main()
