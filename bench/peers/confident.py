"""Of the windows that one model calls confident, how many are wrong, and of as many of another.

    iotsense evaluate DATA --model OLD --json >OLD.json
    iotsense evaluate DATA --predictions NEW.csv
    python3 bench/peers/confident.py OLD.json NEW.csv...

The other's windows are ranked by the probability of their best label; those whose best label is
"none of them", which are refused, come last.
"""
import csv
import json
import sys

NONE = "none of them"


def ranked(path):
    """(refused, -probability, right) of each window."""
    with open(path, newline="") as f:
        rows = csv.reader(f)
        header = next(rows)
        labels = header[header.index("distance") + 1:]
        first, truth, window = header.index(labels[0]), header.index("label"), header.index("window")
        change = header.index("change")
        found = []
        for row in rows:
            if row[change] or row[window] in ("", "0"):
                continue
            probs = [float(p or 0) for p in row[first:]]
            best = max(range(len(probs)), key=probs.__getitem__)
            found.append((labels[best] == NONE, -probs[best], labels[best] == row[truth]))
    return sorted(found)


def main():
    with open(sys.argv[1]) as f:
        old = json.load(f)
    share = 1 - old["confidence"]["low_fraction"]
    s, wrong = round(share * old["windows"]), old["confidence"]["high_wrong_count"]
    print(f"{sys.argv[1]}: {s} of {old['windows']} windows at or over {old['confidence']['threshold']}, {wrong} of them wrong")
    for path in sys.argv[2:]:
        windows = ranked(path)
        if len(windows) != old["windows"]:
            sys.exit(f"{path}: {len(windows)} windows, not {old['windows']}: other data")
        sure = windows[:s]
        print(f"{path}: of its {s} most confident {sum(not right for _, _, right in sure)} wrong, {sum(refused for refused, _, _ in sure)} refused; the last at {-sure[-1][1]:.3f}")


if __name__ == "__main__":
    main()
