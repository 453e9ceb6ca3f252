"""house - what the house tests share: walking the tree, reading C without its comments and
strings, and answering in TAP. Only the standard library, so that a bare Debian can run them."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SAMPLES = os.path.join("test", "house", "samples")
SKIPPED_FOLDERS = re.compile(r"^(build.*|node_modules|\.git|corpus|__pycache__)$")


def files(root, *suffixes):
    """Paths below root, relative to it, sorted, that end in one of the suffixes; the samples are
    bad on purpose and belong only to the self-tests."""
    found = []
    for folder, inner, names in os.walk(root):
        inner[:] = [d for d in inner if not SKIPPED_FOLDERS.match(d)]
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), root)
            if name.endswith(suffixes) and not path.startswith(SAMPLES):
                found.append(path)
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


BARE = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


def bare_c(text):
    """The text with comments and the insides of strings blanked; lines stay where they were."""
    return BARE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


class Tap:
    """One rule is one check; every place that breaks it is named in a comment below."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def check(self, label, problems):
        self.count += 1
        self.failed += bool(problems)
        print("%sok %d - %s" % ("not " if problems else "", self.count, label))
        for problem in problems:
            print("# " + problem)

    def done(self):
        print("1..%d" % self.count)
        sys.exit(1 if self.failed else 0)
