"""What a service allows."""

from dataclasses import dataclass

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Settings:
    """The limits of a service.

    Attributes:
        batch_images: how many images are computed at a time, if so many wait.
        batch_seconds: how long the first image of a batch waits for others.
        queue_images: how many images may wait or be computed, of one model.
        request_seconds: how long a request may take once it was read.
        body_bytes: of a request.
        body_seconds: how long a request may take to arrive.
        pending_bytes: of all requests that are being read or answered.
        requests: how many may be under way.
        images: in a request.
        pixels: of a picture file, before it is decoded.
        reject_below: the probability under which an answer counts as none.
        token: what a request must carry as its bearer token; empty for no such thing.
        cors_origins: from which pages of other hosts a browser may ask.
    """

    batch_images: int = 128
    batch_seconds: float = 0.002
    queue_images: int = 2_048
    request_seconds: float = 30.0
    body_bytes: int = 16 * MEBIBYTE
    body_seconds: float = 15.0
    pending_bytes: int = 256 * MEBIBYTE
    requests: int = 1_000
    images: int = 1_024
    pixels: int = 16_000_000
    reject_below: float = 0.5
    token: str = ""
    cors_origins: tuple[str, ...] = ()
