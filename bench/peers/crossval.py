"""The paper's network by `iotsense crossval` and by PyTorch, on the same folds.

    make build
    python3 bench/peers/crossval.py --manifest manifest.csv [--folds 5 --seeds 3] [--out DIR]

Strict windows, 50 to 20,000 of a class, the paper's early stopping: `--preset
paper`. iotsense deals the captures to folds and writes them down; PyTorch trains
and tests on the same ones, with the same seeds (of other random numbers). Both
sets of verdicts get one score: macro-F1 of each repetition, averaged, with a 95 %
bootstrap interval over captures. Needs what train_torch.py needs, and hours: run
again with the same --out, it goes on where it was ended.
"""

import argparse
import collections
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch

from records import make_windows, read_rows
from train_torch import HELD, KEPT, fit, hold_out

MIN, MAX, VALIDATION = 50, 20000, 0.2  # --preset paper, and train's default
RESAMPLES = 1000


def limited(kept, label):
    """The training windows of classes with enough of them."""
    count = collections.Counter(label[kept])
    if max(count.values()) > MAX:
        sys.exit(f"a class has more than {MAX} training windows: which are drawn would differ")
    return np.array([i for i in kept if count[label[i]] >= MIN])


def verdicts_of(path):
    """The rows of a predictions.csv: seed, fold, capture, label, guess."""
    with open(path, newline="") as file:
        return [(int(r["seed"]), int(r["fold"]), r["capture"], r["label"], r["guess"]) for r in csv.DictReader(file)]


def pytorch(records, folds, epochs, runs, path):
    """Adds to the verdicts in path those of the runs that are not in it yet."""
    done = {}  # verdicts of each run
    if path.exists():
        done = collections.Counter(v[:2] for v in verdicts_of(path))
    else:
        path.write_text("seed,fold,capture,label,guess\n")
    meta, tokens, v6, info = read_rows(records)
    windows = make_windows(meta, v6, info)
    windows = windows[(windows >= 0).all(1)]
    newest = windows[:, -1]
    label, capture, device = (info[n][newest].astype(str) for n in ("Label", "Capture", "Device"))
    for run in runs:
        seed, tested = run["seed"], run["fold"]
        if (seed, tested) in done:
            if done[seed, tested] != run["tested"]:
                sys.exit(f"{path}: seed {seed} fold {tested} was ended while it was written: remove its lines")
            continue
        fold = np.array([folds[seed, c, d] for c, d in zip(capture, device)])
        learn, test = np.where(fold != tested)[0], np.where(fold == tested)[0]
        held = hold_out(windows[learn], label[learn], capture[learn], VALIDATION)
        kept = limited(learn[held == KEPT], label)
        guess_of, figures = fit(meta, tokens, windows, label, kept, learn[held == HELD], seed, epochs, 64)
        for key, mine in (("windows", len(kept)), ("validation", figures["validation"]), ("tested", len(test))):
            if run[key] != mine:
                sys.exit(f"seed {seed} fold {tested}: iotsense has {run[key]} windows ({key}), PyTorch {mine}: not the same work")
        with open(path, "a", newline="") as file:
            csv.writer(file).writerows((seed, tested, capture[i], label[i], g) for i, g in zip(test, guess_of(test)))
        print(f"PyTorch: seed {seed} fold {tested} done", file=sys.stderr, flush=True)


def interval(verdicts):
    """Mean macro-F1 over the repetitions, and its bootstrap interval by capture."""
    names = sorted({v[3] for v in verdicts} | {v[4] for v in verdicts})
    captures = sorted({v[2] for v in verdicts})
    seeds = sorted({v[0] for v in verdicts})
    index, place = {n: i for i, n in enumerate(names)}, {c: i for i, c in enumerate(captures)}
    right, said, true = np.zeros((3, len(seeds), len(captures), len(names)))
    stratum = np.zeros(len(captures), int)
    for seed, _, capture, label, guess in verdicts:
        at = seeds.index(seed), place[capture]
        stratum[place[capture]] = index[label]
        right[(*at, index[label])] += label == guess
        said[(*at, index[guess])] += 1
        true[(*at, index[label])] += 1

    def score(weights):
        r, s, t = weights @ right, weights @ said, weights @ true  # [seeds, names]
        f1 = np.where(s + t > 0, 2 * r / np.maximum(s + t, 1), 0)
        return np.mean([f1[i][t[i] > 0].mean() for i in range(len(seeds))])

    rng, drawn = np.random.default_rng(1), []
    for _ in range(RESAMPLES):
        weights = np.zeros(len(captures))
        for k in np.unique(stratum):
            mine = np.where(stratum == k)[0]
            np.add.at(weights, rng.choice(mine, len(mine)), 1)
        drawn.append(score(weights))
    return score(np.ones(len(captures))), *np.percentile(drawn, (2.5, 97.5))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--manifest", required=True)
    p.add_argument("--binary", default="bin/iotsense")
    p.add_argument("--folds", type=int, default=5)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--epochs", type=int, default=100)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--out", help="directory for the records and iotsense's report (default: a temporary one)")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(args.out or scratch)
        out.mkdir(parents=True, exist_ok=True)
        records = out / "records.parquet"
        if not (out / "crossval.json").exists():
            subprocess.run([args.binary, "extract", "--manifest", args.manifest, "-o", records], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([args.binary, "crossval", records, "--preset", "paper", "--folds", str(args.folds), "--seeds", str(args.seeds),
                            "--epochs", str(args.epochs), "--threads", str(args.threads), "--report", out], check=True)
        runs = json.load(open(out / "crossval.json"))["runs"]
        folds = {(int(r["seed"]), r["capture"], r["device"]): int(r["fold"]) for r in csv.DictReader(open(out / "folds.csv"))}
        pytorch(records, folds, args.epochs, runs, out / "pytorch.csv")
        ours, theirs = verdicts_of(out / "predictions.csv"), verdicts_of(out / "pytorch.csv")
    (a, a_low, a_high), (b, b_low, b_high) = interval(ours), interval(theirs)
    print(f"iotsense macro-F1 {a:.4f}, 95 % interval {a_low:.4f} to {a_high:.4f}")
    print(f"PyTorch  macro-F1 {b:.4f}, 95 % interval {b_low:.4f} to {b_high:.4f}")
    within = b_low <= a <= b_high and a_low <= b <= a_high
    print("each lies within the other's interval" if within else "they differ by more than their intervals")
    sys.exit(not within)


if __name__ == "__main__":
    main()
