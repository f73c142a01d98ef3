"""How to reach Nova is said as to every OpenStack client: clouds.yaml, OS_* variables, and whatever Keystone takes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from es_power.errors import NovaRefusedError, SettingsError
from es_power.nova import NovaApi
from es_power.testing import vm
from tests.rigs.scripted_nova import PASSWORD, ScriptedNova
from tests.unit.nova.conftest import QUICK

pytestmark = pytest.mark.usefixtures("no_cloud")


@contextmanager
def closing(api: NovaApi) -> Iterator[NovaApi]:
    try:
        yield api
    finally:
        api.close()


async def works(nova: ScriptedNova, api: NovaApi) -> None:
    nova.add(vm(1))
    with closing(api):
        assert [each.instance for each in await api.servers(host="kvm-07")] == [vm(1)]


async def test_a_password_in_variables(nova: ScriptedNova, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in nova.environment.items():
        monkeypatch.setenv(name, value)

    await works(nova, await NovaApi.connect(patience=QUICK))


async def test_a_password_in_clouds_yaml(nova: ScriptedNova, tmp_path: Path) -> None:
    account = {"username": "admin", "password": PASSWORD, "project_name": "admin", "user_domain_id": "default"}
    nova.clouds(tmp_path / "clouds.yaml", "lab", project_domain_id="default", **account)

    await works(nova, await NovaApi.connect(cloud="lab", patience=QUICK))


async def test_a_cloud_named_by_a_variable(nova: ScriptedNova, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nova.clouds(
        tmp_path / "elsewhere.yaml",
        "lab",
        auth_type="v3applicationcredential",
        application_credential_id="c",
        application_credential_secret=PASSWORD,
    )
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "elsewhere.yaml"))
    monkeypatch.setenv("OS_CLOUD", "lab")

    await works(nova, await NovaApi.connect(patience=QUICK))


async def test_an_application_credential_in_variables(nova: ScriptedNova, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_AUTH_TYPE", "v3applicationcredential")
    monkeypatch.setenv("OS_AUTH_URL", f"{nova.url}/v3")
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_ID", "c")
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_SECRET", PASSWORD)

    await works(nova, await NovaApi.connect(patience=QUICK))


async def test_a_token_works_until_it_is_no_longer_taken(nova: ScriptedNova, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_AUTH_TYPE", "v3token")
    monkeypatch.setenv("OS_AUTH_URL", f"{nova.url}/v3")
    monkeypatch.setenv("OS_TOKEN", nova.token())
    monkeypatch.setenv("OS_PROJECT_ID", "p")
    nova.add(vm(1))

    with closing(await NovaApi.connect(patience=QUICK)) as api:
        assert await api.server(vm(1)) is not None
        nova.revoke_tokens()
        with pytest.raises(NovaRefusedError, match="Keystone gives no token"):
            await api.server(vm(1))


async def test_an_endpoint_without_a_version_is_asked_for_its_versions(
    nova: ScriptedNova, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in nova.environment.items():
        monkeypatch.setenv(name, value)
    nova.endpoint = nova.url

    await works(nova, await NovaApi.connect(patience=QUICK))


async def test_nothing_that_says_where_nova_is_tells_which_variable_is_missing() -> None:
    with pytest.raises(SettingsError, match="OS_AUTH_URL") as failure:
        await NovaApi.connect()
    assert "OS_CLOUD" in str(failure.value)


async def test_a_cloud_that_is_not_in_clouds_yaml_is_named() -> None:
    with pytest.raises(SettingsError, match="Cloud lab was not found"):
        await NovaApi.connect(cloud="lab")


@pytest.mark.parametrize("text", ["clouds: [", "clouds: {lab: 7}", "- a", "clouds: {lab: {auth_type: magic}}"])
async def test_a_clouds_yaml_with_a_mistake_is_a_mistake_in_the_settings(tmp_path: Path, text: str) -> None:
    (tmp_path / "clouds.yaml").write_text(text)

    with pytest.raises(SettingsError, match=r"clouds\.yaml"):
        await NovaApi.connect(cloud="lab")


def test_whoever_asks_no_nova_does_not_wait_for_openstack() -> None:
    program = (
        "import sys, es_power.cli, es_power.nova; sys.exit([name for name in ('openstack', 'keystoneauth1') "
        "if name in sys.modules] or 0)"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
