#!/usr/bin/env python3
"""key_identity - keys of nodes, operators and gateways as people make them: who may read the files,
what is never written over or printed, what an operator signs, what is said of a record that was
changed; and the configuration of a node that names them.

usage: key_identity.py PATH_OF_ISOCHRONE"""
import json
import os
import re
import stat
import subprocess
import tempfile

from life_tools import PROGRAM, check, finish

KEY = r"ed25519:[0-9a-f]{64}"


def key(*args):
    done = subprocess.run([PROGRAM, "key", *args], capture_output=True, text=True, timeout=60,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def text_of(name):
    with open(name, encoding="utf-8") as file:
        return file.read()


def write(name, text):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)


def check_make():
    code, out, err = key("operator", "--name", "acme", "-o", "operator.key")
    check(code == 0 and re.fullmatch(KEY + "\n", out), "a public key alone on standard output", out)
    secret, public = text_of("operator.key"), text_of("operator.pub")
    check(re.fullmatch(r"ed25519-secret:[0-9a-f]{64} operator acme\n", secret), "the secret file",)
    check(public == out.strip() + " operator acme\n", "the public one", public)
    check(stat.S_IMODE(os.stat("operator.key").st_mode) == 0o600, "the secret is for its owner only")
    check(stat.S_IMODE(os.stat("operator.pub").st_mode) == 0o644, "the other for all")
    check(secret[15:79] not in out + err, "and is never printed")
    code, out, err = key("operator", "--name", "acme", "-o", "operator.key")
    check(code == 1 and "there already" in err and text_of("operator.key") == secret,
          "a secret is not written over", err)
    code, out, _ = key("operator", "--name", "acme", "-o", "operator.key", "--force", "--json")
    made = json.loads(out)
    check(code == 0 and text_of("operator.key") != secret and made["public_file"] == "operator.pub"
          and text_of("operator.pub").startswith(made["key"]), "unless one says so; as JSON", out)
    check(key("node", "--name", "ams1-gpu0", "-o", "node.key")[0] == 0, "a node's")
    check(key("gateway", "--name", "gw1", "-o", "gateway.key")[0] == 0, "a gateway's")


def check_wrong():
    for label, *args in (("no name", "node", "-o", "x.key"), ("a bad name", "node", "--name", "A b",
                         "-o", "x.key"), ("no file", "node", "--name", "a"),
                         ("a word more", "node", "x", "--name", "a", "-o", "x.key"),
                         ("nobody to sign", "sign", "--operator", "operator.key"),
                         ("labels of a key", "node", "--name", "a", "-o", "x.key", "--label", "a=b"),
                         ("no label", "sign", "--label", "x"), ("a bad one", "sign", "--label", "A=b"),
                         ("one twice", "sign", "--label", "a=b", "--label=a=c"),
                         ("nothing to show", "show"), ("a mistyped option", "sign", "--opertor", "x")):
        code, out, err = key(*args)
        check(code == 2 and out == "" and err, "wrong: " + label, code, out)
    check(not os.path.exists("x.key"), "and nothing was made")
    check("did you mean `--operator`" in err, "the nearest option", err)


def check_sign():
    args = ("sign", "--operator", "operator.key", "--node", "node.pub", "--label", "site=ams1",
            "--label=region=eu-west", "--url", "https://10.0.0.5:8443", "--pin", "sha256:" + 32 * "01",
            "--expires", "30d")
    code, out, err = key(*args, "-o", "node.identity")
    record = json.loads(text_of("node.identity"))
    check(code == 0 and out == "" and "ams1-gpu0 of acme" in err, "an operator signs", err)
    check(record["node"] == "ams1-gpu0" and record["operator"] == "acme"
          and record["labels"] == {"region": "eu-west", "site": "ams1"}
          and record["expires_s"] - record["issued_s"] == 30 * 86400, "what it was told")
    check(key(*args, "-o", "node.identity")[0] == 0, "again: a record may be replaced")
    check(key(*args, "-o", "node.key")[0] == 1 and "secret" in text_of("node.key"), "a secret not")
    code, out, _ = key(*args)
    check(code == 0 and json.loads(out)["node"] == "ams1-gpu0", "to standard output")
    for label, change, words in (
            ("days", ("--expires", "0d"), "--expires"), ("the past", ("--expires", "2020-01-01"),
            "--expires"), ("too long", ("--expires", "9999d"), "--expires"),
            ("a path", ("--url", "https://a/b"), "--url"), ("a pin", ("--pin", "sha256:x"), "--pin"),
            ("a pin of no certificate", ("--pin", "node.pub"), "no certificate"),
            ("a pin of no file", ("--pin", "nowhere.crt"), "nowhere.crt: No such file"),
            ("the public key", ("--operator", "operator.pub"), "the secret one is needed"),
            ("a node that signs", ("--operator", "node.key"), "not an operator's key"),
            ("an operator as node", ("--node", "operator.pub"), "not a node's key"),
            ("no file", ("--node", "none.pub"), "none.pub")):
        code, out, err = key(*args, *change)
        check(code == 1 and out == "" and words in err, "refused: " + label, err)
    code, out, err = key("sign", "--operator", "operator.key", "--node", "node.pub", "--url", "https://10.0.0.5:8443")
    check(code == 1 and out == "" and "--pin" in err, "refused: https without a pin", err)


def check_show():
    code, out, _ = key("show", "node.identity", "--operator", "operator.pub")
    check(code == 0 and "vouches" in out and re.search(r"^region +eu-west$", out, re.M), "shown", out)
    code, out, _ = key("show", "node.identity")
    check(code == 0 and "well signed" in out, "whoever signed it", out)
    key("operator", "--name", "bolt", "-o", "bolt.key")
    code, out, _ = key("show", "node.identity", "--operator", "bolt.pub")
    check(code == 1 and "unproven" in out, "not by another operator", out)
    write("forged.identity", text_of("node.identity").replace("eu-west", "us-east"))
    code, out, _ = key("show", "forged.identity", "--operator", "operator.pub", "--json")
    check(code == 1 and "does not fit" in json.loads(out)["verdict"], "nor when it was changed", out)
    write("broken.identity", text_of("node.identity").replace('"ams1-gpu0"', '"A"'))
    code, _, err = key("show", "broken.identity")
    check(code == 1 and "node: `\"A\"` is not a name" in err, "what is wrong with it is said", err)
    code, out, err = key("show", "node.key")
    check(code == 0 and "the secret key" in out and "ams1-gpu0" in out
          and text_of("node.key")[15:79] not in out + err, "a secret key is described, not shown")
    os.chmod("node.key", 0o640)
    for args in (("show", "node.key"), ("sign", "--operator", "node.key", "--node", "node.pub")):
        code, out, err = key(*args)
        check(code == 1 and out == "" and "chmod 600" in err, "a secret that others can read", err)
    write("rubbish", "ed25519:12\n")
    code, _, err = key("show", "rubbish")
    check(code == 1 and "no key file" in err, "rubbish", err)


def node_check(*args):
    done = subprocess.run([PROGRAM, "check", "-f", "node.yaml", *args], capture_output=True,
                          text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def check_node():
    """A node's configuration, and whether the files fit together that it names."""
    gateway = text_of("gateway.pub").split()[0]
    base = ("key: file:node.key\nidentity: file:node.identity\n"
            "gateways: [{name: gw1, key: \"%s\", may: [infer]}]\n"
            "engines: [{url: \"http://127.0.0.1:8000\"}]\n" % gateway)
    os.chmod("node.key", 0o600)
    write("node.yaml", base)
    code, out, err = node_check()
    check(code == 0 and "ok, for `isochrone node`; 0 errors, 0 warnings, 1 engine, 1 gateway" in out, "a node's is good", out)
    code, out, err = node_check("--json")
    report = json.loads(out)
    check(code == 0 and report["of"] == "node" and report["gateways"] == 1, "as JSON", out)
    check(node_check("--dump")[0] == 2, "it has no dump")
    os.chmod("node.key", 0o644)
    code, out, err = node_check()
    check(code == 1 and "node.key: error: others can read it" in out, "a key for all", out)
    os.chmod("node.key", 0o600)
    key("node", "--name", "ams1-gpu0", "-o", "other.key")
    for label, change, words in (
            ("another key", ("node.key", "other.key"), "another key than this node has"),
            ("another name", ("key:", "name: ams1-gpu1\nkey:", 1), "the key of ams1-gpu0"),
            ("a public key", ("node.key", "node.pub"), "no node's secret key"),
            ("an operator's", ("node.key", "operator.key"), "no node's secret key"),
            ("a gateway's", ("node.key", "gateway.key"), "no node's secret key"),
            ("a forged record", ("node.identity", "forged.identity"), "does not fit"),
            ("a broken record", ("node.identity", "broken.identity"), "is not a name"),
            ("a mistyped key", ("gateways", "guard: {}\ngatewys"), "did you mean `gateways`")):
        write("node.yaml", base.replace(*change))
        code, out, err = node_check()
        check(code == 1 and words in out, "wrong: " + label, out)


def check_gateway():
    """A gateway's: is its key one of a gateway? What both could have is told apart by whose key it is."""
    base = "name: gw1\nkey: file:gateway.key\nengines: [{url: \"http://127.0.0.1:8000\"}]\n"
    for label, change, good, words in (
            ("a gateway's is good", ("", ""), True, "ok; 0 errors, 0 warnings"),
            ("wrong: a node's key", ("gateway.key", "node.key\nrule: time"), False, "no gateway's secret key"),
            ("wrong: a public key", ("gateway.key", "gateway.pub"), False, "no gateway's secret key"),
            ("another one's key", ("gw1", "fra-gw"), True, "warning: it is the key of gw1"),
            ("a key that is not here", ("gateway.key", "nowhere.key"), True, "nowhere.key: warning: not checked"),
            ("only the key tells that it is a node's", ("name: gw1\nkey: file:gateway.key", "key: file:node.key"),
             True, "ok, for `isochrone node`")):
        write("node.yaml", base.replace(*change))
        code, out, _ = node_check()
        check((code == 0) == good and words in out, label, out)


def check_regions():
    """Names of regions that no table of round trips has, where there is more than one."""
    far, engine = "region: eu-wst\n", "engines: [{url: \"http://10.0.0.5:8000\"%s}]\n"
    mistyped = "`eu-wst`: how far it is shows with the first answers; did you mean `eu-west`?"
    for label, text, warnings in (
            ("one of our own, alone", far + engine % "", []),
            ("known ones", "region: us-east\n" + engine % ", region: eu-west", []),
            ("a mistyped one", far + engine % ", region: us-east", [mistyped]),
            ("an engine's", engine % ", region: xyzzy", ["`xyzzy`"]),
            ("of who hears nodes", far + "bus: {http: true}\n", [mistyped]),
            ("a table of our own", far + "rtt: own.csv\n" + engine % ", region: us-east", ["`us-east`"])):
        write("own.csv", "from,to,rtt_ms\neu-wst,a,3\n")
        write("node.yaml", text)
        code, out, _ = node_check()
        check(code == 0 and out.count("warning: ") == len(warnings) and all(w in out for w in warnings),
              "regions: " + label, out)


def main():
    with tempfile.TemporaryDirectory(prefix="isochrone-keys-") as folder:
        os.chdir(folder)
        os.umask(0o022)
        check_make()
        check_wrong()
        check_sign()
        check_show()
        check_node()
        check_gateway()
        check_regions()
        os.chdir("/")
    finish()


main()
