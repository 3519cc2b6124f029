"""A failure of a command, in words for the person at the terminal."""

FAILED = 1
WRONG = 2


class Trouble(Exception):
    """What went wrong and, on the next line, what to do; `code` is the exit code."""

    def __init__(self, problem: str, remedy: str = "", code: int = FAILED) -> None:
        super().__init__(f"{problem}\n{remedy}" if remedy else problem)
        self.code = code
