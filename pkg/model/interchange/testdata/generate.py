"""Makes the files of this directory: one small network, as other tools save it.

    pip install tensorflow-cpu tf-keras tf2onnx h5py onnx
    python3 generate.py              # Keras, and ONNX by tf2onnx
    /usr/bin/python3 generate.py     # where only python3-torch is: ONNX by PyTorch

The weights are random. expected.json holds windows and what the network says of
each; every file must give the same once imported.
"""

import json
import os
import sys

import numpy as np

K, WIDTH, CLASSES = 5, 40, 4
KERNEL1, KERNEL2, POOL, FILTERS, HIDDEN = 10, (3, 5), (3, 3), (2, 3), 7
HERE = os.path.dirname(os.path.abspath(__file__))


def path(name):
    return os.path.join(HERE, name)


def shapes():
    columns = (WIDTH - KERNEL1 - KERNEL2[1] + 2) // POOL[1]
    flat = (K - KERNEL2[0] + 1) // POOL[0] * columns * FILTERS[1]
    return [
        (1, KERNEL1, 1, FILTERS[0]), (FILTERS[0],), (*KERNEL2, FILTERS[0], FILTERS[1]), (FILTERS[1],),
        (flat, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,),
    ]


def weights():
    """In the order and layout of Keras' get_weights."""
    rng = np.random.default_rng(7)
    return [rng.uniform(-0.6, 0.6, s).astype(np.float32) for s in shapes()]


def layers(keras):
    """The network of the paper, section IV-A, in small."""
    return [
        keras.Input((K, WIDTH, 1)),
        keras.layers.Conv2D(FILTERS[0], (1, KERNEL1), activation="relu"),
        keras.layers.Conv2D(FILTERS[1], KERNEL2, activation="relu"),
        keras.layers.Dropout(0.25),
        keras.layers.MaxPooling2D(POOL),
        keras.layers.Flatten(),
        keras.layers.Dense(HIDDEN, activation="relu"),
        keras.layers.Dense(CLASSES, activation="softmax"),
    ]


def by_keras():
    import keras
    import tensorflow as tf
    import tf_keras

    model = keras.Sequential(layers(keras))
    model.set_weights(weights())
    model.compile("adam", "sparse_categorical_crossentropy")
    windows = np.random.default_rng(8).uniform(-1, 1, (3, K, WIDTH)).astype(np.float32)
    probabilities = model.predict(windows[..., None], verbose=0)
    with open(path("expected.json"), "w") as f:
        json.dump({"windows": windows.reshape(3, -1).tolist(), "probabilities": probabilities.tolist()}, f)
    model.save_weights(path("keras3.weights.h5"))
    model.save(path("keras3.keras"))
    model.fit(windows[..., None], np.array([0, 1, 2]), verbose=0)  # gives the optimizer a state to save
    model.set_weights(weights())
    model.save(path("keras3.h5"))

    old = tf_keras.Sequential(layers(tf_keras))
    old.set_weights(weights())
    old.save_weights(path("keras2.h5"), save_format="h5")

    import tf2onnx

    run = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec((None, K, WIDTH, 1), tf.float32)])
    tf2onnx.convert.from_function(run, input_signature=run.input_signature, opset=13, output_path=path("tf2onnx.onnx"))


def by_torch():
    import torch

    class Network(torch.nn.Module):
        """As one writes it in PyTorch: channels first, flattened so, logits out."""

        def __init__(self):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, FILTERS[0], (1, KERNEL1))
            self.conv2 = torch.nn.Conv2d(FILTERS[0], FILTERS[1], KERNEL2)
            self.pool = torch.nn.MaxPool2d(POOL)
            self.dense1 = torch.nn.Linear(shapes()[4][0], HIDDEN)
            self.dense2 = torch.nn.Linear(HIDDEN, CLASSES)

        def forward(self, x):
            x = torch.relu(self.conv1(x.unsqueeze(1)))
            x = self.pool(torch.relu(self.conv2(x)))
            return self.dense2(torch.relu(self.dense1(x.flatten(1))))

    c1, b1, c2, b2, d1, b3, d2, b4 = weights()
    rows, columns = 1, (WIDTH - KERNEL1 - KERNEL2[1] + 2) // POOL[1]
    first = d1.reshape(rows, columns, FILTERS[1], HIDDEN).transpose(2, 0, 1, 3).reshape(-1, HIDDEN)
    net = Network()
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), (
                c1.transpose(3, 2, 0, 1), b1, c2.transpose(3, 2, 0, 1), b2, first.T, b3, d2.T, b4)):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    torch.onnx.export(net, torch.zeros(1, K, WIDTH), path("torch.onnx"), opset_version=13,
                      input_names=["x"], output_names=["logits"], dynamic_axes={"x": {0: "n"}, "logits": {0: "n"}})


if __name__ == "__main__":
    try:
        import keras  # noqa: F401
    except ImportError:
        by_torch()
        sys.exit()
    by_keras()
