"""Does our training graph compute what PyTorch computes?

    go test ./pkg/model/cnn/learn -run TestDumpForTorch -dump DIR
    python3 bench/peers/oracle_torch.py DIR

DIR holds three model files: before.safetensors (initial weights; the inputs as
its background, the classes and our loss among its options), gradient.safetensors
(our gradients in place of weights) and after.safetensors (our weights after Adam
steps). Prints the largest differences; fails above the bounds below.
"""

import sys

import numpy as np
import torch

from network_io import read_model
from network_torch import Network

BOUNDS = {"loss": 1e-6, "gradient": 1e-6, "weights after Adam": 1e-4}


def main(directory):
    torch.manual_seed(0)
    before, metadata = read_model(f"{directory}/before.safetensors")
    gradient, _ = read_model(f"{directory}/gradient.safetensors")
    after, _ = read_model(f"{directory}/after.safetensors")
    options = metadata["training"]["options"]
    x = torch.from_numpy(before["background"])
    y = torch.tensor([int(v) for v in options["labels"].split(",")])

    net = Network.of(before, metadata)
    net.eval()  # no dropout
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    worst = {}
    for step in range(int(options["steps"])):
        adam.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        if step == 0:
            worst["loss"] = abs(loss.item() - float(options["loss"]))
            worst["gradient"] = max(
                float(np.abs(layout(gradient[name]) - p.grad.numpy()).max())
                for name, (p, layout) in net.tensors().items())
        adam.step()
    worst["weights after Adam"] = max(
        float(np.abs(layout(after[name]) - p.detach().numpy()).max())
        for name, (p, layout) in net.tensors().items())

    print(f"PyTorch {torch.__version__}, {len(y)} windows, {options['steps']} Adam steps")
    for name, value in worst.items():
        print(f"{name:20} {value:.2e} (bound {BOUNDS[name]:.0e})")
    return 0 if all(worst[n] <= BOUNDS[n] for n in worst) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
