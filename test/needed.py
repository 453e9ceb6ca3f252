#!/usr/bin/env python3
"""needed BUILD SUITE - the programs that the tests of a suite run, as names for ninja: a build that runs one
suite need not make what the others run."""
import json
import os
import sys


def main():
    build, suite = sys.argv[1:3]

    def about(what):
        with open(os.path.join(build, "meson-info", "intro-%s.json" % what), encoding="utf-8") as file:
            return json.load(file)

    wanted = {target for test in about("tests") for target in test["depends"]
              if any(name.split(":")[-1] == suite for name in test["suite"])}
    for target in about("targets"):
        if target["id"] in wanted and target["type"] != "custom":
            print(os.path.relpath(target["filename"][0], os.path.abspath(build)))


main()
