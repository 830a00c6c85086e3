# SPDX-License-Identifier: Apache-2.0
"""Input pipelines: ``Dataset`` with tf.data's names and order semantics, and data set readers."""

from ostria.data._options import AutoShardPolicy, DistributeOptions, Options
from ostria.data._spec import TensorSpec
from ostria.data.dataset import (
    AUTOTUNE,
    INFINITE_CARDINALITY,
    UNKNOWN_CARDINALITY,
    Dataset,
    DatasetIterator,
)
from ostria.data.fashion_mnist import CLASS_NAMES as FASHION_MNIST_CLASSES
from ostria.data.fashion_mnist import fashion_mnist

__all__ = [
    "AUTOTUNE",
    "FASHION_MNIST_CLASSES",
    "INFINITE_CARDINALITY",
    "UNKNOWN_CARDINALITY",
    "AutoShardPolicy",
    "Dataset",
    "DatasetIterator",
    "DistributeOptions",
    "Options",
    "TensorSpec",
    "fashion_mnist",
]
