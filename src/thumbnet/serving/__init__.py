"""The HTTP service: runs answer images over three protocols, and a page shows what they see.

`server.py` starts it, `app.py` puts it together. A request goes through `gate.py` (who may ask,
what is logged) to a protocol (`v1.py`, `v2.py`, `pictures.py`), which takes its body within limits
(`bodies.py`), finds the model (`models.py`) and waits for its turn in a batch (`batching.py`).
"""
