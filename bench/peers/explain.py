"""Do our explanations say what Python's shap says?

    gzip -dc pkg/model/embedded/default.safetensors.gz >MODEL   # or paper.safetensors.gz
    go test ./pkg/model/explain -run TestDumpForShap -dump DIR -model MODEL
    python3 bench/peers/explain.py DIR

DIR holds a model file with a few references, raw rows of windows and our shares of
each window's own label. Everything else is made anew here: the network as a PyTorch
graph (the stream network's with one-hot bytes and a maximum over the length), its
inputs, the references' payloads. Prints rank correlations (Spearman) with
DeepExplainer, of all values; with exact Shapley values of groups of fields (all
coalitions); with GradientExplainer, which asks another question, without a bound.
Fails below BOUND. Needs torch and shap (0.46; numpy below 2 for Debian's PyTorch 1.13).
"""

import argparse
import itertools
import json
import math
import sys
import warnings

import numpy as np
import shap
import torch

from network_io import read_model

BOUND = 0.95


def ranks(values):
    """Ranks from 0, the mean of equals."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    group = np.cumsum(first) - 1
    start = np.flatnonzero(first)
    end = np.r_[start[1:], len(values)]
    out = np.empty(len(values))
    out[order] = ((start + end - 1) / 2)[group]
    return out


def spearman(a, b):
    """Rank correlation, of values that either says are not 0; shares below a millionth of the largest are 0."""
    a, b = (np.where(np.abs(v) < 1e-6 * np.abs(v).max(initial=1e-30), 0, v) for v in (a.ravel(), b.ravel()))
    some = (a != 0) | (b != 0)
    if some.sum() < 3:
        return math.nan
    return float(np.corrcoef(ranks(a[some]), ranks(b[some]))[0, 1])


def stand_in(reference, row, at):
    """Bytes in place of captured ones: SplitMix64 of the three."""
    with np.errstate(over="ignore"):
        z = (np.uint64(reference) << np.uint64(32)) | (np.uint64(row) << np.uint64(16)) | at.astype(np.uint64)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) & np.uint64(255)).astype(int)


def linear(weight, bias=None):
    layer = torch.nn.Linear(weight.shape[0], weight.shape[1], bias=bias is not None).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.T.astype(float)))
        if bias is not None:
            layer.bias.copy_(torch.from_numpy(bias.astype(float)))
    return layer


class Paper(torch.nn.Module):
    """The paper's network, one output, of modules that DeepExplainer knows."""

    def __init__(self, t, a, label):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, a["filters"][0], (1, a["kernel1"])).double()
        self.conv2 = torch.nn.Conv2d(a["filters"][0], a["filters"][1], tuple(a["kernel2"])).double()
        with torch.no_grad():
            self.conv1.weight.copy_(torch.from_numpy(t["conv1.weight"].T[:, None, None, :].astype(float)))
            self.conv1.bias.copy_(torch.from_numpy(t["conv1.bias"].astype(float)))
            self.conv2.weight.copy_(torch.from_numpy(t["conv2.weight"].transpose(3, 2, 0, 1).astype(float)))
            self.conv2.bias.copy_(torch.from_numpy(t["conv2.bias"].astype(float)))
        self.relu1, self.relu2, self.relu3 = torch.nn.ReLU(), torch.nn.ReLU(), torch.nn.ReLU()
        self.pool = torch.nn.MaxPool2d(tuple(a["pool"]))
        self.dense1 = linear(t["dense1.weight"], t["dense1.bias"])
        self.dense2 = linear(t["dense2.weight"][:, [label]], t["dense2.bias"][[label]])

    def forward(self, x):
        x = self.pool(self.relu2(self.conv2(self.relu1(self.conv1(x.unsqueeze(1))))))
        return self.dense2(self.relu3(self.dense1(x.permute(0, 2, 3, 1).flatten(1))))


class PaperPeer:
    """Inputs are scaled rows: values are fields."""

    def __init__(self, tensors, metadata):
        self.t, self.a = tensors, metadata["architecture"]
        self.record, self.scaling = metadata["record"], metadata["scaling"]
        self.background = torch.from_numpy(tensors["background"].astype(float))
        n = self.record["packets"]
        self.groups = [[0], [1, 2, 3, 4], [5], [6, 7], [8, 9], list(range(10, 10 + 3 * n)), list(range(10 + 3 * n, self.background.shape[2]))]

    def scaled(self, raw):
        x, n = raw.copy(), self.record["packets"]
        missing = (raw[:, 10:] == -1).all(1) & (raw[:, 0] == -1)
        x[:, 0] /= 86400e6
        x[:, 1:6] /= 255
        ports, offsets, sizes = slice(6, 8), slice(10, 10 + n), slice(10 + n, 10 + 2 * n)
        for part, by in ((ports, 65535), (offsets, 60e6), (sizes, 1500)):
            x[:, part] = np.where(raw[:, part] == -1, -1, raw[:, part] / by)
        for column, name in ((8, "bytes"), (9, "packets")):
            s = self.scaling[name]
            x[:, column] = (np.log1p(np.maximum(raw[:, column], 0)) - s["mean"]) / s["deviation"]
        payload = raw[:, 10 + 3 * n:]
        delimiters = not self.record["scale_delimiters"]
        x[:, 10 + 3 * n:] = np.where((payload < 0) & (payload > -255) & delimiters, payload, payload / 255)
        x[missing] = -1
        return torch.from_numpy(x.astype(np.float32).astype(float))[None]

    def deep(self, raw, label):
        net, x = Paper(self.t, self.a, label), self.scaled(raw)
        return shap.DeepExplainer(net, self.background).shap_values(x).reshape(raw.shape)

    def gradient(self, raw, label):
        net, x = Paper(self.t, self.a, label), self.scaled(raw)
        return shap.GradientExplainer(net.float(), self.background.float(), batch_size=16).shap_values(x.float(), nsamples=200).reshape(raw.shape)

    def coalitions(self, raw, label):
        """The mean output over the references of each set of groups that are the window's."""
        net, x = Paper(self.t, self.a, label), self.scaled(raw)
        out = {}
        with torch.no_grad():
            for members in subsets(len(self.groups)):
                mixed = self.background.clone()
                for g in members:
                    mixed[:, :, self.groups[g]] = x[:, :, self.groups[g]]
                out[members] = float(net(mixed).mean())
        return out


class Stream(torch.nn.Module):
    """The stream network, one output: one-hot symbols, numbers, one-hot tokens of each row."""

    def __init__(self, t, label, rows, positions):
        super().__init__()
        self.embed = linear(t["embedding"])
        kernel = t["conv.weight"]
        self.conv = torch.nn.Conv1d(kernel.shape[1], kernel.shape[2], kernel.shape[0], stride=2, bias=False).double()
        with torch.no_grad():
            self.conv.weight.copy_(torch.from_numpy(kernel.transpose(2, 1, 0).astype(float)))
        self.longest, self.most = torch.nn.MaxPool1d(positions), torch.nn.MaxPool1d(rows)
        self.bias, self.token_bias = (torch.from_numpy(t[n].astype(float)) for n in ("conv.bias", "tokens.bias"))
        self.numbers = linear(t["numbers.weight"], t["numbers.bias"])
        self.tokens = linear(t["tokens.weight"])
        self.relu, self.relu_flow = torch.nn.ReLU(), torch.nn.ReLU()
        self.dense1 = linear(t["dense1.weight"], t["dense1.bias"])
        self.dense2 = linear(t["dense2.weight"][:, [label]], t["dense2.bias"][[label]])

    def filters(self, symbols):
        batch, rows = symbols.shape[:2]
        conv = self.conv(self.embed(symbols).flatten(0, 1).transpose(1, 2))
        return self.longest(conv).squeeze(2).reshape(batch, rows, -1) + self.bias

    def top(self, filters, numbers, words):
        vectors = self.relu_flow(torch.cat([filters, self.numbers(numbers), words + self.token_bias], 2))
        joined = torch.cat([vectors[:, -1], vectors.mean(1), self.most(vectors.transpose(1, 2)).squeeze(2)], 1)
        return self.dense2(self.relu(self.dense1(joined)))

    def forward(self, symbols, numbers, tokens):
        return self.top(self.filters(symbols), numbers, self.tokens(tokens).sum(2))


class StreamPeer:
    """Inputs are made of raw rows; what they have is given back to these."""

    SYMBOLS = 258

    def __init__(self, tensors, metadata):
        self.t, self.a = tensors, metadata["architecture"]
        self.record, self.scaling = metadata["record"], metadata["scaling"]
        self.n = n = self.record["packets"]
        self.meta = 10 + 3 * n
        self.width = self.meta + self.record["payload"]
        self.references = [self.reference(i, r) for i, r in enumerate(tensors["references"])]
        self.groups = [[1, 2, 3, 4], [5], [6], [7], [8, 9], list(range(10, self.meta)), list(range(self.meta, self.width))]

    def reference(self, number, rows):
        n, out = self.n, []
        for place, v in enumerate(rows):
            if v[0] < 0:
                continue
            raw = np.full(self.width, -1.0)
            raw[0] = 0
            raw[1:5] = [(0, 0, 0, 0), (224, 0, 0, 1), (255, 255, 255, 255), (32, 1, 0, 0), (1, 0, 0, 1)][int(v[0])]
            raw[5:10] = v[1:6]
            raw[10:10 + 3 * n] = v[6:6 + 3 * n]
            payload, at = [], 0
            for size, length in zip(v[6 + n:6 + 2 * n], v[6 + 3 * n:6 + 4 * n]):
                if size < 0:
                    break
                payload += [-4, *stand_in(number, place, at + np.arange(int(length))), -8]
                at += int(length)
            payload = payload[:self.record["payload"]]
            raw[self.meta:] = -255
            raw[self.meta:self.meta + len(payload)] = payload
            out.append(raw)
        return np.array(out)

    def numbers(self, raw):
        """The numbers of a row, and which values of the row each is of."""
        n, out, of = self.n, [], []

        def add(values, columns):
            out.extend(values)
            of.extend([columns] * len(values) if isinstance(columns, list) else [[c] for c in columns])

        o = raw[1:5]
        kind = 0 if not o.any() else 1 if 224 <= o[0] < 240 else 2 if (o == 255).all() else 4
        add(np.eye(5)[kind], [1, 2, 3, 4])
        add(np.eye(4)[{6: 0, 17: 1, 1: 2, 58: 2}.get(int(raw[5]), 3)], [5])
        for column, name in ((8, "bytes"), (9, "packets")):
            s = self.scaling[name]
            add([(math.log1p(max(raw[column], 0)) - s["mean"]) / s["deviation"]], [column])
        sizes, directions, offsets = raw[10 + n:10 + 2 * n], raw[10 + 2 * n:10 + 3 * n], raw[10:10 + n]
        there = sizes >= 0
        for values, begin in ((np.where(there, sizes / 1500, 0), 10 + n), (np.where(there, np.log2(1 + np.maximum(sizes, 0)) / math.log2(1501), 0), 10 + n),
                              (np.where(there, 2 * directions - 1, 0), 10 + 2 * n), (np.where(there, np.log1p(np.maximum(offsets, 0)) / math.log1p(60e6), 0), 10)):
            add(values, range(begin, begin + n))
        for column, name in ((6, "own_ports"), (7, "remote_ports")):
            known, one = self.a[name] or [], np.zeros(25)
            if raw[column] >= 0:
                one[known.index(int(raw[column])) if raw[column] in known else 24] = 1
            add(one, [column])
        return np.float32(out).astype(float), of

    def tokens(self, raw):
        """Buckets of the packets, then of both ports; -1: none. With what each is hashed of."""
        n, out = self.n, []

        def bucket(kind, value):
            bits = (value << 16 | int(raw[5]) << 8 | kind) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
            return (bits >> 32) * self.a["buckets"] >> 32

        for i in range(n):
            size, sent = int(raw[10 + n + i]), int(raw[10 + 2 * n + i])
            out.append((bucket(1, size << 1 | (sent == 1)) if size >= 0 else -1, [5, 10 + n + i, 10 + 2 * n + i]))
        for kind, column, limit in ((2, 6, 10000), (3, 7, 32768)):
            port = int(raw[column])
            out.append((bucket(kind, port) if 0 <= port < limit else -1, [5, column]))
        return out

    def length(self, *sets):
        """Symbols that all rows have room in, and eight that are none behind them."""
        most = max(int((rows[:, self.meta:] > -255).sum(1).max()) for rows in sets)
        return most + most % 2 + 8

    def inputs(self, rows, length):
        symbols = np.zeros((1, len(rows), length, self.SYMBOLS))
        numbers = np.array([self.numbers(r)[0] for r in rows])[None]
        tokens = np.zeros((1, len(rows), self.n + 2, self.a["buckets"]))
        for i, raw in enumerate(rows):
            payload = raw[self.meta:]
            payload = payload[payload > -255].astype(int)
            payload = np.where(payload == -4, 256, np.where(payload == -8, 257, payload))
            symbols[0, i, np.arange(len(payload)), payload] = 1
            for slot, (bucket, _) in enumerate(self.tokens(raw)):
                if bucket >= 0:
                    tokens[0, i, slot, bucket] = 1
        return [torch.from_numpy(v) for v in (symbols, numbers, tokens)]

    def beside(self, rows):
        """What rows have beside their payload: numbers, and the sums of their tokens' rows."""
        words = [sum((self.t["tokens.weight"][b].astype(float) for b, _ in self.tokens(r) if b >= 0), np.zeros(self.a["width"])) for r in rows]
        return torch.from_numpy(np.array([self.numbers(r)[0] for r in rows])[None]), torch.from_numpy(np.array(words)[None])

    def cut(self, reference, rows):
        """The reference's last rows, as many; again from the last on where it has fewer."""
        return reference[[len(reference) - 1 - (rows - 1 - i) % len(reference) for i in range(rows)]]

    def by_field(self, rows, other, symbols, numbers, tokens):
        phi = np.zeros(rows.shape)
        symbols = symbols.sum(-1)[:, :self.record["payload"]]
        phi[:, self.meta:self.meta + symbols.shape[1]] += symbols
        for i, raw in enumerate(rows):
            for value, columns in zip(numbers[i], self.numbers(raw)[1]):
                phi[i, columns] += value / len(columns)
            for slot, (_, columns) in enumerate(self.tokens(raw)):
                differ = [c for c in columns if raw[c] != other[i][c]]
                if differ:
                    phi[i, differ] += tokens[i, slot].sum() / len(differ)
        return phi

    def explained(self, rows, label, explain):
        phi = np.zeros(rows.shape)
        for reference in self.references:
            other = self.cut(reference, len(rows))
            length = self.length(rows, other)
            net = Stream(self.t, label, len(rows), (length - 8) // 2 + 1)
            shares = explain(net, self.inputs(other, length), self.inputs(rows, length))
            phi += self.by_field(rows, other, *(np.asarray(s).reshape(s.shape[1:4 if i != 1 else 3]) for i, s in enumerate(shares)))
        return phi / len(self.references)

    def deep(self, rows, label):
        return self.explained(rows, label, lambda net, other, x: shap.DeepExplainer(net, other).shap_values(x))

    def gradient(self, rows, label):
        def explain(net, other, x):
            net.bias, net.token_bias = net.bias.float(), net.token_bias.float()
            single = [[v.float() for v in values] for values in (other, x)]
            return shap.GradientExplainer(net.float(), single[0], batch_size=8).shap_values(single[1], nsamples=24)

        return self.explained(rows, label, explain)

    def coalitions(self, rows, label):
        out = {}
        payload = len(self.groups) - 1
        with torch.no_grad():
            for reference in self.references:
                other = self.cut(reference, len(rows))
                length = self.length(rows, other)
                net = Stream(self.t, label, len(rows), (length - 8) // 2 + 1)
                filters = [net.filters(self.inputs(r, length)[0]) for r in (other, rows)]
                made = {}  # all but the payload, by what is the window's
                for members in subsets(len(self.groups)):
                    rest = tuple(g for g in members if g != payload)
                    if rest not in made:
                        mixed = other.copy()
                        for g in rest:
                            mixed[:, self.groups[g]] = rows[:, self.groups[g]]
                        made[rest] = self.beside(mixed)
                    value = float(net.top(filters[payload in members], *made[rest]))
                    out[members] = out.get(members, 0) + value / len(self.references)
        return out


def subsets(n):
    return [s for k in range(n + 1) for s in itertools.combinations(range(n), k)]


def exact(values, n):
    """Shapley values of n players by the values of all coalitions."""
    phi = np.zeros(n)
    for members, value in values.items():
        k = len(members)
        for player in range(n):
            if player not in members:
                weight = math.factorial(k) * math.factorial(n - k - 1) / math.factorial(n)
                phi[player] += weight * (values[tuple(sorted(members + (player,)))] - value)
    return phi


def windows(directory, metadata, limit):
    about = json.load(open(f"{directory}/explanations.json"))
    raw = np.fromfile(f"{directory}/rows.f64", "<f8")
    at = 0
    for x in about[:limit]:
        phi = np.array(x["phi"])
        rows = raw[at:at + phi.size].reshape(phi.shape)
        at += phi.size
        yield x, rows, phi, metadata["labels"].index(x["label"])


def tell(name, figures, bound=None):
    figures = np.array([f for f in figures if not math.isnan(f)])
    if len(figures):
        print(f"{name:44} mean {figures.mean():.4f}  least {figures.min():.4f}  of {len(figures)} windows", flush=True)
    return bound is None or len(figures) == 0 or figures.mean() >= bound


def main():
    p = argparse.ArgumentParser()
    p.add_argument("directory")
    p.add_argument("--windows", type=int, default=100)
    p.add_argument("--exact", type=int, default=100, help="windows to enumerate coalitions for")
    p.add_argument("--gradient", type=int, default=10, help="windows for GradientExplainer")
    o = p.parse_args()
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tensors, metadata = read_model(f"{o.directory}/model.safetensors")
    stream = metadata["architecture"].get("kind") == "stream"
    peer = (StreamPeer if stream else PaperPeer)(tensors, metadata)
    deep, apart, gradient, groups, pooled = [], [], [], [], [[], []]
    for i, (x, rows, phi, label) in enumerate(windows(o.directory, metadata, o.windows)):
        theirs = peer.deep(rows, label)
        deep.append(spearman(phi, theirs))
        apart.append(float(np.abs(phi - theirs).max() / np.abs(theirs).max()))
        if i < o.gradient:
            gradient.append(spearman(phi, peer.gradient(rows, label)))
        if i < o.exact:
            shares = exact(peer.coalitions(rows, label), len(peer.groups))
            ours = np.array([phi[:, g].sum() for g in peer.groups])
            groups.append(spearman(ours, shares))
            pooled[0].extend(ours)
            pooled[1].extend(shares)
        print(f"window {i}: {deep[-1]:.4f}", file=sys.stderr)
    print(f"{'stream' if stream else 'paper'} network, {len(deep)} windows, shap {shap.__version__}, PyTorch {torch.__version__}")
    good = tell("DeepExplainer, all values", deep, BOUND)
    print(f"{'largest difference, of the largest share':44} mean {np.mean(apart):.1e}  most {max(apart):.1e}")
    tell("exact Shapley values of 7 groups", groups)
    if pooled[0]:
        print(f"{'the same, over all windows together':44} {spearman(*map(np.array, pooled)):.4f}")
    tell("GradientExplainer, all values", gradient)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
