"""[profiles.…], [tenants.…] and [tools.…]: read and completed, or one sentence with the place and the cure."""

import pytest

from protocol.profiles import BUILT_IN, FILLERS, OPENAI, SENTENCES, VOICE
from protocol.settings import Settings, SettingsError, parse
from protocol.settings_profiles import Gate, Profile, Tenant
from protocol.settings_voice import strangers

MODEL = '[models.m]\ntargets = ["t"]\n[targets.t]\nmodel = "x"\nbase_url = "https://models.example/v1"\n'

# file -> what the sentence must say
REFUSED: dict[str, tuple[str, list[str]]] = {
    "an unknown key": ("[profiles.desk]\nguards = []", ["line 2", "[profiles.desk]", "did you mean guard_s?"]),
    "another word of the guard": ("[profiles.desk]\nguard = ['hum']", ["line 2", '"space" or "filler"']),
    "an unknown base": (
        "[profiles.desk]\nbase = 'livekitt'",
        ["line 2", "[profiles.desk] base: there is no profile 'livekitt'", "did you mean livekit?", "known: "],
    ),
    "a base that is itself": (
        "[profiles.desk]\nbase = 'desk'",
        ["line 2", "leads back to desk itself", "built-in profile: openai, elevenlabs"],
    ),
    "bases in a circle": (
        "[profiles.a]\nbase = 'b'\n[profiles.b]\nbase = 'c'\n[profiles.c]\nbase = 'a'",
        ["line 2", "[profiles.a] base leads back to a itself"],
    ),
    "the plain one": ("[profiles.openai]\nping_s = 1", ["line 1", "stays as it is", 'with base = "openai"']),
    "a name that is a part of paths": ("[profiles.models]\n", ["line 1", "none of chat, models, responses, v1"]),
    "a name with a slash": ("[profiles.'a/b']\n", ["line 1", "made of a-z, 0-9, _ and -"]),
    "a language that is none": ("[profiles.desk]\nlanguage = 'English'", ["line 2", "a language such as en"]),
    "fillers that are one string": ("[profiles.desk]\nfillers.en = 'One moment'", ["line 2", "lists of sentences"]),
    "fillers of no language": (
        "[profiles.desk.fillers]\nEnglish = ['One moment']",
        ["line 2: [profiles.desk.fillers] English: 'English' is no language; fillers stand by language"],
    ),
    "a blank filler among others": (
        "[profiles.vapi]\nfillers.en = ['One moment', ' ']",
        ["line 2: [profiles.vapi.fillers] en has a blank text", "take it out"],
    ),
    "a blank sentence": ("[profiles.vapi]\nsentences.de = ''", ["[profiles.vapi.sentences] de has a blank text"]),
    "what its base says": (
        "[profiles.desk]\nbase = 'elevenlabs'\n[profiles.elevenlabs]\nguard_s = 30",
        ["line 4: [profiles.elevenlabs] guard_s: profile elevenlabs guard_s is 30"],
    ),
    "what its base says, where it says something else itself": (
        "[profiles.elevenlabs]\nbudget_s = 20\nguard_s = 10\n[profiles.desk]\nbase = 'elevenlabs'\nbudget_s = 9",
        ["line 6: [profiles.desk] budget_s: profile desk guard_s is 10 and budget_s 9"],
    ),
    "a filler with dots": (
        "[profiles.desk]\nbase = 'vapi'\nfillers.en = ['One moment...']",
        ["line 3", "profile desk fillers.en has 'One moment...'", "write the words alone"],
    ),
    "a filler with Vapi's mark": ("[profiles.vapi]\nfillers.en = ['So <flush />']", ["line 2", "marks"]),
    "a guard without fillers": (
        "[profiles.desk]\n\nguard = ['space', 'filler']",
        ["line 3", "[profiles.desk] guard: profile desk", "fillers.en is empty", "add some"],
    ),
    "a language without fillers": (
        "[profiles.desk]\nbase = 'vapi'\nlanguage = 'sv'",
        ["line 3", "language", "fillers.sv is empty"],
    ),
    "fillers that are taken away": (
        "[profiles.desk]\nbase = 'vapi'\nfillers.en = []",
        ["line 3: [profiles.desk] fillers: profile desk has filler in its guard", "fillers.en is empty"],
    ),
    "no filler per turn": ("[profiles.vapi]\nfillers_per_turn = 0", ["line 2", "fillers_per_turn is 0", "raise it"]),
    "a sentence that there is not": (
        "[profiles.desk]\nlate_failure = 'say'",
        ["line 2", 'late_failure = "say"', "no sentences.en", "add one"],
    ),
    "an empty answer's sentence that there is not": (
        "[profiles.desk]\non_empty = 'say'",
        ["line 2", 'on_empty = "say"'],
    ),
    "a guard after the budget": (
        "[profiles.vapi]\nguard_s = 15",
        ["line 2", "guard_s is 15 and budget_s 15", "never speaks", "lower guard_s or raise budget_s"],
    ),
    "a guard after the turn's budget": (
        "[turn]\nbudget_s = 2\n[profiles.desk]\nbase = 'elevenlabs'",
        ["line 3: [profiles.desk] guard_s is 3 and the turn's budget_s 2", "lower guard_s"],
    ),
    "a budget after the end": (
        "[turn]\ntotal_s = 10\n[profiles.desk]\nbase = 'vapi'\nbudget_s = 12",
        ["line 5", "budget_s is 12 and the turn's total_s 10", "raise turn.total_s"],
    ),
    "a guard that would not stop": ("[profiles.vapi]\nagain_s = 0.001", ["line 2", "again_s", "0.1 to 86400"]),
    "a guard at once": ("[profiles.vapi]\nguard_s = 0.05", ["line 2", "guard_s", "0.1 to 86400"]),
    "an unknown profile of a tenant": (
        "[tenants.acme]\nprofile = 'elevenlab'",
        ["line 2", "[tenants.acme] profile: there is no profile 'elevenlab'", "did you mean elevenlabs?"],
    ),
    "an unknown profile of a model": (
        MODEL.replace("targets =", "profile = 'vappi'\ntargets ="),
        ["line 2", "[models.m] profile", "did you mean vapi?"],
    ),
    "a language of a model that is none": (
        MODEL.replace("targets =", "language = 'german'\ntargets ="),
        ["line 2", "[models.m] language is 'german'", "a language such as en"],
    ),
    "a tenant that can be no key's name": ("[tenants.'a b']\n", ["line 1", "the name of an API key"]),
    "an unknown key of a tenant": ("[tenants.a]\nprofil = 'vapi'", ["line 2", "did you mean profile?"]),
    "an unknown key of a tool": ("[tools.end_call]\nonce_per = 'call'", ["line 2", "did you mean once?"]),
    "another word of once": ("[tools.end_call]\nonce = 'day'", ["line 2", '"call" or "turn" or "off"']),
    "an argument that may have no value": (
        "[tools.transfer_to_number.allowed]\ntransfer_number = []",
        ["[tools.transfer_to_number] allowed", "no value for transfer_number", "name some"],
    ),
    "a value that is no text": ("[tools.t]\nallowed.agent_number = [1]", ["line 2", "lists of the values"]),
    "a tool after itself": ("[tools.a]\nafter = ['a']", ["line 2", "leads back to a itself"]),
    "tools that wait for each other": (
        "[tools.a]\nafter = ['b']\n[tools.b]\nafter = ['x', 'a']",
        ["line 2", "could never be called"],
    ),
    "a variable for a profile": ("", ["TRUNKLINE_PROFILES__DESK__GUARD_S"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_with_its_place_and_the_cure(case: str) -> None:
    text, said = REFUSED[case]
    environ = {} if text else {said[0]: "1"}

    with pytest.raises(SettingsError) as refusal:
        parse(text, environ)

    message = str(refusal.value)
    assert [part for part in said if part not in message] == [], message
    assert "\n" not in message


def test_without_a_table_there_are_the_built_in_profiles() -> None:
    assert parse("", {}).profiles == BUILT_IN == Settings().profiles


def test_a_profile_is_its_base_but_for_what_it_says() -> None:
    profile = parse("[profiles.desk]\nbase = 'vapi'\nguard_s = 6", {}).profiles["desk"]

    assert profile.guard_s == 6
    assert (profile.base, profile.flush, profile.budget_s) == ("vapi", True, BUILT_IN["vapi"].budget_s)


def test_a_built_in_profile_is_changed_in_place() -> None:
    profiles = parse("[profiles.elevenlabs]\nguard_s = 2.5\n[profiles.desk]\nbase = 'elevenlabs'", {}).profiles

    assert (profiles["elevenlabs"].guard_s, profiles["elevenlabs"].guard) == (2.5, ("space", "filler"))
    assert profiles["desk"].guard_s == 2.5
    assert profiles["vapi"] == BUILT_IN["vapi"]


def test_a_built_in_profile_may_name_itself_or_another_as_its_base() -> None:
    assert parse("[profiles.fish]\nbase = 'fish'", {}).profiles["fish"].guard_s == BUILT_IN["fish"].guard_s
    assert parse("[profiles.fish]\nbase = 'livekit'", {}).profiles["fish"].guard == ()


def test_bases_may_stand_in_any_order() -> None:
    text = "[profiles.a]\nbase = 'b'\n[profiles.b]\nbase = 'vapi'\nagain_s = 9\n"

    assert parse(text, {}).profiles["a"].again_s == 9


def test_without_a_base_a_profile_begins_plain() -> None:
    profile = parse("[profiles.desk]\nguard = ['space']", {}).profiles["desk"]

    assert profile == Profile(guard=("space",))
    assert profile.late_failure == OPENAI.late_failure


def test_fillers_and_sentences_are_joined_by_language() -> None:
    text = "[profiles.vapi.fillers]\nen = ['Right away']\nsv = ['Ett ögonblick']\n[profiles.vapi.sentences]\nsv = 'Va?'"
    profile = parse(text, {}).profiles["vapi"]

    assert profile.fillers == {**FILLERS, "en": ("Right away",), "sv": ("Ett ögonblick",)}
    assert profile.sentences == {**SENTENCES, "sv": "Va?"}


def test_a_language_may_be_any_regions_of_one_that_there_is() -> None:
    assert parse("[profiles.vapi]\nlanguage = 'pt-BR'", {}).profiles["vapi"].language == "pt-BR"


def test_a_budget_that_no_built_in_profile_fits_into_stops_nobody() -> None:
    """They are there whether anybody uses them or not."""
    settings = parse("[turn]\nbudget_s = 1\ntotal_s = 2", {})

    assert settings.profiles == BUILT_IN


def test_tenants_and_tools_are_read() -> None:
    settings = parse(
        "[tenants.acme]\nprofile = 'vapi'\n[tools.end_call]\nnot_before_turn = 2\nafter = ['lookup']\n"
        "[tools.transfer_to_number.allowed]\ntransfer_number = ['+15550100']\n",
        {},
    )

    assert settings.tenants == {"acme": Tenant(profile="vapi")}
    assert settings.tools["end_call"] == Gate(not_before_turn=2, after=("lookup",))
    assert settings.tools["transfer_to_number"].allowed == {"transfer_number": ("+15550100",)}


@pytest.mark.parametrize(
    ("keys", "tenant", "said"),
    [
        ("acme:s1,shop:s2", "acme", []),
        ("acme:s1,shop:s2", "acmee", ["[tenants.acmee] holds for nobody", "did you mean acme?"]),
        ("acme:s1", "default", ["TRUNKLINE_API_KEYS has no such key", "known: acme"]),
        ("", "default", []),
        ("", "acme", ["without keys all are default"]),
    ],
)
def test_a_tenant_that_is_no_keys_is_told_of(keys: str, tenant: str, said: list[str]) -> None:
    """It stops no start: a worker, or a machine that only checks, has no keys."""
    told = strangers(parse(f"[tenants.{tenant}]\nprofile = 'vapi'", {"TRUNKLINE_API_KEYS": keys}))

    assert len(told) == bool(said)
    assert [part for part in said if part not in told[0]] == []


@pytest.mark.parametrize(
    "more", ["[tools.end_call]\nonce = 'off'", "[profiles.vapi]\nguard_s = 6", "[tenants.acme]\nprofile = 'vapi'"]
)
def test_the_hash_shows_a_process_that_has_missed_a_change_of_profiles_or_tools(more: str) -> None:
    assert parse(MODEL + more, {}).digest() != parse(MODEL, {}).digest()


def test_voice_profiles_speak_and_the_plain_one_does_not() -> None:
    assert Profile() == OPENAI
    assert {name for name, profile in BUILT_IN.items() if profile.late_failure == "error"} == {"openai"}
    assert VOICE.fillers.keys() == VOICE.sentences.keys()
