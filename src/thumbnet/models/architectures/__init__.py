"""One architecture per file, found by file name; `thumbnet.models` describes its contents."""
