"""What several of the comparisons here use: their arguments, a command's output, and who are twins."""

import pathlib
import subprocess
import sys

MANIFEST = pathlib.Path("build/data/iot-sentinel/manifest.csv")
TWINS = [
    ["SmarterCoffee", "iKettle2"],
    ["TP-LinkPlugHS100", "TP-LinkPlugHS110"],
    ["D-LinkSiren", "D-LinkWaterSensor", "D-LinkSensor"],
    ["EdimaxPlug1101W", "EdimaxPlug2101W"],
]
MERGE = ["--merge=" + ",".join(t) for t in TWINS]  # flags of `iotsense evaluate`


def run(*command):
    """What a command prints."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def arguments():
    """The directory for models (made, with the captures of MANIFEST in it), the other arguments, and flags after --."""
    args, flags = sys.argv[1:], []
    if "--" in args:
        args, flags = args[:args.index("--")], args[args.index("--") + 1:]
    out = pathlib.Path(args[0])
    out.mkdir(parents=True, exist_ok=True)
    for entry in MANIFEST.parent.iterdir():  # captures keep their names: changed copies are drawn by them
        if entry.is_dir() and not (out / entry.name).exists():
            (out / entry.name).symlink_to(entry.absolute())
    return out, args[1:], flags
