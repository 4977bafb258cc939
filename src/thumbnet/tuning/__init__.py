"""Hyperparameter search: a recipe's space, trials that are run directories, what they showed.

`space.py` says what may vary, `study.py` tries it out with Optuna, `findings.py` sums it up.
"""
