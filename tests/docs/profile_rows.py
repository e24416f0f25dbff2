"""The table of a platform's page that says what its profile does: made from the profile, so that no page says another.

`python -m tests.docs.profile_rows` writes it into every page.
"""

import re

from protocol.profiles import BUILT_IN
from protocol.settings_profiles import Profile
from protocol.settings_types import EdgeSettings, TurnSettings
from tests.docs.pages import ROOT

FOLDER = ROOT / "docs" / "platforms"
TABLE = re.compile(r"\| profile `(\w+)` \| \|\n(?:\|.*\n)+")
ENDINGS = {"error": "an error event", "finish": "`turn.finish_text` is said", "continue": "it goes on where it was cut"}
FAILURES = {
    "status": "an HTTP status, which says whether to ask again",
    "error": "an error event",
    "say": "the sentence",
}
EMPTY = {
    "error": "a failure as any other",
    "say": "the sentence",
    "silence": "`skip_turn` where it is offered, else a space",
}


def table(name: str) -> str:
    """Of one profile."""
    profile = BUILT_IN[name]
    rows = {
        "while no content comes": _guard(profile),
        "the first content is awaited for": _seconds(profile.budget_s, "turn.budget_s", TurnSettings().budget_s),
        "status line": f"at the latest after {_seconds(profile.headers_after_s, *_edge('headers_after_s'))}",
        "comments while it is silent": _pings(profile),
        "an answer that is cut": ENDINGS[profile.on_lost or TurnSettings().on_lost],
        "a failure before the status line": FAILURES[profile.early_failure],
        "a failure afterwards": FAILURES[profile.late_failure],
        "an answer with nothing in it, twice": EMPTY[profile.on_empty],
        "tool calls, leaked markup": "checked, cleaned"
        if profile.check_tools and profile.clean_markup
        else "as they are",
    }
    lines = [f"| profile `{name}` | |", "| --- | --- |", *(f"| {what} | {told} |" for what, told in rows.items())]
    return "\n".join(lines) + "\n"


def _guard(profile: Profile) -> str:
    if not profile.guard:
        return "nothing is said"
    said = ", then ".join(f"a {one}" for one in profile.guard)
    flush = " with `<flush />`" if profile.flush else ""
    most = f"at most {profile.fillers_per_turn} fillers in a turn, {profile.fillers_per_call} in a call"
    return f"{said}{flush}: the first after {profile.guard_s:g} s, the next every {profile.again_s:g} s; {most}"


def _pings(profile: Profile) -> str:
    if profile.ping_s == 0:
        return "none"
    return f"every {_seconds(profile.ping_s, *_edge('ping_s'))}"


def _edge(name: str) -> tuple[str, float]:
    return f"edge.{name}", getattr(EdgeSettings(), name)


def _seconds(own: float | None, setting: str, default: float) -> str:
    return f"{default:g} s, `{setting}`" if own is None else f"{own:g} s"


def written(text: str) -> str:
    """A page with its tables as they have to be."""
    return TABLE.sub(lambda found: table(found[1]), text)


def main() -> None:
    """Write them."""
    for page in FOLDER.glob("*.md"):
        page.write_text(written(page.read_text()))


if __name__ == "__main__":
    main()
