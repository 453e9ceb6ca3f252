#!/usr/bin/env python3
"""posted_hostile - a node posts to two gateways, one of which answers as badly as can be: for ever, too much, too
slowly, elsewhere, or with wishes without end. The other one hears of the node as if it were alone.

usage: posted_hostile.py PATH_OF_ISOCHRONE"""
import re
import socket
import tempfile
import threading
import time

import life_tools as t
from posted_tools import Network

HEARD = re.compile(r'isochrone_node_posts_total\{gateway="gw",outcome="heard"\} (\d+)')
BYTES_MAX = 16 << 20  # that a node lets a gateway send in all of a test: buffers of the kernel are most of it
PIECE = b"x" * 65536


def json_answer(status, text):
    return b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        status, len(text), text)


def drip(send):
    send(b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n")
    while True:
        send(b" ")
        time.sleep(0.2)


def flood(head, piece):
    def answer(send):
        send(head)
        while True:
            send(piece)
    return answer


def once(data):
    return lambda send: send(data)


class Bad:
    """A gateway that does what it should not, by turns; and a place where nobody has any business."""
    WAYS = {
        "nothing": lambda send: time.sleep(t.GUARD_S),
        "a drop now and then": drip,
        "a length without end": flood(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", PIECE),
        "chunks without end": flood(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                                    b"10000\r\n" + PIECE + b"\r\n"),
        "a head without end": flood(b"HTTP/1.1 200 OK\r\nx: ", PIECE),
        "interim answers without end": flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 64),
        "a wish for all, always": once(json_answer(200, b'{"verdict":"gap","words":"","want":"full"}')),
        "a wish for a hello, always": once(json_answer(409, b'{"verdict":"unannounced","words":"","want":"hello"}')),
        "two answers at once": once(2 * json_answer(200, b'{"verdict":"news","words":"","want":""}')),
        "deep nesting": once(json_answer(200, b'{"verdict":' + b"[" * 1000)),
        "no HTTP": once(bytes(range(256)) * 16),
    }

    def __init__(self):
        self.sent = self.asked = self.elsewhere = 0
        self.way = "nothing"
        self.port = self.serve(self.answer)
        stray = self.serve(self.count_stray)
        self.WAYS = self.WAYS | {"the way to somewhere else": once(
            b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:%d/\r\ncontent-length: 0\r\n\r\n" % stray)}

    def serve(self, handle):
        server = socket.create_server(("127.0.0.1", 0), backlog=64)

        def accept():
            while True:
                connection, _ = server.accept()
                threading.Thread(target=self.talk, args=(connection, handle), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()
        return server.getsockname()[1]

    @staticmethod
    def talk(connection, handle):
        with connection:
            try:
                while connection.recv(65536):
                    handle(connection)
            except OSError:
                pass

    def answer(self, connection):
        def send(data):
            connection.sendall(data)
            self.sent += len(data)
        self.asked += 1
        self.WAYS[self.way](send)

    def count_stray(self, _):
        self.elsewhere += 1


def heard(network):
    """Messages of the node that the good gateway took."""
    found = HEARD.search(t.ask("http://127.0.0.1:%d/metrics" % network.admins["n0"])[2])
    return int(found[1]) if found else 0


def main():
    with tempfile.TemporaryDirectory() as folder:
        bad = Bad()
        network = Network(folder, others='{name: bad, key: "ed25519:%s", may: [load], url: "http://127.0.0.1:%d"}, ' % (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", bad.port))
        try:
            network.start_gateway()
            network.start_node("n0")
            t.check(network.ready(("n0",)), "a gateway that never answers is no matter to the other one",
                    network.log("n0"))
            for way in bad.WAYS:  # each with a node that has not given the bad one up yet
                network.nodes["n0"].kill()
                network.nodes["n0"].wait()
                bad.way, asked = way, bad.asked
                network.start_node("n0")
                t.check(t.wait_for(lambda: bad.asked > asked and heard(network) >= 3, "reports"),
                        "it answers with %s: the other one hears of the node" % way, network.log("n0"))
                if way == "a drop now and then":
                    t.check(t.wait_for(lambda: bad.asked > asked + 1, "another try"),
                            "which is not waited for for ever", network.log("n0"))
            t.check(bad.elsewhere == 0, "and nobody is sent elsewhere")
            t.check(bad.sent < BYTES_MAX, "or made to read for ever", bad.sent)
            t.check(network.answered_by() == {"n0"}, "requests go on")
        finally:
            network.close()
    t.finish()


main()
