"""CPU time of a training window: `iotsense train` beside PyTorch, in turn.

    make build
    python3 bench/peers/train_speed.py --manifest manifest.csv [--rounds 3]

Both train the paper's network for one epoch on the same records, one thread
each, alternately, so that a busy machine slows both. Counted is the process's
CPU time of the training steps alone: no reading, no validation. The last line is
the ratio of the medians. Needs what train_torch.py needs.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
ONE_THREAD = os.environ | {"GOMAXPROCS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def run(*command):
    return subprocess.run([str(c) for c in command], env=ONE_THREAD, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def iotsense(binary, records, seed, scratch):
    report = json.loads(run(binary, "train", records, "--arch", "paper", "--split", "train", "--epochs", 1, "--ema", 0, "--validation", 0.15, "--threads", 1,
                            "--seed", seed, "-o", scratch / "m.safetensors", "--json"))[""]
    return report["epochs"][0]["train_cpu_ns"] / 1e3 / report["windows"], report["windows"]


def pytorch(records, seed):
    result = json.loads(run(sys.executable, HERE / "train_torch.py", records, "--epochs", 1, "--threads", 1, "--seed", seed))
    return result["train_cpu_us_per_window"], result["windows"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--manifest", required=True)
    p.add_argument("--binary", default="bin/iotsense")
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        records = scratch / "records.parquet"
        run(args.binary, "extract", "--manifest", args.manifest, "-o", records)
        for seed in range(1, args.rounds + 1):
            (a, windows), (b, others) = iotsense(args.binary, records, seed, scratch), pytorch(records, seed)
            if windows != others:
                sys.exit(f"iotsense trained on {windows} windows, PyTorch on {others}: not the same work")
            ours, theirs = ours + [a], theirs + [b]
            print(f"round {seed}: iotsense {a:.0f} us, PyTorch {b:.0f} us of CPU a window of {windows}: {b / a:.2f} times", flush=True)
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"median: iotsense {a:.0f} us, PyTorch {b:.0f} us: {b / a:.2f} times PyTorch's throughput per core")


if __name__ == "__main__":
    main()
