"""What a request is refused with."""


class RequestError(Exception):
    """A request cannot be answered; the message is one sentence for whoever sent it.

    Attributes:
        status: the HTTP status code.
        retry_after: seconds after which it is worth another try; None where it never is.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
