"""Hyperparameter search with Optuna: search space, trials as run directories, findings.

`space.py` reads what may vary, `search.py` runs the trials, `findings.py` summarises them.
"""
