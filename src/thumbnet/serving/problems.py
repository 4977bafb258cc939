"""What a request is refused with."""


class RequestError(Exception):
    """A request cannot be answered; the message is one sentence for whoever sent it.

    Attributes:
        status: the HTTP status code.
        retry_after: seconds after which another try makes sense; None if it never does.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(status, message, retry_after)  # what pickle makes it again from
        self.message = message
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message
