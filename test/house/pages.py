#!/usr/bin/env python3
"""pages - what the README and doc/ name is there: pages and sections that are linked, files, words of the
program, targets of make; and every page is found from the README."""
import os
import re

from house import ROOT, Tap, files, read

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
WORD = re.compile(r"(?:^ {4}|^|`|\n(?:\$ )?|/)isochrone ([a-z][a-z_]+)\b(?!:)", re.M)
MAKE = re.compile(r"(?:`|^ {4})make ([a-z][a-z0-9-]*[a-z0-9])(?![-*\w])", re.M)
FILE = re.compile(r"`((?:src|test|doc|demo|bench|packaging)/[\w./-]+\.\w+)`")


def prose(text):
    """Without what is quoted as code over several lines: links there are none."""
    return FENCE.sub("", text)


def slug(heading):
    """As the anchors of sections are made."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(text):
    return {slug(h) for h in re.findall(r"^#+ (.*?) *$", prose(text), re.M)}


def links(page, text):
    """(path, section) of each link to a file of ours, the path from the root."""
    for target in LINK.findall(prose(text)):
        if not re.match(r"[a-z]+:", target):
            path, _, section = target.partition("#")
            yield os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page, section


def dead(pages, exists):
    """Links that lead nowhere."""
    return ["%s: %s%s" % (page, path, "#" + section if section else "")
            for page, text in pages.items() for path, section in links(page, text)
            if not (path in pages or exists(path)) or
            (section and path in pages and section not in anchors(pages[path]))]


def unseen(pages, exists_folder):
    """Pages to which no way leads from the README; a link to a folder leads to all in it."""
    seen, todo = set(), ["README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for path, _ in links(page, pages[page]):
            todo += [path] if path in pages else [p for p in pages if exists_folder(path) and p.startswith(path + "/")]
    return sorted(set(pages) - seen)


def unknown(pages, pattern, known):
    return sorted({"%s: %s" % (page, name) for page, text in pages.items() for name in pattern.findall(text)
                   if name not in known})


def self_test():
    pages = {"README.md": "[a](doc/a.md#two-words) [no](doc/no.md)\n    isochrone up\n`isochrone fly`\n`make it`",
             "doc/a.md": "# Two `words`\n[b](#one) `src/a.c`\n", "doc/lost.md": ""}
    bad = []
    if dead(pages, lambda path: False) != ["README.md: doc/no.md", "doc/a.md: doc/a.md#one"]:
        bad.append("dead links: %s" % dead(pages, lambda path: False))
    if unseen(pages, lambda path: False) != ["doc/lost.md"]:
        bad.append("pages that nobody finds")
    if unknown(pages, WORD, {"up"}) != ["README.md: fly"] or unknown(pages, MAKE, ()) != ["README.md: it"]:
        bad.append("words and targets")
    if unknown(pages, FILE, ()) != ["doc/a.md: src/a.c"]:
        bad.append("files")
    return bad


def main():
    tap = Tap()
    pages = {path: read(ROOT, path) for path in files(ROOT, ".md")
             if path.startswith("doc/") or path in ("README.md", "CONTRIBUTING.md")}
    there = set(files(ROOT, ""))
    commands = set(re.findall(r'\{"\w+", "(\w+)", cmd_', re.sub(r"\s+", " ", read(ROOT, "src/cli/main.c"))))
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", read(ROOT, "Makefile"), re.M))
    tap.check("this test finds what is wrong", self_test())
    tap.check("links lead somewhere", dead(pages, lambda path: os.path.exists(os.path.join(ROOT, path))))
    tap.check("every page is found from the README", unseen(pages, lambda p: os.path.isdir(os.path.join(ROOT, p))))
    tap.check("words of the program are its words", unknown(pages, WORD, commands))
    tap.check("targets of make are its targets", unknown(pages, MAKE, targets))
    tap.check("files that are named are there", unknown(pages, FILE, there))
    tap.done()


main()
