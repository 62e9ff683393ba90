"""The exception root of the bpf package."""


class BpfError(Exception):
    """Something about loading or driving the datapath failed.

    ``str(error)`` is one line that says what was wrong and where; ``hint`` says what to do.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
