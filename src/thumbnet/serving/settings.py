"""The limits and access rules of a service."""

from dataclasses import dataclass

KIBIBYTE, MEBIBYTE, MEGAPIXEL = 2**10, 2**20, 1_000_000


@dataclass(frozen=True)
class Settings:
    """The limits and access rules of a service.

    Attributes:
        batch_images: images computed at a time.
        batch_seconds: how long the first image of a batch waits for others.
        queue_images: images waiting or in computation, for each model.
        request_seconds: time to answer, counted from the end of the request.
        body_bytes: size of a request's body.
        body_seconds: time for a request to arrive.
        header_bytes: size of a request's headers, and of everything else around its body.
        header_seconds: time for the headers to arrive.
        pending_bytes: size of all requests that are being read or answered.
        requests: requests in progress.
        connections: open connections.
        keep_alive_seconds: how long a connection stays open after a response.
        stalled_seconds: how long a client may leave its response unread.
        images: images in a request.
        pixels: pixels of an image file, and of all files that are being decoded at a time, as
            `thumbnet.data.images.open_picture` counts them.
        queue_pixels: pixels of all image files that are waiting or being decoded.
        load_seconds: time to open a model.
        reject_below: the model abstains when its highest probability is below this.
        token: the bearer token that a request must have; empty for none.
        cors_origins: the other origins whose pages may send requests.
        allowed_hosts: the accepted Host headers, without ports; empty for any.
        root_path: the path prefix under which a proxy publishes the service, such as "/thumbnet".
        grace_seconds: how long requests may run after SIGTERM.
    """

    batch_images: int = 128
    batch_seconds: float = 0.002
    queue_images: int = 2_048
    request_seconds: float = 30.0
    body_bytes: int = 16 * MEBIBYTE
    body_seconds: float = 15.0
    header_bytes: int = 32_768
    header_seconds: float = 10.0
    pending_bytes: int = 64 * MEBIBYTE
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
