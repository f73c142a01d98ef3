"""The page as it is served: to whoever comes, by strict rules, and without anything that is anybody's secret."""

import gzip

import httpx
import pytest

from es_power.api.access import COOKIE
from es_power.web import INDEX, built
from tests.api.house import Running

POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
}


async def stranger_gets(api: Running, path: str, **headers: str) -> httpx.Response:
    async with api.client(uid=None) as client:
        return await client.get(path, headers=headers)


@pytest.mark.parametrize("path", ["/", "/?t=2026-11-22T03:12:05Z&tab=audit&vm=x", "/?anything=goes"])
async def test_whoever_comes_gets_the_page_whatever_its_address_asks_for(api: Running, path: str) -> None:
    answer = await stranger_gets(api, path)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.content == built()[INDEX].content
    assert set(answer.headers["content-security-policy"].split("; ")) == POLICY
    assert answer.headers["cache-control"] == "no-cache"


async def test_a_file_named_by_its_content_may_be_kept_for_ever(api: Running) -> None:
    for name, file in built().items():
        answer = await stranger_gets(api, f"/assets/{name}")

        assert (answer.status_code, answer.content) == (200, file.content)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert ("immutable" in answer.headers["cache-control"]) == ("-" in name)


async def test_the_page_comes_compressed_where_that_is_understood(api: Running) -> None:
    [script] = [name for name in built() if name.endswith(".js")]
    zipped = await stranger_gets(api, f"/assets/{script}", **{"Accept-Encoding": "gzip"})
    plain = await stranger_gets(api, f"/assets/{script}", **{"Accept-Encoding": "identity"})

    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    assert zipped.content == plain.content == gzip.decompress(built()[script].zipped)


async def test_a_page_that_a_browser_has_is_not_sent_again(api: Running) -> None:
    first = await stranger_gets(api, "/")
    second = await stranger_gets(api, "/", **{"If-None-Match": first.headers["etag"]})

    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["content-security-policy"] == first.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/assets/", "/assets/x.js", "/assets/%2e%2e%2f__init__.py", "/assets/a/b"])
async def test_nothing_but_what_was_built_is_there(api: Running, path: str) -> None:
    assert (await stranger_gets(api, path)).status_code == 404


async def test_a_stranger_may_only_read_it(api: Running) -> None:
    async with api.client(uid=None) as client:
        assert (await client.post("/")).status_code == 401
        head = await client.head("/")

    assert (head.status_code, head.content) == (200, b"")


async def test_a_link_leads_to_the_page_with_a_session_of_its_own(api: Running) -> None:
    async with api.client() as local, api.client(uid=None) as browser:
        link = (await local.post("/v1/links?role=read")).json()["path"]
        used = await browser.get(link)
        page = await browser.get(used.headers["location"])
        who = (await browser.get("/v1/session")).json()

    assert (used.status_code, used.headers["location"], page.status_code) == (303, "/", 200)
    assert COOKIE in used.headers["set-cookie"]
    assert who["role"] == "read"
