"""How well what a model never learned is told from what it knows, types of a manifest left out.

    make build && scripts/data.sh
    build/peers/bin/python bench/peers/loto.py build/loto -- --threads 2

Each training leaves out some types that have nothing to do with each other (GROUPS; those
of one MAC go together, and the MAC stays listed, so that it is no machine without a name).
The last training capture of each unit validates. Scored by capture, of test captures: those
of types left out against those of the others, by the joined verdict's probability, by that
of none of them and by distance. Twins are types whose like was learned. Models and
predictions stay in the directory: run again, it goes on where it was ended.
"""

import collections
import csv
import sys

import numpy as np

from shared import MANIFEST, TWINS, arguments, run

NONE = "none of them"
KEPT = 0.95
GROUPS = [
    ["D-LinkCam", "EdimaxPlug1101W", "WeMoLink", "HomeMaticPlug"],
    ["D-LinkDayCam", "EdnetGateway", "SmarterCoffee"],
    ["D-LinkDoorSensor+D-LinkHomeHub", "TP-LinkPlugHS100", "Aria"],
    ["D-LinkSensor", "EdimaxCam", "WeMoSwitch"],
    ["D-LinkSiren", "EdnetCam", "Withings"],
    ["D-LinkSwitch", "HueBridge+HueSwitch", "iKettle2"],
    ["D-LinkWaterSensor", "TP-LinkPlugHS110", "Lightify"],
    ["EdimaxPlug2101W", "MAXGateway", "WeMoInsightSwitch"],
]


def left_out(number):
    return {t for unit in GROUPS[number] for t in unit.split("+")}


def manifest_without(out, number):
    """A manifest whose splits are fit, validation and test, left-train and left-test."""
    with open(MANIFEST, newline="") as file:
        rows = list(csv.DictReader(file))
    last = {r["unit"]: r["capture"] for r in rows if r["split"] == "train"}
    for r in rows:
        if r["label"] in left_out(number):
            r["split"] = "left-" + r["split"]
        elif r["split"] == "train":
            r["split"] = "validation" if last[r["unit"]] == r["capture"] else "fit"
    path = out / f"without-{number}.csv"
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return path


def scored(file):
    """Of each capture with a window, how strange it is by each score."""
    with open(file, newline="") as file:
        lines = csv.reader(file)
        header = next(lines)
        behind = header.index("distance") + 1
        for line in lines:
            if line[4] == "0" and any(line[behind:]):
                p = dict(zip(header[behind:], (float(v or 0) for v in line[behind:])))
                none = p.pop(NONE, 0)
                yield line[3], {"joined probability": -max(p.values()), NONE: none, "distance": float(line[behind - 1])}


def auroc(strange, known):
    strange, known = np.array(strange)[:, None], np.array(known)[None]
    return ((strange > known) + (strange == known) / 2).mean()


def table(found):
    """found: score -> type -> (AUROC, share that would pass for known)."""
    print("| | AUROC | without twins | passes for known, 95 % of those kept | without twins |")
    print("| --- |" + " --: |" * 4)
    twins = {t for alike in TWINS for t in alike}
    for score, types in found.items():
        apart = [v for t, v in types.items() if t not in twins]
        cells = [np.mean([v[i] for v in some]) for i in (0, 1) for some in (list(types.values()), apart)]
        print(f"| {score} |" + "".join(f" {v:.3f} |" for v in cells))
    for t in sorted(next(iter(found.values()))):
        print(t, {score: round(float(types[t][0]), 3) for score, types in found.items()}, file=sys.stderr)


def main():
    out, _, flags = arguments()
    found = collections.defaultdict(dict)
    for number in range(len(GROUPS)):
        manifest, model, said = manifest_without(out, number), out / f"without-{number}.safetensors", out / f"said-{number}.csv"
        if not model.exists():
            run("bin/iotsense", "train", "--manifest", manifest, "--split", "fit", "--validation-split", "validation",
                "--taxonomy", "pkg/model/embedded/taxonomy.csv", *flags, "-o", model)
        if not said.exists():
            run("bin/iotsense", "evaluate", "--manifest", manifest, "--split", "test", "--split", "left-test", "--model", model,
                "--bootstrap", 0, "--predictions", said)
        verdicts = list(scored(said))
        for score in verdicts[0][1]:
            known = [v[score] for label, v in verdicts if label not in left_out(number)]
            for label in left_out(number):
                strange = [v[score] for of, v in verdicts if of == label]
                found[score][label] = auroc(strange, known), np.mean(np.array(strange) <= np.quantile(known, KEPT))
    table(found)


main()
