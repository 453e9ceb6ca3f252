#!/usr/bin/env python3
"""samples - configurations in the README and in doc/ that begin with `# gateway.yaml` are ones that
`isochrone check` accepts without a warning, with the files that they name.

usage: samples.py PATH_OF_ISOCHRONE"""
import os
import re
import subprocess
import sys
import tempfile

PROGRAM = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["README.md"] + sorted("doc/" + n for n in os.listdir(os.path.join(ROOT, "doc"))
                               if n.endswith(".md"))


def run(folder, *command):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def main():
    count = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        made = run(folder, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                   "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=a", "-keyout",
                   "tls.key", "-out", "tls.crt")
        if made.returncode != 0:
            print("1..0 # SKIP openssl cannot make a certificate")
            return
        run(folder, PROGRAM, "key", "add", "alice", "--file", "keys.yaml")
        for name, source in (("ca.crt", "tls.crt"), ("gpu1.key", "tls.key")):
            with open(os.path.join(folder, source), "rb") as file:
                text = file.read()
            with open(os.path.join(folder, name), "wb") as file:
                file.write(text)
        for page in PAGES:
            with open(os.path.join(ROOT, page), encoding="utf-8") as file:
                samples = re.findall(r"```yaml\n(# gateway\.yaml\n.*?)```", file.read(), re.S)
            for i, sample in enumerate(samples):
                with open(os.path.join(folder, "gateway.yaml"), "w", encoding="utf-8") as file:
                    file.write(sample)
                told = run(folder, PROGRAM, "check", "-f", "gateway.yaml")
                good = told.returncode == 0 and ", 0 warnings" in told.stdout + told.stderr
                count += 1
                failed += not good
                print("%sok %d - %s, sample %d" % ("" if good else "not ", count, page, i + 1))
                if not good:
                    print("# " + (told.stdout + told.stderr).replace("\n", "\n# "))
    count += 1
    failed += count < 3
    print("%sok %d - there are samples" % ("not " if count < 3 else "", count))
    print("1..%d" % count)
    sys.exit(1 if failed else 0)


main()
