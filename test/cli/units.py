#!/usr/bin/env python3
"""units - the units of packaging/systemd as they are installed: they start the program that is
installed with them, systemd knows every word, and calls the sandbox tight.

usage: units.py PATH_OF_ISOCHRONE FOLDER_OF_UNITS PATH_WHERE_IT_IS_INSTALLED"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from life_tools import PROGRAM, check, finish

EXPOSURE_MAX = 2.0  # of 10, by systemd-analyze security
SERVICES = ("isochrone.service", "isochrone-node.service")
UNITS = (*SERVICES, "isochrone.socket")


def analyze(*args):
    done = subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, timeout=60,
                          check=False, env={**os.environ, "SYSTEMD_COLORS": "0"})
    return done.returncode, done.stdout + done.stderr


def main():
    program, units, installed = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
    for unit in SERVICES:
        with open(os.path.join(units, unit), encoding="utf-8") as file:
            text = file.read()
        starts = re.findall("^ExecStart=([^ ]+) (?:gateway|node) -f ", text, re.M)
        check(starts == [installed] and "@bindir@" not in text, "%s starts what is installed" % unit, starts)
    if shutil.which("systemd-analyze") is None:
        print("# no systemd-analyze here: nothing else is looked at")
        finish()
    with tempfile.TemporaryDirectory(prefix="isochrone-units-") as folder:
        for unit in UNITS:
            with open(os.path.join(units, unit), encoding="utf-8") as file:
                text = file.read().replace(installed, program)
            with open(os.path.join(folder, unit), "w", encoding="utf-8") as file:
                file.write(text)
        for unit in UNITS:
            status, said = analyze("verify", "--man=no", os.path.join(folder, unit))
            ours = [line for line in said.splitlines() if "isochrone" in line]
            check(status == 0 and not ours, "%s is understood" % unit, said)
        for unit in SERVICES:
            status, said = analyze("security", "--offline=true", "--no-pager", os.path.join(folder, unit))
            exposure = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
            check(exposure and float(exposure.group(1)) <= EXPOSURE_MAX, "the sandbox of %s is tight" % unit, said)
    finish()


main()
