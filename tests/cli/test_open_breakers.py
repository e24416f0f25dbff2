"""A target that fails is passed over, and whoever looks at the line is told."""

import aiohttp

from bench.polling import until
from tests.cli.checking import Checked, check
from tests.cli.conftest import Terminal
from tests.workers.fake_upstream import Exchange, says, upstream

PATIENCE_S = 20.0
HELLO = {"model": "desk", "messages": [{"role": "user", "content": "hello"}]}


async def well(exchange: Exchange) -> None:
    """A list of models, or an answer."""
    if "models" in exchange.path:
        await exchange.plain(200, '{"data": [{"id": "m"}]}')
        return
    await exchange.begin()
    await exchange.send(says("fine"))
    await exchange.end()


async def badly(exchange: Exchange) -> None:
    """The list of models is there; answers are not."""
    if "models" in exchange.path:
        await well(exchange)
    else:
        await exchange.plain(500, "{}")


async def looked(terminal: Terminal) -> str:
    """`trunkline top --once`."""
    process = terminal.start("top --once")
    assert await process.exited(20) == 0
    return process.out.read_text()


async def test_check_and_top_name_a_target_whose_breaker_is_open(terminal: Terminal) -> None:
    async with upstream(badly) as bad, upstream(well) as good:
        targets = "".join(
            f'[targets.{name}]\nbase_url = "{one.url}"\nmodel = "m"\n' for name, one in (("bad", bad), ("good", good))
        )
        (terminal.directory / "trunkline.toml").write_text(
            f'[models.desk]\ntargets = ["bad", "good"]\n{targets}[breaker]\nrequests = 1\nopen_s = 600.0\n'
        )
        up = terminal.start("up --json --port 0")
        said = await up.first_line()
        assert "open breakers" not in await looked(terminal)

        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.post(f"{said['url']}/v1/chat/completions", json=HELLO) as answer:
                    assert (await answer.json())["choices"][0]["message"]["content"] == "fine"

        async def checked() -> Checked:
            return await check(terminal)

        seen = await until(checked, lambda one: bool(one.rows("workers", "target bad")), PATIENCE_S)
        row = seen.row("workers", "target bad")
        assert (seen.code, row["level"]) == (0, "warn"), seen.text
        assert "its circuit breaker is open in 1 of 1 worker" in row["text"]
        assert "open breakers bad (1)" in await looked(terminal)
        asked = [exchange for exchange in bad.seen if "models" not in exchange.path]
        assert len(asked) == 1, "passed over in the second turn"
