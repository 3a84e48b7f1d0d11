"""Model files of iotsense without any framework."""

import json
import struct

import numpy as np


def read_model(path):
    """Tensors by name and decoded metadata of a safetensors file."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        data = f.read()
    metadata = {k: json.loads(v) for k, v in header.pop("__metadata__").items()}
    tensors = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        tensors[name] = np.frombuffer(data[begin:end], "<f4").reshape(t["shape"]).copy()
    return tensors, metadata
