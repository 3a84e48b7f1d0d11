"""What simpler models make of the same records: the floor that a network must beat.

    iotsense extract --manifest manifest.csv -o records.parquet
    python3 bench/peers/baselines.py records.parquet [--seed 1]

Trained on split=train, scored on split=test as `iotsense evaluate` does: padded
windows, macro-F1 over the classes that have one, and one verdict for each capture,
those without a window counted as wrong; then both with twins merged. A capture has
the same weight however many windows it has. Needs scikit-learn, numpy, pyarrow.
Progress on stderr, a Markdown table on stdout.
"""

import argparse
import collections
import sys
import time

import numpy as np
import scipy.sparse as sparse
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from records import K, TOKENS, make_windows, read_rows

TWINS = (
    ("SmarterCoffee", "iKettle2"),
    ("TP-LinkPlugHS100", "TP-LinkPlugHS110"),
    ("D-LinkSiren", "D-LinkWaterSensor", "D-LinkSensor"),
    ("EdimaxPlug1101W", "EdimaxPlug2101W"),
)
LONG = 20  # rows that the linear model rests on, as the stream network does
BUCKETS = 1 << 18


def stacked(rows, windows):
    """Windows as one vector each, -1 where a row is missing."""
    padded = np.vstack([rows, np.full((1, rows.shape[1]), -1, rows.dtype)])
    return padded[windows].reshape(len(windows), -1)


def words_of(meta, tokens):
    """The set of a row's hashed payload 4-grams within packets, sizes with directions,
    ports and protocol."""
    bytes_ = tokens.astype(np.int64)
    grams = [bytes_[i:TOKENS - 3 + i] for i in range(4)]
    whole = np.all([g >= 0 for g in grams], axis=0)
    found = set((((grams[0] * 256 + grams[1]) * 256 + grams[2]) * 256 + grams[3])[whole].tolist())
    words = {(0, g) for g in found}
    sizes, ways = meta[20:30], meta[30:40]
    words |= {(1, round(s * 1500), int(d)) for s, d in zip(sizes, ways) if s >= 0}
    words |= {(2, round(meta[5] * 255), side, round(meta[side] * 65535)) for side in (6, 7) if meta[side] >= 0}
    return {hash(w) % BUCKETS for w in words}


def bags(meta, tokens, windows):
    """Which words the rows of each window have."""
    words = {i: words_of(meta[i], tokens[i]) for i in np.unique(windows[windows >= 0])}
    columns, ends = [], [0]
    for w in windows:
        mine = set().union(*(words[i] for i in w if i >= 0))
        columns += mine
        ends.append(len(columns))
    return sparse.csr_matrix((np.ones(len(columns), np.float32), columns, ends), (len(windows), BUCKETS))


def macro_f1(label, guess):
    scores = []
    for name in set(label):
        right = np.sum((label == name) & (guess == name))
        scores.append(2 * right / (np.sum(label == name) + np.sum(guess == name)))
    return np.mean(scores)


def merged(names):
    group = {n: g[0] for g in TWINS for n in g}
    return np.array([group.get(n, n) for n in names])


def scores(names, probs, label, unit, devices):
    """macro-F1 and share of devices right, of types and with twins merged."""
    mean = collections.defaultdict(lambda: np.zeros(len(names)))
    for u, p in zip(unit, probs):
        mean[u] += p
    found = []
    for merge in (np.array, merged):
        columns, to = np.unique(merge(names), return_inverse=True)
        summed = lambda p: np.stack([p[..., to == i].sum(-1) for i in range(len(columns))], -1)
        found.append(macro_f1(merge(label), columns[summed(probs).argmax(1)]))
        right = sum(u in mean and columns[summed(mean[u]).argmax()] == merge([l])[0] for u, l in devices.items())
        found.append(right / len(devices))
    return found


def main():
    p = argparse.ArgumentParser()
    p.add_argument("records")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", help="models whose name holds this word")
    args = p.parse_args()
    meta, tokens, v6, info = read_rows(args.records)
    windows, long = make_windows(meta, v6, info), make_windows(meta, v6, info, LONG)
    newest = windows[:, -1]
    of = lambda name: info[name].astype(str)
    label, split = of("Label")[newest], of("Split")[newest]
    unit = np.char.add(np.char.add(of("Capture"), " "), of("Device"))
    devices = {u: l for u, l, s in zip(unit, of("Label"), of("Split")) if s == "test"}
    unit = unit[newest]
    train, test = split == "train", split == "test"
    count = collections.Counter(unit[train])
    weight = np.array([1 / count[u] for u in unit[train]])
    weight *= len(weight) / weight.sum()
    models = (
        ("majority", DummyClassifier(), lambda: stacked(meta, windows)),
        (f"random forest, metadata of {K} rows", RandomForestClassifier(500, n_jobs=2, random_state=args.seed), lambda: stacked(meta, windows)),
        (f"linear, byte 4-grams, sizes and ports of {LONG} rows", LogisticRegression(C=1, max_iter=200, solver="lbfgs"), lambda: bags(meta, tokens, long)),
    )
    print("| model | macro-F1, padded | device | twins merged: macro-F1 | device |\n| --- | --- | --- | --- | --- |")
    for name, model, inputs in models:
        if args.only and args.only not in name:
            continue
        began, x = time.monotonic(), inputs()
        model.fit(x[train], label[train], sample_weight=weight)
        found = scores(model.classes_, model.predict_proba(x[test]), label[test], unit[test], devices)
        print(f"| {name} | " + " | ".join(f"{f:.3f}" for f in found) + " |", flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
