"""Runs an ONNX file on windows: run_onnx.py MODEL INPUT OUTPUT.

INPUT and OUTPUT are little-endian float32. Runs once with all windows and once
window by window, and fails when the two differ. Prints what the file says of
itself as JSON.
"""

import json
import sys

import numpy as np
import onnxruntime

path, source, target = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
entry = session.get_inputs()[0]
windows = np.fromfile(source, "<f4").reshape(-1, *entry.shape[1:])
together = session.run(None, {entry.name: windows})[0]
single = np.concatenate([session.run(None, {entry.name: w[None]})[0] for w in windows])
np.testing.assert_allclose(together, single, rtol=0, atol=1e-6)
together.astype("<f4").tofile(target)
json.dump({
    "input": entry.shape,
    "output": session.get_outputs()[0].shape,
    "metadata": session.get_modelmeta().custom_metadata_map,
}, sys.stdout)
