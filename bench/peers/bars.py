"""What a network's verdicts survive, by repeated k-fold cross-validation by capture.

    make build && scripts/peers.sh
    bars() { build/peers/bin/python bench/peers/bars.py "$@"; }
    bars build/bars/paper -- --arch paper
    bars build/bars/stream --against build/bars/paper

Trains a network for each seed and fold with the flags after --, has `iotsense evaluate`
write what it says of the fold's captures, plain, after each change of --stress, and 10,
20 and 60 s after the first packet that each device sends, and pools the folds: bars.md and bars.json
in the directory, made anew after each fold. Models and predictions stay there: run
again, it goes on where it was ended. With other flags or another directory nothing is
shared. Figures are means over the seeds, their 95 % intervals of captures drawn anew
within each class; with --against also of what is more than there, on the same folds,
seeds and draws. Levels are those of a --taxonomy among the flags. A verdict on a device without a window is not right; twins are merged by
adding their probabilities.
"""

import argparse
import collections
import csv
import json
import pathlib
import statistics
import sys

import numpy as np

from shared import TWINS, run

FIRST = ["10s", "20s", "60s"]
BARS = [  # what bars.md begins with: change, twins merged, figure
    ("none", False, "F1"), ("none", True, "F1"), ("none", False, "right"), ("none", True, "right"),
    ("none", False, "ECE, windows"), ("none", False, "ECE, devices"),
    ("twice", False, "F1"), ("twice", False, "named, another group"),
    ("sent-only", False, "F1"), ("lost-20", False, "F1"), ("another-home", False, "F1"),
    ("late-30s", False, "F1"), ("late-30s", True, "right, with a window"), ("late-30s", False, "named, another group"),
    *((change, True, "F1") for change in ("late-30s", "twice", "sent-only", "lost-20")),
    ("first-10s", True, "right"), ("first-20s", True, "right"), ("first-60s", True, "right"),
    ("none", False, "named"), ("none", False, "named wrongly"), ("none", False, "right at a level"), ("none", False, "at a wrong level"),
    *((change, False, "right at a level") for change in ("first-10s", "first-20s", "first-60s")),
]
RESAMPLES, BINS = 1000, 15  # BINS as iotsense counts the calibration error
SETS = ("unknown-iot", "computers")  # of the strangers


def strangers_of(path, out):
    """The manifest's rows of SETS, or all where it has no sets, with whole paths."""
    with open(path, newline="") as file:
        rows = [r for r in csv.DictReader(file) if r.get("set", SETS[0]) in SETS]
    for r in rows:
        r["capture"] = str((pathlib.Path(path).parent / r["capture"]).resolve())
    with open(out / "strangers.csv", "w", newline="") as file:
        w = csv.DictWriter(file, ["capture", "mac", "label"], extrasaction="ignore")
        w.writeheader()
        w.writerows(rows)
    return out / "strangers.csv"


def score(args, out, seed, fold):
    """Trains the model of a fold and evaluates it, unless that has been done."""
    name = out / f"seed{seed}-fold{fold}"
    model, said, predictions = (name.with_name(name.name + end) for end in (".safetensors", ".json", ".csv"))
    folds = ["--split-by", "capture", "--folds", args.folds, "--fold", fold, "--fold-seed", seed]
    data = ["--manifest", args.manifest, *folds]
    if not model.exists():
        part = f"{name}.part"  # one that was interrupted is a model too
        run(args.binary, "train", "--json", *data, "--seed", seed, "--checkpoint", f"{name}.checkpoint", "-o", part, *args.flags)
        pathlib.Path(part).rename(model)
    if not said.exists():
        text = run(args.binary, "evaluate", "--json", *data, "--model", model, "--window-mode", "padded", "--stress",
                   *(f"--first={t}" for t in FIRST), "--strangers", args.strangers, "--bootstrap", 0, "--predictions", predictions)
        thresholds = json.loads(run(args.binary, "model", "info", "--json", "--model", model))["thresholds"]
        part = said.with_suffix(".part")
        part.write_text(json.dumps({"strangers": json.loads(text)["strangers"], "thresholds": thresholds}))
        part.rename(said)


class Counts:
    """What is counted of one seed, change and list of classes: sums by capture."""

    def __init__(self, captures, classes):
        self.right, self.said, self.true = np.zeros((3, captures, classes))
        self.bins, self.device_bins = np.zeros((2, captures, BINS, 3))  # number, probability, right
        self.devices = np.zeros((captures, len(DEVICES)))


DEVICES = ["count", "right", "with_window", "named", "named_wrong", "named_group_wrong", "level_right", "level_wrong"]


def calibration(bins):
    """Expected calibration error of [..., BINS, 3]."""
    n = bins[..., 0].sum(-1)
    return np.abs(bins[..., 2] - bins[..., 1]).sum(-1) / np.maximum(n, 1)


def figures(c, weights):
    """The figures of Counts for each row of weights by capture."""
    right, said, true = weights @ c.right, weights @ c.said, weights @ c.true
    f1 = np.where(said + true > 0, 2 * right / np.maximum(said + true, 1), 0)
    there = true > 0
    shaped = lambda bins: (weights @ bins.reshape(len(bins), -1)).reshape(len(weights), BINS, 3)
    d = dict(zip(DEVICES, (weights @ c.devices).T))
    of = lambda a, b: d[a] / np.maximum(d[b], 1)
    return {
        "F1": (f1 * there).sum(1) / np.maximum(there.sum(1), 1),
        "ECE, windows": calibration(shaped(c.bins)),
        "ECE, devices": calibration(shaped(c.device_bins)),
        "right": of("right", "count"),
        "right, with a window": of("right", "with_window"),
        "with a window": of("with_window", "count"),
        "named": of("named", "with_window"),
        "named wrongly": of("named_wrong", "with_window"),
        "named, another group": of("named_group_wrong", "with_window"),
        "right at a level": of("level_right", "count"),
        "at a wrong level": of("level_wrong", "count"),
    }


def paths_of(flags):
    """The path of each label that the --taxonomy of those flags of train gives one."""
    p = argparse.ArgumentParser(allow_abbrev=False)
    p.add_argument("--taxonomy", "-taxonomy")
    path = p.parse_known_args(flags)[0].taxonomy
    if path is None:
        return {}
    with open(path, newline="") as file:
        return {r["label"]: r["path"] for r in csv.DictReader(file)}


class Bars:
    """What a directory holds."""

    def __init__(self, out):
        self.out, self.counts, self.strangers, self.counted = pathlib.Path(out), {}, [], []
        self.paths = paths_of(json.loads((self.out / "work.json").read_text())["flags"])

    def file(self, r, end):
        return self.out / f"seed{r[0]}-fold{r[1]}.{end}"

    def has(self, r):
        """Whether a run is over."""
        return self.file(r, "json").exists()

    def read(self, runs, manifest):
        """Counts the predictions of those runs that are not counted yet, by seed, change and
        whether twins are merged."""
        place = {c: i for i, c in enumerate(manifest)}
        labels = sorted(set(manifest.values()))
        group = {l: g for g in range(len(TWINS)) for l in TWINS[g]}
        groups = {l: group.get(l, l) for l in labels}
        merged = sorted(set(groups.values()), key=str)
        into = {False: {l: labels.index(l) for l in labels}, True: {l: merged.index(groups[l]) for l in labels}}
        numbers = {False: len(labels) + 1, True: len(merged) + 1}  # the last: what is no class of the data
        for r in runs:
            if r in self.counted:
                continue
            self.counted.append(r)
            said = json.loads(self.file(r, "json").read_text())
            self.strangers.append(said["strangers"])
            with open(self.file(r, "csv"), newline="") as file:
                rows = csv.reader(file)
                header = next(rows)
                behind = 1 + max(header.index(c) for c in ("named", "again", "distance") if c in header)  # older files lack some
                level_at = header.index("level") if "level" in header else None
                header = header[behind:]
                parts = collections.defaultdict(list)  # by change, and whether it is a device's verdict
                for row in rows:
                    parts[row[0] or "none", row[4] == "0"].append(row)
            for twins in (False, True):
                number = numbers[twins]
                column = np.array([into[twins].get(l, number - 1) for l in header])
                threshold = np.full(number, 2.0)  # what is no class is no name
                for l in header:
                    if l in into[twins]:
                        mine = said["thresholds"].get("per_class", {}).get(l, said["thresholds"]["default"])
                        at = into[twins][l]
                        threshold[at] = mine if threshold[at] > 1 else max(threshold[at], mine)
                group_of = np.array([into[True][l] for l in labels] + [-1]) if not twins else np.arange(number)
                for (change, device), lines in parts.items():
                    c = self.counts.setdefault((r[0], change, twins), Counts(len(place), number))
                    at = np.array([place[row[1]] for row in lines])
                    truth = np.array([into[twins][row[3]] for row in lines])
                    probs = np.array([[float(v or 0) for v in row[behind:]] for row in lines])
                    p = np.zeros((len(lines), number))
                    np.add.at(p.T, column, probs.T)
                    best = p.argmax(1)
                    top, right = p.max(1), best == truth
                    some = probs.sum(1) > 0
                    b = np.minimum((top * BINS).astype(int), BINS - 1)
                    into_bins = c.device_bins if device else c.bins
                    for k, v in enumerate((np.ones(len(lines)), top, right)):
                        np.add.at(into_bins, (at[some], b[some], k), v[some])
                    if device:
                        may = np.array([[not row[6] or str(i) in row[6].split() for i in range(len(header))] for row in lines])
                        barred = np.ones((len(lines), number), bool)
                        np.logical_and.at(barred.T, column, ~may.T)
                        named = some & (top >= threshold[best]) & ~barred[np.arange(len(lines)), best]
                        other = group_of[best] != group_of[truth]
                        level = np.array(["" if level_at is None else row[level_at] for row in lines])
                        own = np.array([f"{self.paths.get(row[3], row[3])}/".startswith(f"{path}/") for row, path in zip(lines, level)])
                        at_one = level != ""
                        for k, v in enumerate((np.ones(len(lines)), right & some, some, named, named & ~right, named & other, at_one & own, at_one & ~own)):
                            np.add.at(c.devices, (at, k), v)
                        if level_at is None:  # older files do not tell it
                            c.devices[:, DEVICES.index("level_right"):] = np.nan
                    else:
                        np.add.at(c.right, (at[right], truth[right]), 1)
                        np.add.at(c.said, (at, best), 1)
                        np.add.at(c.true, (at, truth), 1)

    def table(self, weights):
        """{(change, twins): {figure: the mean over seeds, for each row of weights}}."""
        seeds = collections.defaultdict(list)
        for (_, change, twins), c in self.counts.items():
            seeds[change, twins].append(figures(c, weights))
        return {k: {f: np.mean([s[f] for s in v], 0) for f in v[0]} for k, v in seeds.items()}


def draws(manifest):
    """Weights of the captures: as they are, then RESAMPLES times drawn within each class."""
    rng, labels = np.random.default_rng(1), np.array(list(manifest.values()))
    weights = np.zeros((RESAMPLES + 1, len(labels)))
    weights[0] = 1
    for label in sorted(set(labels)):
        mine = np.where(labels == label)[0]
        weights[1:, mine] = rng.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), RESAMPLES)
    return weights


def summary(values):
    if np.isnan(values[0]):
        return None
    low, high = np.percentile(values[1:], (2.5, 97.5))
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def report(args, mine, other, runs, manifest, weights):
    """bars.json and bars.md of the runs that are over, in both directories if there are two."""
    done = [r for r in runs if mine.has(r) and (other is None or other.has(r))]
    if not done:
        return
    mine.read(done, manifest)
    table, less = mine.table(weights), {}
    result = {"flags": args.flags, "runs": done, "of": len(runs), "rows": []}
    if other:
        other.read(done, manifest)
        less = other.table(weights)
    for (change, twins), row in table.items():
        line = {"change": change, "twins_merged": twins, "figures": {f: summary(v) for f, v in row.items()}}
        if other:
            line["against"] = {f: summary(v) for f, v in less[change, twins].items()}
            line["difference"] = {f: summary(v - less[change, twins][f]) for f, v in row.items()}
        result["rows"].append(line)
    for name, of in (("strangers", mine), ("strangers_against", other)):
        if of:
            result[name] = {k: {"median": statistics.median(s[k] for s in of.strangers), "least": min(s[k] for s in of.strangers),
                                "most": max(s[k] for s in of.strangers)} for k in ("devices", "named", "named_ever")}
    (mine.out / "bars.json").write_text(json.dumps(result, indent=1))
    (mine.out / "bars.md").write_text(markdown(result))


def markdown(result):
    """The table for readers."""
    head = list(result["rows"][0]["figures"])
    seeds = sorted({s for s, _ in result["runs"]})
    shown = lambda v: "not told" if v is None else f"{v['value']:.3f} ({v['low']:.3f} to {v['high']:.3f})"
    text = [f"{len(result['runs'])} of {result['of']} models (seeds {', '.join(map(str, seeds))}), `{' '.join(result['flags']) or 'the defaults'}`."]
    row_of = {(row["change"], row["twins_merged"]): row for row in result["rows"]}
    keys = [k for k in ("figures", "against", "difference") if k in result["rows"][0]]
    text += ["", "| | " + " | ".join(k.replace("figures", "here") for k in keys) + " |", "| --- |" + " --- |" * len(keys)]
    for change, twins, figure in BARS:
        cells = (shown(row_of[change, twins][k][figure]) for k in keys)
        text.append(f"| {change}{', twins merged' if twins else ''}: {figure} | " + " | ".join(cells) + " |")
    for key, title in (("figures", "Figures"), ("against", "The other network's, on the same folds"), ("difference", "Difference")):
        if key not in result["rows"][0]:
            continue
        for twins in (False, True):
            text += ["", f"**{title}, {'twins merged' if twins else 'all classes'}**", "", "| change | " + " | ".join(head) + " |", "| --- |" + " --- |" * len(head)]
            for row in result["rows"]:
                if row["twins_merged"] == twins:
                    text.append(f"| {row['change']} | " + " | ".join(map(shown, row[key].values())) + " |")
    for key in ("strangers", "strangers_against"):
        if key in result:
            s = result[key]
            text += ["", f"{key.replace('_', ', ')}: of {s['devices']['median']:g}, median over the models (least to most): " + ", ".join(
                f"{title} {s[k]['median']:g} ({s[k]['least']} to {s[k]['most']})" for k, title in (("named", "named at the end"), ("named_ever", "at some time")))]
    return "\n".join(text) + "\n"


def main():
    p = argparse.ArgumentParser(usage="bars.py [options] DIR [-- FLAGS of iotsense train]")
    p.add_argument("out", help="directory of models, predictions, bars.md and bars.json")
    p.add_argument("--against", help="directory of another network's")
    p.add_argument("--binary", default="bin/iotsense")
    p.add_argument("--manifest", default="build/data/iot-sentinel/manifest.csv")
    p.add_argument("--strangers", default="build/data/strangers/report.csv")
    p.add_argument("--folds", type=int, default=5)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--report-only", action="store_true", help="train nothing, count what is there")
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    args = p.parse_args(sys.argv[1:at])
    args.flags = sys.argv[at + 1:]
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    work, kept = {"flags": args.flags, "folds": args.folds, "manifest": str(pathlib.Path(args.manifest).resolve())}, out / "work.json"
    if kept.exists() and args.report_only:
        args.flags = json.loads(kept.read_text())["flags"]
    elif kept.exists() and json.loads(kept.read_text()) != work:
        sys.exit(f"{out}: it holds models of {kept.read_text()}, not of {json.dumps(work)}: name another directory")
    else:
        kept.write_text(json.dumps(work))
    args.strangers = strangers_of(args.strangers, out)
    with open(args.manifest, newline="") as file:
        manifest = {r["capture"]: r["label"] for r in csv.DictReader(file)}
    runs, weights = [(s, f) for s in range(1, args.seeds + 1) for f in range(1, args.folds + 1)], draws(manifest)
    mine, other = Bars(out), Bars(args.against) if args.against else None
    for r in runs:
        if not args.report_only:
            score(args, out, *r)
            report(args, mine, other, runs, manifest, weights)
            print(f"seed {r[0]} fold {r[1]} done: {out}/bars.md", file=sys.stderr, flush=True)
    report(args, mine, other, runs, manifest, weights)
    print((out / "bars.md").read_text() if (out / "bars.md").exists() else "nothing is done in both directories yet", end="")


if __name__ == "__main__":
    main()
