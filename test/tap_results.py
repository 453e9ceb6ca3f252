#!/usr/bin/env python3
"""tap_results NAME TESTLOG - meson's testlog.json as lines of TAP, "ok - NAME:test: label", so that
the gate can count checks; figures that a test printed ("# figure NAME VALUE UNIT") as they are. A test that ended badly without saying so in TAP (a crash, a sanitizer's
report, a time-out) counts as one failed check, with the end of what it wrote. Ends with 1 if any
failed, or if there is no log."""
import json
import re
import sys

REPORT_LINES_MAX = 30


def lines_of(name, test):
    """The results of one test program."""
    where = "%s:%s" % (name, test["name"].split(" / ")[-1])
    output = test.get("stdout") or ""
    failed = False
    for line in output.splitlines():
        skip_all = re.match(r"1\.\.0\s*# SKIP\s*(.*)", line, re.I)
        check = re.match(r"(not ok|ok)\b\s*\d*\s*(?:- )?(.*)", line)
        if skip_all:
            yield "ok - %s # SKIP %s" % (where, skip_all.group(1))
        elif check:
            failed = failed or check.group(1) == "not ok"
            yield "%s - %s: %s" % (check.group(1), where, check.group(2))
        elif line.startswith("# figure "):
            yield line[2:]
        elif failed and line.startswith("#"):
            yield line
    if test["result"] not in ("OK", "SKIP") and not failed:
        yield "not ok - %s: %s" % (where, test["result"])
        report = output.splitlines() + (test.get("stderr") or "").splitlines()
        for line in report[-REPORT_LINES_MAX:]:
            yield "# " + line


def main():
    name, path = sys.argv[1:3]
    try:
        with open(path, encoding="utf-8") as file:
            tests = [json.loads(line) for line in file if line.strip()]
    except OSError:
        print("not ok - %s: no test ran" % name)
        sys.exit(1)
    results = [line for test in tests for line in lines_of(name, test)]
    print("\n".join(results))
    sys.exit(1 if any(line.startswith("not ok") for line in results) else 0)


main()
