"""What several of the comparisons here use: a command's output, and who are twins."""

import subprocess
import sys

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
