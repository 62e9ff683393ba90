"""The exception root of the dns64 package, and what wire code raises."""


class Dns64Error(Exception):
    """Something the operator must know: ``str(error)`` says what and where, ``hint`` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class MalformedError(Dns64Error):
    """Bytes that are no DNS message (RFC 1035 section 4.1), or not one that may be sent."""
