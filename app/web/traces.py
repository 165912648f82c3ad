"""What went wrong and where, without values: an exception's message may quote an address, a key or a row."""

import traceback


def trace_of(error: BaseException) -> list[str]:
    """Names of the exception and its causes, outermost first, each with the places it passed, innermost last."""
    lines: list[str] = []
    link: BaseException | None = error
    while link is not None and len(lines) < 10:
        frames = traceback.extract_tb(link.__traceback__)
        places = [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]
        lines.append(f"{type(link).__name__}: {' > '.join(places[-6:])}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return lines


def _short(filename: str) -> str:
    """The last three parts of a path: enough to find the file."""
    return "/".join(filename.split("/")[-3:])
