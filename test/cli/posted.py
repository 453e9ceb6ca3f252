#!/usr/bin/env python3
"""posted - a small network without a bus server: a gateway that knows no engine, and two nodes that post to
it what they say. It is restarted, one of them is killed, and they find each other by themselves.

usage: posted.py PATH_OF_ISOCHRONE"""
import signal
import tempfile

import life_tools as t
from posted_tools import NAMES, Network


def tell(network):
    network.start_node("n0")
    t.check(t.wait_for(lambda: "does not hear us: it takes no connections" in network.log("n0"),
                       "a word about it"),
            "a node whose gateway is not there says so")
    network.start_gateway()
    network.start_node("n1")
    t.check(network.ready(NAMES), "a gateway that knows no engine hears of both nodes",
            network.log("gw"), network.log("n0"))
    t.check("" not in network.answered_by(), "and has requests answered by them")
    t.check(t.wait_for(lambda: all(n["rtt_ms"] is not None for n in network.nodes_seen().values()),
                       "round trips"), "the way to each is measured at once", network.nodes_seen())
    t.check(all(n["engine"] == "vllm" for n in network.nodes_seen().values()),
            "and it is known what is behind each", network.nodes_seen())
    metrics = t.ask("http://127.0.0.1:%d/metrics" % network.admins["n0"])[2]
    t.check('isochrone_node_posts_total{gateway="gw",outcome="heard"}' in metrics,
            "the node counts what was heard", metrics)

    network.gateway.process.send_signal(signal.SIGKILL)
    network.gateway.process.wait()
    network.start_gateway()
    t.check(network.ready(NAMES), "the gateway is killed and started: both come back by themselves",
            network.log("gw"), network.log("n0"))
    t.check("hears us" in network.log("n0"), "which they tell")

    network.nodes["n1"].send_signal(signal.SIGTERM)
    network.nodes["n1"].wait(t.GUARD_S)
    t.check(network.ready(("n0",)), "a node that ends says that it is gone", network.nodes_seen())
    network.start_node("n1")
    t.check(network.ready(NAMES), "and is taken again in its next life", network.log("gw"))

    with open(network.path("n1.yaml"), encoding="utf-8") as file:
        text = file.read()
    t.write(network.path("n1.yaml"), text[:text.index("gateways:")])
    network.nodes["n1"].send_signal(signal.SIGHUP)
    t.check(t.wait_for(lambda: network.is_missed("n1"), "silence of n1"),
            "a node whose configuration has the gateway no more tells it nothing", network.log("n1"))
    t.write(network.path("n1.yaml"), text)
    network.nodes["n1"].send_signal(signal.SIGHUP)
    t.check(network.ready(NAMES), "until it has it again", network.log("n1"))

    network.nodes["n0"].kill()
    network.nodes["n0"].wait()
    t.check(t.wait_for(lambda: network.is_missed("n0"), "silence"), "one that is killed is missed",
            network.nodes_seen())
    t.check(network.answered_by() == {"n1"}, "and requests go to the other one",
            network.nodes_seen())


def main():
    with tempfile.TemporaryDirectory() as folder:
        network = Network(folder)
        try:
            tell(network)
        finally:
            network.close()
    t.finish()


main()
