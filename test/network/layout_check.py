"""layout_check - the network of `make network` stands, is what it should be, and goes away again; what
happens in it is the story's business (story.py).

  layout_check.py ISOCHRONE RELAY"""
import json
import sys
import tempfile

import checks
import layout
import relayed

check = checks.Checks()


def check_gateway(network, region):
    nodes = network.ask(region, "nodes")["nodes"]
    check(len(nodes) == layout.NODES and all(n["proven"] and n["source"] == "bus" for n in nodes),
          region + ": all nodes came over the bus, and their operators vouch for them")
    check({n["node"]: (n["region"], n["operator"], n["site"]) for n in nodes}
          == {n.name: (n.region, n.operator, n.site) for n in network.nodes},
          region + ": their labels are believed")
    status, told = network.http(
        network.gateways[region], (network.gateways[region].address, layout.PUBLIC_PORT), "POST",
        "/v1/chat/completions", json.dumps({"model": "llama-3.1-8b", "max_tokens": 2, "messages": [
            {"role": "user", "content": "hello"}]}))
    check(status == 200 and told["choices"], region + ": a request is answered")


def check_network(network):
    network.start()
    check(len({n.site for n in network.nodes}) >= layout.REGIONS, "sites in all regions")
    check({n.operator for n in network.nodes} == set(layout.OPERATORS), "of all operators")
    for region in network.gateways:
        check_gateway(network, region)
    rare = [m for m in network.ask(layout.GATEWAY_REGIONS[0], "readiness")["models"]
            if m["model"] == layout.RARE_MODEL]
    check(len(rare) == 1 and sum(r["on_disk"] for r in rare[0]["regions"]) > 0
          and sum(r["ready"] for r in rare[0]["regions"]) == 0, "the rare model is cold")
    network.nats_site.connect((network.nats_site.address, layout.NATS_PORT), 10.0).close()
    check(network.relay.stats()["dropped_full"] == 0, "nothing was dropped for want of room")


def main():
    reason = layout.refused()
    if reason:
        print("1..0 # SKIP " + reason)
        return 0
    relayed.go_inside()
    with tempfile.TemporaryDirectory() as folder:
        network = layout.Network(sys.argv[1], sys.argv[2], folder)
        try:
            check_network(network)
        except layout.Failure as failure:
            check(False, str(failure))
        finally:
            network.close()
    check(all(p.poll() is not None for _, p in network.processes), "all of it ends")
    return check.end()


if __name__ == "__main__":
    sys.exit(main())
