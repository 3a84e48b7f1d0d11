#!/usr/bin/env python3
"""learn on IoT Sentinel's units: of types with two units, and of twins (two types of one maker that do the
same), one is labelled and learned from, added to a model that knows none of them; what the other, and what
of the first was not learned from, are called then, by capture. Then the other way round; all of it with
three models to add to.

    python3 bench/units.py DIR    # takes bin/iotsense and build/data, and keeps what it makes in DIR
"""
import csv, datetime, json, os, subprocess, sys
from collections import Counter

DATA = os.path.abspath("build/data/iot-sentinel")
TAXONOMY = os.path.abspath("pkg/model/embedded/taxonomy.csv")
TOOL = os.path.abspath("bin/iotsense")
# label: the two units
TYPES = {
    "EdimaxCam": ("EdimaxCam1", "EdimaxCam2"),
    "EdnetCam": ("EdnetCam1", "EdnetCam2"),
    "WeMoSwitch": ("WeMoSwitch", "WeMoSwitch2"),
    "WeMoInsightSwitch": ("WeMoInsightSwitch", "WeMoInsightSwitch2"),
}
TWINS = {
    "TP-LinkPlug": ("TP-LinkPlugHS100", "TP-LinkPlugHS110"),
    "EdimaxPlug": ("EdimaxPlug1101W", "EdimaxPlug2101W"),
    "SmarterKettle": ("iKettle2", "SmarterCoffee"),
    "D-LinkWater": ("D-LinkSensor", "D-LinkWaterSensor"),
}
SEEDS = (1, 2, 3)
ALSO = {"D-LinkSiren"}  # a third of those, which the base is not to know either
at = lambda name: os.path.join(sys.argv[1], name)


def run(*args):
    return subprocess.run([TOOL, *args], check=True, capture_output=True, text=True).stdout


def manifest(name, rows):
    with open(at(name), "w") as f:
        out = csv.DictWriter(f, ["capture", "mac", "label", "unit", "split", "start_epoch"])
        out.writeheader()
        out.writerows(rows)
    return at(name)


def micros(time):
    return int((datetime.datetime.fromisoformat(time) - datetime.datetime.fromisoformat("1970-01-01T00:00:00+00:00")).total_seconds() * 1e6)


def said(rows, mac):
    """What a device says of itself in captures."""
    facts = {}
    for f in map(json.loads, run("facts", "--json", "--device", mac, *(r["capture"] for r in rows)).splitlines()):
        one = facts.setdefault((f["kind"], f["source"], f["value"]), {"count": 0, "first": micros(f["first"]), "last": 0})
        one.update(count=one["count"] + f["count"], first=min(one["first"], micros(f["first"])), last=max(one["last"], micros(f["last"])))
    return [dict(zip(("kind", "source", "value"), k)) | v for k, v in facts.items()][-64:]


def learn(rows, units, base, way):
    """The model that is learned of units, by label, from their captures for training."""
    of = {label: [r for r in rows if r["unit"] == unit and r["split"] == "train"] for label, unit in units.items()}
    for name in ("records", "models"):
        subprocess.run(["rm", "-rf", at(f"{name}-{way}")], check=True)
    os.makedirs(at(f"records-{way}"))
    run("extract", "--manifest", manifest(f"{way}.csv", sum(of.values(), [])), "-o", at(f"records-{way}/records-all.parquet"))
    none = dict(macs=[], labelled=0, locked=False, first_seen=1, last_seen=1, flows=0, ipv6_flows=0, packets=0, bytes=0, newest=0, shared_mac=False,
                addresses=[], gone=False, active_since=0, gone_after=0, state="unknown", said="", model="", judged=None)
    with open(at(f"labels-{way}.jsonl"), "w") as f:
        for i, (label, captures) in enumerate(of.items()):
            mac = captures[0]["mac"]
            print(json.dumps(none | {"device": mac, "id": i + 1, "user_label": label, "facts": said(captures, mac)}), file=f)
    report = json.loads(run("learn", "--json", "--record", at(f"records-{way}"), "--models", at(f"models-{way}"), "--labels", at(f"labels-{way}.jsonl"),
                            "--model", base))
    for l in report["left"]:
        print(f"left out: {l['label']}: {l['why']}", file=sys.stderr)
    print(f"{way}: {report['why']} ({report['seconds']:.0f} s, {report['memory_mb']:.0f} MB)", file=sys.stderr)
    return report["model"]


def verdicts(model, rows):
    """What each capture's device is called; None: nothing."""
    list = map(json.loads, run("classify", "--json", "--model", model, "--manifest", manifest("all.csv", rows)).splitlines())
    return {v["capture"]: v["label"] if v["known"] else None for v in list}


def called(all, rows, label):
    got = Counter(names[r["capture"]] for names in all for r in rows)
    wrong = sum(n for name, n in got.items() if name not in (label, None))
    return f"{got[label]} of {sum(got.values())}" + (f", {wrong} wrong" if wrong else "")


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    rows = list(csv.DictReader(open(f"{DATA}/manifest.csv")))
    for r in rows:
        r["capture"] = f"{DATA}/{r['capture']}"
    pairs = TYPES | TWINS
    strange = {unit for pair in pairs.values() for unit in pair} | ALSO
    names = ([], [])  # by the first units, by the second ones
    for seed in SEEDS:
        base = at(f"base-{seed}.safetensors")
        if not os.path.exists(base):
            of = manifest("base.csv", [r for r in rows if r["unit"] not in strange])
            run("train", "--manifest", of, "--split", "train", "--taxonomy", TAXONOMY, "--window-mode", "padded", "--validation", "0.1",
                "--seed", str(seed), "--threads", "1", "-o", base)
        for i in (0, 1):
            model = learn(rows, {label: pair[i] for label, pair in pairs.items()}, base, f"{seed}-{i + 1}")
            names[i].append(verdicts(model, [r for r in rows if r["unit"] in strange]))
    print("| label | units | the second's captures, the first learned | the first's, the second learned | those of the learned unit that were not |\n| --- | --- | --- | --- | --- |")
    for label, pair in pairs.items():
        others = [called(names[i], [r for r in rows if r["unit"] == pair[1 - i]], label) for i in (0, 1)]
        own = [called(names[i], [r for r in rows if r["unit"] == pair[i] and r["split"] == "test"], label) for i in (0, 1)]
        print(f"| {label} | {', '.join(pair)} | {others[0]} | {others[1]} | {'; '.join(own)} |")


main()
