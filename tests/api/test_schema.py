"""The API as its own description says it: schemathesis asks what nobody thought of, and believes no answer.

A few cases of each operation in the usual run; `make test-api` asks thousands (ES_POWER_API_CASES each, and each way).
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from es_power.api.app import make_app
from es_power.api.problems import KEY_REUSED
from es_power.api.routes_audit import NO_KEY_GIVEN
from es_power.api.routes_replay import SAME
from es_power.api.wire import Problem
from es_power.audit.keys import Signer
from es_power.audit.sealing import Sealer
from es_power.dispatch.door import AnyWish, keep_door
from es_power.domain.access import Role
from es_power.errors import CommandStateError
from tests.api.house import running, served

CASES = int(os.environ.get("ES_POWER_API_CASES", "5"))
CROSSED = (
    *("is not after since", "lies after what is known", "stands for since and until", "lies after until"),
    *(NO_KEY_GIVEN, KEY_REUSED.title, SAME),
)
SCHEMA = schemathesis.openapi.from_dict(make_app().openapi())
# Each question is asked with the token, so leaving it out makes none that has to be refused (test_access does that).
SCHEMA.config.generation.with_security_parameters = False
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)]


async def hear(wish: AnyWish, by: str) -> str:
    if len(wish.why) % 2:
        raise CommandStateError("the command is Withdrawn already")
    return f"{type(wish).__name__} by {by}"


@pytest.fixture(scope="module")
def served_api(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A whole API at a port, in a thread: its address, and a token."""
    folder = tmp_path_factory.mktemp("schema")
    log = folder / "log.db"
    log.write_bytes(written.read_bytes())
    ready, told, stop = threading.Event(), [], []

    async def serve() -> None:
        async with running(log, door=folder / "door") as api, trio.open_nursery() as nursery:
            await nursery.start(keep_door, folder / "door", hear)
            issued = await api.token(Role.ADMIN)
            api.house.sealer = Sealer(api.house.log, Signer.generate("ci/es-power"), [], clock=api.house.clock)
            await api.house.sealer.seal()
            # What follows the log gets an end.
            api.house.broadcast.end()
            async with served(api, folder) as (url, _):
                ended = trio.Event()
                token = trio.lowlevel.current_trio_token()
                stop.append(lambda: token.run_sync_soon(ended.set))
                told.extend([url, issued.secret])
                ready.set()
                await ended.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert ready.wait(30)
    yield told[0], told[1]
    stop[0]()
    thread.join(30)
    assert not thread.is_alive()


def what_is_wrong(problem: dict[str, Any]) -> str:
    """What no schema can say: a time has to end after it begins, a key to fit its own id, or to be a new one."""
    return str(problem["errors"][0]["problem"] if "errors" in problem else problem["title"])


def test_every_operation_is_described_with_its_answers_and_problems() -> None:
    raw = make_app().openapi()
    for path, methods in raw["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["description"], where
            for status, answer in operation["responses"].items():
                assert answer["description"], (where, status)
                if int(status) >= 400:
                    examples = answer["content"]["application/problem+json"]["examples"]
                    assert all(Problem(**each["value"]).status == int(status) for each in examples.values())


def ways(operation: Any) -> list[GenerationMode]:
    """Nothing can be asked wrongly of what takes nothing."""
    takes = operation.path_parameters or operation.query or operation.headers or operation.cookies or operation.body
    return [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if takes else [])]


@pytest.mark.parametrize(
    ("operation", "mode"),
    [pytest.param(each, mode, id=f"{each.label}-{mode.value}") for each in OPERATIONS for mode in ways(each)],
)
def test_an_operation_answers_as_it_is_described(served_api: tuple[str, str], operation: object, mode: object) -> None:
    url, secret = served_api

    @given(case=operation.as_strategy(generation_mode=mode))  # type: ignore[attr-defined]
    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        derandomize=CASES < 20,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    def asked(case: schemathesis.Case) -> None:
        answer = case.call(base_url=url, headers={"Authorization": f"Bearer {secret}"})
        crossed = answer.status_code == 422 and what_is_wrong(answer.json()) in CROSSED
        without = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")] if crossed else []
        case.validate_response(answer, excluded_checks=without)

    asked()
