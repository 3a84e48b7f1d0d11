"""The paper's network (section IV-A) in PyTorch.

Shared by the scripts of this directory. Tensors of a model file are in Keras'
layout; PyTorch's convolutions want [out, in, rows, columns].
"""

import numpy as np
import torch


class Network(torch.nn.Module):
    """5x3040 -> conv 1x40 -> conv 3x5 -> dropout -> pool 3x3 -> 100 -> classes."""

    def __init__(self, classes, k=5, width=3040, filters=(2, 2), kernel1=40, kernel2=(3, 5), pool=(3, 3), hidden=100, dropout=0.5):
        super().__init__()
        rows, cols = k - kernel2[0] + 1, width - kernel1 - kernel2[1] + 2
        flat = (rows // pool[0]) * (cols // pool[1]) * filters[1]
        self.conv1 = torch.nn.Conv2d(1, filters[0], (1, kernel1))
        self.conv2 = torch.nn.Conv2d(filters[0], filters[1], kernel2)
        self.dropout = torch.nn.Dropout(dropout)
        self.pool = torch.nn.MaxPool2d(pool)
        self.dense1 = torch.nn.Linear(flat, hidden)
        self.dense2 = torch.nn.Linear(hidden, classes)
        for layer in (self.conv1, self.conv2, self.dense1, self.dense2):  # Keras' defaults
            torch.nn.init.xavier_uniform_(layer.weight)
            torch.nn.init.zeros_(layer.bias)

    def forward(self, x):
        x = torch.relu(self.conv1(x.unsqueeze(1)))
        x = self.dropout(torch.relu(self.conv2(x)))
        x = self.pool(x).permute(0, 2, 3, 1).flatten(1)  # index = place * channels + channel
        return self.dense2(torch.relu(self.dense1(x)))

    def tensors(self):
        """Parameters by the model file's names, each with its move to PyTorch's layout."""
        conv1 = lambda w: w.T[:, None, None, :]
        conv2 = lambda w: w.transpose(3, 2, 0, 1)
        dense = lambda w: w.T
        same = lambda w: w
        return {
            "conv1.weight": (self.conv1.weight, conv1), "conv1.bias": (self.conv1.bias, same),
            "conv2.weight": (self.conv2.weight, conv2), "conv2.bias": (self.conv2.bias, same),
            "dense1.weight": (self.dense1.weight, dense), "dense1.bias": (self.dense1.bias, same),
            "dense2.weight": (self.dense2.weight, dense), "dense2.bias": (self.dense2.bias, same),
        }

    @staticmethod
    def of(tensors, metadata):
        a, r = metadata["architecture"], metadata["record"]
        net = Network(len(metadata["labels"]), a["k"], 10 + 3 * r["packets"] + r["payload"], a["filters"],
                      a["kernel1"], tuple(a["kernel2"]), tuple(a["pool"]), a["hidden"], a["dropout"])
        with torch.no_grad():
            for name, (parameter, layout) in net.tensors().items():
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(layout(tensors[name]))))
        return net
