"""The signature of a webhook: what holds, what does not, and that nothing shows a secret."""

import hmac
import time
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge import signature
from edge.signature import Secrets, secrets_of
from protocol.errors import InvalidSignature
from protocol.settings_profiles import HooksSettings
from protocol.settings_source import SettingsError

BODY = b'{"type": "post_call_transcription", "data": {"conversation_id": "conv_1"}}'
SECRET, NEW, OTHERS = "wsec_1f", "wsec_2e", "wsec_of_somebody_else"
NOW, WINDOW_S = 1_790_000_000.0, 1800.0
T = int(NOW)


def v0(secret: str, at: int | str = T, body: bytes = BODY) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()


def holds(header: str, body: bytes = BODY, *secrets: str) -> bool:
    proof = Secrets(secrets or (SECRET,)).proof(header, now=NOW, window_s=WINDOW_S)
    proof.add(body)
    return proof.holds()


GOOD = f"t={T},v0={v0(SECRET)}"
HOLDS = {
    "as it should be": GOOD,
    "its parts the other way round": f"v0={v0(SECRET)},t={T}",
    "with spaces": f" t={T} , v0={v0(SECRET)} ",
    "in upper case": f"t={T},v0={v0(SECRET).upper()}",
    "the platform changes its secret": f"t={T},v0={v0(NEW)},v0={v0(SECRET)}",
    "a scheme that is not known beside it": f"t={T},v1=abc,v0={v0(SECRET)}",
    "as old as allowed": f"t={T - 1800},v0={v0(SECRET, T - 1800)}",
    "a clock that is ahead": f"t={T + 1800},v0={v0(SECRET, T + 1800)}",
    "its moment is signed as it is written": f"t=0{T},v0={v0(SECRET, f'0{T}')}",
}
FAILS = {
    "somebody else's secret": f"t={T},v0={v0(OTHERS)}",
    "another moment than is signed": f"t={T - 1},v0={v0(SECRET)}",
    "no secret of ours among several": f"t={T},v0={v0(NEW)},v0={v0(OTHERS)}",
}
REFUSED = {
    "none": ("", "no signature came"),
    "blank": ("  ", "no signature came"),
    "stale": (f"t={T - 1801},v0={v0(SECRET, T - 1801)}", "too old: 1801 s"),
    "from the future": (f"t={T + 1801},v0={v0(SECRET, T + 1801)}", "too far in the future"),
    "no moment": (f"v0={v0(SECRET)}", "does not say once when"),
    "two moments": (f"t={T},t={T},v0={v0(SECRET)}", "does not say once when"),
    "the header came twice": (f"{GOOD},{GOOD}", "does not say once when"),
    "a moment that is no number": (f"t=now,v0={v0(SECRET)}", "does not say once when"),
    "a moment before 1970": (f"t=-{T},v0={v0(SECRET)}", "does not say once when"),
    "a moment of many digits": (f"t={'9' * 400},v0={v0(SECRET)}", "does not say once when"),
    "digits of another script": (f"t=१७९,v0={v0(SECRET)}", "does not say once when"),
    "no v0": (f"t={T}", "no v0"),
    "a v0 that is cut": (f"t={T},v0={v0(SECRET)[:-1]}", "no v0"),
    "a v0 that is no hex": (f"t={T},v0={'g' * 64}", "no v0"),
    "a v0 with spaces in it": (f"t={T},v0={v0(SECRET)[:62]}  ", "no v0"),
    "too many": (f"t={T}" + f",v0={v0(SECRET)}" * 9, "no v0"),
    "words": ("Bearer abc", "does not say once when"),
}


@pytest.mark.parametrize("name", HOLDS)
def test_a_signature_of_ours_holds(name: str) -> None:
    assert holds(HOLDS[name])


@pytest.mark.parametrize("name", FAILS)
def test_a_signature_that_is_not_ours_does_not_hold(name: str) -> None:
    assert not holds(FAILS[name])


@pytest.mark.parametrize("name", REFUSED)
def test_a_header_that_is_no_use_is_refused_before_any_body_is_read(name: str) -> None:
    header, why = REFUSED[name]

    with pytest.raises(InvalidSignature, match=why) as refused:
        Secrets([SECRET]).proof(header, now=NOW, window_s=WINDOW_S)

    assert SECRET not in str(refused.value)


def test_while_we_change_our_secret_either_holds() -> None:
    assert holds(GOOD, BODY, NEW, SECRET)
    assert holds(f"t={T},v0={v0(NEW)}", BODY, NEW, SECRET)
    assert not holds(f"t={T},v0={v0(OTHERS)}", BODY, NEW, SECRET)


@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_a_body_in_which_one_bit_is_another_is_not_what_was_signed(at: int, bit: int) -> None:
    changed = bytearray(BODY)
    changed[at] ^= 1 << bit

    assert not holds(GOOD, bytes(changed))


@pytest.mark.parametrize("body", [b"", BODY[:-1], BODY + b"\n", BODY + BODY])
def test_a_body_that_is_shorter_or_longer_is_not_what_was_signed(body: bytes) -> None:
    assert not holds(GOOD, body)


@given(cuts=st.lists(st.integers(0, len(BODY)), max_size=5).map(sorted))
def test_a_body_may_come_in_any_parts(cuts: list[int]) -> None:
    proof = Secrets([SECRET]).proof(GOOD, now=NOW, window_s=WINDOW_S)

    for start, end in zip([0, *cuts], [*cuts, len(BODY)], strict=True):
        proof.add(BODY[start:end])

    assert proof.holds()


@given(st.text(st.characters(codec="latin-1")) | st.from_regex(r"(t=\d*|v0=[0-9a-f]{60,66}|[a-z0-9]+=.*)(,.*)*"))
@example("t=1,v0=" + "ß" * 64)
def test_whatever_stands_in_the_header_is_read_or_refused(header: str) -> None:
    """Never another exception, and never a signature that says less than it must."""
    try:
        read = signature.read(header)
    except InvalidSignature:
        return
    assert read.at.isascii()
    assert read.at.isdigit()
    assert all(len(digest) == 32 for digest in read.digests)
    assert read.digests


def test_the_vendor_s_own_arithmetic_holds() -> None:
    """Written out once more, as a sender does it."""
    at = int(time.time())
    signed = hmac.new(b"wsec", f"{at}.".encode() + b"{}", sha256).hexdigest()

    proof = Secrets(["wsec"]).proof(f"t={at},v0={signed}", now=time.time(), window_s=60)
    proof.add(b"{}")

    assert proof.holds()


# --- where the secrets come from -------------------------------------------------------------------

NAMED = HooksSettings(elevenlabs_secret_env="ELEVENLABS_WEBHOOK_SECRET")


def test_without_the_setting_there_is_no_webhook() -> None:
    assert secrets_of(HooksSettings(), {"ELEVENLABS_WEBHOOK_SECRET": SECRET}) is None


@pytest.mark.parametrize("said", [{}, {"ELEVENLABS_WEBHOOK_SECRET": ""}, {"ELEVENLABS_WEBHOOK_SECRET": " , "}])
def test_a_variable_that_is_not_set_stops_the_start_with_the_cure(said: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"ELEVENLABS_WEBHOOK_SECRET, which is not set; export ELEVENLABS_WEBHOOK"):
        secrets_of(NAMED, said)


def test_several_secrets_have_commas_between_them() -> None:
    secrets = secrets_of(NAMED, {"ELEVENLABS_WEBHOOK_SECRET": f"{NEW}, {SECRET},"})

    assert secrets is not None
    proof = secrets.proof(GOOD, now=NOW, window_s=WINDOW_S)
    proof.add(BODY)
    assert proof.holds()


def test_a_secret_may_hold_bytes_that_are_no_text() -> None:
    """As an environment brings them."""
    secrets = secrets_of(NAMED, {"ELEVENLABS_WEBHOOK_SECRET": b"ws\xffec".decode(errors="surrogateescape")})

    assert secrets is not None
    signed_with_it = hmac.new(b"ws\xffec", f"{T}.".encode() + BODY, sha256).hexdigest()
    proof = secrets.proof(f"t={T},v0={signed_with_it}", now=NOW, window_s=WINDOW_S)
    proof.add(BODY)
    assert proof.holds()


def test_nothing_shows_a_secret() -> None:
    secrets = Secrets([SECRET])
    proof = secrets.proof(GOOD, now=NOW, window_s=WINDOW_S)

    assert SECRET not in f"{secrets!r} {secrets} {proof!r} {proof}"
