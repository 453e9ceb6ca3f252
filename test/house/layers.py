#!/usr/bin/env python3
"""layers - no file includes upwards. The order is the architecture: whoever breaks it couples a
decision to a socket, or the core to the world it is supposed to know nothing of. Nor does a role include
another role's files: what several have in common stands in role/ itself."""
import os
import re

from house import ROOT, SAMPLES, Tap, files, read

# layer: what it may include. core never sees engine (the world it predicts), role never sees sim.
MAY_INCLUDE = {
    "base": {"base"},
    "core": {"base", "core"},
    "engine": {"base", "engine"},
    "wire": {"base", "core", "wire"},
    "io": {"base", "core", "wire", "io"},
    "role": {"base", "core", "wire", "io", "engine", "role"},
    "sim": {"base", "core", "wire", "engine", "sim"},
    "cli": {"base", "core", "wire", "io", "engine", "role", "sim", "cli"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def role_of(path):
    """Which role a file is part of; "": what several have in common, or none."""
    parts = path.split("/")
    return parts[1] if parts[0] == "role" and len(parts) > 2 else ""


def upward(root, folder, layer_of):
    """Problems in root/folder; layer_of(path) is the layer whose rights a file has."""
    problems = []
    for path in files(os.path.join(root, folder), ".c", ".h", ".cc"):
        layer = layer_of(path)
        if layer not in MAY_INCLUDE:
            problems.append("%s/%s: %s is no layer" % (folder, path, layer))
            continue
        for name in INCLUDE.findall(read(root, os.path.join(folder, path))):
            target = name.split("/")[0]
            where = "%s/%s includes %s" % (folder, path, name)
            if folder != "src" and "/" not in name:
                continue  # a test's own helper, such as tap.h
            if "/" not in name or target not in MAY_INCLUDE:
                problems.append(where + ": write it as layer/file.h")
            elif target not in MAY_INCLUDE[layer]:
                problems.append("%s: %s is not below %s" % (where, target, layer))
            elif folder == "src" and layer == "role" and role_of(name) not in ("", role_of(path)):
                problems.append("%s: that is another role's own" % where)
            elif not os.path.isfile(os.path.join(root, "src", name)):
                problems.append(where + ": no such file")
    return problems


def first_folder(path):
    return path.split(os.sep)[0]


def main():
    tap = Tap()
    tap.check("no include upwards in src", upward(ROOT, "src", first_folder))
    tap.check("a unit test includes its own layer and what is below",
              upward(ROOT, os.path.join("test", "unit"), first_folder))
    bad = upward(os.path.join(ROOT, SAMPLES, "layers"), "src", first_folder)
    want = ["core includes engine", "base includes core", "no layer in the name",
            "no such file", "no such layer", "node includes gateway"]
    seen = "\n".join(bad)
    missed = [w for w, found in zip(want, [
        "core/peeks.c includes engine/engine.h: engine is not below core" in seen,
        "base/climbs.h includes core/core.h: core is not below base" in seen,
        "base/climbs.h includes near.h: write it as layer/file.h" in seen,
        "core/peeks.c includes core/missing.h: no such file" in seen,
        "attic/lost.c: attic is no layer" in seen,
        "role/node/strays.c includes role/gateway/gateway.h: that is another role's own" in seen,
    ]) if not found]
    tap.check("the samples are found out", missed + ([] if len(bad) == 6 else bad))
    tap.done()


main()
