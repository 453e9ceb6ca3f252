#!/usr/bin/env python3
"""samples - configurations in the README and in doc/ that begin with `# NAME.yaml` are ones that
`isochrone check` accepts without a warning, with the files that they name: those of gateways, of nodes
(whose key and record are NAME's), and of clients' keys. Keys that a page cuts short (`ed25519:fa01...`) are whole here.

usage: samples.py PATH_OF_ISOCHRONE"""
import functools
import hashlib
import os
import re
import subprocess
import sys
import tempfile

PROGRAM = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["README.md"] + sorted("doc/" + n for n in os.listdir(os.path.join(ROOT, "doc"))
                               if n.endswith(".md"))
SAMPLE = re.compile(r"```yaml\n# ([a-z0-9-]+)\.yaml\b[^\n]*\n(.*?)```", re.S)
KEY_FILES = {"gateway.key": "ed25519-secret:%s\n" % (32 * "07")}


def run(folder, *command):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def copy(folder, source, name):
    with open(os.path.join(folder, source), encoding="utf-8") as file:
        write(folder, name, file.read())


def prepare(folder):
    """What samples name. False: no certificate can be made."""
    if run(folder, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
           "-days", "30", "-subj", "/CN=a", "-keyout", "tls.key", "-out", "tls.crt").returncode != 0:
        return False
    run(folder, PROGRAM, "key", "add", "alice", "--file", "keys.yaml")
    run(folder, PROGRAM, "key", "operator", "--name", "acme", "-o", "operator.key")
    run(folder, PROGRAM, "bus", "key", "bus.nkey")
    copy(folder, "tls.crt", "ca.crt")
    copy(folder, "tls.key", "gpu1.key")
    for name, text in KEY_FILES.items():
        write(folder, name, text)
        os.chmod(os.path.join(folder, name), 0o600)
    copy(folder, "keys.yaml", "alice.yaml")
    return True


@functools.lru_cache(None)
def whole_key(_begin):
    """One for each, whatever it is."""
    return run(None, PROGRAM, "key", "gateway", "--force", "--name", "a", "-o", "other.key").stdout.strip()


def whole(text):
    """Keys and hashes that are cut short, and files that are elsewhere."""
    text = re.sub(r"ed25519:([0-9a-f]{4})\.\.\.", lambda m: whole_key(m[1]), text)
    text = re.sub(r"sha256:[A-Za-z0-9+/]{4}\.\.\.", "sha256:" + 32 * "01", text)
    text = re.sub(r'"[0-9a-f]{6}\.\.\."', lambda m: '"%s"' % hashlib.sha256(m[0].encode()).hexdigest(), text)
    return text.replace("/etc/isochrone/", "")


def check(folder, name, text):
    """None: it is good; else what was said."""
    write(folder, "keys.yaml", "")
    copy(folder, "alice.yaml", "keys.yaml")
    if name == "keys":
        write(folder, "keys.yaml", whole(text))
        text = "keys: file:keys.yaml\nengines: [{url: \"http://10.0.0.5:8000\"}]\n"
    if "node.key" in text:
        of = re.search(r"^name: (\S+)", text, re.M)
        run(folder, PROGRAM, "key", "node", "--force", "--name", of[1] if of else re.sub("-nats$", "", name), "-o",
            "node.key")
        run(folder, PROGRAM, "key", "sign", "--operator", "operator.key", "--node", "node.pub", "-o", "node.identity")
    write(folder, name + ".yaml" if name != "keys" else "gateway.yaml", whole(text))
    told = run(folder, PROGRAM, "check", "-f", name + ".yaml" if name != "keys" else "gateway.yaml")
    good = told.returncode == 0 and ", 0 warnings" in told.stdout + told.stderr
    return None if good else told.stdout + told.stderr


def main():
    count = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if not prepare(folder):
            print("1..0 # SKIP openssl cannot make a certificate")
            return
        for page in PAGES:
            with open(os.path.join(ROOT, page), encoding="utf-8") as file:
                samples = SAMPLE.findall(file.read())
            for name, text in samples:
                told = check(folder, name, text)
                count += 1
                failed += told is not None
                print("%sok %d - %s, %s.yaml" % ("not " if told else "", count, page, name))
                if told:
                    print("# " + told.replace("\n", "\n# "))
        os.chdir("/")
    count += 1
    failed += count < 10
    print("%sok %d - there are samples" % ("not " if count < 10 else "", count))
    print("1..%d" % count)
    sys.exit(1 if failed else 0)


main()
