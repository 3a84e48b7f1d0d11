"""Writes made-up records with pandas in the layout of the published customFlow
data set: published.py DIR LAYOUT COUNT DAY...

DIR gets bidirectional/16-09-23.parquet and so on, one file a day, and
unidirectional/ with the packets that the device sent. Prints the bidirectional
records as JSON, COUNT of each class and day. LAYOUT: int, float (NaN where a value
is missing) or wide (column names with more zeros).
"""

import json
import os
import sys

import numpy as np
import pandas as pd

CLASSES = {"Amazon Echo": b"echo", "Samsung cam": b"\x16\x03\x01cam", "LiFX lightbulb": bytes(range(20))}
PACKETS, TOKENS = 10, 3000


def record(rng, device, payload, start):
    packets = [{"to": 0, "ps": 60 + len(payload), "d": 1, "payload": list(payload)}]
    for _ in range(int(rng.integers(0, 3))):
        packets.append({"to": packets[-1]["to"] + int(rng.integers(1, 10**6)), "ps": int(rng.integers(40, 1500)),
                        "d": int(rng.integers(0, 2)), "payload": []})
    icmp = bool(rng.integers(0, 10) == 0)
    return {"Device": device, "FirstSeen": start, "RemIP": f"52.{len(payload)}.7.{rng.integers(1, 255)}",
            "Proto": 1 if icmp else 6, "DevPort": -1 if icmp else int(rng.integers(1024, 65536)), "RemPort": -1 if icmp else 443,
            "TotalFlowSize": sum(p["ps"] for p in packets), "PacketCount": len(packets), "packets": packets}


def one_way(r):
    sent = [p for p in r["packets"] if p["d"] == 1]
    return dict(r, packets=sent, PacketCount=len(sent), TotalFlowSize=sum(p["ps"] for p in sent))


def frame(records, layout):
    meta, values = [], np.full((len(records), TOKENS), -255, np.int16)
    for n, r in enumerate(records):
        row = {k: v for k, v in r.items() if k != "packets"}
        for key in ("to", "ps", "d"):
            for i in range(PACKETS):
                row[f"P{i:02d}_{key.upper()}"] = r["packets"][i][key] if i < len(r["packets"]) else -1
        meta.append(row)
        tokens = [v for p in r["packets"] for v in (-4, *p["payload"], -8)]
        values[n, :len(tokens)] = tokens
    meta = pd.DataFrame(meta)
    if layout == "float":
        numbers = [c for c in meta if c not in ("Device", "RemIP")]
        meta[numbers] = meta[numbers].astype("float64").replace(-1, np.nan)
        values = values.astype("float64")
    digits = 4 if layout == "wide" else 3
    return pd.concat([meta, pd.DataFrame(values, columns=[f"C_{i:0{digits}d}" for i in range(TOKENS)])], axis=1)


def main(directory, layout, count, *days):
    rng = np.random.default_rng(5)
    everything = []
    for day in days:
        begin = int(pd.Timestamp(day, tz="UTC").value // 1000)
        records = [record(rng, device, payload, begin + i * 60_000_000 + j)
                   for i in range(int(count)) for j, (device, payload) in enumerate(CLASSES.items())]
        everything += records
        for name, rows in (("bidirectional", records), ("unidirectional", [one_way(r) for r in records])):
            os.makedirs(f"{directory}/{name}", exist_ok=True)
            frame(rows, layout).to_parquet(f"{directory}/{name}/{day[2:]}.parquet", engine="pyarrow")
    json.dump(everything, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
