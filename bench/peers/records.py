"""A parquet file of records as arrays, and their padded windows."""

import numpy as np
import pyarrow.parquet as pq

PACKETS, TOKENS, K = 10, 3000, 5


def read_rows(path):
    """Records as columns; IPv6 and incomplete ones stay in the stream's clock only."""
    table = pq.read_table(path)
    column = lambda name: table.column(name).to_numpy(zero_copy_only=False)
    meta = np.full((table.num_rows, 10 + 3 * PACKETS), -1.0)
    remote = column("RemIP").astype(str)
    v6 = np.array([":" in a for a in remote])
    octets = np.zeros((table.num_rows, 4))
    octets[~v6] = np.array([a.split(".") for a in remote[~v6]], float)
    meta[:, 1:5] = octets / 255
    meta[:, 5] = column("Proto") / 255
    for i, name in ((6, "DevPort"), (7, "RemPort")):
        v = column(name).astype(float)
        meta[:, i] = np.where(v < 0, -1, v / 65535)
    meta[:, 8] = np.log1p(column("TotalFlowSize").astype(float))
    meta[:, 9] = np.log1p(column("PacketCount").astype(float))
    for group, scale in ((0, 60e6), (1, 1500.0), (2, 1.0)):
        for p in range(PACKETS):
            v = column(f"P{p:02d}_{('TO', 'PS', 'D')[group]}").astype(float)
            meta[:, 10 + group * PACKETS + p] = np.where(v < 0, -1, v / scale)
    tokens = np.empty((table.num_rows, TOKENS), np.int16)
    for i in range(TOKENS):
        tokens[:, i] = column(f"C_{i:03d}")
    info = {n: column(n) for n in ("Device", "FirstSeen", "Label", "Capture", "Split", "Incomplete")}
    return meta, tokens, v6, info


def make_windows(meta, v6, info, k=K):
    """Row indices of every padded window of k rows, oldest first, -1 where one is missing."""
    streams, windows = {}, []
    for i in range(len(v6)):
        if v6[i]:
            continue
        key = (info["Capture"][i], info["Device"][i])
        s = streams.setdefault(key, {"last": None, "rows": []})
        seen = info["FirstSeen"][i]
        meta[i, 0] = 0 if s["last"] is None else max(0, seen - s["last"]) / 86400e6
        s["last"] = seen
        if info["Incomplete"][i]:
            continue
        s["rows"] = (s["rows"] + [i])[-k:]
        windows.append([-1] * (k - len(s["rows"])) + s["rows"])
    return np.array(windows)
