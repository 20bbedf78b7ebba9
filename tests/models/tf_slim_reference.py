"""Run TF-slim's own network on seeded weights, in a process of its own: `python tf_slim_reference.py NAME IMAGES.npy OUT.npz`.

The answer holds every variable by its name, in the order of creation, and every endpoint as "endpoint:NAME", channels last.
"""

import sys
from typing import Any

import numpy as np
import tensorflow as tf
import tf_slim as slim
from tf_slim.nets import inception_v1, inception_v2, inception_v3

tf1 = tf.compat.v1
NETS = {
    "inception_v1": inception_v1.inception_v1,
    "inception_v2": inception_v2.inception_v2,
    "inception_v3": inception_v3.inception_v3,
}


def batch_norm(x: Any, **_: Any) -> Any:
    """Normalise as slim.batch_norm does for inference by default: no gamma, epsilon 0.001. Its own needs a Keras long gone."""
    with tf1.variable_scope("BatchNorm"):
        channels = x.shape[-1]
        beta = tf1.get_variable("beta", (channels,))
        mean, variance = tf1.get_variable("moving_mean", (channels,)), tf1.get_variable("moving_variance", (channels,))
        return tf.nn.batch_normalization(x, mean, variance, beta, None, 0.001)


def value(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Return weights of He's scale, and statistics and biases that are not trivial."""
    if name.endswith("weights"):
        fan_in = np.prod(shape[:2]) if "depthwise" in name else np.prod(shape[:-1])
        return random.normal(0, np.sqrt(2 / fan_in), shape)
    return random.uniform(0.5, 1.5, shape) if name.endswith("variance") else random.uniform(-0.2, 0.2, shape)


def main(name: str, images: str, out: str) -> None:
    """Write the variables and endpoints of a network on these images (n, h, w, 3)."""
    x, random = np.load(images), np.random.default_rng(0)
    with tf1.Graph().as_default(), slim.arg_scope([slim.conv2d], normalizer_fn=batch_norm), tf1.Session() as session:
        _, endpoints = NETS[name](tf.constant(x), num_classes=10, is_training=False)
        variables = {variable.op.name: variable for variable in tf1.global_variables()}
        values = {key: value(key, tuple(variable.shape), random) for key, variable in variables.items()}
        for key, variable in variables.items():
            variable.load(values[key].astype(np.float32), session)
        seen = session.run(endpoints)
        np.savez(out, **session.run(variables), **{f"endpoint:{key}": array for key, array in seen.items() if np.ndim(array)})


if __name__ == "__main__":
    main(*sys.argv[1:])
