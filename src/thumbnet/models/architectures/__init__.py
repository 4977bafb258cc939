"""One architecture a file, found by its name; `thumbnet.models` says what a file must hold."""
