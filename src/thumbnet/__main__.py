"""`python -m thumbnet`, the same as the command."""

from thumbnet.cli import main

main()
