"""The CNN of a typical tutorial, on TensorFlow as installed, for comparison with the recipes.

    .venv/bin/python benchmarks/peers/tutorial_cnn.py CIFAR10.npz --epochs 10 --seed 0

Conv 32, pool, Conv 64, pool, Dense 64; Adam, batch size 32, no augmentation. Prints one JSON object
per epoch: `epoch`, `seconds` of training so far, and `accuracy` on the test images. The test images
are read for the curve only, outside the measured time.
"""

import argparse
import json
import time

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="arrays train_images, train_labels, test_images, test_labels")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    import keras
    from keras import layers

    with np.load(arguments.data, allow_pickle=False) as data:
        train_images, test_images = (
            data[f"{part}_images"].astype(np.float32) / 255 for part in ("train", "test")
        )
        train_labels, test_labels = data["train_labels"], data["test_labels"]
    keras.utils.set_random_seed(arguments.seed)
    model = keras.Sequential(
        [
            keras.Input(train_images.shape[1:]),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    seconds = 0.0
    for epoch in range(1, arguments.epochs + 1):
        started = time.perf_counter()
        model.fit(train_images, train_labels, batch_size=32, epochs=1, verbose=0)
        seconds += time.perf_counter() - started
        answers = model.predict(test_images, batch_size=500, verbose=0).argmax(axis=1)
        accuracy = float((answers == test_labels).mean())
        print(json.dumps({"epoch": epoch, "seconds": seconds, "accuracy": accuracy}), flush=True)


if __name__ == "__main__":
    main()
