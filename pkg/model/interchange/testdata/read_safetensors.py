"""Opens a model file with the safetensors package: names, shapes, sums as JSON."""

import json
import sys

from safetensors import safe_open

with safe_open(sys.argv[1], "np") as f:
    tensors = {name: f.get_tensor(name) for name in f.keys()}
    json.dump({
        "metadata": f.metadata(),
        "shapes": {name: t.shape for name, t in tensors.items()},
        "sums": {name: float(t.astype("f8").sum()) for name, t in tensors.items()},
    }, sys.stdout)
