"""What the edge has said is taken out of histories; what a model said stays, to the letter."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.guard import wording
from edge.spoken import SPOKEN_REMOVED, Spoken, without_spoken
from protocol.messages import ImagePart, Message, PastCall, TextPart, Thought, text_of
from protocol.profiles import BUILT_IN
from protocol.settings_profiles import Profile

PROFILE = Profile(
    guard=("space", "filler"),
    fillers={"en": ("One moment", "Let me see…", "Okay."), "de": ("Einen Augenblick bitte",)},
    sentences={"en": "Sorry, could you say that again?", "de": "Wie bitte? Ich habe Sie nicht verstanden..."},
)
SPOKEN = Spoken(PROFILE)
SENTENCE = PROFILE.sentences["en"]

CASES = {
    "a filler before the words": ("One moment... It is five.", "It is five."),
    "several fillers": ("One moment... Let me see... Okay... It is five.", "It is five."),
    "a space and a filler": (" One moment... It is five.", "It is five."),
    "a space": (" It is five.", "It is five."),
    "a filler of another language": ("Einen Augenblick bitte... Es ist fünf.", "Es ist fünf."),
    "an ellipsis as one sign": ("One moment… It is five.", "It is five."),
    "white space of another kind": ("One\n moment...\n\nIt is five.", "It is five."),
    "Vapi's mark": ("One moment...<flush /> Let me see...<flush /> It is five.", "It is five."),
    "Vapi's mark, rewritten": ("One moment... <flush/> It is five.", "It is five."),
    "Vapi's mark, left out": ("One moment... It is five.", "It is five."),
    "a filler alone": ("One moment... ", None),
    "a filler alone, trimmed": ("One moment...", None),
    "a filler alone, without its ellipsis": ("One moment", None),
    "a space alone": (" ", None),
    "a filler that was cut": ("Let me s", None),
    "a filler that was cut, with a mark": ("Einen Augen...", None),
    "a filler that was cut behind another": ("One moment... Let me se…", None),
    "Vapi's mark that was cut": ("One moment...<flu", None),
    "a sentence alone": (SENTENCE, None),
    "a sentence behind a filler": (f"One moment... {SENTENCE}", None),
    "a sentence behind the words": (f"It is {SENTENCE}", "It is"),
    "a sentence without its sign": (f"It is {SENTENCE[:-1]}", "It is"),
    "a sentence with an ellipsis as one sign": ("Es ist Wie bitte? Ich habe Sie nicht verstanden…", "Es ist"),
    "all of it": (f" One moment... It is five and {SENTENCE}", "It is five and"),
}

MODELS_OWN = {
    "the words of a filler": "One moment please, I look it up.",
    "the words of a filler, on": "One moment. It is five.",
    "a filler further on": "It is five. One moment... there is more.",
    "the beginning of a filler that is short": "Let me",
    "one word that is a filler's": "Okay",
    "words that begin like a filler and go on": "Let me search for it.",
    "a sentence further up": f"{SENTENCE} I did not hear you.",
    "words that end like a sentence": "May you say that again?",
    "a word that ends like a sentence's last": "Born again.",
    "an ellipsis of its own": "Well... it is five.",
    "white space of its own": "\n\nIt is five.\n",
    "nothing": "",
}


def cleaned(text: str) -> object:
    messages, _ = without_spoken((Message("assistant", text),), SPOKEN)
    return messages[0].content


@pytest.mark.parametrize(("text", "left"), CASES.values(), ids=CASES)
def test_what_the_edge_has_said_is_taken_out(text: str, left: str | None) -> None:
    assert cleaned(text) == left


@pytest.mark.parametrize("text", MODELS_OWN.values(), ids=MODELS_OWN)
def test_what_the_model_has_said_stays(text: str) -> None:
    assert cleaned(text) == text


def test_a_history_without_it_is_the_very_same() -> None:
    history = (Message("system", "Be kind."), Message("user", "One moment..."), Message("assistant", "Yes?"))

    assert without_spoken(history, SPOKEN).messages is history
    assert without_spoken(history, SPOKEN).repairs == ()


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_only_the_assistants_messages_are_touched(role: str) -> None:
    history = (Message(role, "One moment... "), Message("tool", SENTENCE, tool_call_id="1"))  # type: ignore[arg-type]

    assert without_spoken(history, SPOKEN).messages is history


def test_the_repair_has_a_name() -> None:
    assert without_spoken((Message("assistant", "One moment... Yes."),), SPOKEN).repairs == (SPOKEN_REMOVED,)


def test_a_filler_before_a_call_leaves_the_call() -> None:
    call = PastCall("1", "lookup", "{}")

    messages, _ = without_spoken((Message("assistant", "One moment... ", tool_calls=(call,)),), SPOKEN)

    assert messages == (Message("assistant", None, tool_calls=(call,)),)


def test_what_the_model_thought_stays_with_its_words() -> None:
    thoughts = (Thought("rs_1", ("hm",), "gA"),)

    messages, _ = without_spoken((Message("assistant", "One moment... Yes.", thoughts=thoughts),), SPOKEN)

    assert messages == (Message("assistant", "Yes.", thoughts=thoughts),)


def test_parts_stay_parts() -> None:
    image = ImagePart("https://example.com/a.png")
    content = (TextPart("One mom"), TextPart("ent... It"), image, TextPart(" is five."))

    messages, _ = without_spoken((Message("assistant", content),), SPOKEN)

    assert messages[0].content == (TextPart("It"), image, TextPart(" is five."))


def test_a_profile_without_words_of_its_own_speaks_the_text_for_lost_answers() -> None:
    plain = Spoken(Profile(guard=("space",)), "Say it again, please.")

    assert without_spoken((Message("assistant", "It is Say it again, please."),), plain).messages[0].content == "It is"


# --- whatever is said ---------------------------------------------------------------------------------

letters = st.text("abcdefg ABCDEFGé,;!?-0123456789", max_size=60)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    words = st.lists(st.text("hijklmnop'", min_size=1, max_size=7), min_size=1, max_size=5).map(" ".join)
    return Profile(
        guard=("space", "filler"),
        fillers={"en": tuple(draw(st.lists(words, min_size=1, max_size=3)))},
        sentences={"en": draw(words) + draw(st.sampled_from(["?", ".", "", "..."]))},
        flush=draw(st.booleans()),
    )


@st.composite
def answers(draw: st.DrawFn) -> tuple[Profile, str, str]:
    """A profile, what the model said, and what went out. Its words are words, with none of the profile's letters."""
    profile = draw(profiles())
    own = draw(letters.filter(lambda text: not text.strip() or any(map(str.isalnum, text)))).strip()
    fillers = draw(st.lists(st.sampled_from(profile.fillers["en"]), max_size=3))
    space = draw(st.sampled_from(["", " "]))
    sentence = draw(st.sampled_from(["", profile.sentences["en"]]))
    before = space + "".join(wording(filler, flush=profile.flush) for filler in fillers)
    return profile, own, f"{before}{own}{' ' if own and sentence else ''}{sentence}"


def as_platforms_send(text: str) -> Iterator[str]:
    yield text
    yield text.strip()
    yield " ".join(text.split())
    yield text.replace("...", "…")
    yield text.strip().replace("...", "…")


@given(answers())
def test_whatever_the_edge_has_said_the_models_words_are_what_is_left(answer: tuple[Profile, str, str]) -> None:
    profile, own, out = answer

    for text in as_platforms_send(out):
        messages, _ = without_spoken((Message("assistant", text),), Spoken(profile))
        assert " ".join((text_of(messages[0])).split()) == " ".join(own.split())


@given(answers(), st.lists(st.integers(0, 200), max_size=4))
def test_wherever_the_text_is_split_into_parts(answer: tuple[Profile, str, str], at: list[int]) -> None:
    profile, own, out = answer
    cuts = [0, *sorted(min(one, len(out)) for one in at), len(out)]
    parts = tuple(TextPart(out[begin:end]) for begin, end in pairwise(cuts))

    messages, _ = without_spoken((Message("assistant", parts),), Spoken(profile))

    assert text_of(messages[0]).strip() == own


@given(answers(), st.integers(0, 200))
def test_wherever_the_platform_cuts_it_no_word_of_the_models_is_lost(answer: tuple[Profile, str, str], at: int) -> None:
    """Of a sentence of ours that was cut a part may stay; of what the model said nothing goes."""
    profile, own, out = answer
    text = out[:at]
    begin = out.find(own) if own else len(out)

    messages, _ = without_spoken((Message("assistant", text),), Spoken(profile))

    assert text_of(messages[0]).strip().startswith(text[begin : begin + len(own)].strip())


@given(profiles(), letters.filter(lambda text: text != " " and not text.isspace()))
def test_what_the_edge_never_said_stays_as_it_is(profile: Profile, own: str) -> None:
    text = own[1:] if own.startswith(" ") and not own.startswith("  ") else own
    history = (Message("assistant", text),)

    assert text.isspace() or without_spoken(history, Spoken(profile)).messages is history


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_profile_is_known_by_its_own_words(name: str) -> None:
    profile = BUILT_IN[name]
    spoken = Spoken(profile)

    for fillers in profile.fillers.values():
        for filler in fillers:
            text = f"{wording(filler, flush=profile.flush)}It is five."
            assert without_spoken((Message("assistant", text),), spoken).messages[0].content == "It is five."
    for sentence in profile.sentences.values():
        assert without_spoken((Message("assistant", sentence),), spoken).messages[0].content is None
