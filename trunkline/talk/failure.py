"""What a talk may come to instead of an answer."""

START = "start one with `trunkline up`, or name one that runs with --url"


class Failure(Exception):
    """One readable sentence with the cure; never a key, never a traceback.

    `status`: of the HTTP response, where there was one; `exit_code` counts where this is the end.
    """

    def __init__(self, sentence: str, *, status: int | None = None, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.status = status
        self.exit_code = exit_code
