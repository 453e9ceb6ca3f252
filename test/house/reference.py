#!/usr/bin/env python3
"""reference - doc/configuration.md has every key of the schema, no other one, and says of each whether
it waits for a restart: compared with the tables in src/wire."""
import re

from house import ROOT, Tap, read

PAGE = "doc/configuration.md"
# Lists and mappings that functions read: where their keys stand on the page.
READ_BY_HAND = {"models": ("models.NAME.", "model_keys"), "engines": ("engines[].", "engine_keys"),
                "gateways": ("gateways[].", "gateway_keys")}
READ_BY_HAND_OF_NODE = READ_BY_HAND | {"models": ("models.NAME.", "node_model_keys"),
                                       "gateways": ("gateways[].", "gateway_keys_of_node")}
NODE_SECTION = "\n## Of a node\n"


def tables(text):
    """{table: [(key, table below it or None, is built)]}"""
    for macro, rows in re.findall(r"#define (KEYS_\w+) *\\\n((?:.*\\\n)*.*\n)", text):
        rows = re.sub(r"\{\s+\.name", "{.name", rows.replace("\\\n", "\n"))
        text = text.replace("    %s,\n" % macro, rows + ",\n")
    found = {}
    for name, body in re.findall(r"const struct schema_key (\w+)\[\] = \{(.*?)\n\};", text, re.S):
        rows = re.split(r"\{(?=\.name = )", body)[1:]
        found[name] = [(key.group(1), below.group(1) if below else None, "schema_unbuilt" not in row)
                       for row in rows for key in [re.search(r'\.name = "(\w+)"', row)]
                       for below in [re.search(r"\.keys = (\w+)", row)] if key]
    return found


def keys_below(found, table, path, by_hand=READ_BY_HAND):
    for key, below, is_built in found[table]:
        if path == "" and key in by_hand:
            yield from keys_below(found, by_hand[key][1], by_hand[key][0])
        elif below:
            yield from keys_below(found, below, path + key + ".")
        elif is_built:
            yield path + key


def differences(sources, differ, page_text):
    """What the page lacks, what it has too much, and where it is wrong about a restart."""
    schema = set(keys_below(tables(sources), "keys", ""))
    waiting = set(re.findall(r'"([\w.]+)"', re.search(
        r"restart_keys\[\] = \{(.*?)\};", differ, re.S).group(1)))
    page = {key: restart for key, restart in re.findall(
        r"^\| `([\w.\[\]]+)` \|.*\| ?(\w*) \|$", page_text, re.M)}
    return (sorted(schema - set(page)), sorted(set(page) - schema),
            sorted(k for k in page if (page[k] == "yes") != (k in waiting)))


def node_differences(gateway_sources, node_source, section):
    """The same of a node: its section has what a gateway has not, and nothing that it has not itself."""
    found = tables(gateway_sources + node_source)
    own = set(keys_below(found, "node_keys", "", READ_BY_HAND_OF_NODE))
    rows = set(re.findall(r"^\| `([\w.\[\]]+)` \|", section, re.M))
    shared = set(keys_below(found, "keys", ""))
    return sorted((own - shared - rows) | (rows - own))


SAMPLE = """
static const struct schema_key inner[] = {
    {.name = "a", .read = x},
    {.name = "b",
     .read = x},
    {.name = NULL},
};
static const struct schema_key engine_keys[] = {
    {.name = "url", .read = x},
    {.name = NULL},
};
static const struct schema_key keys[] = {
    {.name = "outer", .read = y, .keys = inner},
    {.name = "engines", .read = z},
    {.name = "later", .read = schema_unbuilt},
    {.name = NULL},
};
"""


def main():
    tap = Tap()
    sources = "".join(read(ROOT, "src/wire/config%s.c" % part) for part in ("", "_bus", "_gateways", "_tls"))
    page, _, section = read(ROOT, PAGE).partition(NODE_SECTION)
    missing, strange, wrong = differences(sources, read(ROOT, "src/wire/config_diff.c"), page)
    tap.check("%s has every key" % PAGE, missing)
    tap.check("and no other", strange)
    tap.check("and says which wait for a restart", wrong)
    tap.check("and those of a node", node_differences(
        sources, read(ROOT, "src/wire/config_node.c"), section))
    seen = differences(SAMPLE, 'restart_keys[] = {"outer.a"};',
                       "| `outer.a` | 1 | that | |\n| `old` | | this | yes |\n")
    want = (["engines[].url", "outer.b"], ["old"], ["old", "outer.a"])
    tap.check("a page that lacks keys is found out", [] if seen == want else [str(seen)])
    node = "const struct schema_key node_keys[] = {\n    {.name = \"%s\", .read = x},\n    {.name = NULL},\n};\n"
    known = re.findall(r'^    \{"([a-z-]+)", -?[0-9.]+, -?[0-9.]+\}', read(ROOT, "src/wire/rtt_table.c"), re.M)
    told = re.search(r"\n## Regions\n(.*?)\nAny other name", page, re.S)[1]
    tap.check("and all regions that are known, in their order",
              [] if known and re.findall(r"`([a-z-]+)`\s\(", told) == known else known)
    tap.check("a section that lacks one, too",
              [] if node_differences(SAMPLE, node % "name", "| `nmae` |") == ["name", "nmae"] else ["?"])
    tap.done()


main()
