"""Runs an ONNX step graph over streams: run_step.py MODEL ROWS OUTPUT IPV6 LENGTH...

ROWS, OUTPUT and IPV6 (of each row 1 or 0; an empty file: the graph has no such input)
are little-endian float32, stream after stream. Runs each stream alone, row by row from
an empty memory, and all of them side by side, and fails when the two differ. Prints
what the file says of itself as JSON.
"""

import json
import sys

import numpy as np
import onnxruntime

path, source, target, flags, *lengths = sys.argv[1:]
lengths = [int(n) for n in lengths]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
shapes = {entry.name: entry.shape for entry in session.get_inputs()}
inputs = {"rows": np.fromfile(source, "<f4").reshape(sum(lengths), -1)}
ipv6 = np.fromfile(flags, "<f4").reshape(-1, 1)
if len(ipv6):
    inputs["ipv6"] = ipv6
begins = np.cumsum([0] + lengths[:-1])


def step(places, memory):
    """Probabilities and memories after the rows at these places."""
    return session.run(["probabilities", "next_memory"], {"memory": memory, **{k: v[places] for k, v in inputs.items()}})


def empty(n):
    return np.zeros([n] + shapes["memory"][1:], "<f4")


alone = []
for begin, length in zip(begins, lengths):
    memory = empty(1)
    for at in range(begin, begin + length):
        probabilities, memory = step([at], memory)
        alone.append(probabilities)
alone = np.concatenate(alone)
memories = empty(len(lengths))
for i in range(max(lengths)):
    live = [s for s, n in enumerate(lengths) if i < n]
    probabilities, memories[live] = step(begins[live] + i, memories[live])
    np.testing.assert_allclose(probabilities, alone[begins[live] + i], rtol=0, atol=1e-6)
alone.astype("<f4").tofile(target)
json.dump({
    "inputs": shapes,
    "outputs": {entry.name: entry.shape for entry in session.get_outputs()},
    "metadata": session.get_modelmeta().custom_metadata_map,
}, sys.stdout)
