"""One peer runtime as a process of its own; compare.py drives it.

    python3 worker.py RUNTIME DUMP...

Prints a line of JSON when the model is loaded: version, file size, resident
memory. Then, for each line {"dump": I, "batch": N, "seconds": S} on stdin, runs
batches of dump I's windows for S seconds and prints {"per_second", "p50_us"}, the
second per input; for {"dump": I, "check": true} the largest difference from the
engine's probabilities.
"""

import ctypes
import gc
import json
import os
import sys
import time

import numpy as np

import runtimes


def resident_mb():
    """Resident memory once garbage has gone back to the system, as iotsense reports it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Rss:")) * 1024 / 1e6


def measure(run, windows, batch, seconds):
    """Runs batches, each of the windows after the last one's, without a pause."""
    inputs = [np.ascontiguousarray(windows[i:i + batch]) for i in range(0, len(windows) - batch + 1, batch)]
    run(inputs[0])
    times, begin = [], time.perf_counter()
    last = begin
    while last - begin < seconds:
        run(inputs[len(times) % len(inputs)])
        now = time.perf_counter()
        times.append(now - last)
        last = now
    return {"per_second": len(times) * batch / (last - begin), "p50_us": float(np.median(times)) * 1e6 / batch}


def difference(run, windows, probs):
    return max(float(np.abs(run(windows[i:i + 64]) - probs[i:i + 64]).max()) for i in range(0, len(windows), 64))


def main(name, *dumps):
    base = resident_mb()
    path, run, version = getattr(runtimes, name)(dumps[0])
    loaded = resident_mb()
    answer = lambda v: print(json.dumps(v), flush=True)
    answer({"version": version, "disk_mb": os.path.getsize(path) / 1e6, "process_mb": loaded, "loaded_mb": loaded - base})
    if run is None:
        return
    load = lambda what: [np.load(f"{d}/{what}.npy") for d in dumps]
    windows, probs = load("windows"), load("probs")
    for line in sys.stdin:
        ask = json.loads(line)
        i = ask["dump"]
        if ask.get("check"):
            answer({"difference": difference(run, windows[i], probs[i])})
        else:
            answer(measure(run, windows[i], ask["batch"], ask["seconds"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
