"""What is wrong with a command line, as one sentence: click's own words, which take four lines there."""

import click


def sentence(error: click.ClickException) -> str:
    """What click found, and the cure: what was meant, where it can be guessed, else where the options are listed."""
    if isinstance(error, click.UsageError) and (guesses := getattr(error, "possibilities", None)):
        return f"{_clause(error.message)}; did you mean {' or '.join(guesses)}?"
    context = error.ctx if isinstance(error, click.UsageError) else None
    cure = f"see `{context.command_path} --help`" if context else "--help says which options there are"
    return f"{_clause(error.format_message())}; {cure}"


def _clause(words: str) -> str:
    """The same without capital, full stop and line breaks."""
    line = " ".join(words.split()).removesuffix(".")
    return line[:1].lower() + line[1:]
