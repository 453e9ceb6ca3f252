#!/usr/bin/env python3
"""purity LIBCORE LIBBASE - the core reads no clock, file, socket or environment, allocates nothing
and has no variable of its own. Judged by what its objects ask the linker for, not by reading them.
NM, OBJDUMP, CC and AR name other tools."""
import os
import re
import shlex
import subprocess
import sys
import tempfile

from house import ROOT, SAMPLES, Tap

# From libc: moving bytes, and stopping. From libm: what IEEE 754 fixes to the last bit.
ALLOWED = set("memcpy memmove memset memcmp strlen abort must_failed __stack_chk_fail sqrt sqrtf "
              "floor floorf "
              "__memcpy_chk __memmove_chk __memset_chk _GLOBAL_OFFSET_TABLE_".split())
# base's own, but not the arena: it asks malloc.
BASE_NOT_ALLOWED = re.compile(r"^arena_")
WRITABLE = re.compile(r"^\.(data|bss|tdata|tbss)(?!\.rel\.ro)|^\*COM\*$")


def run(tool, *args):
    words = shlex.split(os.environ.get(tool.upper(), tool)) + list(args)
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def names(lines):
    return {line.split()[-1] for line in lines.splitlines() if line.split()}


def asks_for(archive, allowed):
    defined = {n for n in names(run("nm", "--defined-only", "--extern-only", "--format=just-symbols",
                                    archive)) if not n.endswith(":")}
    problems = []
    member = "?"
    for line in run("nm", "--undefined-only", archive).splitlines():
        if line.endswith(":"):
            member = line[:-1]
        elif line.strip():
            name = line.split()[-1].split("@")[0]
            if name not in defined and name not in allowed:
                problems.append("%s needs %s" % (member, name))
    return sorted(problems)


def writable(archive):
    """Symbols in sections that can be written after relocation. Tables of constant pointers lie in
    .data.rel.ro and are read-only once loaded."""
    problems = []
    member = "?"
    for line in run("objdump", "-t", archive).splitlines():
        if line.endswith("-x86-64") or ": " in line and "file format" in line:
            member = line.split(":")[0]
        match = re.match(r"^[0-9a-f]+ .{7} (\S+)\s+([0-9a-f]+)(?: \S+)? (\S+)$", line)
        if match and WRITABLE.match(match.group(1)) and match.group(3) != match.group(1):
            problems.append("%s: %s in %s" % (member, match.group(3), match.group(1)))
    return sorted(problems)


def self_test(tap, allowed):
    with tempfile.TemporaryDirectory() as folder:
        code = os.path.join(ROOT, SAMPLES, "purity", "impure.c")
        thing = os.path.join(folder, "impure.o")
        archive = os.path.join(folder, "libimpure.a")
        run("cc", "-O2", "-fPIC", "-c", code, "-o", thing)
        run("ar", "rc", archive, thing)
        seen = asks_for(archive, allowed) + writable(archive)
    want = ["impure.o needs " + n for n in ("clock_gettime", "exp", "malloc")]
    want += ["impure.o: asked in .bss", "impure.o: seed in .data"]
    tap.check("the sample is found out", [] if seen == want else ["saw: %s" % seen])


def main():
    libcore, libbase = sys.argv[1:3]
    base = {n for n in names(run("nm", "--defined-only", "--extern-only", "--format=just-symbols",
                                 libbase)) if not BASE_NOT_ALLOWED.match(n)}
    tap = Tap()
    tap.check("core needs only what is on the list", asks_for(libcore, ALLOWED | base))
    tap.check("core has no variable that can be written", writable(libcore))
    self_test(tap, ALLOWED | base)
    tap.done()


main()
