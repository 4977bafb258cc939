"""What a service allows."""

from dataclasses import dataclass

KIBIBYTE, MEBIBYTE, MEGAPIXEL = 2**10, 2**20, 1_000_000


@dataclass(frozen=True)
class Settings:
    """The limits of a service.

    Attributes:
        batch_images: at most this many images are computed at a time.
        batch_seconds: how long the first image of a batch waits for others.
        queue_images: how many images may wait or be computed, for each model.
        request_seconds: how long an answer may take, counted from the end of the request.
        body_bytes: of a request.
        body_seconds: how long a request may take to arrive.
        header_bytes: of a request's head; also of everything else around its body.
        header_seconds: how long a head may take to arrive.
        pending_bytes: of all requests that are being read or answered.
        requests: how many may be in progress.
        connections: how many may be open.
        keep_alive_seconds: how long a connection stays open after an answer.
        stalled_seconds: how long a client may leave its answer unread.
        images: in a request.
        pixels: of a picture file, and of all that are being decoded at a time, as
            `thumbnet.data.images.open_picture` counts them.
        queue_pixels: of all picture files that wait or are being decoded.
        load_seconds: how long it may take to open a model.
        reject_below: the model abstains when its highest probability is below this.
        token: the bearer token that a request must carry; empty for none.
        cors_origins: the other origins whose pages may send requests.
        allowed_hosts: the names, without ports, by which the service is asked; empty for any.
        root_path: the path below which a proxy shows the service, such as "/thumbnet".
        grace_seconds: how long requests may go on after SIGTERM.
    """

    batch_images: int = 128
    batch_seconds: float = 0.002
    queue_images: int = 2_048
    request_seconds: float = 30.0
    body_bytes: int = 16 * MEBIBYTE
    body_seconds: float = 15.0
    header_bytes: int = 32_768
    header_seconds: float = 10.0
    pending_bytes: int = 128 * MEBIBYTE
    requests: int = 1_000
    connections: int = 2_000
    keep_alive_seconds: int = 75
    stalled_seconds: float = 30.0
    images: int = 1_024
    pixels: int = 16_000_000
    queue_pixels: int = 128_000_000
    load_seconds: float = 300.0
    reject_below: float = 0.5
    token: str = ""
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    root_path: str = ""
    grace_seconds: int = 60
