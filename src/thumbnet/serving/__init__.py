"""The HTTP service: models classify images over three protocols, and a page to try them.

`server.py` starts it, `app.py` assembles it. A request passes `gate.py` (limits, log, metrics) and
`guard.py` (who may send requests) on its way to a protocol (`v1.py`, `v2.py`, `forms.py`), which
reads the body within limits (`bodies.py`), looks up the model (`models.py`) and waits for its turn
in a batch (`batching.py`).
"""
