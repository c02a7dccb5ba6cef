"""Makes the files of this folder with the real libraries. See README.md; the tests only read the files.

`python make.py` needs tensorflow-cpu, `python make.py metadata` needs tflite-support, which does not bear TensorFlow
beside it: give each an environment of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

if sys.argv[1:] != ["metadata"]:
    import keras
    import numpy as np
    import tensorflow as tf

HERE = Path(__file__).parent


def digits() -> keras.Model:
    """A tiny image classifier: one convolution, one dense layer, ten classes."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(2, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def line() -> keras.Model:
    """A logistic regression as one dense layer."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    return model


def with_lambda() -> keras.Model:
    """A layer that carries Python bytecode, whose file name is not that of the machine it was made on."""
    keras.utils.set_random_seed(2)

    def double(x):
        return x * 2

    double.__code__ = double.__code__.replace(co_filename="make.py")
    double.__name__ = "<lambda>"
    return keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(3), keras.layers.Lambda(double), keras.layers.Dense(2)]
    )


def lite(model: keras.Model, *, quantised: bool = False) -> bytes:
    """The model as TFLite."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantised:
        shape = model.input_shape[1:]
        rng = np.random.default_rng(0)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([rng.random((1, *shape), dtype=np.float32)] for _ in range(8))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


def saved(model: keras.Model, name: str) -> None:
    """The model as a SavedModel folder."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.export(folder, verbose=False)


def main() -> None:
    """All files, anew."""
    digits().save(HERE / "digits.keras")
    digits().save(HERE / "digits.h5")
    digits().save_weights(HERE / "digits.weights.h5")
    line().save(HERE / "line.keras")
    with_lambda().save(HERE / "lambda.keras")
    with_lambda().save(HERE / "lambda.h5")
    (HERE / "digits.tflite").write_bytes(lite(digits()))
    (HERE / "digits_int8.tflite").write_bytes(lite(digits(), quantised=True))
    (HERE / "line.tflite").write_bytes(lite(line()))
    saved(digits(), "digits_saved")


def metadata() -> None:
    """The TFLite model again, with metadata that says that it reads grey images."""
    import flatbuffers
    from tflite_support import metadata as populate
    from tflite_support import metadata_schema_py_generated as schema

    image = schema.TensorMetadataT()
    image.name = "image"
    image.content = schema.ContentT()
    image.content.contentPropertiesType = schema.ContentProperties.ImageProperties
    image.content.contentProperties = schema.ImagePropertiesT()
    image.content.contentProperties.colorSpace = schema.ColorSpaceType.GRAYSCALE
    graph = schema.SubGraphMetadataT()
    graph.inputTensorMetadata, graph.outputTensorMetadata = [image], [schema.TensorMetadataT()]
    model = schema.ModelMetadataT()
    model.name, model.license, model.subgraphMetadata = "digits", "Apache-2.0", [graph]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), populate.MetadataPopulator.METADATA_FILE_IDENTIFIER)
    populator = populate.MetadataPopulator.with_model_buffer((HERE / "digits.tflite").read_bytes())
    populator.load_metadata_buffer(bytes(builder.Output()))
    populator.populate()
    (HERE / "digits_metadata.tflite").write_bytes(populator.get_model_buffer())


if __name__ == "__main__":
    metadata() if sys.argv[1:] == ["metadata"] else main()
