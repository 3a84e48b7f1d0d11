"""The paper's network trained by PyTorch, beside `iotsense train`.

    iotsense extract --manifest manifest.csv -o records.parquet
    python3 bench/peers/train_torch.py records.parquet --seed 1 [--threads 1]

Same records, windows, scaling, validation captures, loss, optimiser and early
stopping as `iotsense train`; scores on split=test as `iotsense evaluate`. Needs
torch, numpy, pyarrow. Progress on stderr, one JSON object on stdout.
"""

import argparse
import copy
import json
import sys
import time

import numpy as np
import torch

from network_torch import Network
from records import K, PACKETS, TOKENS, make_windows, read_rows

WIDTH = 10 + 3 * PACKETS + TOKENS
KEPT, HELD, SHARED = 0, 1, 2


def hold_out(windows, label, capture, fraction):
    """HELD for validation windows: captures spread evenly over each class, of a
    single one the end; SHARED for the windows of that one that share records."""
    held = np.full(len(windows), KEPT)
    for name in sorted(set(label)):
        mine = np.where(label == name)[0]
        captures = list(dict.fromkeys(capture[mine]))
        n = len(captures)
        if n < 2:
            cut = len(mine) - int(fraction * len(mine))
            if cut < len(mine):
                held[mine[max(0, cut - K + 1):cut]] = SHARED
                held[mine[cut:]] = HELD
            continue
        take = min(n - 1, max(1, int(np.floor(fraction * n + 0.5))))
        chosen = {captures[(2 * i + 1) * n // (2 * take)] for i in range(take)}
        held[mine] = [HELD if c in chosen else KEPT for c in capture[mine]]
    return held


def scale(meta, tokens, used):
    """The network's input rows; the last one is the missing row, index -1. The
    statistics are of the rows used."""
    meta = meta.copy()
    for i in (8, 9):
        meta[:, i] = (meta[:, i] - meta[used, i].mean()) / meta[used, i].std()
    rows = np.full((len(meta) + 1, WIDTH), -1, np.float32)
    rows[:-1, : meta.shape[1]] = meta
    rows[:-1, meta.shape[1]:] = np.where((tokens == -4) | (tokens == -8), tokens, tokens / 255.0)
    return torch.from_numpy(rows)


def weigh(label, capture):
    """What windows count for in the mean over classes of the means over captures."""
    sizes = {}
    for name, c in zip(label, capture):
        of = sizes.setdefault(name, {})
        of[c] = of.get(c, 0) + 1
    weights = np.array([1 / (len(sizes[name]) * sizes[name][c]) for name, c in zip(label, capture)])
    return torch.from_numpy((weights / weights.sum()).astype(np.float32))


def fit(meta, tokens, windows, label, kept, val, seed, epochs, batch, capture=None):
    """Trains on the windows kept, stops by those of val: by their captures, or without
    those by windows, as the paper. Returns a function from window numbers to the guessed
    labels, and figures of the run."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    names = np.array(sorted(set(label[kept])))
    index = {n: i for i, n in enumerate(names)}
    val = np.array([i for i in val if label[i] in index])
    target = np.array([index.get(l, -1) for l in label])
    used = np.unique(windows[kept])
    rows = scale(meta, tokens, used[used >= 0])
    inputs = lambda which: rows[torch.from_numpy(windows[which])]
    net = Network(len(names))
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    loss_of = torch.nn.CrossEntropyLoss()
    shares = torch.full((len(val),), 1 / len(val)) if capture is None else weigh(label[val], capture[val])

    def logits(which):
        net.eval()
        with torch.no_grad():
            out = [net(inputs(which[i:i + 256])) for i in range(0, len(which), 256)]
        net.train()
        return torch.cat(out)

    best, waited, weights, done, cpu = np.inf, 0, None, 0, 0.0
    while done < epochs and waited < 5:
        order, total, begin = rng.permutation(kept), 0.0, time.process_time()
        for i in range(0, len(order), batch):
            part = order[i:i + batch]
            adam.zero_grad()
            loss = loss_of(net(inputs(part)), torch.from_numpy(target[part]))
            loss.backward()
            adam.step()
            total += loss.item() * len(part)
        cpu += time.process_time() - begin
        done += 1
        v = (shares @ torch.nn.functional.cross_entropy(logits(val), torch.from_numpy(target[val]), reduction="none")).item()
        waited += 1
        if v < best - 0.001:
            best, waited, weights = v, 0, copy.deepcopy(net.state_dict())
        print(f"epoch {done} loss {total / len(order):.4f} val {v:.4f}", file=sys.stderr, flush=True)
    net.load_state_dict(weights)
    figures = {"torch": torch.__version__, "seed": seed, "windows": len(kept), "validation": len(val), "classes": len(names),
               "epochs": done, "val_loss": best, "train_cpu_us_per_window": 1e6 * cpu / done / len(kept)}
    return lambda which: names[logits(which).argmax(1).numpy()], figures


def main():
    p = argparse.ArgumentParser()
    p.add_argument("parquet")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--epochs", type=int, default=100)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--validation", type=float, default=0.15, help="share of each class's training captures")
    args = p.parse_args()
    torch.set_num_threads(args.threads)

    meta, tokens, v6, info = read_rows(args.parquet)
    windows = make_windows(meta, v6, info)
    newest = windows[:, -1]
    label, capture, split = (info[n][newest].astype(str) for n in ("Label", "Capture", "Split"))
    training = np.where(split == "train")[0]
    held = hold_out(windows[training], label[training], capture[training], args.validation)
    guess_of, result = fit(meta, tokens, windows, label, training[held == KEPT], training[held == HELD],
                           args.seed, args.epochs, args.batch, capture)
    test = np.where(split == "test")[0]
    for mode, which in (("padded", test), ("strict", test[(windows[test] >= 0).all(1)])):
        guess, truth, scores = guess_of(which), label[which], []
        for name in sorted(set(truth)):
            right = ((guess == name) & (truth == name)).sum()
            scores.append(2 * right / ((guess == name).sum() + (truth == name).sum()))
        result[mode] = {"windows": len(which), "classes": len(scores),
                        "accuracy": float((guess == truth).mean()), "macro_f1": float(np.mean(scores))}
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
