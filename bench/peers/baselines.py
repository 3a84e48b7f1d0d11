"""What simpler models make of the same records, beside the networks: the opening table of docs/MODEL.md.

    scripts/scores.sh table     # build, install, train the scrubbed networks, then this:
    build/baselines/bin/python bench/peers/baselines.py build/scores [--only "facts|network|both"]

Trained on split=train, scored on split=test as `iotsense evaluate` does: padded windows,
macro-F1 over the classes that have one, and one verdict for each capture, those without a
window counted as wrong; also with twins merged, trained and scored on scrubbed records, on
test captures changed as `evaluate --stress` changes them, and cut so many seconds after a device's first
packet as `--first` does. A capture has the same weight however many windows it has. The
copies are the four of each capture that `train --augment` draws, the networks' own way.

Size: 4 bytes a parameter that is not 0; of trees, what they take pickled. Cost: of the
networks and facts what `bench inference --mode sliding` and Go benchmarks say of a new
flow; of the others predicting all test windows at once from inputs that are ready, by
window; one thread each. Progress on stderr, two Markdown tables of the same rows on stdout.
"""

import argparse
import collections
import gzip
import json
import pathlib
import pickle
import re
import struct
import sys
import time

import numpy as np
import scipy.sparse as sparse
from lightgbm import LGBMClassifier
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from records import K, TOKENS, make_windows, read_rows
from shared import MANIFEST, MERGE, TWINS, run

CHANGES = ("late-30s", "twice", "sent-only", "lost-20", "another-home")
FIRST = ("first-10s", "first-20s", "first-60s")
COPIES = ("copy-late", "copy-one", "copy-any-1", "copy-any-2")
LONG = 20  # rows that the linear model rests on, as the stream network does
BITS = 18  # of a word's hash
WORDS = 300  # that gradient boosting sees, beside 200 values of metadata
MODELS = "pkg/model/embedded"


def words_of(meta, tokens):
    """A row's hashed payload 4-grams within packets, sizes with directions, ports and
    protocol, each once."""
    grams = [tokens[i:TOKENS - 3 + i].astype(np.uint64) for i in range(4)]
    whole = np.all([tokens[i:TOKENS - 3 + i] >= 0 for i in range(4)], axis=0)
    found = [((((grams[0] * 256 + grams[1]) * 256 + grams[2]) * 256 + grams[3])[whole])]
    sizes, ways = meta[20:30], meta[30:40]
    there = sizes >= 0
    found.append((1 << 40) + np.round(sizes[there] * 1500).astype(np.uint64) * 2 + ways[there].astype(np.uint64))
    ports = [(2 << 40) + (round(meta[5] * 255) << 20) + (side << 17) + round(meta[side] * 65535) for side in (6, 7) if meta[side] >= 0]
    found.append(np.array(ports, np.uint64))
    mixed = np.unique(np.concatenate(found)) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
    return np.unique(mixed >> np.uint64(64 - BITS)).astype(np.int32)


class Records:
    """The windows of a records file, and of which captures they are."""

    def __init__(self, path):
        meta, tokens, v6, info = read_rows(path)
        windows, long = make_windows(meta, v6, info), make_windows(meta, v6, info, LONG)
        of = lambda name: info[name].astype(str)
        unit = np.char.add(np.char.add(of("Capture"), " "), of("Label"))
        self.devices = dict(zip(unit, of("Label")))
        self.label, self.unit = of("Label")[windows[:, -1]], unit[windows[:, -1]]
        count = collections.Counter(self.unit)
        self.weight = np.array([1 / count[u] for u in self.unit])
        self.weight *= len(self.weight) / self.weight.sum()
        padded = np.vstack([meta, np.full((1, meta.shape[1]), -1, meta.dtype)])  # -1 where a row is missing
        self.stacked = padded[windows].reshape(len(windows), -1).astype(np.float32)
        words = {i: words_of(meta[i], tokens[i]) for i in np.unique(windows[windows >= 0])}
        self.short, self.long = bags(words, windows), bags(words, long)


def bags(words, windows):
    """Which words the rows of each window have."""
    columns = [np.unique(np.concatenate([words[i] for i in w if i >= 0])) for w in windows]
    ends = np.cumsum([0] + [len(c) for c in columns])
    return sparse.csr_matrix((np.ones(ends[-1], np.float32), np.concatenate(columns), ends), (len(windows), 1 << BITS))


class Boosting(LGBMClassifier):
    """Gradient boosting of metadata and the words that tell most."""

    def fit(self, x, y, sample_weight):
        self.words = informative(x[1], y, sample_weight)
        return super().fit(self.dense(x), y, sample_weight=sample_weight)

    def predict_proba(self, x):
        return super().predict_proba(self.dense(x))

    def dense(self, x):
        return np.hstack([x[0], x[1][:, self.words].toarray()])


def informative(x, label, weight):
    """The words that tell most of whether a window is of a class (chi-squared), the same
    number of each class; of words that always come together one."""
    sums = x.T @ np.random.default_rng(0).normal(size=x.shape[0])
    _, one = np.unique(sums.round(9), return_index=True)
    one = one[sums[one] != 0]
    names, at = np.unique(label, return_inverse=True)
    hot = sparse.csr_matrix((weight, (at, np.arange(len(label)))))
    found = (hot @ x[:, one]).toarray()
    size = np.bincount(at, weight)[:, None]
    expected = size * found.sum(0) / weight.sum()
    order = np.argsort(-((found - expected) ** 2 * (1 / expected + 1 / np.maximum(size - expected, 1e-9))), axis=1, kind="stable")
    return one[list(dict.fromkeys(order.T.ravel()))[:WORDS]]


def macro_f1(label, guess):
    scores = []
    for name in set(label):
        right = np.sum((label == name) & (guess == name))
        scores.append(2 * right / (np.sum(label == name) + np.sum(guess == name)))
    return np.mean(scores)


def merged(names):
    group = {n: g[0] for g in TWINS for n in g}
    return np.array([group.get(n, n) for n in names])


def scores(names, probs, records, merge=np.array):
    """macro-F1, and how many devices are right."""
    columns, to = np.unique(merge(names), return_inverse=True)
    probs = np.stack([probs[:, to == i].sum(-1) for i in range(len(columns))], -1)
    mean = collections.defaultdict(lambda: np.zeros(len(columns)))
    for u, p in zip(records.unit, probs):
        mean[u] += p
    right = sum(columns[p.argmax()] == merge([records.devices[u]])[0] for u, p in mean.items())
    return macro_f1(merge(records.label), columns[probs.argmax(1)]), right


class Simple:
    """The rows of models that are trained here."""

    def __init__(self, out, seed):
        self.out, self.kept = out / "records", {}
        self.out.mkdir(exist_ok=True)
        forest = lambda: RandomForestClassifier(500, n_jobs=2, random_state=seed)
        linear = lambda: LogisticRegression(C=1, max_iter=200)
        boosting = lambda: Boosting(n_estimators=100, learning_rate=0.1, num_leaves=15, min_child_samples=5, colsample_bytree=0.3,
                                    n_jobs=2, random_state=seed, deterministic=True, force_col_wise=True, verbose=-1)
        self.rows = {
            "majority": (DummyClassifier, lambda r: r.stacked, [None]),
            f"random forest, metadata of {K} rows": (forest, lambda r: r.stacked, [None]),
            f"gradient boosting, metadata and {WORDS} words of {K} rows": (boosting, lambda r: (r.stacked, r.short), [None]),
            f"linear, byte 4-grams, sizes and ports of {LONG} rows": (linear, lambda r: r.long, [None]),
            "the same, learned from copies too": (linear, lambda r: r.long, [None, *COPIES]),
        }

    def records(self, split, change=None, scrub=False):
        """Those of a split's captures, changed or scrubbed."""
        path = self.out / f"{split}-{change}-{scrub}.parquet"
        if path not in self.kept:
            flags = [f"--change={change}"] * (change is not None) + ["--scrub"] * scrub
            run("bin/iotsense", "extract", "--manifest", MANIFEST, "--split", split, *flags, "-o", path)
            self.kept[path] = Records(path)
        return self.kept[path]

    def learned(self, name, scrub):
        make, inputs, changes = self.rows[name]
        parts = [self.records("train", c, scrub) for c in changes]
        together = lambda values: sparse.vstack(values).tocsr() if sparse.issparse(values[0]) else np.concatenate(values)
        x = [inputs(p) for p in parts]
        x = tuple(together(v) for v in zip(*x)) if isinstance(x[0], tuple) else together(x)
        began = time.monotonic()
        model = make().fit(x, together([p.label for p in parts]), sample_weight=together([p.weight for p in parts]))
        print(f"{name}: {time.monotonic() - began:.0f} s to train", file=sys.stderr)
        return model

    def row(self, name):
        model, scrubbed, inputs = self.learned(name, False), self.learned(name, True), self.rows[name][1]
        score = lambda m, r, merge=np.array: scores(m.classes_, m.predict_proba(inputs(r)), r, merge)
        plain = self.records("test")
        devices = len(plain.devices)
        shares = lambda found: (found[0], found[1] / devices)
        row = {"plain": shares(score(model, plain)), "twins": shares(score(model, plain, merged)),
               "scrubbed": shares(score(scrubbed, self.records("test", scrub=True)))}
        row.update({c: score(model, self.records("test", c))[0] for c in CHANGES})
        row.update({c: score(model, self.records("test", c))[1] / devices for c in FIRST})
        row["size"], row["cost"] = size(model), self.cost(model, inputs(plain), len(plain.unit))
        return row

    def cost(self, model, x, windows):
        """us a window."""
        if hasattr(model, "n_jobs"):
            model.set_params(n_jobs=1)
        with threadpool_limits(1):
            model.predict_proba(x)
            began = time.perf_counter()
            for _ in range(3):
                model.predict_proba(x)
        return (time.perf_counter() - began) / 3 / windows * 1e6


def size(model):
    """In bytes."""
    if isinstance(model, LogisticRegression):
        return 4 * (np.count_nonzero(model.coef_) + len(model.intercept_))
    if isinstance(model, DummyClassifier):
        return 4 * len(model.classes_)
    return len(pickle.dumps(model))


class Networks:
    """The rows of networks and of facts, as iotsense scores them."""

    def __init__(self, out):
        self.out, self.kept = out, {}
        self.rows = {"the facts alone": ("default", "facts"), "the paper's network": ("paper", None),
                     "the stream network alone": ("default", "network"), "**both: the embedded model**": ("default", None)}

    def path(self, model):
        path = self.out / f"{model}.safetensors"
        if not model.startswith("scrubbed"):
            path.write_bytes(gzip.decompress(pathlib.Path(MODELS, f"{model}.safetensors.gz").read_bytes()))
        return path

    def asked(self, *command):
        if command not in self.kept:
            self.kept[command] = run(*command)
        return self.kept[command]

    def evaluated(self, model, *flags):
        return json.loads(self.asked("bin/iotsense", "evaluate", "--manifest", MANIFEST, "--split", "test", "--model", self.path(model), "--bootstrap", 0, "--json", *flags))

    def row(self, name):
        model, part = self.rows[name]
        of = lambda result: result if part is None else result["alone"][part]
        pair = lambda result: (of(result)["macro_f1"], of(result)["devices"]["accuracy"])
        plain = self.evaluated(model, "--stress", *(f"--first={c.removeprefix('first-')}" for c in FIRST))
        row = {"plain": pair(plain), "scrubbed": pair(self.evaluated({"default": "scrubbed", "paper": "scrubbed-paper"}[model])),
               "twins": pair(self.evaluated(model, *MERGE))}
        stress = {s["change"]: of(s) for s in plain["stress"]}
        row.update({c: stress[c]["macro_f1"] for c in CHANGES})
        row.update({c: stress[c]["right"] / plain["devices"]["count"] for c in FIRST})
        row["size"] = sum(4 * n for facts, n in self.tensors(model) if part is None or facts == (part == "facts"))
        row["cost"] = sum(cost for of, cost in self.cost(model) if part is None or of == part)
        return row

    def tensors(self, model):
        """Of each tensor that the engine reads whether it is of the facts, and its values."""
        raw = self.path(model).read_bytes()
        header = json.loads(raw[8:8 + struct.unpack("<Q", raw[:8])[0]])
        return [(n.startswith("facts"), int(np.prod(t["shape"]))) for n, t in header.items() if n not in ("__metadata__", "background", "references")]

    def cost(self, model):
        """us a new flow of each part."""
        said = json.loads(self.asked("bin/iotsense", "bench", "inference", "--manifest", MANIFEST, "--split", "test", "--model", self.path(model), "--batch", 1, "--json"))
        yield "network", 1e6 / said["batches"][0]["per_second"]
        if model == "default":
            said = self.asked("scripts/go", "test", "./pkg/facts", "./pkg/facts/linear", "-run", "xxx", "-bench", "Record|Window/known")
            yield "facts", sum(float(ns) for ns in re.findall(r"([\d.]+) ns/op", said)) / 1e3


def table(header, rows, cells):
    print(f"\n| | {' | '.join(header)} |\n| --- |{' --- |' * len(header)}")
    for name, row in rows.items():
        bold = (lambda c: f"**{c}**") if name.startswith("**") else str
        print(f"| {name} | {' | '.join(bold(c) if c else '' for c in cells(row))} |")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("out", type=pathlib.Path, help="directory of scrubbed.safetensors and scrubbed-paper.safetensors; records are written there")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", default="", help="rows whose name this pattern is found in")
    args = p.parse_args()
    networks, simple = Networks(args.out), Simple(args.out, args.seed)
    unit = dict(networks.cost("default"))["network"]
    rows = {name: kind.row(name) for kind in (simple, networks) for name in kind.rows if re.search(args.only, name)}
    both = lambda pair: [f"{v:.3f}" for v in pair] 
    kilo = lambda b: f"{b / 1e3:,.0f}" if b >= 1e3 else f"{b / 1e3:.1f}"
    table(["macro-F1", "device", "scrubbed: macro-F1", "device", "twins merged: macro-F1", "device", "size, KB", "cost"], rows,
          lambda r: [*both(r["plain"]), *both(r["scrubbed"]), *both(r["twins"]), kilo(r["size"]), f"{r['cost'] / unit:.2g}"])
    table([f"`{c}`" for c in CHANGES] + [f"right after {c.removeprefix('first-').removesuffix('s')} s" for c in FIRST], rows,
          lambda r: [f"{r[c]:.3f}" for c in CHANGES + FIRST])
    print(f"\ncost 1: {unit:.1f} us", file=sys.stderr)


if __name__ == "__main__":
    main()
