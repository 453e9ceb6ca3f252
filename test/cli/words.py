#!/usr/bin/env python3
"""words - the commands that need no gateway, run as people run them: --help, check, key. Judges exit
codes, where the text goes, and that what one command writes another can read.

usage: words.py PATH_OF_ISOCHRONE"""
import json
import os
import re
import shlex
import stat
import subprocess
import tempfile
import xml.etree.ElementTree

from life_tools import PROGRAM, check, finish

SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fuzz", "corpus", "config",
                      "sample")


def run(*args, env=None):
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **(env or {})}, check=False)
    return done.returncode, done.stdout, done.stderr


def write(name, text):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)


def check_main():
    code, out, _ = run("--help")
    check(code == 0 and "isochrone up" in out and " check " in out, "--help shows the commands")
    words = re.findall(r"^  (\w+) {2,}\S", out, re.M)
    check("check" in words and "key" in words, "among them these two")
    for word in words:
        code, out, err = run(word, "--help")
        check(code == 0 and "isochrone " + word in out and err == "", word + " --help has examples")
        wide = [line for line in out.splitlines() if len(line) > 80]
        check(not wide, word + " --help fits a terminal", wide)
    code, out, _ = run("key", "sign", "--help")
    check(code == 0 and "isochrone key sign" in out and "key add" not in out
          and max(map(len, out.splitlines())) <= 80, "keys of nodes have a help of their own")
    code, out, _ = run("--version")
    check(code == 0 and re.fullmatch(r"isochrone \d+\.\d+\.\d+\n", out) is not None, "--version")
    code, out, err = run()
    check(code == 2 and out == "" and "isochrone up" in err, "no command is wrong use")
    code, out, err = run("chekc")
    check(code == 2 and "did you mean `check`?" in err, "a mistyped command")
    code, out, err = run("models")
    check(code == 2 and "did you mean `readiness`?" in err, "what others call by another name")
    code, _, err = run("check", "--fiel", "x")
    check(code == 2 and "fiel" in err, "a mistyped option")


def check_check():
    code, out, _ = run("check", "-f", SAMPLE)
    check(code == 0 and SAMPLE + ":11:80: warning: `accept`" in out, "the sample has warnings only")
    check("not built yet" in out.splitlines()[-1], "and the last line says that it does not start")
    write("bad.yaml", "regoin: a\nrule: fast\nengines: [{url: \"http://a\"}]\n")
    code, out, err = run("check", "-f", "bad.yaml")
    check(code == 1 and err == "", "errors are status 1")
    check("bad.yaml:1:1: error: unknown key `regoin`; did you mean `region`?" in out
          and "bad.yaml:2:7: error: unknown rule `fast`" in out, "all at once, with their place")
    code, out, _ = run("check", "-f", "bad.yaml", "--json")
    report = json.loads(out)
    check(code == 1 and report["ok"] is False and report["errors"] == 2
          and report["problems"][1]["line"] == 2, "the same as JSON")
    code, out, err = run("check", "-f", "nothing.yaml")
    check(code == 1 and out == "" and "nothing.yaml" in err, "no such file")
    check(run("check")[0] == 2, "no file named")
    write("ollama.yaml", "engines:\n  - url: \"http://a:11434\"\n  - {url: \"http://b\", kind: ollama}\n"
          "  - {url: \"http://c:11434\", slots: 4}\n  - {url: \"http://d:11434\", kind: vllm}\n"
          "  - {url: \"http://e\"}\n")
    code, out, _ = run("check", "-f", "ollama.yaml", "--json")
    report = json.loads(out)
    check(code == 0 and [p["line"] for p in report["problems"]] == [2, 3]
          and all("OLLAMA_NUM_PARALLEL" in p["text"] and p["severity"] == "warning"
                  for p in report["problems"]), "an Ollama whose slots nobody said", out)


def check_dump():
    write("good.yaml", "region: ${WHERE:-here}\nengines: [{url: \"http://a\", key: \"${SECRET}\"}]\n")
    code, first, err = run("check", "-f", "good.yaml", "--dump", env={"SECRET": "hush", "WHERE": "eu"})
    check(code == 0 and err == "" and 'region: "eu"' in first, "--dump shows what is in effect")
    check("hush" not in first and "***" in first, "and no secret")
    check("body_bytes_max: 64MiB" in first, "and the defaults")
    write("again.yaml", first)
    _, second, _ = run("check", "-f", "again.yaml", "--dump")
    check(first == second, "and can be read again")


def check_named_files():
    write("named.yaml", "keys: file:there.yaml\nrtt: rtt.csv\nengines: [{url: \"http://a\"}]\n")
    code, out, _ = run("check", "-f", "named.yaml")
    check(code == 0 and "there.yaml: warning: not checked" in out, "a file that is not here")
    write("there.yaml", "keys:\n  - {name: a}\n")
    write("rtt.csv", "from,to,ms\na,b,1\na,c,far\n")
    code, out, _ = run("check", "-f", "named.yaml")
    check(code == 1 and "there.yaml:2:5: error: a key needs" in out, "the key file is read too")
    check("rtt.csv:3: error: `far`" in out, "and the round trips")
    write("ca.crt", "none\n")
    write("empty.crt", "")
    write("trust.yaml", "auth: none\nengines:\n" + "".join(
        "  - {url: \"https://%s\", ca: file:%s.crt}\n" % e for e in (("a", "ca"), ("b", "ca"), ("c", "empty"), ("d", "no")))
        + "bus: {nats: \"tls://n:1\", ca: file:ca.crt, user: a, password: file:p}\n")
    code, out, _ = run("check", "-f", "trust.yaml")
    check(code == 1 and out.count("ca.crt: there is no certificate in it") == 1 and "trust.yaml:3: error: ca.crt" in out,
          "whom engines are trusted by, once for all that name it", out)
    check("empty.crt: error: the file is empty" in out and "no.crt: warning: not checked" in out, "what is empty, or not here", out)


def check_key():
    code, alice, err = run("key", "add", "alice", "--concurrency", "2")
    check(code == 0 and re.fullmatch(r"isk-[A-Za-z0-9_-]{43}\n", alice) is not None,
          "a key alone on standard output")
    check(alice.strip() not in err and "keys.yaml" in err, "and a word beside it")
    check(stat.S_IMODE(os.stat("keys.yaml").st_mode) == 0o600, "a new file is for its owner only")
    code, bob, _ = run("key", "add", "bob", "--json", "--tokens-per-minute", "1000")
    bob = json.loads(bob)
    check(code == 0 and bob["name"] == "bob" and bob["key"] + "\n" != alice, "another one as JSON")
    with open("keys.yaml", encoding="utf-8") as file:
        text = file.read()
    check(alice.strip() not in text and bob["key"] not in text, "the file has neither")
    check(text.count("sha256") == 2 and "concurrency: 2" in text
          and "tokens_per_minute: 1000" in text, "but hashes and limits")
    code, out, err = run("key", "add", "alice")
    check(code == 1 and out == "" and "already" in err, "a name stands only once")
    for name, limit in (("A b", "1"), ("c", "0"), ("c", "many")):
        check(run("key", "add", name, "--concurrency", limit)[0] == 2, "wrong: %s %s" % (name, limit))
    check(run("key")[0] == 2 and run("key", "drop", "alice")[0] == 2, "no such verb")
    with open("keys.yaml", encoding="utf-8") as file:
        check(file.read() == text, "none of these changed the file")
    write("keys.yaml", text.rstrip("\n"))
    check(run("key", "add", "carol")[0] == 0, "a last line without its end")
    write("use.yaml", "keys: file:keys.yaml\nengines: [{url: \"http://a\"}]\n")
    check(run("check", "-f", "use.yaml")[0] == 0, "what was written can be read")
    write("flow.yaml", "keys: [{name: a, sha256: \"%s\"}]\n" % ("0" * 64))
    code, _, err = run("key", "add", "b", "--file", "flow.yaml")
    with open("flow.yaml", encoding="utf-8") as file:
        check(code == 1 and "line by line" in err and file.read().count("sha256") == 1,
              "a file that would break is left alone")


def names_in(path):
    code, out, _ = run("key", "list", "--json", "--file", path)
    return [key["name"] for key in json.loads(out)["keys"]] if code == 0 else None


def check_key_edit():
    write("edit.yaml", "# ours\nkeys:\n  - {name: a, sha256: \"%s\"} # the first\n  # of b:\n"
          "  - name: b\n    sha256: \"%s\"\n  # the end\n" % ("0" * 64, "1" * 64))
    os.chmod("edit.yaml", 0o640)
    os.symlink("edit.yaml", "link.yaml")
    code, _, err = run("key", "add", "c", "--file", "link.yaml", "--rpm", "600", "--tpm", "90000", "--priority", "low",
                       "--may-claim", "normal", "--preferences", "models", "--models", "tiny, meta/Big:8b",
                       "--expires", "2027-01-31")
    check(code == 0 and os.path.islink("link.yaml") and stat.S_IMODE(os.stat("edit.yaml").st_mode) == 0o640,
          "a key with all it may have; the file keeps its rights, the link stays", err)
    with open("edit.yaml", encoding="utf-8") as file:
        text = file.read()
    check(text.startswith("# ours") and "# the first" in text and "# the end" in text, "and the comments", text)
    code, out, _ = run("key", "list", "--json", "--file", "edit.yaml")
    key = json.loads(out)["keys"][2]
    check(code == 0 and key == {
        "name": "c", "concurrency": None, "requests_per_minute": 600, "tokens_per_minute": 90000,
        "priority": "low", "may_claim": "normal", "preferences": ["models"],
        "models": ["tiny", "meta/Big:8b"], "expires": "2027-01-31T00:00:00Z"}, "it is listed as it is", out)
    code, out, _ = run("key", "list", "-f", "edit.yaml")
    check(code == 0 and "600" in out and "tiny and 1 more" in out and "1" * 8 not in out, "for people, too", out)
    code, _, err = run("key", "remove", "b", "--file", "edit.yaml")
    check(code == 0 and names_in("edit.yaml") == ["a", "c"], "a key of several lines is taken out", err)
    with open("edit.yaml", encoding="utf-8") as file:
        check("# of b:" in file.read(), "what people wrote stays")
    check(run("key", "remove", "b", "--file", "edit.yaml")[0] == 1, "only once")
    for name in ("a", "c"):
        run("key", "remove", name, "--file", "edit.yaml")
    check(names_in("edit.yaml") == [] and not os.path.exists("edit.yaml.new"), "the last one, too")
    check(run("key", "add", "d", "--file", "edit.yaml")[0] == 0 and names_in("edit.yaml") == ["d"],
          "and it can be used again")
    check(run("key", "remove", "a", "--file", "flow.yaml")[0] == 1 and names_in("flow.yaml") == ["a"],
          "a list on one line is left alone")
    check(run("key", "list", "--file", "nothing.yaml")[0] == 1, "no such file")
    write("odd.yaml", "keys:\n  - {name: a, sha256: 1}\n")
    code, _, err = run("key", "list", "--file", "odd.yaml")
    check(code == 1 and "odd.yaml:2:23: error:" in err, "mistakes have a place", err)
    for words in (("--may-claim", "low"), ("--preferences", "gold"), ("--models", ","), ("--expires", "soon"),
                  ("--rpm", "0"), ("--rmp", "3"), ("--class", "first")):
        code, out, err = run("key", "add", "e", *words)
        check(code == 2 and out == "" and err != "", "wrong: " + " ".join(words), err)
    adding = [subprocess.Popen([PROGRAM, "key", "add", "k%d" % i, "--file", "many.yaml"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for i in range(12)]
    check([child.wait() for child in adding] == [0] * 12 and
          sorted(names_in("many.yaml")) == sorted("k%d" % i for i in range(12)), "twelve at once: none is lost")


SCENARIOS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenario")
SMALL = ["--nodes", "12", "--regions", "3", "--gateways", "2", "--duration", "4s", "--warmup", "1s"]
NO_DATA = {"ISOCHRONE_DATA": ""}


def check_sim():
    code, out, err = run("sim", *SMALL, "--seeds", "2", env=NO_DATA)
    check(code == 0 and err == "" and "synthetic" in out and "made up" in out, "sim without data")
    check(all(rule in out for rule in ("time", "nearest", "least_request", "round_robin", "random")),
          "compares what a gateway has")
    code, out, err = run("sim", *SMALL, "--rule", "time,p2c", "--load", "50%,0.9", "--seeds", "7-9",
                         "--json", "--jobs", "3", env=NO_DATA)
    report = json.loads(out)
    check(code == 0 and err == "" and report["synthetic"] is True and len(report["runs"]) == 12
          and len(report["summary"]) == 4, "as JSON: each run, and each rule at each load")
    summary = report["summary"][1]
    check(summary["rule"] == "p2c" and summary["load"] == 0.5 and summary["seeds"] == 3
          and summary["ttft_p95_ms_synthetic"]["mean"] > 0
          and summary["over_first_rule"]["ttft_p95_ms_synthetic"]["mean"] > 0,
          "figures of the built-in load say so, ratios are there")
    check("ttft_p95_ms" not in summary and [r["seed"] for r in report["runs"][:3]] == [7, 8, 9],
          "and never look like measured ones; seeds in order")
    one = report["runs"][4]
    args = shlex.split(one["repeat"])
    code, out, _ = run(*args[1:], "--json", env=NO_DATA)
    again = json.loads(out)["runs"]
    check(args[0] == "isochrone" and code == 0 and len(again) == 1
          and again[0]["digest"] == one["digest"], "the command of a run repeats it")
    code, out, _ = run("sim", *SMALL, "--rule", "time,p2c", "--load", "50%,0.9", "--seeds", "7-9",
                       "--json", "--jobs", "1", env=NO_DATA)
    check([r["digest"] for r in json.loads(out)["runs"]] == [r["digest"] for r in report["runs"]],
          "one worker decides as three do")


def check_sim_files():
    code, _, err = run("sim", *SMALL, "--seeds", "1", "--plot", "p.svg", env=NO_DATA)
    root = xml.etree.ElementTree.parse("p.svg").getroot()
    check(code == 0 and err == "" and root.tag.endswith("svg") and len(list(root)) > 50,
          "a plot is XML with something in it")
    check(run("sim", *SMALL, "--seeds", "1", "--plot", "no/p.svg", env=NO_DATA)[0] == 1,
          "where none can be written")
    for name in sorted(os.listdir(SCENARIOS)):
        code, out, err = run("sim", os.path.join(SCENARIOS, name), "--describe", env=NO_DATA)
        check(code == 0 and err == "" and "requests a second within the SLO" in out, name)
    code, out, _ = run("sim", "--list-rules")
    check(code == 0 and "prequal" in out and "of the gateway" in out, "rules are listed")


def check_sim_wrong():
    write("bad.yaml", "nodes: 10\nregoins: 3\nload: much\n")
    code, out, err = run("sim", "bad.yaml")
    check(code == 1 and out == "" and "bad.yaml:2:1: error: unknown key `regoins`" in err
          and "did you mean `regions`" in err and "bad.yaml:3:7: error: load" in err,
          "a scenario's problems, all at once, with their place")
    check(run("sim", "nothing.yaml")[0] == 1, "no such scenario")
    for words, text in ((("--rule", "tiem"), "did you mean `time`"),
                        (("--nodes", "3"), "nodes (one a region"),
                        (("--seeds", "9-3"), "--seeds"), (("--load", "0"), "load"),
                        (("--jobs", "0"), "--jobs"), (("--set", "{nodse: 3}"), "`nodes`"),
                        (("--check-engine",), "--data")):
        code, out, err = run("sim", *words, env=NO_DATA)
        check(code == 2 and out == "" and text in err, "wrong use: " + " ".join(words))
    write("odd.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,10,5\nnow,1,1\n")
    code, _, err = run("sim", *SMALL, "--trace", "odd.csv", env=NO_DATA)
    check(code == 1 and "odd.csv:3" in err, "an odd row of a trace, with its line")
    code, _, err = run("sim", *SMALL, "--trace", "nowhere", env=NO_DATA)
    check(code == 1 and "nowhere" in err, "no such trace")
    write("two.csv", "from,to,ms\na,b,10\nb,c,10\n")
    code, _, err = run("sim", *SMALL, "--rtt", "two.csv", env=NO_DATA)
    check(code == 1 and "two.csv" in err and "known round trips" in err, "regions without round trips")


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    check_main()
    check_check()
    check_dump()
    check_named_files()
    check_key()
    check_key_edit()
    check_sim()
    check_sim_files()
    check_sim_wrong()
    os.chdir("/")
finish()
