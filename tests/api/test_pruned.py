"""What a log that was pruned answers over HTTP."""

from pathlib import Path

import pytest

from es_power.log import open_log
from es_power.upkeep import remaining
from tests.api.house import running
from tests.unit.story import WEB
from tests.unit.upkeep.sealed import LATER, prune_before, signed, write


async def test_a_history_that_began_earlier_says_up_to_where_it_was_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remaining, "NEAR", 1)
    story = signed()
    for name in ("whole", "pruned"):
        await write(story, tmp_path / name)
    async with open_log(tmp_path / "pruned", mode="write") as log:
        await prune_before(log, LATER, tmp_path / "archive")
        position = await log.pruned_up_to()

    said = {}
    for name in ("whole", "pruned"):
        async with running(tmp_path / name) as api, api.client() as client:
            for since in ("", f"?since={story.records[-1].position}"):
                answer = await client.get(f"/v1/vms/{WEB}/history{since}")
                said[name, since != ""] = answer.headers.get("X-ES-Pruned")

    assert position > 0
    assert said == {
        ("whole", False): None,
        ("whole", True): None,
        ("pruned", False): str(position),
        ("pruned", True): None,
    }
