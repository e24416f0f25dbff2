"""What `trunkline check` says of profiles: who chooses them, and what would surprise a caller."""

import pytest

from protocol.profiles import BUILT_IN
from protocol.settings import parse
from trunkline.check.findings import Finding
from trunkline.check.profiles import judge_profiles

MODEL = '[models.desk]\ntargets = ["t"]\n{more}\n[targets.t]\nmodel = "x"\nbase_url = "https://models.example/v1"\n'
KEYS = {"TRUNKLINE_API_KEYS": "acme:s3cret"}


def judged(text: str, environ: dict[str, str] | None = None) -> list[Finding]:
    findings = judge_profiles(parse(text, environ or {}))
    assert all(bool(finding.cure) == (finding.level != "ok") for finding in findings)
    return findings


def warnings(text: str, environ: dict[str, str] | None = None) -> list[tuple[str, str]]:
    return [(one.name, f"{one.text} → {one.cure}") for one in judged(text, environ) if one.level != "ok"]


def test_without_a_table_one_row_names_those_that_come_along() -> None:
    [row] = judged("")

    assert row.level == "ok"
    assert all(name in row.text for name in BUILT_IN)


def test_a_profile_shows_who_chooses_it_and_what_it_rests_on() -> None:
    text = (
        "[profiles.hotline]\nbase = 'elevenlabs'\n[profiles.vapi]\nguard_s = 6\n[profiles.spare]\n"
        "[tenants.acme]\nprofile = 'hotline'\n" + MODEL.format(more="profile = 'hotline'")
    )
    rows = {row.name: row.text for row in judged(text, KEYS)}

    assert rows["hotline"].startswith(
        "chosen by key acme, model desk (rests on elevenlabs); space, then filler after 3 s"
    )
    assert rows["vapi"].startswith("no key or model names it: by path, header or recognition; filler after 6 s")
    assert rows["spare"].startswith("no key or model names it: by path or header alone (rests on openai); says nothing")
    assert "vapi" not in rows["built in"]
    assert "s3cret" not in str(rows)


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        (
            "[profiles.elevenlabs]\nguard = []",
            {},
            [("elevenlabs", "its guard is off, and elevenlabs gives up after 4 s")],
        ),
        (
            "[profiles.hotline]\nbase = 'elevenlabs'\nguard_s = 4",
            {},
            [("hotline", "guard_s is 4, and elevenlabs gives up after 4 s")],
        ),
        (
            "[profiles.agent]\nbase = 'livekit'\nping_s = 0\nheaders_after_s = 10",
            {},
            [("agent", "headers_after_s lets 10 s go by"), ("agent", "ping_s lets 10 s go by")],
        ),
        (
            "[edge]\nping_s = 10\n[tenants.acme]\nprofile = 'livekit'",
            KEYS,
            [],  # it has its own
        ),
        (
            "[turn]\nbudget_s = 2\n[tenants.acme]\nprofile = 'telnyx'",
            KEYS,
            [("telnyx", "its guard speaks after 3 s, and the turn's budget of 2 s ends before")],
        ),
        (
            MODEL.format(more="profile = 'vapi'\nlanguage = 'sv'"),
            {},
            [
                ("vapi", "model desk speaks sv, and it has no fillers in that language → add profiles.vapi.fillers.sv"),
                ("vapi", "model desk speaks sv, and it has no sentences"),
            ],
        ),
        (MODEL.format(more="profile = 'vapi'\nlanguage = 'pt-BR'"), {}, []),
        (
            "[tenants.acne]\nprofile = 'vapi'",
            KEYS,
            [
                (
                    "tenants",
                    "[tenants.acne] holds for nobody, because TRUNKLINE_API_KEYS has no such key → did you mean acme?",
                )
            ],
        ),
        (
            "[profiles.fast]\nbudget_s = 1.5\n" + MODEL.format(more="profile = 'fast'").replace('"t"]', '"t", "t"]'),
            {},
            [
                (
                    "fast",
                    "budget_s is 1.5, so model desk has no time left for the target after t → lower targets.t.first",
                )
            ],
        ),
        ("[profiles.fast]\nbudget_s = 1\n" + MODEL.format(more="profile = 'fast'"), {}, []),  # there is no next one
        (
            "[tenants.acme]\nprofile = 'vapi'",
            {},
            [
                (
                    "tenants",
                    "[tenants.acme] holds for nobody while there are no API keys: then all are default → set TRUNKLINE",
                )
            ],
        ),
        ("[tenants.default]\nprofile = 'vapi'", {}, []),
        ("[profiles.desk]\nping_s = 1", {}, []),
    ],
)
def test_what_would_surprise_a_caller_is_a_warning(
    text: str, environ: dict[str, str], said: list[tuple[str, str]]
) -> None:
    found = warnings(text, environ)

    assert [name for name, _ in found] == [name for name, _ in said]
    assert all(text.startswith(start) for (_, text), (_, start) in zip(found, said, strict=True))


def test_a_name_misspelt_made_a_profile_that_is_mute() -> None:
    """`[profiles.elevenlab]` is a profile of one's own, on the plain one, and nothing of it is ever said."""
    text = "[profiles.elevenlab]\nguard_s = 1.5\nfillers.en = ['One moment']\nsentences.en = 'Again?'"

    [(name, said)] = warnings(text)

    assert name == "elevenlab"
    assert "rests on openai, which says nothing, so it has no use for guard_s, fillers, sentences" in said
    assert "did you mean elevenlabs?" in said
    assert warnings(text + "\nguard = ['space']\nlate_failure = 'say'") == []


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ("", "a profile with check_tools, which no key or model names"),
        ("[tenants.default]\nprofile = 'openai'", "a profile with check_tools, which no key or model names"),
        ("[tenants.default]\nprofile = 'vapi'", "vapi"),
    ],
)
def test_gates_for_whom_no_profile_was_chosen_say_where_calls_are_checked(more: str, where: str) -> None:
    [row] = [row for row in judged(f"[tools.end_call]\nonce = 'turn'\n{more}") if row.name == "tools"]

    assert row.text.startswith("calls of end_call are checked in every profile; calls of other tools in " + where)
