"""iotsense's engine beside other runtimes: same weights, same windows, same run.

    scripts/bench-peers.sh [--manifest FILE] [--model FILE] [--rounds N] [--seconds S] [--json OUT]

makes what this needs and runs it. Every runtime is a process of its own with one
thread on one core. In each round every runtime has its turn at every case, so that
what else the machine does hits all alike; figures are medians over the rounds.
Fails when a peer's probability differs from the engine's by more than 1e-5.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

PEERS = ["keras", "litert", "onnx", "pytorch"]
SYSTEM = {"pytorch", "export", "et_bert"}  # in Debian's own Python, where its PyTorch is
BOUND = 1e-5
CASES = [("cold, batch 1", "real", 1), ("cold, batch 256", "real", 256), ("cold, batch 1, rows full", "full", 1)]
ROWS = ["real", "full"]
WINDOWS = 1024
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def one_core():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


class Worker:
    def __init__(self, args, name, dumps):
        python = "/usr/bin/python3" if name in SYSTEM else args.python
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
        env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", **{t: "1" for t in THREADS})
        self.name, self.log = name, tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([python, "-W", "ignore", script, name, *dumps], env=env, preexec_fn=one_core,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.loaded = self.read()

    def read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self.log.seek(0)
        sys.exit(f"{self.name} ended:\n{self.log.read()}")

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self.read()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def iotsense(args, rows, batch, *more, mode="cold"):
    """One run of `iotsense bench inference`: its figures, and how it was called."""
    command = [args.iotsense, "bench", "inference", "--json", "--mode", mode, "--rows", rows, "--batch", str(batch),
               "--runs", "1", "--time", f"{args.seconds}s", *more]
    if mode == "cold":
        command += ["--windows", str(WINDOWS)]
    for flag in ("manifest", "model"):
        if getattr(args, flag):
            command += [f"--{flag}", getattr(args, flag)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, preexec_fn=one_core).stdout
    return json.loads(out)


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--iotsense", default="bin/iotsense")
    p.add_argument("--python", default=sys.executable, help="with tensorflow, onnxruntime and ai_edge_litert")
    p.add_argument("--manifest", help="captures to take windows from (default: the device lab)")
    p.add_argument("--model", help="a model of the paper's network (default: the embedded one)")
    p.add_argument("--work", default="build/bench-peers/work", help="directory for windows and the peers' model files")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1.0, help="length of each measurement")
    p.add_argument("--json", help="also write all figures to this file")
    return p.parse_args()


def measure(args, workers):
    """Medians by case and runtime."""
    rounds = {}
    for n in range(args.rounds):
        for case, rows, batch in CASES:
            figures = iotsense(args, rows, batch)["batches"][0]
            rounds.setdefault((case, "iotsense"), []).append((figures["per_second"], figures["p50_us"]))
            for w in workers:
                f = w.ask(dump=ROWS.index(rows), batch=batch, seconds=args.seconds)
                rounds.setdefault((case, w.name), []).append((f["per_second"], f["p50_us"]))
        figures = iotsense(args, "real", 1, mode="sliding")["batches"][0]
        rounds.setdefault(("sliding, batch 1", "iotsense"), []).append((figures["per_second"], figures["p50_us"]))
        print(f"round {n + 1} of {args.rounds}", file=sys.stderr, flush=True)
    return {key: [statistics.median(v) for v in zip(*values)] for key, values in rounds.items()}


def print_case(case, medians):
    ours = medians[case, "iotsense"]
    print(f"\n{case:28} {'us each, p50':>14} {'per second':>12} {'iotsense is faster by':>22}")
    for (c, name), (rate, p50) in medians.items():
        if c == case:
            ratio = "" if name == "iotsense" else f"{ours[0] / rate:.2f}"
            print(f"  {name:26} {p50:14.1f} {rate:12.0f} {ratio:>22}")


def main():
    args = arguments()
    dumps = [os.path.join(args.work, rows) for rows in ROWS]
    reports = [iotsense(args, rows, 1, "--dump", d) for rows, d in zip(ROWS, dumps)]
    for name in ("export", "litert"):  # what makes a model file is not what runs it
        if not os.path.exists(os.path.join(dumps[0], {"export": "peer.onnx", "litert": "peer.tflite"}[name])):
            Worker(args, name, dumps[:1]).end()
    workers = [Worker(args, name, dumps) for name in PEERS]

    real, lengths = reports[0], reports[0]["row_lengths"]
    print(f"windows: {real['windows']} of {real['data']}; values per row: median {lengths['p50']}, mean {lengths['mean']}, most {lengths['max']}")
    print(f"one thread each; {args.rounds} rounds of {args.seconds} s a case, medians; engine {real['engine']}")
    worst = 0.0
    for w in workers:
        d = max(w.ask(dump=i, check=True)["difference"] for i in range(len(dumps)))
        worst = max(worst, d)
        print(f"  {w.name:9} {w.loaded['version']:40} probabilities differ by {d:.1e} at most")
    medians = measure(args, workers)
    for case in dict.fromkeys(c for c, _ in medians):
        print_case(case, medians)
    for w in workers:
        w.end()

    bert = Worker(args, "et_bert", dumps[:1])
    cost = {batch: bert.ask(dump=0, batch=batch, seconds=max(args.seconds, 5)) for batch in (1, 4)}
    bert.end()
    print(f"\n{'size (MB)':28} {'on disk':>14} {'model + runtime':>16} {'whole process':>14}")
    disk = os.path.getsize(os.path.join(dumps[0], "model.safetensors")) / 1e6
    print(f"  {'iotsense':26} {disk:14.1f} {real['rss_loaded_mb'] - real['rss_base_mb']:16.1f} {real['rss_process_mb']:14.1f}")
    for w in [*workers, bert]:
        print(f"  {w.name:26} {w.loaded['disk_mb']:14.1f} {w.loaded['loaded_mb']:16.1f} {w.loaded['process_mb']:14.1f}")
    print(f"\nET-BERT's architecture, random weights: {cost[1]['per_second']:.2f} inputs/s at batch 1, {cost[4]['per_second']:.2f} at batch 4")
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"iotsense": real, "loaded": {w.name: w.loaded for w in [*workers, bert]}, "et_bert": cost,
                       "medians": {f"{c}: {n}": {"per_second": r, "p50_us": p} for (c, n), (r, p) in medians.items()}}, f, indent=2)
    if worst > BOUND:
        sys.exit(f"outputs differ by {worst:.1e}, more than {BOUND:.0e}: not the same network")


if __name__ == "__main__":
    main()
