"""The seal over HTTP: checkpoints, proofs and verdicts, as the command line gives them."""

from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from es_power.api import routes_audit
from es_power.audit import offline
from es_power.audit.keys import Signer
from es_power.audit.sealing import Sealer
from es_power.domain.access import Role
from tests.api.house import Running
from tests.api.test_answers import follow_pages, get, items

SIGNER = Signer.generate("kvm-07/es-power")
KEY = str(SIGNER.verifier)


@pytest.fixture
async def sealed(api: Running) -> Running:
    """One that has a key, and has signed twice: 80 records, and 81."""
    api.house.sealer = Sealer(api.house.log, SIGNER, ["file:/nowhere/x"], clock=api.house.clock)
    for _ in range(2):
        signed = await api.house.sealer.seal()
        await api.house.follower.reached(signed.position)
    return api


async def sign(api: Running, **headers: str) -> httpx.Response:
    async with api.client() as client:
        return await client.post("/v1/audit/checkpoint", headers=headers)


async def as_role(api: Running, role: Role, method: str, path: str) -> httpx.Response:
    issued = await api.token(role, name=f"{role} of {path}")
    async with api.client(uid=None, headers={"Authorization": f"Bearer {issued.secret}"}) as client:
        return await client.request(method, path)


async def test_how_the_log_is_sealed_is_told_with_the_key_and_what_failed(sealed: Running) -> None:
    answer = await get(sealed, "/v1/audit")
    told = answer.json()

    assert (told["verifier"], told["key"]) == (KEY, SIGNER.verifier.id.hex())
    assert (told["position"], answer.headers["x-es-position"]) == (82, "82")
    assert told["failed"] == {"file:/nowhere/x": "No such file or directory"}
    assert (told["checkpoint"]["size"], told["checkpoint"]["position"]) == (81, 82)
    assert told["checkpoint"]["missed"] == ["file:/nowhere/x"]
    assert offline.signed_tree(told["checkpoint"]["note"], KEY) == (81, bytes.fromhex(told["checkpoint"]["root"]))


async def test_a_log_that_nobody_signed_says_so(api: Running) -> None:
    assert (await get(api, "/v1/audit")).json() == {
        "checkpoint": None,
        "position": 80,
        "verifier": None,
        "key": None,
        "failed": {},
        "failure": "",
    }
    assert await items(api, "/v1/audit/checkpoints") == []


async def test_checkpoints_are_listed_by_pages_oldest_first(sealed: Running) -> None:
    whole = await items(sealed, "/v1/audit/checkpoints")
    pages = await follow_pages(sealed, "/v1/audit/checkpoints?limit=1")

    assert [(row["size"], row["position"]) for row in whole] == [(80, 81), (81, 82)]
    assert pages == [[row] for row in whole]


async def test_what_another_checkpoint_changes_has_another_tag(sealed: Running) -> None:
    for path in ("/v1/audit/checkpoints", "/v1/audit/proof/7"):
        first = await get(sealed, path)
        known = {"If-None-Match": first.headers["etag"]}
        assert (await get(sealed, path, **known)).status_code == 304
        signed = (await sign(sealed)).json()
        await sealed.house.follower.reached(signed["position"])

        assert (await get(sealed, path, **known)).status_code == 200


async def test_a_proof_is_checked_without_es_power(sealed: Running) -> None:
    proof = (await get(sealed, "/v1/audit/proof/7")).json()

    assert (proof["position"], offline.check(proof, KEY)) == (7, 81)


async def test_a_checkpoint_is_signed_sent_and_recorded(sealed: Running) -> None:
    answer = await sign(sealed)
    signed = answer.json()
    [*_, last] = await items(sealed, f"/v1/audit/checkpoints?min_position={signed['position']}")

    assert (answer.status_code, signed["size"], signed["position"]) == (201, 82, 83)
    assert signed["failed"] == {"file:/nowhere/x": "No such file or directory"}
    assert {name: last[name] for name in ("size", "root", "position", "note")} == {
        name: signed[name] for name in ("size", "root", "position", "note")
    }


async def test_a_key_of_a_request_stands_for_one_checkpoint(sealed: Running) -> None:
    first, again, other = [await sign(sealed, **{"Idempotency-Key": key}) for key in ("k-1", "k-1", "k-2")]

    assert first.json() == again.json()
    assert (first.json()["position"], other.json()["position"]) == (83, 84)


async def test_roles_are_asked_for(sealed: Running) -> None:
    said = {
        (role, path): (await as_role(sealed, role, method, path)).status_code
        for role in Role
        for method, path in (("GET", "/v1/audit"), ("POST", "/v1/audit/checkpoint"), ("GET", "/v1/audit/verify"))
    }

    assert said == {
        (Role.READ, "/v1/audit"): 200,
        (Role.OPERATE, "/v1/audit"): 200,
        (Role.ADMIN, "/v1/audit"): 200,
        (Role.READ, "/v1/audit/checkpoint"): 403,
        (Role.OPERATE, "/v1/audit/checkpoint"): 201,
        (Role.ADMIN, "/v1/audit/checkpoint"): 201,
        (Role.READ, "/v1/audit/verify"): 403,
        (Role.OPERATE, "/v1/audit/verify"): 403,
        (Role.ADMIN, "/v1/audit/verify"): 200,
    }


async def test_the_whole_log_is_verified(sealed: Running) -> None:
    verdict = (await get(sealed, f"/v1/audit/verify?key={KEY.replace('+', '%2B')}")).json()

    assert (verdict["intact"], verdict["records"], verdict["vouched"]) == (True, 82, 0)
    assert [(each["size"], each["holds"], each["signed"]) for each in verdict["checkpoints"]] == [
        (80, True, True),
        (81, True, True),
    ]


async def test_damage_is_named_and_is_an_answer(sealed: Running) -> None:
    with sealed.house.log.database.write() as connection:
        connection.exec_driver_sql("UPDATE records SET recorded_at = 1 WHERE position = 77")
    answer = await get(sealed, "/v1/audit/verify")

    assert (answer.status_code, answer.json()["intact"]) == (200, False)
    assert ("edited", 77) in [(each["kind"], each["position"]) for each in answer.json()["damage"]]


async def test_one_verification_at_a_time(sealed: Running) -> None:
    async with sealed.house.examining:
        answer = await get(sealed, "/v1/audit/verify")

    assert (answer.status_code, answer.json()["type"]) == (429, "/problems/too-many-requests")
    assert (await get(sealed, "/v1/audit/verify")).status_code == 200


async def test_a_part_of_the_log_is_given_with_all_that_is_needed_to_check_it(sealed: Running, tmp_path: Path) -> None:
    whole = await get(sealed, "/v1/audit/export?since=3&until=9")
    with ZipFile(BytesIO(whole.content)) as archive:
        archive.extractall(tmp_path)
    summary, *wrong = offline.check_directory(tmp_path / "es-power-3-9", KEY)

    assert (whole.status_code, whole.headers["content-type"]) == (200, "application/zip")
    assert (summary, wrong) == ("7 records were looked at, 3 to 9; all between them", [[], []])
    assert "es-power-3-9.zip" in whole.headers["content-disposition"]
    assert (await as_role(sealed, Role.READ, "GET", "/v1/audit/export?since=3&until=9")).status_code == 200


async def test_what_is_too_much_or_too_new_or_asked_for_beside_another_is_not_given(
    sealed: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealed.house.examining:
        beside = await get(sealed, "/v1/audit/export")
    monkeypatch.setattr(routes_audit, "_MOST_FACTS", 6)
    paths = ("since=3&until=9", "until=82", "since=9&until=3", "until=99", "vm=nobody")
    told = [beside, *[await get(sealed, f"/v1/audit/export?{each}") for each in paths]]

    assert [(each.status_code, each.json()["type"].removeprefix("/problems/")) for each in told] == [
        (429, "too-many-requests"),
        (422, "invalid-request"),
        (422, "invalid-request"),
        (422, "invalid-request"),
        (409, "position-not-reached"),
        (404, "vm-not-found"),
    ]
    monkeypatch.undo()
    assert (await get(sealed, "/v1/audit/export?until=82")).json()["type"] == "/problems/not-sealed"


async def test_what_came_after_the_last_checkpoint_is_no_part_of_the_log_for_an_auditor(sealed: Running) -> None:
    spans = ("since=81", "since=82", "since=2026-11-22T03:20:30Z&until=2026-11-22T03:20:40Z")
    last, later, nothing = [await get(sealed, f"/v1/audit/export?{each}") for each in spans]

    assert last.status_code == 200
    assert (later.status_code, later.json()["type"]) == (409, "/problems/not-sealed")
    assert "the last checkpoint is over 81 records" in later.json()["detail"]
    assert (nothing.status_code, "no record lies between" in nothing.json()["detail"]) == (422, True)


async def test_what_cannot_be_done_is_a_problem_with_its_page(api: Running) -> None:
    told = [await sign(api), await get(api, "/v1/audit/proof/7")]
    api.house.sealer = Sealer(api.house.log, SIGNER, [], clock=api.house.clock)
    await api.house.sealer.seal()
    wrong = "kvm-07/es-power%2B00000000%2BAA=="
    paths = ("/v1/audit/proof/81", "/v1/audit/proof/999", "/v1/audit/proof/0", f"/v1/audit/verify?key={wrong}")
    told += [await get(api, path) for path in paths]

    assert [(each.status_code, each.json()["type"].removeprefix("/problems/")) for each in told] == [
        (409, "no-key"),
        (409, "not-sealed"),
        (409, "not-sealed"),
        (404, "record-not-found"),
        (422, "invalid-request"),
        (422, "invalid-request"),
    ]
    for each in told:
        assert (await get(api, each.json()["type"])).status_code == 200
