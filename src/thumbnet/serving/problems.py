"""The error of a refused request."""


class RequestError(Exception):
    """A request cannot be answered; the message is one sentence for the client.

    Attributes:
        status: the HTTP status code.
        retry_after: seconds after which to try again; None if trying again cannot help.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(status, message, retry_after)  # the arguments that unpickling passes
        self.message = message
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message
