"""A tutorial's network for a folder of pictures, trained for as long as it is given.

    python benchmarks/peers/tutorial_own_pictures.py FOLDER SECONDS SEED

As TensorFlow's tutorial on image classification has it: 180×180 pixels, three convolutions with
pooling, augmentation and dropout, Adam, batches of 32. Prints one line of JSON.
"""

import json
import sys
import time
from typing import Any

import keras
import numpy as np
from sklearn.metrics import f1_score

from thumbnet.data.load import load


class Until(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends training once the time is spent."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end = time.monotonic() + seconds

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.model.stop_training = time.monotonic() > self._end


def main(folder: str, seconds: float, seed: int) -> None:
    keras.utils.set_random_seed(seed)
    dataset = load(folder, image_size=180)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.1),
            layers.RandomZoom(0.1),
            layers.Rescaling(1 / 255),
            *(
                layer
                for width in (16, 32, 64)
                for layer in (
                    layers.Conv2D(width, 3, padding="same", activation="relu"),
                    layers.MaxPooling2D(),
                )
            ),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(len(dataset.class_names)),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    started = time.monotonic()
    images, labels = np.asarray(dataset.train.images[:]), dataset.train.labels
    model.fit(images, labels, epochs=10_000, callbacks=[Until(seconds)], verbose=0)
    taken = time.monotonic() - started
    test = np.asarray(dataset.test.images[:])
    answers = model.predict(test, verbose=0).argmax(axis=1)
    row = {
        "accuracy": float((answers == dataset.test.labels).mean()),
        "macro_f1": float(f1_score(dataset.test.labels, answers, average="macro")),
        "test_images": len(test),
        "seconds": taken,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
