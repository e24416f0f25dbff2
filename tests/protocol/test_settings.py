"""trunkline.toml and the environment become frozen settings, or one sentence with the place and the cure."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.settings import (
    BUILTIN_MODELS,
    Settings,
    SettingsError,
    check_exposure,
    load,
    missing_keys,
    parse,
)
from protocol.settings_source import value_of
from protocol.settings_values import Words

FRONT_DESK = """\
[models.front-desk]
targets = ["gpt"]

[targets.gpt]
base_url = "https://models.example/v1"
model = "gpt-4.1-mini"
api_key_env = "GPT_KEY"
"""

# (file, environment, what the sentence must say)
REFUSED: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "a syntax error": ("[edge]\nport = = 1", {}, ["trunkline.toml", "line 2"]),
    "an unknown table": ("[edgy]\nport = 1", {}, ["line 1", "'edgy'", "did you mean edge?", "worker"]),
    "an unknown key": (
        "[edge]\n\nprot = 1",
        {},
        ["line 3", "[edge]", "'prot'", "did you mean port?", "known: cors_origins, drain_s"],
    ),
    "an unknown key of a target": (
        FRONT_DESK + "api_key = 'x'",
        {},
        ["line 8", "[targets.gpt]", "did you mean api_key_env?"],
    ),
    "an unknown variable": ("", {"TRUNKLINE_EDGE__PROT": "1"}, ["environment", "did you mean TRUNKLINE_EDGE__PORT?"]),
    "a variable that a cluster defines": (
        "",
        {"TRUNKLINE_EDGE_PORT": "tcp://10.0.0.1:80"},
        ["did you mean TRUNKLINE_EDGE__PORT?"],
    ),
    "a variable for one model": ("", {"TRUNKLINE_MODELS__A__POOL": "b"}, ["'TRUNKLINE_MODELS__A__POOL'"]),
    "a wrong type": ("[edge]\nport = '80'", {}, ["line 2", "[edge] port is '80'", "whole number"]),
    "a truth value for a number": ("[turn]\nbudget_s = true", {}, ["line 2", "a number of seconds"]),
    "a port out of range": ("[edge]\nport = 65536", {}, ["line 2", "65535"]),
    "a port from the environment": ("", {"TRUNKLINE_EDGE__PORT": "web"}, ["TRUNKLINE_EDGE__PORT is 'web'", "65535"]),
    "no slots": ("[worker]\nslots = 0", {}, ["line 2", "at least 1"]),
    "no pools": ("[worker]\npools = []", {}, ["line 2", "at least one item", "a pool's name"]),
    "no pools in a variable": ("", {"TRUNKLINE_WORKER__POOLS": ","}, ["TRUNKLINE_WORKER__POOLS", "at least one item"]),
    "a pool twice": ("", {"TRUNKLINE_WORKER__POOLS": "a,b,a"}, ["TRUNKLINE_WORKER__POOLS", "twice"]),
    "a pool that is no subject": ("[worker]\npools = ['a.b']", {}, ["line 2", "a-z"]),
    "a prefix that is no token": ("[nats]\nprefix = 'a.>'", {}, ["line 2", "NATS token"]),
    "a duration of nothing": ("[turn]\ntotal_s = 0", {}, ["line 2", "more than 0"]),
    "a duration without end": ("[turn]\ntotal_s = inf", {}, ["line 2", "86400"]),
    "a duration that is no number": ("", {"TRUNKLINE_TURN__TOTAL_S": "nan"}, ["TRUNKLINE_TURN__TOTAL_S"]),
    "a budget beyond the whole turn": ("[turn]\ntotal_s = 5", {}, ["line 2", "budget_s is 8.0", "raise total_s"]),
    "another word than the known ones": (
        "[turn]\non_lost = 'cry'",
        {},
        ["line 2", '"error" or "finish" or "continue"'],
    ),
    "a header that is none": ("[edge]\nkey_headers = ['x key']", {}, ["line 2", "a header's name"]),
    "an origin with a path": (
        "[edge]\ncors_origins = ['https://app.example.com/']",
        {},
        ["line 2", "https://app.example.com", "no path"],
    ),
    "an origin that no browser sends": (
        "",
        {"TRUNKLINE_EDGE__CORS_ORIGINS": "https://App.example.com"},
        ["TRUNKLINE_EDGE__CORS_ORIGINS", "lower case"],
    ),
    "a table that is a value": ("edge = 3", {}, ["line 1", "write [edge]"]),
    "models that are a list": ("models = []", {}, ["line 1", "write [models]"]),
    "a model that is a value": ("[models]\na = 1", {}, ["line 2", "write [models.a]"]),
    "a model without a target": ("[models.a]\npool = 'default'", {}, ["line 1", "[models.a]", "targets = "]),
    "a model whose second target is nowhere": (
        FRONT_DESK.replace('"gpt"', '"gpt", "b"'),
        {},
        ["line 2", "'b'; known: gpt; or add [targets.b]"],
    ),
    "a model whose target is misspelt": (
        FRONT_DESK.replace('"gpt"', '"gtp"'),
        {},
        ["line 2", "did you mean gpt? known: gpt; or add [targets.gtp]"],
    ),
    "a model whose target is nowhere": (
        "[models.a]\ntargets = ['x.y']",
        {},
        ["line 2", "'x.y'; known: none; add [targets.\"x.y\"] with its base_url and model"],
    ),
    "a model's name with a space": (FRONT_DESK.replace("front-desk", "'front desk'"), {}, ["line 1", "letters"]),
    "a model called as a built-in one": (
        FRONT_DESK.replace("front-desk", "echo"),
        {},
        ["line 1", "[builtin]", "rename"],
    ),
    "a target without a base URL": ("[targets.a]\nmodel = 'm'", {}, ["line 1", "[targets.a] needs base_url"]),
    "a base URL of another kind": (FRONT_DESK.replace("https:", "ftp:"), {}, ["line 5", "http://"]),
    "an unknown dialect": (FRONT_DESK + "dialect = 'telepathy'", {}, ["line 8", '"chat-completions"']),
    "an unknown parameter that is refused": (FRONT_DESK + "refuses = ['temp']", {}, ["line 8", "refuses", '"top_p"']),
    "a breaker that is always open": ("[breaker]\nfailures = 0", {}, ["line 2", "[breaker] failures", "more than 0"]),
    "prices that are one number": (FRONT_DESK + "prices = 3", {}, ["line 8", "write [targets.gpt.prices]"]),
    "a price of one half": (FRONT_DESK + "[targets.gpt.prices]\ninput = 1", {}, ["line 8", "needs output = …"]),
    "a price that is text": (
        FRONT_DESK + "[targets.gpt.prices]\ninput = 1\noutput = '2'",
        {},
        ["line 10", "[targets.gpt.prices] output is '2'", "per million tokens"],
    ),
    "an unknown key of prices": (
        FRONT_DESK + "[targets.gpt.prices]\ninput = 1\noutput = 2\ncache = 1",
        {},
        ["line 11", "[targets.gpt.prices]", "did you mean cached?"],
    ),
    "a first content later than the end": (
        FRONT_DESK + "first_content_s = 7\ntotal_s = 5",
        {},
        ["line 8", "first_content_s is 7 and total_s 5", "raise total_s"],
    ),
    "a hedge after the target is given up": (
        FRONT_DESK + "hedge_after_s = 1.5",
        {},
        ["line 8", "hedge_after_s is 1.5 and first_content_s 1.5", "lower hedge_after_s"],
    ),
    "a target that leaves no time for the next": (
        FRONT_DESK.replace('"gpt"]', '"gpt", "gpt"]') + "first_content_s = 8",
        {},
        ["line 8", "[targets.gpt] first_content_s", "budget_s 8", "model front-desk", "lower first_content_s"],
    ),
    "a budget that leaves no time for the next target": (
        FRONT_DESK.replace('"gpt"]', '"gpt", "gpt"]') + "[turn]\nbudget_s = 1",
        {},
        ["line 9", "[turn] budget_s", "target gpt is 1.5", "raise budget_s"],
    ),
    "an upstream without a model": (
        "",
        {"TRUNKLINE_UPSTREAM__URL": "http://localhost:1/v1"},
        ["upstream.model is missing", "TRUNKLINE_UPSTREAM__MODEL"],
    ),
    "keys in the file": ("[api_keys]\na = 'b'", {}, ["line 1", "TRUNKLINE_API_KEYS"]),
    "a data directory that is a number": ("data_dir = 3", {}, ["line 1", "data_dir is 3"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_with_its_place_and_the_cure(case: str) -> None:
    text, environ, said = REFUSED[case]

    with pytest.raises(SettingsError) as refusal:
        parse(text, environ)

    message = str(refusal.value)
    assert [part for part in said if part not in message] == [], message
    assert "\n" not in message


def test_without_a_file_and_without_variables_there_is_a_working_line_on_one_machine() -> None:
    settings = parse(None, {"PATH": "/bin"})

    assert settings == Settings(models=settings.models)
    assert (settings.edge.host, settings.edge.port, settings.worker.pools) == ("127.0.0.1", 8080, ("default",))
    assert tuple(settings.models) == BUILTIN_MODELS
    assert all(model.pool == "default" and model.targets == () for model in settings.models.values())


def test_the_file_is_read_into_typed_tables() -> None:
    settings = parse("[edge]\nport = 0\nlame_s = 1\n" + FRONT_DESK, {})

    assert (settings.edge.port, settings.edge.lame_s) == (0, 1.0)
    assert settings.models["front-desk"].targets == ("gpt",)
    assert settings.targets["gpt"].api_key_env == "GPT_KEY"
    assert settings.targets["gpt"].first_content_s == 1.5


def test_a_model_may_have_several_targets_and_one_of_them_twice() -> None:
    settings = parse(
        FRONT_DESK.replace('"gpt"]', '"gpt", "spare", "gpt"]') + FRONT_DESK.split("\n\n")[1].replace("gpt]", "spare]"),
        {},
    )

    assert settings.models["front-desk"].targets == ("gpt", "spare", "gpt")


def test_a_single_target_may_take_as_long_as_the_turn() -> None:
    """Where no other is left, its `first_content_s` does not hold."""
    assert parse(FRONT_DESK + "first_content_s = 20", {}).targets["gpt"].first_content_s == 20


def test_prices_are_a_table_of_a_target() -> None:
    prices = parse(FRONT_DESK + "[targets.gpt.prices]\ninput = 1\noutput = 2.5", {}).targets["gpt"].prices

    assert prices is not None
    assert (prices.input, prices.output, prices.cached) == (1.0, 2.5, None)


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(AttributeError):
        parse(None, {}).edge.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variable", "said", "table", "key", "value"),
    [
        ("TRUNKLINE_EDGE__PORT", "81", "edge", "port", 81),
        ("TRUNKLINE_ADMIN__PORT", "0", "admin", "port", 0),
        ("TRUNKLINE_TURN__BUDGET_S", "1.5", "turn", "budget_s", 1.5),
        ("TRUNKLINE_BUILTIN__ENABLED", "false", "builtin", "enabled", False),
        ("TRUNKLINE_WORKER__POOLS", "fast, slow", "worker", "pools", ("fast", "slow")),
        ("TRUNKLINE_EDGE__KEY_HEADERS", "X-Line-Key", "edge", "key_headers", ("X-Line-Key",)),
        ("TRUNKLINE_EDGE__CORS_ORIGINS", "*", "edge", "cors_origins", ("*",)),
        (
            "TRUNKLINE_EDGE__CORS_ORIGINS",
            "https://a.example,http://localhost:3000,http://[::1]:3000,app://desk",
            "edge",
            "cors_origins",
            ("https://a.example", "http://localhost:3000", "http://[::1]:3000", "app://desk"),
        ),
        ("TRUNKLINE_NATS__URL", "nats://bus:4222", "nats", "url", "nats://bus:4222"),
        ("TRUNKLINE_NATS__PREFIX", "7", "nats", "prefix", "7"),
    ],
)
def test_a_variable_overrides_the_file(variable: str, said: str, table: str, key: str, value: object) -> None:
    settings = parse("[edge]\nport = 80\n[turn]\nbudget_s = 4", {variable: said})

    assert getattr(getattr(settings, table), key) == value


def test_every_key_of_a_fixed_table_has_a_variable() -> None:
    """The default of each, said as text, is read back as itself."""
    defaults = Settings()
    environ = {
        f"TRUNKLINE_{table}__{key}".upper(): ",".join(value) if isinstance(value, tuple) else str(value)
        for table, struct in msgspec.structs.asdict(defaults).items()
        if isinstance(struct, msgspec.Struct)
        for key, value in msgspec.structs.asdict(struct).items()
        if value is not None
    }

    assert environ["TRUNKLINE_EDGE__PORT"] == "8080"
    assert parse("", environ) == parse("", {})


def test_an_empty_variable_counts_as_not_set() -> None:
    """Compose files and charts define what they leave open as an empty string."""
    environ = {"TRUNKLINE_NATS__URL": "", "TRUNKLINE_API_KEYS": "", "TRUNKLINE_DATA_DIR": "", "OPENAI_API_KEY": ""}

    assert parse(None, environ) == parse(None, {})


def test_a_value_over_several_lines_is_found() -> None:
    with pytest.raises(SettingsError, match="line 4"):
        parse("[worker]\npools = [\n  'Fast',\n]", {})


@given(st.text())
def test_any_text_is_read_or_refused_never_a_crash(text: str) -> None:
    try:
        parse(text, {})
    except SettingsError as refusal:
        assert str(refusal)  # noqa: PT017 — both outcomes are right


@given(st.sampled_from(["TRUNKLINE_EDGE__PORT", "TRUNKLINE_API_KEYS", "TRUNKLINE_WORKER__POOLS"]), st.text())
def test_any_variable_is_read_or_refused_never_a_crash(variable: str, said: str) -> None:
    try:
        parse(None, {variable: said})
    except SettingsError as refusal:
        assert variable in str(refusal)  # noqa: PT017 — both outcomes are right


# --- where the file is ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_of_the_working_directory_is_read_where_there_is_one(folder: Path) -> None:
    assert load({}).edge.port == 8080
    (folder / "trunkline.toml").write_text("[edge]\nport = 81")

    assert load({}).edge.port == 81


def test_a_named_file_comes_before_it(folder: Path) -> None:
    for name, port in (("trunkline.toml", 81), ("variable.toml", 82), ("option.toml", 83)):
        (folder / name).write_text(f"[edge]\nport = {port}")

    assert load({"TRUNKLINE_CONFIG": "variable.toml"}).edge.port == 82
    assert load({"TRUNKLINE_CONFIG": "variable.toml"}, config=Path("option.toml")).edge.port == 83


def test_a_named_file_that_is_not_there_stops_the_start(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"gone\.toml: no such file.*TRUNKLINE_CONFIG"):
        load({"TRUNKLINE_CONFIG": "gone.toml"})


def test_a_file_that_cannot_be_read_stops_the_start(folder: Path) -> None:
    (folder / "latin.toml").write_bytes(b"# caf\xe9")

    with pytest.raises(SettingsError, match=r"latin\.toml: not UTF-8 at byte 5"):
        load({}, config=Path("latin.toml"))
    with pytest.raises(SettingsError, match="cannot be read"):
        load({}, config=folder)


# --- models without a file -----------------------------------------------------------------------


def test_the_built_in_models_can_be_switched_off() -> None:
    assert parse(None, {"TRUNKLINE_BUILTIN__ENABLED": "0"}).models == {}


def test_an_upstream_in_the_environment_makes_the_model_upstream() -> None:
    environ = {"TRUNKLINE_UPSTREAM__URL": "http://localhost:1/v1", "TRUNKLINE_UPSTREAM__MODEL": "gemma"}

    settings = parse(FRONT_DESK, environ)

    assert settings.models["upstream"].targets == ("upstream",)
    assert settings.targets["upstream"].base_url == "http://localhost:1/v1"
    assert settings.targets["upstream"].model == "gemma"


def test_an_openai_key_passes_every_openai_model_through() -> None:
    settings = parse(None, {"OPENAI_API_KEY": "sk-secret"})

    assert settings.model_for("openai/gpt-4.1") == settings.models["openai/*"]
    assert settings.targets["openai"].base_url == "https://api.openai.com/v1"
    assert settings.targets["openai"].api_key_env == "OPENAI_API_KEY"
    assert "sk-secret" not in repr(settings)


def test_a_file_decides_alone_whether_openai_is_passed_through() -> None:
    """There OPENAI_API_KEY is some target's key; it must not open every model to every caller."""
    assert parse(FRONT_DESK, {"OPENAI_API_KEY": "k"}).model_for("openai/gpt-4.1") is None


def test_the_openai_base_url_is_the_callers_to_choose() -> None:
    environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://localhost:1/v1"}

    assert parse(None, environ).targets["openai"].base_url == "http://localhost:1/v1"


@pytest.mark.parametrize("name", ["openai/", "openai/*", "openai", "gtp-4o", ""])
def test_a_name_that_no_model_has_finds_none(name: str) -> None:
    assert parse(None, {}).model_for(name) is None


# --- secrets -------------------------------------------------------------------------------------


def test_api_keys_have_a_name_and_a_secret() -> None:
    settings = parse(None, {"TRUNKLINE_API_KEYS": "desk:s3cret:with-colon, lab:other,"})

    assert settings.api_keys == {"desk": "s3cret:with-colon", "lab": "other"}


@pytest.mark.parametrize(
    "said", ["s3cret", "desk:", ":s3cret", "front desk:s3cret", "a:s3cret,a:b", "a:s3cret,b:s3cret"]
)
def test_a_wrong_api_key_is_counted_and_never_quoted(said: str) -> None:
    with pytest.raises(SettingsError, match=r"TRUNKLINE_API_KEYS: entry [12]") as refusal:
        parse(None, {"TRUNKLINE_API_KEYS": said})

    assert "s3cret" not in str(refusal.value)


def test_no_secret_shows_in_a_repr() -> None:
    environ = {"TRUNKLINE_API_KEYS": "desk:s3cret", "TRUNKLINE_NATS__URL": "nats://me:s3cret@bus:4222"}
    settings = parse(None, environ)

    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings)
    assert "desk" in repr(settings)


@pytest.mark.parametrize(
    "line",
    ["api_key_env = 's3-cret'", "base_url = 'https://me:s3-cret@models.example'", "model = 's3-cret'\nmodel = 1"],
)
def test_a_secret_in_the_wrong_place_is_not_quoted(line: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        parse(f"[targets.a]\n{line}", {})

    assert "s3-cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("host", "keys", "exposed"),
    [
        ("127.0.0.1", "", False),
        ("127.8.8.8", "", False),
        ("::1", "", False),
        ("localhost", "", False),
        ("0.0.0.0", "a:b", False),
        ("0.0.0.0", "", True),
        ("::", "", True),
        ("10.1.2.3", "", True),
        ("edge.example", "", True),
    ],
)
def test_without_a_key_the_edge_answers_its_own_machine_only(host: str, keys: str, exposed: bool) -> None:
    settings = parse(None, {"TRUNKLINE_EDGE__HOST": host, "TRUNKLINE_API_KEYS": keys})

    if not exposed:
        check_exposure(settings)
        return
    with pytest.raises(SettingsError, match=r"TRUNKLINE_API_KEYS=.*127\.0\.0\.1"):
        check_exposure(settings)


def test_a_worker_names_every_variable_it_lacks() -> None:
    settings = parse(FRONT_DESK, {})

    assert [str(error) for error in missing_keys(settings, {})] == [
        "targets.gpt takes its key from GPT_KEY, which is not set; export GPT_KEY=…"
    ]
    assert missing_keys(settings, {"GPT_KEY": "k"}) == []


def test_a_worker_of_another_pool_needs_no_key() -> None:
    settings = parse(FRONT_DESK + "[worker]\npools = ['other']", {})

    assert missing_keys(settings, {}) == []


# --- the digest ----------------------------------------------------------------------------------


def test_the_digest_tells_configurations_apart_that_answer_differently() -> None:
    digests = {
        parse(text, {}).digest()
        for text in ("", FRONT_DESK, FRONT_DESK + "stall_s = 9", "[turn]\nbudget_s = 3", "[builtin]\nenabled = false")
    }
    digests |= {parse("[breaker]\nrequests = 9", {}).digest(), parse(FRONT_DESK + "preset = 'groq'", {}).digest()}

    assert len(digests) == 7


def test_the_digest_ignores_what_no_answer_depends_on() -> None:
    environ = {"TRUNKLINE_EDGE__PORT": "1", "TRUNKLINE_API_KEYS": "a:b", "TRUNKLINE_WORKER__SLOTS": "3"}

    assert parse(FRONT_DESK, environ).digest() == parse("# the same\n" + FRONT_DESK, {}).digest()


def test_a_value_that_is_right_costs_no_search_for_its_place() -> None:
    """In a file with hundreds of targets that search takes longer than all the rest, and an edge reads it anew."""

    def never() -> str:
        raise AssertionError("looked for")

    assert value_of("a word", Words, place=never, key="model") == "a word"
    with pytest.raises(SettingsError, match="line 7 is 5; it must be"):
        value_of(5, Words, place=lambda: "line 7", key="model")
