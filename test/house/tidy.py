#!/usr/bin/env python3
"""tidy - the rules of style that a machine can see; CONTRIBUTING.md lists them for people. Each rule
is one function from a tree to the places that break it, so that the self-test can hold every one of
them against a tree that breaks all."""
import os
import re

from house import ROOT, SAMPLES, Tap, bare_c, files, read

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 1000
FIRST_COMMENT_CHARACTERS_MIN = 40

C = (".c", ".h", ".cc")
SCRIPTS = (".py", ".sh", ".mjs")
BANNED = re.compile(r"\b(strcpy|strcat|v?sprintf|strtok|atoi|atol|atof|gets|alloca)\s*\(")
# A number of time or bytes says what it counts: wait_ns, body_bytes. These words alone do not.
NO_UNIT = re.compile(r"(^|_)(timeout|size|len|length|delay|interval|wait|duration|latency|elapsed"
                     r"|ttl|period|deadline)$")
FIELD = re.compile(r"^\s+(?:const |unsigned |_Atomic )*(?:u?int\d*_t|size_t|int|unsigned|long|float"
                   r"|double)\s+([^;()]+);")
HOST = re.compile(r"https?://[\w.-]*(?:registry|npm|pypi|crates|mirror)[\w-]*\.|"
                  r"\bregistry\.[a-z0-9-]+\.[a-z]{2,}\b|\"resolved\"\s*:", re.I)
LATER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def functions(text):
    """(first line, lines, name, static) of every function: in our format the type, the name and
    the opening brace each begin a line."""
    lines = bare_c(text).split("\n")
    start = None
    for i, line in enumerate(lines):
        if line.startswith("{"):
            start = i
            while start > 0 and lines[start - 1].strip() and not re.search(
                    r"[;}]\s*$|^#", lines[start - 1]):
                start -= 1
        elif line.startswith("}") and start is not None:
            head = "\n".join(lines[start:i + 1]).split("\n{", 1)[0]
            name = re.search(r"^(\w+)\(", head, re.M)
            if name:
                yield (start + 1, i + 1 - start, name.group(1),
                       re.search(r"\bstatic\b", head) is not None)
            start = None


def long_functions(root):
    return ["%s:%d: %s has %d lines" % (path, line, name, count)
            for path in files(root, ".c", ".h", ".cc")
            for line, count, name, _ in functions(read(root, path)) if count > FUNCTION_LINES_MAX]


def long_files(root):
    return ["%s: %d lines" % (path, count) for path in files(root, *C, *SCRIPTS)
            for count in [read(root, path).count("\n")] if count > FILE_LINES_MAX]


def banned_calls(root):
    return ["%s:%d: %s" % (path, i + 1, match.group(1)) for path in files(root, *C)
            for i, line in enumerate(bare_c(read(root, path)).split("\n"))
            for match in [BANNED.search(line)] if match]


FIRST_COMMENT = {
    "c": re.compile(r"\s*(?:#ifndef \w+\n#define \w+\n)?\s*(/\*.*?\*/|(?://[^\n]*\n)+)", re.S),
    "script": re.compile(r"(?:#![^\n]*\n)?\s*((?:#[^\n]*\n)+|(?://[^\n]*\n)+|\"\"\".*?\"\"\"|"
                         r"/\*.*?\*/)", re.S),
}


def no_first_comment(root):
    problems = []
    for path in files(root, *C, *SCRIPTS):
        kind = FIRST_COMMENT["c" if path.endswith(C) else "script"]
        match = kind.match(read(root, path))
        if not match or len(match.group(1)) < FIRST_COMMENT_CHARACTERS_MIN:
            problems.append("%s: does not open with what it is for" % path)
    return problems


def same_names(root):
    seen, problems = {}, []
    for path in files(root, *C, *SCRIPTS):
        name = os.path.basename(path)
        if name in seen:
            problems.append("%s: the name of %s" % (path, seen[name]))
        seen.setdefault(name, path)
    return problems


def wrong_guards(root):
    """src/io/loop.h: IO_LOOP_H. Elsewhere the file's name is enough: TEST_TAP_H."""
    problems = []
    for path in files(root, ".h"):
        name = path[:-2].upper().replace("-", "_")
        guard = name[4:].replace("/", "_") if name.startswith("SRC/") else (
            r"(?:\w+_)?" + os.path.basename(name))
        if not re.match(r"#ifndef (%s_H)\n#define \1\n" % guard, read(root, path)):
            problems.append("%s: does not begin with the guard %s_H" % (path, guard))
    return problems


def stray_blanks(root):
    problems = []
    for path in files(root, *C, *SCRIPTS, "meson.build", ".md", "Makefile", ".yaml"):
        text = read(root, path)
        for i, line in enumerate(text.split("\n")):
            if line != line.rstrip():
                problems.append("%s:%d: blanks at the end" % (path, i + 1))
            if "\t" in line and not path.endswith("Makefile"):
                problems.append("%s:%d: a tab" % (path, i + 1))
        if text and not text.endswith("\n"):
            problems.append("%s: the last line has no end" % path)
    return problems


def foreign_prefixes(root):
    """A module's functions begin with its name, of which the parts of one module (http_server,
    http_client) may share the first word, or with their folder's (core/view.c: core_view_...)."""
    problems = []
    for path in files(root, ".c"):
        if not path.startswith("src/"):
            continue
        words = {os.path.basename(path)[:-2].split("_")[0], *path.split("/")[1:-1]}
        for line, _, name, static in functions(read(root, path)):
            if not static and name != "main" and name.split("_")[0].lower() not in words:
                problems.append("%s:%d: %s: whose is it?" % (path, line, name))
    return problems


def no_units(root):
    problems = []
    for path in files(root, ".h"):
        depth = 0
        for i, line in enumerate(bare_c(read(root, path)).split("\n")):
            field = FIELD.match(line) if depth > 0 else None
            for name in field.group(1).split(",") if field else []:
                name = re.sub(r"\[.*|:.*", "", name).strip(" *")
                if NO_UNIT.search(name):
                    problems.append("%s:%d: %s has no unit" % (path, i + 1, name))
            depth += line.count("{") - line.count("}")
    return problems


def named_hosts(root):
    return ["%s:%d: names a package registry" % (path, i + 1)
            for path in files(root, *C, *SCRIPTS, ".json", ".md", ".txt", ".build", ".npmrc")
            for i, line in enumerate(read(root, path).split("\n")) if HOST.search(line)]


def left_for_later(root):
    return ["%s:%d: %s" % (path, i + 1, match.group(1)) for path in files(root, *C, ".sh", ".mjs")
            for i, line in enumerate(read(root, path).split("\n"))
            for match in [LATER.search(line)] if match]


def not_built(root):
    """A file that meson does not know is never compiled, a test so never fails."""
    problems = []
    for path in files(root, ".c", ".cc"):
        folder, name = os.path.split(path)
        texts = []
        while folder:
            if os.path.isfile(os.path.join(root, folder, "meson.build")):
                texts.append(read(root, os.path.join(folder, "meson.build")))
            folder = os.path.dirname(folder)
        stem = re.sub(r"_(test|fuzz)$", "", name.rsplit(".", 1)[0])
        if not re.search(r"[/'](%s|%s)'" % (re.escape(name), re.escape(stem)), "\n".join(texts)):
            problems.append("%s: no meson.build lists it" % path)
    return problems


def unmapped(root):
    """doc/architecture.md is true to the tree: a line for every module, and no line without one."""
    try:
        page = read(root, "doc/architecture.md")
    except OSError:
        page = ""
    rows = [line.split("|")[1] for line in page.split("\n") if line.startswith("| `")]
    mapped = set(re.findall(r"`([^`]+)`", "\n".join(rows)))
    there = {os.path.basename(path).rsplit(".", 1)[0]: path for path in files(root, *C)
             if path.startswith("src/")}
    problems = ["%s: doc/architecture.md has no line for it" % there[stem]
                for stem in sorted(set(there) - mapped)]
    layers = {path.split("/")[1] for path in there.values()}
    return problems + ["doc/architecture.md: there is no %s" % name
                       for name in sorted(mapped - set(there) - layers)]


RULES = [
    ("functions have at most %d lines" % FUNCTION_LINES_MAX, long_functions),
    ("files have at most %d lines" % FILE_LINES_MAX, long_files),
    ("no banned call", banned_calls),
    ("each file opens with a comment that says what it is for", no_first_comment),
    ("file names are unique", same_names),
    ("header guards are named after the path", wrong_guards),
    ("no blanks at line ends, no tabs, a line end at the end", stray_blanks),
    ("what is not static begins with its module's name", foreign_prefixes),
    ("numbers of time and bytes in headers have units", no_units),
    ("no package registry is named", named_hosts),
    ("nothing is left for later", left_for_later),
    ("meson knows every C file", not_built),
    ("the map has every module", unmapped),
]


def main():
    tap = Tap()
    bad = os.path.join(ROOT, SAMPLES, "tidy")
    for label, rule in RULES:
        tap.check(label, rule(ROOT))
    for label, rule in RULES:
        tap.check("the sample breaks: " + label, [] if rule(bad) else [label + ": not found out"])
    tap.done()


main()
