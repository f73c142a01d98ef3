"""Who is let in, and who is not: by token, session or the kernel's word; for which host, from which page."""

import os

import httpx
import pytest

from es_power.api.access import Principal, Rates
from es_power.api.house import House
from es_power.domain.access import Role
from es_power.domain.events import Position
from es_power.domain.ports import Append
from es_power.domain.streams import ACCESS
from es_power.domain.time import SECOND, Timestamp
from es_power.errors import LogFullError
from es_power.ingest.access import revoke_token
from tests.acceptance.night import NOW
from tests.api.house import URL, Running, running


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


async def test_nobody_is_let_in_over_tcp_without_a_token(api: Running) -> None:
    async with api.client(uid=None) as client:
        answer = await client.get("/v1/vms")

        assert problem(answer) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await client.get("/v1/nothing")).status_code == 401
        assert [(await client.get(path)).status_code for path in ("/openapi.json", "/problems")] == [200, 200]


async def test_a_token_lets_in_until_it_is_revoked(api: Running) -> None:
    issued = await api.token(Role.READ)
    async with api.client(uid=None, headers={"Authorization": f"Bearer {issued.secret}"}) as client:
        before = await client.get("/v1/vms")
        await revoke_token(api.house.log, issued.token, by="alice", at=NOW)
        await api.house.follower.reached(await api.house.log.head())
        after = await client.get("/v1/vms")

    assert (before.status_code, problem(after)) == (200, (401, "unauthenticated"))
    assert "was revoked" in after.json()["detail"]


@pytest.mark.parametrize("given", ["Bearer wrong", "Basic {secret}", "Bearer", "{secret}", "Bearer {secret}x"])
async def test_what_is_no_token_lets_nobody_in(api: Running, given: str) -> None:
    issued = await api.token(Role.ADMIN)
    async with api.client(uid=None, headers={"Authorization": given.format(secret=issued.secret)}) as client:
        assert problem(await client.get("/v1/vms")) == (401, "unauthenticated")


async def test_the_log_has_no_secret(api: Running) -> None:
    issued = await api.token(Role.ADMIN)
    async with api.client() as client:
        facts = (await client.get("/v1/events?after=80")).json()["items"]

    assert [(fact["kind"], fact["name"], fact["by"]) for fact in facts] == [("TokenIssued", "ci", "alice")]
    place = api.house.log.database.place.path
    assert place is not None
    assert issued.secret.encode() not in place.read_bytes() + place.with_name("log.db-wal").read_bytes()


async def test_a_reader_may_not_write(api: Running) -> None:
    issued = await api.token(Role.READ)
    async with api.client(uid=None, headers={"Authorization": f"Bearer {issued.secret}"}) as client:
        answers = [
            await client.post("/v1/commands/5/approve", json={"why": "x"}),
            await client.post("/v1/links"),
            await client.delete("/v1/session"),
        ]

    assert [problem(answer) for answer in answers] == [(403, "forbidden")] * 3


async def test_the_kernel_says_who_asks_at_the_unix_socket(api: Running) -> None:
    who = {}
    for uid in {0, os.geteuid(), 65534, 12345}:
        async with api.client(uid=uid) as client:
            answer = await client.get("/v1/session")
            who[uid] = answer.json().get("role", answer.status_code)

    assert who == {0: "admin", os.geteuid(): "admin", 65534: "operate", 12345: 403}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8420", "localhost.evil.example", "127.0.0.1@evil.example", "", "[", "0x7f.1"]
)
async def test_a_foreign_host_is_not_answered(api: Running, host: str) -> None:
    async with api.client(headers={"Host": host}) as client:
        assert problem(await client.get("/v1/vms")) == (421, "foreign-host")
        assert problem(await client.get("/openapi.json")) == (421, "foreign-host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:8420"])
async def test_this_machine_is_known_by_its_own_names(api: Running, host: str) -> None:
    async with api.client(headers={"Host": host}) as client:
        assert (await client.get("/v1/vms")).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", "http://localhost", "x"])
async def test_a_page_of_another_site_is_not_answered(api: Running, origin: str) -> None:
    async with api.client(headers={"Origin": origin}) as client:
        assert problem(await client.get("/v1/vms")) == (403, "foreign-origin")


async def test_our_own_page_is_answered(api: Running) -> None:
    async with api.client(headers={"Origin": URL}) as client:
        assert (await client.get("/v1/vms")).status_code == 200


# -------------------------------------------------------------------------------------------------------- browsers


async def test_a_link_opens_one_session_once(api: Running) -> None:
    async with api.client() as root, api.client(uid=None) as browser, api.client(uid=None) as thief:
        made = (await root.post("/v1/links?role=read")).json()
        opened = await browser.get(made["path"])
        again = await thief.get(made["path"])
        seen = await browser.get("/v1/session")

        assert made["url"] == URL + made["path"]
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        cookie = opened.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/"))
        assert problem(again) == (401, "unauthenticated")
        assert (seen.json()["role"], len(seen.json()["csrf"])) == ("read", 43)
        assert (await thief.get("/v1/vms")).status_code == 401
        await api.house.follower.reached(await api.house.log.head())
        facts = (await root.get("/v1/events?after=80")).json()["items"]
    assert [fact["kind"] for fact in facts] == ["LinkIssued", "SessionOpened"]


async def session(api: Running, browser: httpx.AsyncClient, role: str = "operate") -> str:
    async with api.client() as root:
        made = (await root.post(f"/v1/links?role={role}")).json()
    await browser.get(made["path"])
    csrf: str = (await browser.get("/v1/session")).json()["csrf"]
    return csrf


async def test_a_session_writes_only_with_its_csrf_header(api: Running) -> None:
    async with api.client(uid=None) as browser:
        csrf = await session(api, browser)
        without = await browser.delete("/v1/session")
        wrong = await browser.delete("/v1/session", headers={"X-CSRF-Token": csrf[::-1]})
        right = await browser.delete("/v1/session", headers={"X-CSRF-Token": csrf})
        ended = await browser.get("/v1/vms")

    assert [problem(without), problem(wrong)] == [(403, "csrf")] * 2
    assert (right.status_code, problem(ended)) == (204, (401, "unauthenticated"))


async def test_a_session_that_only_reads_may_end_itself_and_do_nothing_else(api: Running) -> None:
    async with api.client(uid=None) as browser:
        shown = {"X-CSRF-Token": await session(api, browser, "read")}
        without = await browser.delete("/v1/session")
        others = [await browser.post(path, headers=shown) for path in ("/v1/links", "/v1/commands/5/approve")]
        right = await browser.delete("/v1/session", headers=shown)
        ended = await browser.get("/v1/vms")

    assert [problem(each) for each in (without, *others)] == [(403, "csrf"), *[(403, "forbidden")] * 2]
    assert (right.status_code, problem(ended)) == (204, (401, "unauthenticated"))


OTHERS = ['prefs={"a": 1}; ', "a b=c; ", "theme=dark; [x]=1; ", "=; ", 'quoted="a\\"b"; ']


@pytest.mark.parametrize("other", OTHERS)
async def test_a_session_is_known_beside_other_programs_cookies(api: Running, other: str) -> None:
    async with api.client() as host, api.client(uid=None) as browser:
        opened = await browser.get((await host.post("/v1/links")).json()["path"])
    ours = opened.headers["set-cookie"].partition(";")[0]

    for sent in (f"{other}{ours}", f"{ours}; {other}"):
        async with api.client(uid=None, headers={"Cookie": sent}) as client:
            csrf = (await client.get("/v1/session")).json()["csrf"]
            assert problem(await client.post("/v1/links", headers={"X-CSRF-Token": csrf})) == (403, "forbidden")


async def test_a_link_whose_use_the_log_did_not_take_is_good_once_more(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: Append) -> Position:
        raise LogFullError("the disk is full")

    async with api.client() as root, api.client(uid=None) as browser:
        where = (await root.post("/v1/links?role=read")).json()["path"]
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(api.house.log, "append", full)
            refused, unmade = await browser.get(where), await root.post("/v1/links")
        entered = await browser.get(where)

    assert problem(refused) == problem(unmade) == (503, "log-unavailable")
    assert refused.headers["retry-after"] == "5"
    assert "set-cookie" not in refused.headers
    assert entered.status_code == 303


async def test_a_session_is_known_before_it_is_folded(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(*_: object) -> None:
        pass

    monkeypatch.setattr(House, "folded", late)
    async with api.client(uid=None) as browser:
        await session(api, browser)

        assert (await browser.get("/v1/vms")).status_code == 200


async def test_a_session_goes_on_over_a_restart_until_it_ends(night: os.PathLike[str]) -> None:
    from pathlib import Path

    async with running(Path(night)) as api, api.client(uid=None) as browser:
        csrf = await session(api, browser)
        cookies = dict(browser.cookies)

    async with running(Path(night)) as api, api.client(uid=None) as browser:
        browser.cookies.update(cookies)
        seen = (await browser.get("/v1/session")).json()
        assert (seen["user"], seen["role"], seen["csrf"]) == ("root", "operate", csrf)
        assert (await browser.delete("/v1/session", headers={"X-CSRF-Token": csrf})).status_code == 204

    async with running(Path(night)) as api, api.client(uid=None) as browser:
        browser.cookies.update(cookies)
        assert problem(await browser.get("/v1/session")) == (401, "unauthenticated")


async def test_what_ended_lets_nobody_in_while_its_beginning_is_folded_again(api: Running) -> None:
    issued = await api.token(Role.READ)
    await revoke_token(api.house.log, issued.token, by="alice", at=NOW)
    async with api.client() as host, api.client(uid=None) as browser:
        opened = await browser.get((await host.post("/v1/links")).json()["path"])
        csrf = (await browser.get("/v1/session")).json()["csrf"]
        await browser.delete("/v1/session", headers={"X-CSRF-Token": csrf})
    await api.house.follower.reached(await api.house.log.head())

    for recorded in await api.house.log.read_stream(ACCESS):
        # As a service that starts folds again what its tables had not seen, a batch at a time.
        api.house.tokens.apply([recorded])
        api.house.sessions.apply([recorded])
        for known in ({"Authorization": f"Bearer {issued.secret}"}, {"Cookie": opened.headers["set-cookie"]}):
            async with api.client(uid=None, headers=known) as client:
                assert problem(await client.get("/v1/vms")) == (401, "unauthenticated")


async def test_a_session_lasts_for_twelve_hours(night: os.PathLike[str]) -> None:
    from pathlib import Path

    async with running(Path(night)) as api, api.client(uid=None) as browser:
        await session(api, browser)
        cookies = dict(browser.cookies)

    for later, status in ((12 * 3600 - 1, 200), (12 * 3600, 401)):
        at = Timestamp(NOW + later * SECOND)
        async with running(Path(night), now=at) as api, api.client(uid=None) as browser:
            browser.cookies.update(cookies)
            assert (await browser.get("/v1/session")).status_code == status


async def test_nobody_makes_a_link_for_more_than_they_may(api: Running) -> None:
    issued = await api.token(Role.OPERATE)
    async with api.client(uid=None, headers={"Authorization": f"Bearer {issued.secret}"}) as client:
        assert problem(await client.post("/v1/links?role=admin")) == (403, "forbidden")
        assert (await client.post("/v1/links")).status_code == 201
    async with api.client(uid=None) as browser:
        csrf = await session(api, browser)
        assert problem(await browser.post("/v1/links", headers={"X-CSRF-Token": csrf})) == (403, "forbidden")


# ---------------------------------------------------------------------------------------------------------- limits


async def test_who_asks_too_often_is_told_when_to_ask_again(night: os.PathLike[str]) -> None:
    from pathlib import Path

    async with running(Path(night), rate=1) as api, api.client() as client, api.client(uid=None) as other:
        answers = [await client.get("/v1/session") for _ in range(11)]
        elsewhere = await other.get("/openapi.json")

    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert (problem(answers[-1]), answers[-1].headers["retry-after"]) == ((429, "too-many-requests"), "1")
    assert elsewhere.status_code == 200


async def test_whoever_waits_as_long_as_told_is_answered(
    night: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    async with running(Path(night)) as api, api.client() as client:
        for seconds in (0.3, 1.0, 1.4, 2.5):
            with monkeypatch.context() as meanwhile:
                meanwhile.setattr(Rates, "take", lambda *_, wait=seconds: wait)
                refused = await client.get("/v1/vms")

            assert seconds <= int(refused.headers["retry-after"]) < seconds + 1


async def test_what_a_client_has_left_comes_back_with_time(autojump_clock: object) -> None:
    import trio

    rates = Rates(2)
    assert [rates.take("a") for _ in range(20)] == [0.0] * 20
    assert rates.take("a") == pytest.approx(0.5)

    await trio.sleep(0.5)

    assert rates.take("a") == 0.0
    assert rates.take("a") > 0


@pytest.mark.parametrize("body", [b"x" * 16_385, b"x" * 200_000])
async def test_a_body_that_is_too_large_is_not_read(api: Running, body: bytes) -> None:
    async def parts() -> object:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    async with api.client() as client:
        told = await client.post("/v1/commands/5/approve", content=body)
        in_parts = await client.post("/v1/commands/5/approve", content=parts())  # type: ignore[arg-type]

    assert [problem(told), problem(in_parts)] == [(413, "body-too-large")] * 2


async def test_an_answer_that_takes_too_long_is_given_up(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    import trio

    async def slow(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr("es_power.api.house.House.view_at_least", slow)
    monkeypatch.setattr("es_power.api.gate.ANSWER_WITHIN", 0.01)
    async with api.client() as client:
        assert problem(await client.get("/v1/vms")) == (503, "too-slow")


def test_a_role_includes_the_lesser_ones() -> None:
    assert [[one.includes(other) for other in Role] for one in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
    assert Principal(role=Role.READ, key="", user="").session is None
