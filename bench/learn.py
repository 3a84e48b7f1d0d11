#!/usr/bin/env python3
"""learn on a day of 20 lab devices of five kinds and seven of other kinds, with labels of one, two
and three units of each kind, and with wrong ones: what the other units are called then.

    python3 bench/learn.py DIR    # takes bin/iotsense, and keeps what it makes in DIR, 0.8 GB
"""
import csv, datetime, json, os, resource, subprocess, sys

KINDS = ["camera", "smart-plug", "thermostat", "vacuum", "motion-sensor"]
TOOL = os.path.abspath("bin/iotsense")
at = lambda name: os.path.join(sys.argv[1], name)


def run(*args):
    return subprocess.run([TOOL, *args], check=True, capture_output=True, text=True).stdout


def micros(time):
    return int((datetime.datetime.fromisoformat(time) - datetime.datetime.fromisoformat("1970-01-01T00:00:00+00:00")).total_seconds() * 1e6)


def home():
    """The devices, and what they say of themselves; records are made once."""
    if not os.path.exists(at("lab/manifest.csv")):
        run("lab", at("lab"), "--units", "4", "--captures", "1", "--duration", "24h", "--seed", "7")
    rows = list(csv.DictReader(open(at("lab/manifest.csv"))))
    rows = [r for r in rows if r["label"] in KINDS or r["unit"].endswith("-0")]
    if not os.path.exists(at("records")):
        os.makedirs(at("records"))
        with open(at("lab/home.csv"), "w") as f:
            out = csv.DictWriter(f, rows[0].keys())
            out.writeheader()
            out.writerows(rows)
        run("extract", "--manifest", at("lab/home.csv"), "-o", at("records/records-day.parquet"))
    for r in rows:
        said = map(json.loads, run("facts", "--json", at("lab/" + r["capture"])).splitlines())
        r["facts"] = [
            {k: f[k] for k in ("kind", "source", "value", "count")} | {"first": micros(f["first"]), "last": micros(f["last"])}
            for f in said if f["device"] == r["mac"]
        ]
    return rows


def export(rows, labels):
    """Devices as `registry export` has them, with labels by unit."""
    none = dict(macs=[], labelled=0, locked=False, first_seen=1, last_seen=1, flows=0, ipv6_flows=0, packets=0, bytes=0, newest=0, shared_mac=False,
                addresses=[], gone=False, active_since=0, gone_after=0, state="unknown", said="", model="", judged=None)
    with open(at("labels.jsonl"), "w") as f:
        for i, r in enumerate(rows):
            print(json.dumps(none | {"device": r["mac"], "id": i + 1, "user_label": labels.get(r["unit"], ""), "facts": r["facts"]}), file=f)


def learn(rows, name, labels):
    export(rows, labels)
    subprocess.run(["rm", "-rf", at("models")], check=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(run("learn", "--json", "--record", at("records"), "--models", at("models"), "--labels", at("labels.jsonl")))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    truth = {r["mac"]: r["label"] for r in rows}
    kinds = [r["label"] for r in rows if r["label"] in KINDS and r["unit"] not in labels]
    called = {u["device"]: u["after"] for u in report["unlabelled"] if u["after"]}
    right = sum(truth[mac] == label for mac, label in called.items())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"| {name} | {len(labels)} | {sum(c['after']['right'] for c in report['classes'])} right, {sum(c['after']['wrong'] for c in report['classes'])} wrong"
          f" | {right} of {len(kinds)} right, {len(called) - right} wrong | {', '.join(l['label'] for l in report['left']) or '-'} | {cpu:.0f} s, {report['memory_mb']:.0f} MB |", flush=True)


def main():
    rows = home()
    truth = {r["unit"]: r["label"] for r in rows}
    units = lambda n: {f"{k}-{i}": k for k in KINDS for i in range(n)}
    print("| labels | devices | in the end: those labelled | those that are not | left out | processor, memory |\n| --- | --: | --- | --- | --- | --- |")
    for n in (1, 2, 3):
        learn(rows, f"{n} of each kind", units(n))
    for unit, other in (("smart-plug-0", "camera"), ("camera-1", "smart-plug"), ("vacuum-1", "thermostat"), ("motion-sensor-2", "vacuum")):
        learn(rows, f"3, a {truth[unit]} called {other}", units(3) | {unit: other})
    learn(rows, "3, a speaker called camera", units(3) | {"speaker-0": "camera"})


main()
