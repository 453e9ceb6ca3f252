"""life_tools - what the tests here share: checks as lines of TAP; for those of a gateway's life (handover.py,
lifetime.py) an engine that answers by the clock, a service manager's socket, gateways as processes, and clients that
never try again."""
import ctypes
import http.client
import http.server
import json
import os
import random
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from ports import free_port  # noqa: F401, as t.free_port

PROGRAM = os.path.abspath(sys.argv[1])
GUARD_S = 60  # no test waits longer: a guard, not a promise
count = failed = 0


def check(condition, label, *shown):
    global count, failed
    count += 1
    failed += not condition
    print("%sok %d - %s" % ("" if condition else "not ", count, label), flush=True)
    if not condition:
        for text in shown:
            print("\n".join("# " + line for line in str(text).splitlines()), flush=True)


def skip(label, why):
    global count
    count += 1
    print("ok %d - %s # SKIP %s" % (count, label, why))


def figure(name, value, unit):
    print("# figure %s %s %s" % (name, value, unit), flush=True)


def finish():
    print("1..%d" % count)
    sys.exit(failed > 0)


def wait_for(condition, what):
    """Until condition() is true; its value, or None after a long time."""
    until = time.monotonic() + GUARD_S
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    print("# waited in vain for: %s" % what, flush=True)
    return None


def write(path, text):
    """The whole file at once: a reload may come at any moment."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def reap_orphans():
    """A process whose parent ended is ours now: its end can be waited for."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


# ---- An engine.

class Engine(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """vLLM's API as far as a gateway needs it: model `m`; chunks come with pauses."""
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, chunks=4, pause_s=0.01):
        super().__init__(("127.0.0.1", 0), EngineHandler)
        self.chunks, self.pause_s = chunks, pause_s
        self.held = threading.Event()  # cleared: streams stop after their first chunk
        self.held.set()
        self.bodies = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.server_address[1]

    def handle_error(self, *_):
        pass


class EngineHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def log_message(self, *_):
        pass

    def reply(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/v1/models":
            self.reply(200, {"object": "list", "data": [{"id": "m"}]})
        else:
            self.reply(404, {"error": {"message": "no"}})

    def event(self, data):
        text = ("data: %s\n\n" % (data if isinstance(data, str) else json.dumps(data))).encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
        self.wfile.flush()

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(self.server.chunks):
            time.sleep(self.server.pause_s)
            self.event({"model": "m", "choices": [{"index": 0, "delta": {"content": "w%d " % i}}]})
            self.server.held.wait(GUARD_S)
        self.event({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.event({"model": "m", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 4,
                                                           "total_tokens": 11}})
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if body.get("stream"):
            self.stream()
            return
        time.sleep(self.server.pause_s)
        self.reply(200, {"model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "words"},
             "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}})


# ---- A service manager.

class Manager:
    """What NOTIFY_SOCKET leads to."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.got = []
        self.lock = threading.Lock()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            text = self.socket.recv(4096).decode()
            with self.lock:
                self.got.append(text)

    def seen(self, part, start=0):
        with self.lock:
            return [text for text in self.got[start:] if part in text]

    def mark(self):
        with self.lock:
            return len(self.got)

    def main_pid(self, start):
        """The process that the service is said to be since then, or None."""
        seen = self.seen("MAINPID=", start)
        return int(seen[-1].split("MAINPID=")[1].split()[0]) if seen else None


# ---- Gateways.

class Gateway:
    """A process; its log goes to a file. sockets: [(name, socket)] given as systemd does."""

    def __init__(self, config, log, program=PROGRAM, manager=None, sockets=(), env=None, more=()):
        self.log = log
        given = {k: v for k, v in os.environ.items()
                 if k not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")}
        given.update(env or {})
        if manager:
            given["NOTIFY_SOCKET"] = manager.path
        command = [program, "gateway", "-f", config, *more]
        if sockets:
            # LISTEN_PID is only known in the process itself: a shell says its own and becomes it
            given["LISTEN_FDS"] = str(len(sockets))
            given["LISTEN_FDNAMES"] = ":".join(name for name, _ in sockets)
            moves = " ".join("%d<&%d" % (3 + i, 100 + i) for i in range(len(sockets)))
            closes = " ".join("%d<&-" % (100 + i) for i in range(len(sockets)))
            command = ["/bin/bash", "-c", 'export LISTEN_PID=$$; exec "$0" "$@" %s %s' %
                       (moves, closes), *command]
            for i, (_, s) in enumerate(sockets):
                os.dup2(s.fileno(), 100 + i)
        with open(log, "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=given,
                                            pass_fds=[100 + i for i in range(len(sockets))])
        for i in range(len(sockets)):
            os.close(100 + i)
        self.pid = self.process.pid

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def signal(self, number):
        os.kill(self.pid, number)

    def ended(self):
        """The exit status once it has ended, as text; else None."""
        status = self.process.poll()
        return None if status is None else "status %d" % status

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            time.sleep(0.05)
            if self.process.poll() is None:
                self.signal(signal.SIGTERM)
        return wait_for(self.ended, "the end of a gateway")


def get(port, path, method="GET", body=None, headers=None):
    """(status, text) of one request, or (0, why)."""
    try:
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=GUARD_S)
        c.request(method, path, body=body, headers=headers or {})
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        return r.status, text
    except (OSError, http.client.HTTPException) as e:
        return 0, repr(e)


def ask(url, body=None):
    """(status, the node that answered, text) through a gateway; (0, "", why) where nobody listens."""
    request = urllib.request.Request(url, body.encode() if body else None,
                                     {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=GUARD_S) as answer:
            return answer.status, answer.headers.get("isochrone-node", ""), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, "", error.read().decode()
    except OSError as error:
        return 0, "", str(error)


def wait_ready(port, placements=1):
    return wait_for(lambda: '"ready_placements":%d}' % placements in get(port, "/readyz")[1],
                    "a ready gateway")


# ---- Clients.

class Broken(Exception):
    pass


class Connection:
    """HTTP by hand, so that nothing is ever sent twice."""

    def __init__(self, port, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=GUARD_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket)
        self.data = b""

    def close(self):
        self.socket.close()

    def more(self):
        got = self.socket.recv(65536)
        if not got:
            raise Broken("the connection ended: %r" % self.data[-80:])
        self.data += got

    def until(self, mark):
        while mark not in self.data:
            self.more()
        text, _, self.data = self.data.partition(mark)
        return text

    def exactly(self, size):
        while len(self.data) < size:
            self.more()
        text, self.data = self.data[:size], self.data[size:]
        return text

    def send(self, body, headers=""):
        data = json.dumps(body).encode()
        self.socket.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
                            b"content-type: application/json\r\n%scontent-length: %d\r\n\r\n%s" %
                            (headers.encode(), len(data), data))

    def head(self):
        """(status, lower-case head)"""
        head = self.until(b"\r\n\r\n").decode().lower()
        return int(head.split()[1]), head

    def body(self, head):
        if "transfer-encoding: chunked" not in head:
            length = head.split("content-length:")[1].split("\r\n")[0]
            return self.exactly(int(length)).decode()
        text = b""
        while True:
            size = int(self.until(b"\r\n"), 16)
            text += self.exactly(size)
            if self.exactly(2) != b"\r\n":
                raise Broken("a chunk without its end")
            if size == 0:
                return text.decode()


def chat(stream, **more):
    return {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}],
            **more}


class Load:
    """Clients of three kinds, each in a thread, until stop: on a connection that is kept, on a new
    one each time, streams on a kept one. Whatever is not a whole, good answer is a failure."""

    def __init__(self, port, kept=6, fresh=4, streams=4, pause_s=0.02, connect=Connection):
        self.port, self.pause_s, self.connect = port, pause_s, connect
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.good, self.closes, self.failures = 0, 0, []
        kinds = [("kept", False)] * kept + [("fresh", False)] * fresh + [("kept", True)] * streams
        self.threads = [threading.Thread(target=self.run, args=(i, *kind), daemon=True)
                        for i, kind in enumerate(kinds)]
        for thread in self.threads:
            thread.start()

    def one(self, connection, stream):
        """True: the connection is kept."""
        connection.send(chat(stream))
        status, head = connection.head()
        text = connection.body(head)
        if status != 200:
            raise Broken("status %d: %s" % (status, text))
        if stream and not (text.endswith("data: [DONE]\n\n") and "w3 " in text and
                           '"error"' not in text):
            raise Broken("a stream that is not whole: %s" % text[-200:])
        if not stream and json.loads(text)["choices"][0]["message"]["content"] != "words":
            raise Broken("not the answer: %s" % text)
        return "connection: close" not in head

    def run(self, seed, kind, stream):
        rng = random.Random(seed)
        connection = None
        while not self.stopping.is_set():
            try:
                if connection is None:
                    connection = self.connect(self.port)
                keep = self.one(connection, stream)
                with self.lock:
                    self.good += 1
                    self.closes += kind == "kept" and not keep
                if kind == "fresh" or not keep:
                    connection.close()
                    connection = None
            except (OSError, Broken, ValueError) as e:
                with self.lock:
                    self.failures.append("%s %s: %r" % (kind, "stream" if stream else "json", e))
                connection = None
            time.sleep(rng.random() * 2 * self.pause_s)

    def more(self, requests):
        """Wait until so many more answers have come."""
        start = self.good + len(self.failures)
        wait_for(lambda: self.good + len(self.failures) >= start + requests, "more answers")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(GUARD_S)
