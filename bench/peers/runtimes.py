"""The paper's network in each peer runtime, and ET-BERT's architecture in PyTorch.

A runtime is a function that takes the directory of a dump (windows.npy,
probs.npy, model.safetensors), builds or opens its model there, and returns the
model's file and a function from windows [N, K, width] to probabilities. All use
the weights of model.safetensors, one thread, and the fastest of the runtime's own
ways to run a model that were tried.
"""

import os

import numpy as np

from network_io import read_model


def versions(*names):
    """Versions of installed packages, as one text."""
    from importlib.metadata import version
    return ", ".join(f"{n} {version(n)}" for n in names)


def keras_model(directory):
    """The network in Keras, as the paper has it (section IV-A)."""
    import keras
    tensors, metadata = read_model(f"{directory}/model.safetensors")
    a, r = metadata["architecture"], metadata["record"]
    temperature = metadata["calibration"]["temperature"] or 1.0
    layers = keras.layers
    net = keras.Sequential([
        keras.Input((a["k"], 10 + 3 * r["packets"] + r["payload"], 1)),
        layers.Conv2D(a["filters"][0], (1, a["kernel1"]), activation="relu", name="conv1"),
        layers.Conv2D(a["filters"][1], tuple(a["kernel2"]), activation="relu", name="conv2"),
        layers.Dropout(a["dropout"]),
        layers.MaxPooling2D(tuple(a["pool"])),
        layers.Flatten(),
        layers.Dense(a["hidden"], activation="relu", name="dense1"),
        layers.Dense(len(metadata["labels"]), activation="softmax", name="dense2"),
    ])
    for name in ("conv1", "conv2", "dense1", "dense2"):
        layer = net.get_layer(name)
        weight, bias = (tensors[f"{name}.{part}"] for part in ("weight", "bias"))
        if name == "dense2":  # calibration: logits divided by the temperature
            weight, bias = weight / temperature, bias / temperature
        layer.set_weights([weight.reshape(layer.kernel.shape), bias])
    return net


def keras(directory):
    """Keras' own predict_on_batch: a compiled graph of TensorFlow."""
    import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import keras as k
    path = f"{directory}/peer.keras"
    if not os.path.exists(path):
        keras_model(directory).save(path)
    net = k.models.load_model(path, compile=False)
    return path, lambda x: np.asarray(net.predict_on_batch(x[..., None])), versions("keras", "tensorflow-cpu")


def litert(directory):
    """LiteRT's interpreter with its default delegate, XNNPACK."""
    path = f"{directory}/peer.tflite"
    if not os.path.exists(path):
        import tensorflow as tf
        converted = tf.lite.TFLiteConverter.from_keras_model(keras_model(directory)).convert()  # prints what it does
        with open(path, "wb") as f:
            f.write(converted)
        return path, None, ""  # run again: this process has TensorFlow in memory
    from ai_edge_litert.interpreter import Interpreter
    net = Interpreter(model_path=path, num_threads=1)
    place = net.get_input_details()[0]["index"]
    out = net.get_output_details()[0]["index"]
    shape = None

    def run(x):
        nonlocal shape
        if shape != x.shape:
            shape = x.shape
            net.resize_tensor_input(place, [*shape, 1])
            net.allocate_tensors()
        net.set_tensor(place, x[..., None])
        net.invoke()
        return net.get_tensor(out)

    return path, run, versions("ai-edge-litert")


def torch_model(directory):
    """The network in PyTorch with a softmax of calibrated logits."""
    import torch
    from network_torch import Network
    tensors, metadata = read_model(f"{directory}/model.safetensors")
    net, temperature = Network.of(tensors, metadata), metadata["calibration"]["temperature"] or 1.0

    class Probabilities(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return torch.softmax(self.net(x) / temperature, 1)

    return Probabilities().eval(), np.load(f"{directory}/windows.npy", mmap_mode="r").shape[1:]


def pytorch(directory):
    """PyTorch's own graph: traced and frozen."""
    import torch
    torch.set_num_threads(1)
    path = f"{directory}/peer.pt"
    if not os.path.exists(path):
        net, shape = torch_model(directory)
        torch.jit.freeze(torch.jit.trace(net, torch.zeros(1, *shape))).save(path)
    net = torch.jit.load(path)

    def run(x):
        with torch.inference_mode():
            return net(torch.from_numpy(x)).numpy()

    return path, run, f"torch {torch.__version__}"


def onnx(directory):
    """ONNX Runtime's CPU provider on PyTorch's export (made by `export`)."""
    import onnxruntime
    path = f"{directory}/peer.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    net = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = net.get_inputs()[0].name
    return path, lambda x: net.run(None, {name: x})[0], versions("onnxruntime")


def export(directory):
    """Writes the ONNX file; needs PyTorch only."""
    import torch
    path = f"{directory}/peer.onnx"
    if not os.path.exists(path):
        net, shape = torch_model(directory)
        torch.onnx.export(net, torch.zeros(1, *shape), path, input_names=["windows"], output_names=["probabilities"],
                          dynamic_axes={"windows": {0: "n"}, "probabilities": {0: "n"}}, opset_version=13)
    return path, None, ""


def et_bert(directory):
    """ET-BERT's architecture with random weights: BERT base (12 layers of 768, 12
    heads), its vocabulary of 60,005 tokens, 128 of them per packet. It answers
    another question from other inputs; only its cost is looked at. For each window
    it is given one sequence, however long the window is."""
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(0)
    path, tokens, vocabulary, hidden = f"{directory}/et-bert.pt", 128, 60_005, 768

    class ETBERT(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.word = torch.nn.Embedding(vocabulary, hidden)
            self.position = torch.nn.Embedding(512, hidden)
            self.segment = torch.nn.Embedding(3, hidden)
            self.norm = torch.nn.LayerNorm(hidden)
            layer = torch.nn.TransformerEncoderLayer(hidden, 12, 4 * hidden, activation="gelu", batch_first=True)
            self.encoder = torch.nn.TransformerEncoder(layer, 12)
            self.pooler = torch.nn.Linear(hidden, hidden)
            self.output = torch.nn.Linear(hidden, 27)

        def forward(self, ids):
            x = self.word(ids) + self.position(torch.arange(ids.shape[1])) + self.segment(torch.zeros_like(ids))
            return torch.softmax(self.output(torch.tanh(self.pooler(self.encoder(self.norm(x))[:, 0]))), 1)

    if not os.path.exists(path):
        torch.save(ETBERT().state_dict(), path)
    net = ETBERT().eval()
    net.load_state_dict(torch.load(path))

    def run(x):
        with torch.inference_mode():
            return net(torch.randint(vocabulary, (len(x), tokens))).numpy()

    return path, run, f"torch {torch.__version__}"
