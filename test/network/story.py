"""story - what happens in the network of `make network`, one step after the other: each says what it
expects before it acts, looks at what the gateways tell and at where requests go, before and after, and
compares. No clock is compressed, only the load curve: a ramp of hours takes a minute.

  story.py ISOCHRONE RELAY LOADGEN FOLDER [STEP...]

FOLDER gets the transcript (transcript.md), and what all programs wrote. Ends with 1 when an expectation
failed, with 0 also where namespaces are refused (and says so)."""
import json
import os
import sys
import threading
import time

import layout
import relayed

RAMP_MODEL, COLD_MODEL, LIE_MODEL = "qwen3-32b", layout.RARE_MODEL, "llama-3.1-8b"
RAMP_REGION, COLD_REGION, LIE_REGION = "us-east", "ap-northeast", "us-east"
RAMP_PARTS = (0.1, 0.5, 1.0, 1.5)  # of what the gateway says is free in its region at rest
RAMP_LEVEL_S = 15
RAMP_MOVED_MIN = 0.10  # of the region's requests, from the first level to the last
COLD_S, COLD_RATE = 75, 3.0
OUTAGE_OPERATOR = "acme"
OUTAGE_CUT_S, OUTAGE_SETTLED_S, OUTAGE_JOIN_S, OUTAGE_BACK_S, OUTAGE_S = 20, 30, 50, 70, 90
OUTAGE_BACK_MIN = 0.33  # of its share before: it is trusted again little by little
LIE_FROM_S, LIE_SEEN_S, LIE_S, SLOW_FACTOR = 20, 35, 60, 8
PROMPT_MEDIAN, PROMPT_SIGMA, PROMPT_MEAN, OUTPUT = 1500, 0.7, 1850, 64  # tokens; cut at 6000
OTHERS_PART = 0.1  # what all ask for while nothing happens, of what is free in the region
BUS_DEATH_S, BUS_BACK_S, BUS_S = 10, 30, 50
DEAD_REGION = "eu-west"
DEAD_S, DEAD_BACK_S, DEAD_HEALED_S, GATEWAY_S = 20, 45, 50, 70
DEAD_PART = 0.5  # what its clients ask for, of what is free in the region
FRESH_S = 5  # news that are no older
LOOKS, LOOK_S = 8, 1.6  # of what is free
DRAIN_S = 20
ANSWERED_MIN = 0.99
PATIENCE_S = 60
STAYS = 0.5  # what is measured and not expected to move is between a half and the double


class Results:
    """Requests that were sent, as loadgen wrote them down."""

    def __init__(self, rows):
        self.rows = rows

    def where(self, keep):
        return Results([r for r in self.rows if keep(r)])

    def sent(self, from_s, to_s):
        return self.where(lambda r: 1000 * from_s <= (r["sent_ms"] or 0) < 1000 * to_s)

    def of(self, **what):
        return self.where(lambda r: all(r[key] == value for key, value in what.items()))

    def answered(self):
        return self.share(lambda r: r["end"] == "ok")

    def share(self, is_one):
        return sum(map(is_one, self.rows)) / len(self.rows) if self.rows else 0.0

    def ttft_ms(self, quantile):
        times = sorted(r["ttft_ms"] for r in self.rows if r["ttft_ms"] is not None)
        return times[min(len(times) - 1, int(quantile * len(times)))] if times else float("nan")

    def failures(self):
        kinds = {}
        for r in self.rows:
            if r["end"] != "ok":
                what = "%s %d" % (r["end"], r["status"])
                kinds[what] = kinds.get(what, 0) + 1
        return ", ".join("%d %s" % (n, what) for what, n in sorted(kinds.items())) or "none"


def cell(view, model, region):
    """What a view says of a model in a region; {} when nothing."""
    for m in view["models"]:
        if m["model"] == model:
            for r in m["regions"]:
                if r["region"] == region:
                    return r
    return {}


def mean(views):
    """The last one, its numbers those of all in the middle."""
    last = views[-1]
    for m in last["models"]:
        for r in m["regions"]:
            for key in r:
                seen = [c[key] for c in (cell(v, m["model"], r["region"]) for v in views)
                        if isinstance(c.get(key), (int, float))]
                if seen:
                    r[key] = sum(seen) / len(seen)
    return last


def over_regions(view, model, key):
    return sum(r[key] for m in view["models"] if m["model"] == model for r in m["regions"])


def whole(view, key):
    """Over all models and regions."""
    return sum(r[key] or 0 for m in view["models"] for r in m["regions"])


def free_part(view, models, region):
    """Of the speed that a region has for these models, so much is free; in percent. What there is
    changes, too, as it is learned."""
    cells = [cell(view, m, region) for m in models]
    return 100 * sum(c["free_prefill_tok_s"] for c in cells) / sum(c["prefill_tok_s"] for c in cells)


def under_way(view, region):
    """What the nodes of a region say they have, running and waiting."""
    return sum((n["running"] or 0) + (n["waiting"] or 0) for n in view["nodes"]
               if n["region"] == region)


def ready_nodes(view):
    return sum(n["state"] == "ready" and not n["ejected"] for n in view["nodes"])


def directives(view, model, action):
    return [d for d in view["plan"]["directives"]
            if d["action"] == action and model in (None, d["model"])]


def told_of(list_of):
    return ", ".join("%s %s at %s: %s%s" % (d["action"], d["model"], d["node"], d["state"],
                                            " (%s)" % d["words"] if d["words"] else "")
                     for d in list_of) or "none"


WAYS = {"rises": lambda a, b: b > a, "falls": lambda a, b: b < a, "stays": lambda a, b: a == b,
        "falls not": lambda a, b: b >= a, "moves little": lambda a, b: STAYS * a <= b <= a / STAYS}


class Step:
    """One happening: what is expected, and what was seen of it."""

    def __init__(self, title, happens):
        self.title, self.happens, self.checks, self.skipped = title, happens, [], None

    def expect(self, statement, good, seen):
        self.checks.append((statement, bool(good), seen))

    def changes(self, statement, before, after, good, form="%.1f"):
        self.expect(statement, good, "%s → %s" % (form % before, form % after))

    def moves(self, view, of, values, ways, form="%.0f"):
        """A number out of one of the gateway's answers, time after time, and which way it goes."""
        values = list(values)
        self.expect("`%s`: %s %s" % (view, of, ", then ".join(ways)),
                    all(WAYS[way](a, b) for way, a, b in zip(ways, values, values[1:])),
                    " → ".join(form % v for v in values))

    def failed(self):
        return any(not good for _, good, _ in self.checks)

    def markdown(self, number):
        lines = ["## %d. %s" % (number, self.title), "", self.happens, ""]
        if self.skipped:
            return lines + ["Skipped: %s." % self.skipped, ""]
        lines += ["| expected | seen | |", "|---|---|---|"]
        lines += ["| %s | %s | %s |" % (statement, seen, "yes" if good else "**no**")
                  for statement, good, seen in self.checks]
        return lines + [""]


class Story:
    def __init__(self, network, loadgen):
        self.network, self.loadgen, self.runs = network, loadgen, 0

    # ---- Load.

    def part_of_free(self, region, model, part):
        """Requests a second that would take this part of what is free in the region."""
        c = cell(self.network.ask(region, "capacity"), model, region)
        if not c or not c["free_prefill_tok_s"] or not c["free_decode_tok_s"]:
            return 0.0
        return part / (PROMPT_MEAN / c["free_prefill_tok_s"] + OUTPUT / c["free_decode_tok_s"])

    def calm(self, but=()):
        """A little of everything that is ready at home, everywhere."""
        return {region: {m: self.part_of_free(region, m, OTHERS_PART)
                         for m in (RAMP_MODEL, LIE_MODEL) if (region, m) not in but}
                for region in self.network.gateways}

    def load(self, rates, seconds, happenings=()):
        """rates: region -> model -> requests a second, by that region's clients. happenings: (second,
        function), called then. All results, with the gateway's region as `target`."""
        self.runs += 1
        runs = []
        for i, (region, models) in enumerate(rates.items()):
            models = {m: rate for m, rate in models.items() if rate > 0}
            if not models:
                continue
            what = "load-%02d-%s" % (self.runs, region)
            out = os.path.join(self.network.folder, what + ".jsonl")
            command = [self.loadgen, "--seconds", str(seconds), "--drain", str(DRAIN_S),
                       "--seed", str(100 * self.runs + i), "--prompt-tokens", str(PROMPT_MEDIAN),
                       "--prompt-sigma", str(PROMPT_SIGMA), "--max-tokens", str(OUTPUT),
                       "--out", out]
            for m, rate in models.items():
                command += ["--model", "%s:%.3f" % (m, rate)]
            site, second = (self.network.gateways[r] for r in (region, layout.NEXT_GATEWAY[region]))
            command += ["--target", "%s:1=%s:%d" % (region, site.address, layout.PUBLIC_PORT),
                        "--second", "%s=%s:%d" % (region, second.address, layout.PUBLIC_PORT)]
            runs.append((what, out, self.network.begin(site, what, *command)))
        timers = [threading.Timer(at_s, act) for at_s, act in happenings]
        for timer in timers:
            timer.start()
        rows = []
        for what, out, process in runs:
            if process.wait(timeout=seconds + DRAIN_S + PATIENCE_S) != 0:
                raise layout.Failure(what + " did not run")
            self.network.processes.remove((what, process))
            with open(out, encoding="utf-8") as file:
                rows += [r for r in map(json.loads, file) if "run" not in r]
        for timer in timers:
            timer.join()
        self.network.alive()
        return Results([r for r in rows if r["end"] != "unsent"])

    def look(self, region, into):
        """A function that keeps what the region's gateway tells, for load's happenings."""
        def act():
            for view in ("readiness", "demand", "nodes", "plan", "bus"):
                into[view] = self.network.ask(region, view)
            capacities = []
            for _ in range(LOOKS):  # what is free goes up and down with each batch of an engine
                capacities.append(self.network.ask(region, "capacity"))
                time.sleep(LOOK_S / LOOKS)
            into["capacity"] = mean(capacities)
        return act

    def plans(self):
        """The directives of all gateways: which of them steers a node its name decides."""
        return [dict(d, gateway=region) for region in self.network.gateways
                for d in self.network.ask(region, "plan")["directives"]]

    # ---- The steps.

    def ramp(self):
        model, region = RAMP_MODEL, RAMP_REGION
        step = Step("A ramp in %s" % region, "Clients in %s ask %s for more and more: %s of what their "
                    "gateway says is free there, %d s each." % (
                        region, model, ", ".join("%d %%" % (100 * p) for p in RAMP_PARTS),
                        RAMP_LEVEL_S))
        before, during = {}, {}
        self.look(region, before)()
        rates = [self.part_of_free(region, model, part) for part in RAMP_PARTS]
        others = self.calm(but=((region, model),))
        away, answered, ttft = [], [], []
        for rate in rates:
            others[region][model] = rate
            results = self.load(others, RAMP_LEVEL_S, [(RAMP_LEVEL_S * 0.8,
                                                        self.look(region, during))])
            ours = results.of(target=region, model=model)
            away.append(ours.share(lambda r: r["region"] != region))
            answered.append(results.answered())
            ttft.append(ours.ttft_ms(0.5))
        step.expect("the neighbours answer more of %s's requests, level by level" % region,
                    away[-1] >= away[0] + RAMP_MOVED_MIN and away[-1] == max(away),
                    " → ".join("%.0f %%" % (100 * a) for a in away))
        free = [cell(v["capacity"], model, region).get("free_prefill_tok_s", 0)
                for v in (before, during)]
        step.changes("`capacity`: less is free in %s (prefill tokens/s)" % region, *free,
                     free[1] < free[0], "%.0f")
        asked = [cell(v["demand"], model, region).get("requests_s", 0) or 0 for v in (before, during)]
        step.changes("`demand`: more is asked for in %s (requests/s)" % region, *asked,
                     asked[1] > asked[0] and asked[1] > rates[-1] / 3)
        step.moves("nodes", "what those of %s have under way" % region,
                   [under_way(v["nodes"], region) for v in (before, during)], ("rises",))
        step.moves("readiness", "the number of its copies",
                   [over_regions(v["readiness"], model, "ready") for v in (before, during)],
                   ("falls not",))
        step.expect("`plan`: none of its copies is to give way", not directives(during, model, "unload"),
                    told_of(during["plan"]["directives"]))
        step.expect("all are answered", min(answered) >= ANSWERED_MIN,
                    " → ".join("%.1f %%" % (100 * a) for a in answered))
        step.happens += " Median time to the first token: %s ms." % ", ".join("%.0f" % t for t in ttft)
        return step

    def cold(self):
        model, region = COLD_MODEL, COLD_REGION
        step = Step("A cold model", "Clients in %s begin to ask for %s, which is on the disks of some "
                    "nodes and in the memory of none." % (region, model))
        before, after = {}, {}
        self.look(region, before)()
        results = self.load({region: {model: COLD_RATE}}, COLD_S)
        self.look(region, after)()
        ready, disk = ([over_regions(v["readiness"], model, key) for v in (before, after)]
                       for key in ("ready", "on_disk"))
        step.changes("`readiness`: it becomes ready somewhere", *ready, ready[0] == 0 < ready[1], "%d")
        step.changes("and is on fewer disks only", *disk, disk[1] < disk[0], "%d")
        asked = [cell(v["demand"], model, region).get("requests_s", 0) or 0 for v in (before, after)]
        step.changes("`demand`: it is asked for in %s (requests/s)" % region, *asked,
                     asked[0] == 0 < asked[1], "%.2f")
        speed = [over_regions(v["capacity"], model, "prefill_tok_s") for v in (before, after)]
        step.changes("`capacity`: there is some of it (prefill tokens/s)", *speed,
                     speed[0] == 0 < speed[1], "%.0f")
        late = results.sent(COLD_S * 2 / 3, COLD_S)
        has = {n["node"] for n in after["nodes"]["nodes"] if self.network.has_ready(region, n["node"], model)}
        where = sorted({r["node"] for r in late.rows if r["end"] == "ok"})
        step.expect("`nodes`: requests go to those that have it ready", where and set(where) <= has,
                    "%s of %s" % (", ".join(where), ", ".join(sorted(has))))
        step.expect("all requests are answered, those too that come while it is being loaded",
                    results.answered() >= ANSWERED_MIN,
                    "%.0f %% of the first third, %.0f %% of the last; not: %s" % (
                        100 * results.sent(0, COLD_S / 3).answered(), 100 * late.answered(),
                        results.failures()))
        loads = [d for d in self.plans() if d["action"] == "load" and d["model"] == model]
        step.expect("`plan`: whoever steers a node there asked it to load it",
                    loads and all(d["by"] == "plan" for d in loads), told_of(loads))
        step.expect("`plan`: and it was done, which `readiness` shows",
                    any(d["state"] == "done" for d in loads)
                    and {d["node"] for d in loads if d["state"] == "done"} <= has, told_of(loads))
        return step

    def outage(self):
        network, operator = self.network, OUTAGE_OPERATOR
        sites = network.sites_of(operator)
        mine = {n.name for n in network.nodes if n.operator == operator}
        step = Step("An operator's outage", "All sites of %s (%s: %d nodes) are cut off for %d s while "
                    "requests run everywhere." % (operator, ", ".join(sites), len(mine),
                                                  OUTAGE_JOIN_S - OUTAGE_CUT_S))
        before, during, after = {}, {}, {}
        region = network.relay.sites[sites[0]].region
        eye = region if region in network.gateways else layout.GATEWAY_REGIONS[0]

        def set_links(word):
            return lambda: [network.relay.tell(word, site) for site in sites]

        results = self.load(self.calm(), OUTAGE_S, [
            (OUTAGE_CUT_S - 2, self.look(eye, before)), (OUTAGE_CUT_S, set_links("cut")),
            (OUTAGE_JOIN_S - 2, self.look(eye, during)), (OUTAGE_JOIN_S, set_links("join")),
            (OUTAGE_S - 2, self.look(eye, after))])
        spans = [results.sent(0, OUTAGE_CUT_S), results.sent(OUTAGE_SETTLED_S, OUTAGE_JOIN_S),
                 results.sent(OUTAGE_BACK_S, OUTAGE_S)]
        shares = [s.share(lambda r: r["node"] in mine) for s in spans]
        step.expect("its share of the answers goes to nothing and comes back",
                    shares[0] > 0.05 and shares[1] == 0 and shares[2] > OUTAGE_BACK_MIN * shares[0],
                    " → ".join("%.0f %%" % (100 * s) for s in shares))
        there = [sum(n["node"] in mine and n["state"] == "ready" and not n["ejected"]
                     and (n["report_age_ms"] or 1e9) < 1000 * FRESH_S
                     for n in v["nodes"]["nodes"]) for v in (before, during, after)]
        step.expect("`nodes`: none of them is there, with news of %d s at most, then all are" % FRESH_S,
                    there[0] == len(mine) and there[1] == 0 and there[2] == len(mine),
                    " → ".join(map(str, there)))
        speed = [sum(over_regions(v["capacity"], m, "prefill_tok_s") for m in (RAMP_MODEL, LIE_MODEL))
                 for v in (before, during, after)]
        step.expect("`capacity`: there is less of it, then again more (prefill tokens/s)",
                    speed[1] < speed[0] and speed[1] < speed[2],
                    " → ".join("%.0f" % s for s in speed))
        step.moves("demand", "what is asked for (requests/s)",
                   [whole(v["demand"], "requests_s") for v in (before, during, after)],
                   ("moves little", "moves little"), "%.1f")
        recent = [d for d in during["plan"]["directives"]
                  if d["node"] in mine and d["asked_ago_ms"] < 1000 * (OUTAGE_JOIN_S - OUTAGE_SETTLED_S)]
        step.expect("`plan`: none of them is asked for anything meanwhile", not recent, told_of(recent))
        hit = results.sent(OUTAGE_CUT_S - 10, OUTAGE_SETTLED_S)
        cut_off = hit.share(lambda r: r["end"] != "ok" and r["node"] not in mine and r["node"] != "")
        step.expect("before, during and after it all are answered that were sent then",
                    min(s.answered() for s in spans) >= ANSWERED_MIN,
                    " → ".join("%.1f %%" % (100 * s.answered()) for s in spans))
        step.expect("around the cut only those end badly whose answer had begun there", cut_off == 0,
                    "%d sent from %d s before to %d s after it; not answered whole: %s" % (
                        len(hit.rows), 10, OUTAGE_SETTLED_S - OUTAGE_CUT_S, hit.failures()))
        return step

    def slow(self):
        return self.changes_character(
            "A node that becomes slow", "becomes %d times slower; what it says of itself stays the "
            "same" % SLOW_FACTOR, {"fault": "slow", "factor": SLOW_FACTOR},
            ("`nodes`: less is thought of its speed (prefill tokens/s)", "prefill_tok_s", "%.0f"))

    def lie(self):
        return self.changes_character(
            "A node that lies", "turns away all that comes (429), and goes on saying that it has room "
            "and nobody waits", {"fault": "full"},
            ("`nodes`: its word is worth less (of 1)", "word", "%.2f"))

    def changes_character(self, title, becomes, fault, figure):
        """The node that answers most of a model in a region; figure: what is thought less of."""
        network, model, region = self.network, LIE_MODEL, LIE_REGION
        step = Step(title, "")
        before, after = {}, {}
        rates = {region: {model: self.part_of_free(region, model, 0.3)}}
        first = self.load(rates, LIE_FROM_S, [(LIE_FROM_S - LOOK_S - 1, self.look(region, before))])
        names = [r["node"] for r in first.rows]
        name = max(sorted(set(names)), key=names.count)
        step.happens = "%s, which answers most of what %s asks %s for, %s." % (
            name, region, model, becomes)
        node = network.node(name)
        network.fault(node, **fault)
        second = self.load(rates, LIE_S, [(LIE_S - LOOK_S - 1, self.look(region, after))])
        network.fault(node, fault="none")
        late = second.sent(LIE_SEEN_S, LIE_S)
        shares = [r.share(lambda row: row["node"] == name) for r in (first, late)]
        step.changes("its share of these requests falls to less than half (%)",
                     *(100 * s for s in shares), shares[1] < shares[0] / 2, "%.0f")
        rows = [next(n for n in v["nodes"]["nodes"] if n["node"] == name) for v in (before, after)]
        statement, key, form = figure
        step.changes(statement, rows[0][key], rows[1][key], rows[1][key] < rows[0][key], form)
        free = [cell(v["capacity"], model, region)["free_prefill_tok_s"] for v in (before, after)]
        step.changes("`capacity`: less is free in %s (prefill tokens/s)" % region, *free,
                     free[1] < free[0], "%.0f")
        step.moves("demand", "what is asked for in %s (requests/s)" % region,
                   [cell(v["demand"], model, region).get("requests_s", 0) or 0 for v in (before, after)],
                   ("moves little",), "%.1f")
        step.moves("readiness", "the number of copies in %s" % region,
                   [cell(v["readiness"], model, region)["ready"] for v in (before, after)],
                   ("falls not",))
        step.expect("`plan`: none of its copies is to give way", not directives(after, model, "unload"),
                    told_of(after["plan"]["directives"]))
        step.expect("all are answered", second.answered() >= ANSWERED_MIN,
                    "%.1f %%; not: %s" % (100 * second.answered(), second.failures()))
        return step

    def bus(self):
        network, eye = self.network, layout.GATEWAY_REGIONS[0]
        step = Step("The death of the bus", "The NATS server is killed while requests run everywhere, and "
                    "started again %d s later." % (BUS_BACK_S - BUS_DEATH_S))
        before, during, after = {}, {}, {}
        results = self.load(self.calm(), BUS_S, [
            (BUS_DEATH_S - 2, self.look(eye, before)), (BUS_DEATH_S, network.kill_nats),
            (BUS_BACK_S - 2, self.look(eye, during)), (BUS_BACK_S, network.start_nats),
            (BUS_S - 2, self.look(eye, after))])
        views = (before, during, after)
        step.expect("all requests are answered", results.answered() == 1.0,
                    "%d requests; not answered: %s" % (len(results.rows), results.failures()))
        there = [sum(n["state"] == "ready" and not n["ejected"] for n in v["nodes"]["nodes"])
                 for v in views]
        step.expect("`nodes`: all stay", min(there) == layout.NODES, " → ".join(map(str, there)))
        fresh = [sum((n["bus_report_age_ms"] or 1e9) < 1000 * FRESH_S for n in v["nodes"]["nodes"])
                 for v in views]
        step.expect("`nodes`: nothing is heard of any, then of all again",
                    fresh == [layout.NODES, 0, layout.NODES],
                    "%s reported within %d s" % (" → ".join(map(str, fresh)), FRESH_S))
        step.moves("capacity", "all there is (prefill tokens/s)",
                   [whole(v["capacity"], "prefill_tok_s") for v in views],
                   ("moves little", "moves little"))
        step.moves("readiness", "the number of copies", [whole(v["readiness"], "ready") for v in views],
                   ("falls not", "falls not"))
        step.moves("demand", "what is asked for in %s (requests/s)" % eye,
                   [sum(cell(v["demand"], m, eye).get("requests_s", 0) or 0
                        for m in (RAMP_MODEL, LIE_MODEL)) for v in views],
                   ("moves little", "moves little"), "%.1f")
        step.expect("`plan`: nothing is to give way", not directives(during, None, "unload"),
                    told_of(during["plan"]["directives"]))
        spans = [results.sent(0, BUS_DEATH_S), results.sent(BUS_DEATH_S, BUS_BACK_S),
                 results.sent(BUS_BACK_S, BUS_S)]
        homes = [s.share(lambda r: r["region"] == r["target"]) for s in spans]
        step.expect("requests are answered at home as before", min(homes) > STAYS * homes[0],
                    " → ".join("%.0f %%" % (100 * h) for h in homes))
        connected = [bool(v["bus"].get("bus", {}).get("connected")) for v in views]
        step.expect("`bus`: connected, not, and again", connected == [True, False, True],
                    " → ".join("yes" if c else "no" for c in connected))
        return step


    def gateway(self):
        network, dead, eye = self.network, DEAD_REGION, layout.NEXT_GATEWAY[DEAD_REGION]
        step = Step("The death of a gateway", "The gateway in %s is killed (SIGKILL) while requests run "
                    "everywhere, and started again %d s later. Its clients have a second base URL: the "
                    "gateway in %s." % (dead, DEAD_BACK_S - DEAD_S, eye))
        views, own = ({}, {}, {}), ({}, {})
        rates = self.calm()
        rates[dead] = {m: self.part_of_free(dead, m, DEAD_PART) for m in rates[dead]}
        results = self.load(rates, GATEWAY_S, [
            (DEAD_S - 2, self.look(eye, views[0])), (DEAD_S - 2, self.look(dead, own[0])),
            (DEAD_S, lambda: network.kill_gateway(dead)),
            (DEAD_BACK_S - 2, self.look(eye, views[1])),
            (DEAD_BACK_S, lambda: network.start_gateway(dead)),
            (GATEWAY_S - 2, self.look(eye, views[2])), (GATEWAY_S - 2, self.look(dead, own[1]))])
        ours = results.of(target=dead)
        others = results.where(lambda r: r["target"] != dead)
        spans = [ours.sent(0, DEAD_S - 2), ours.sent(DEAD_S + 1, DEAD_BACK_S),
                 ours.sent(DEAD_HEALED_S, GATEWAY_S)]
        step.expect("no request at the other gateways fails", others.answered() == 1.0,
                    "%d requests; not answered: %s" % (len(others.rows), others.failures()))
        step.expect("its clients' requests go to the other one, and back again",
                    [s.share(lambda r: r["second"]) for s in spans] == [0.0, 1.0, 0.0],
                    " → ".join("%.0f %%" % (100 * s.share(lambda r: r["second"])) for s in spans))
        begun = ours.where(lambda r: r["end"] != "ok" and r["status"] == 200
                           and r["sent_ms"] < 1000 * DEAD_S)
        step.expect("of theirs only those fail whose answer had begun when it died",
                    ours.answered() * len(ours.rows) + len(begun.rows) == len(ours.rows),
                    "%d requests; %d had begun; not answered: %s" % (
                        len(ours.rows), len(begun.rows), ours.failures()))
        shares = [s.share(lambda r: r["region"] == eye) for s in spans]
        step.expect("they are answered nearer to the other gateway, then at home again",
                    shares[1] > shares[0] and shares[2] < shares[1],
                    " → ".join("%.0f %% in %s" % (100 * s, eye) for s in shares))
        asked = [sum(cell(v["demand"], m, eye).get("requests_s", 0) or 0 for m in rates[dead])
                 for v in views]
        step.moves("demand", "what is asked for in %s (requests/s)" % eye, asked, ("rises", "falls"),
                   "%.1f")
        step.moves("capacity", "what is free of %s's prefill speed (%%)" % eye,
                   [free_part(v["capacity"], rates[dead], eye) for v in views], ("falls", "rises"),
                   "%.1f")
        step.moves("readiness", "the number of copies that are ready",
                   [whole(v["readiness"], "ready") for v in views], ("falls not", "falls not"))
        step.moves("nodes", "the number of those that are ready", [ready_nodes(v["nodes"]) for v in views],
                   ("stays", "stays"))
        step.moves("nodes", "at the one that came back, what is ready", [ready_nodes(v["nodes"]) for v in own],
                   ("stays",))
        step.moves("readiness", "at the one that came back, the number of copies",
                   [whole(v["readiness"], "ready") for v in own], ("falls not",))
        step.moves("capacity", "at the one that came back, all there is (prefill tokens/s)",
                   [whole(v["capacity"], "prefill_tok_s") for v in own], ("moves little",))
        real = len(spans[2].rows) / (GATEWAY_S - DEAD_HEALED_S)
        step.moves("demand", "at the one that came back, from what its clients send (requests/s)",
                   (real, sum(cell(own[1]["demand"], m, dead).get("requests_s", 0) or 0
                              for m in rates[dead])), ("moves little",), "%.1f")
        return step


STEPS = ("ramp", "cold", "outage", "slow", "lie", "bus", "gateway")


def transcript(steps, network, took_s):
    stats = network.relay.stats()
    lines = ["# A story of the network, told by itself", "",
             "Written by `make network`; [network.md](network.md) says what it is. %d nodes of %d "
             "operators in %d regions, %d sites, gateways in %s; %d s." % (
                 len(network.nodes), len(layout.OPERATORS), layout.REGIONS,
                 len({n.site for n in network.nodes}), ", ".join(layout.GATEWAY_REGIONS), took_s), ""]
    for i, step in enumerate(steps):
        lines += step.markdown(i + 1)
    lines += ["## The network meanwhile", "",
              "%d packets carried; dropped: %d of sites that were cut off, %d for want of room. Late by "
              "%.2f ms (99th percentile); %.0f s of CPU." % (
                  stats["forwarded"], stats["dropped_cut"],
                  stats["dropped_full"] + stats["dropped_device"], stats["late_p99_ms"],
                  stats["cpu_s"])]
    return "\n".join(lines) + "\n", stats


def tell(network, loadgen, names):
    began, story, steps = time.monotonic(), Story(network, loadgen), []
    network.start()
    print("%d nodes, %d gateways and a bus, in %.0f s" % (
        len(network.nodes), len(network.gateways), time.monotonic() - began), flush=True)
    for name in names:
        step = getattr(story, name)()
        steps.append(step)
        print("\n".join(step.markdown(len(steps))), flush=True)
    took_s = time.monotonic() - began
    text, stats = transcript(steps, network, took_s)
    with open(os.path.join(network.folder, "transcript.md"), "w", encoding="utf-8") as file:
        file.write(text)
    failed = sum(step.failed() for step in steps)
    print("figure network_s %.0f s" % took_s)
    print("figure relay_late_p99_ms %.2f ms" % stats["late_p99_ms"])
    print("figure relay_cpu_percent %.1f %%" % (100 * stats["cpu_s"] / took_s))
    print("figure steps_skipped %d steps" % sum(step.skipped is not None for step in steps))
    print("figure steps_failed %d steps" % failed)
    return failed > 0


def main():
    names = sys.argv[5:] or STEPS
    if len(sys.argv) < 5 or any(name not in STEPS for name in names):
        print("usage: story.py ISOCHRONE RELAY LOADGEN FOLDER [%s]..." % "|".join(STEPS))
        return 2
    reason = layout.refused()
    if reason:
        print("make network is skipped: " + reason)
        return 0
    relayed.go_inside()
    os.makedirs(sys.argv[4], exist_ok=True)
    network = layout.Network(sys.argv[1], sys.argv[2], sys.argv[4])
    try:
        return tell(network, sys.argv[3], names)
    except layout.Failure as failure:
        print("network: %s" % failure)
        return 1
    finally:
        network.close()


if __name__ == "__main__":
    sys.exit(main())
