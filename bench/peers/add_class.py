"""What adding a class to a model costs, each type of a manifest left out in its turn.

    make build && scripts/data.sh
    python3 bench/peers/add_class.py build/add-class [TYPE...] -- --epochs 20 --threads 2

Trains the stream network on split=train without a type, adds the type from its first five
training captures, and scores on split=test: what the F1 of the others was without it and
is with it, and that of the type beside a training on all types. Flags after -- are those of
the trainings. Models and scores stay in the directory: run again, it goes on where it was
ended. Twins are merged by --merge.
"""

import csv
import json

from shared import MANIFEST, MERGE, arguments, run

CAPTURES = 5


def train(model, rows, *flags):
    """Trains the model on the manifest's rows, unless it is there."""
    if not model.exists():
        manifest = model.with_suffix(".csv")
        with open(manifest, "w", newline="") as file:
            out = csv.DictWriter(file, rows[0])
            out.writeheader()
            out.writerows(rows)
        run("bin/iotsense", "train", "--manifest", manifest, "--split", "train", "--augment", "--seed", 1, *flags, "-o", model)
    return model


def score(model, name, *flags):
    """F1 of each class of the test captures, and the share of devices that are right."""
    kept = model.with_suffix(f".{name}.json")
    if not kept.exists():
        kept.write_text(run("bin/iotsense", "evaluate", "--manifest", MANIFEST, "--split", "test", "--model", model, "--json", *flags))
    result = json.loads(kept.read_text())
    return {c["label"]: c["f1"] for c in result["classes"] if c["support"]}, result["devices"]["accuracy"]


def main():
    out, types, flags = arguments()
    with open(MANIFEST, newline="") as file:
        rows = list(csv.DictReader(file))
    usual = ["--arch", "stream", "--negatives", "--validation", "0.1", *flags]
    full = train(out / "all.safetensors", rows, *usual)
    table = []
    print("| left out | others before | after | it | trained on all | twins merged | trained on all | device right |")
    print("| --- |" + " --: |" * 7)
    for left in types or sorted({r["label"] for r in rows}):
        old = train(out / f"without-{left}.safetensors", [r for r in rows if r["label"] != left], *usual)
        five = [r for r in rows if r["label"] == left and r["split"] == "train"][:CAPTURES]
        new = train(out / f"with-{left}.safetensors", five, "--add-class", "--model", old)
        before, (after, right) = score(old, "others", "--leave-out", left)[0], score(new, "test")
        merged, best = score(new, "twins", *MERGE)[0], score(full, "twins", *MERGE)[0]
        group = next(c for c in merged if left in c.split("+"))
        table.append([sum(before.values()) / len(before), sum(after[c] for c in before) / len(before),
                      after[left], score(full, "test")[0][left], merged[group], best[group], right])
        print(f"| {left} |" + "".join(f" {v:.3f} |" for v in table[-1]), flush=True)
    print("| mean |" + "".join(f" {sum(column) / len(table):.3f} |" for column in zip(*table)))


main()
