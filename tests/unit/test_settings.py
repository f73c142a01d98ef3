import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from es_power.errors import SettingsError
from es_power.settings import (
    Act,
    Api,
    Audit,
    Breaker,
    Bridge,
    Connection,
    Host,
    Lease,
    Log,
    Metrics,
    Nova,
    PolicyChoice,
    QemuLog,
    Settings,
    Sweep,
    config_files,
    default_log_path,
    load,
    places,
)
from es_power.settings.sections import FIELDS, VARIABLES


@pytest.fixture(name="home")
def _home(tmp_path, monkeypatch) -> Path:
    """A home of its own, and a machine without a config file."""
    monkeypatch.setattr(places, "SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return tmp_path


@pytest.fixture(name="environ")
def _environ(home) -> dict[str, str]:
    return {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "xdg")}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def problems(*arguments, **named) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(*arguments, **named)
    return caught.value.problems


# ------------------------------------------------------------------------------------------------------ defaults


def test_where_nothing_is_said_the_defaults_hold(home, environ):
    assert load(environ=environ) == Settings(
        log=Log(path=str(home / ".local/state/es-power/log.db")),
        hosts=(Host(uri="qemu:///system"),),
        sweep=Sweep(spacing=600.0, jitter=0.1),
        policy=PolicyChoice(name="nova-2013", mode="dry-run"),
        connection=Connection(keepalive_interval=5, keepalive_count=3, backoff_max=30.0, call_timeout=30.0),
        bridge=Bridge(capacity=65_536),
        lease=Lease(duration=15.0),
    )


def test_libvirts_own_default_uri_is_used_where_no_setting_names_one(environ):
    assert load(environ=environ | {"LIBVIRT_DEFAULT_URI": "test:///default"}).hosts == (Host(uri="test:///default"),)


@pytest.mark.parametrize(
    ("environ", "uid", "path"),
    [
        ({"HOME": "/home/ada"}, 0, "/var/lib/es-power/log.db"),
        ({"STATE_DIRECTORY": "/var/lib/es-power"}, 998, "/var/lib/es-power/log.db"),
        ({"STATE_DIRECTORY": "/srv/state:/srv/other"}, 998, "/srv/state/log.db"),
        ({"HOME": "/home/ada", "XDG_STATE_HOME": "/data/state"}, 1000, "/data/state/es-power/log.db"),
        ({"HOME": "/home/ada", "XDG_STATE_HOME": "relative"}, 1000, "/home/ada/.local/state/es-power/log.db"),
        ({"HOME": "/home/ada"}, 1000, "/home/ada/.local/state/es-power/log.db"),
    ],
)
def test_the_log_of_whoever_names_none_is_the_services_or_ones_own(environ, uid, path):
    assert default_log_path(environ, uid) == Path(path)


def test_the_machines_file_is_read_before_the_users():
    assert config_files({"HOME": "/home/ada"}) == (
        Path("/etc/es-power/config.toml"),
        Path("/home/ada/.config/es-power/config.toml"),
    )


# ---------------------------------------------------------------------------------------------------- precedence


def test_each_later_saying_beats_the_one_before_key_by_key(home, environ):
    write(home / "etc/config.toml", "[sweep]\nspacing = 1\njitter = 0.5\n[lease]\nduration = 1\n[bridge]\ncapacity = 1")
    write(home / "xdg/es-power/config.toml", "[sweep]\nspacing = 2\n[lease]\nduration = 2\n[bridge]\ncapacity = 2")
    variables = environ | {"ES_POWER_SWEEP_SPACING": "3", "ES_POWER_LEASE_DURATION": "3"}

    read = load(overrides={"sweep.spacing": 4}, environ=variables)

    assert (read.sweep.spacing, read.lease.duration, read.bridge.capacity, read.sweep.jitter) == (4.0, 3.0, 2, 0.5)
    assert read.connection == Connection()


def test_a_file_named_on_the_command_line_is_read_in_place_of_the_others(home, environ):
    write(home / "etc/config.toml", "[bridge]\ncapacity = 1")
    named = write(home / "mine.toml", "[lease]\nduration = 20")

    read = load(named, environ=environ)

    assert (read.bridge.capacity, read.lease.duration) == (65_536, 20.0)


def test_flags_that_were_not_given_say_nothing(environ):
    assert load(overrides={"log.path": None, "observe.uri": [], "sweep.spacing": ()}, environ=environ) == load(
        environ=environ
    )


def test_an_empty_variable_says_nothing(environ):
    assert load(environ=environ | {"ES_POWER_LOG": ""}) == load(environ=environ)


def test_every_key_of_the_files_has_a_variable(environ):
    variables = {
        "ES_POWER_LOG": "/srv/log.db",
        "ES_POWER_OBSERVE_URI": "qemu:///system test:///default",
        "ES_POWER_SWEEP_SPACING": "10m",
        "ES_POWER_SWEEP_JITTER": "0.2",
        "ES_POWER_POLICY_NAME": "nova-2026",
        "ES_POWER_POLICY_MODE": "approve",
        "ES_POWER_POLICY_MODES": "kvm-07=auto 6f1e0c4a-5f0b-5d0e-9b5e-3d2c8a1f7e10=dry-run",
        "ES_POWER_ACT_SETTLE": "20s",
        "ES_POWER_ACT_WINDOW": "1s",
        "ES_POWER_ACT_MAX_AGE": "30min",
        "ES_POWER_ACT_EXPIRY": "2h",
        "ES_POWER_ACT_SHUTDOWN_TIMEOUT": "90s",
        "ES_POWER_ACT_CONFIRM": "3min",
        "ES_POWER_ACT_AFTER_BOOT": "10min",
        "ES_POWER_ACT_SOCKET": "/run/es-power/act.sock",
        "ES_POWER_ACT_OPERATORS": "ann @ops",
        "ES_POWER_BREAKER_WITHIN": "2min",
        "ES_POWER_BREAKER_COMMANDS": "7",
        "ES_POWER_BREAKER_SHARE": "0.5",
        "ES_POWER_BREAKER_MOST": "20",
        "ES_POWER_BREAKER_WHOLE": "2",
        "ES_POWER_NOVA_ENABLED": "true",
        "ES_POWER_NOVA_CLOUD": "home",
        "ES_POWER_NOVA_SPACING": "30s",
        "ES_POWER_NOVA_FULL": "2h",
        "ES_POWER_NOVA_TIMEOUT": "10s",
        "ES_POWER_NOVA_BUDGET": "60",
        "ES_POWER_NOVA_STUCK_AFTER": "30min",
        "ES_POWER_NOVA_HOSTS": "kvm-07=compute-7",
        "ES_POWER_CONNECTION_KEEPALIVE_INTERVAL": "7",
        "ES_POWER_CONNECTION_KEEPALIVE_COUNT": "4",
        "ES_POWER_CONNECTION_BACKOFF_MAX": "1min",
        "ES_POWER_CONNECTION_CALL_TIMEOUT": "2.5",
        "ES_POWER_BRIDGE_CAPACITY": "1024",
        "ES_POWER_LEASE_DURATION": "20s",
        "ES_POWER_API_ENABLED": "false",
        "ES_POWER_API_LISTEN": "[::1]:8421",
        "ES_POWER_API_PROXY": "true",
        "ES_POWER_API_HOSTS": "power.example.org",
        "ES_POWER_API_SOCKET": "/run/power.sock",
        "ES_POWER_API_RATE": "10",
        "ES_POWER_API_FOLLOWERS": "20",
        "ES_POWER_METRICS_ENABLED": "false",
        "ES_POWER_METRICS_LISTEN": "127.0.0.1:9421",
        "ES_POWER_METRICS_VM_LABELS": "never",
        "ES_POWER_QEMU_LOG_ENABLED": "false",
        "ES_POWER_QEMU_LOG_FOLDER": "/srv/qemu",
        "ES_POWER_AUDIT_KEY": "/etc/es-power/audit.key",
        "ES_POWER_AUDIT_EVERY": "30min",
        "ES_POWER_AUDIT_PLACES": "file:/mnt/audit/log syslog:",
    }

    assert set(VARIABLES) == set(variables)
    assert load(environ=environ | variables) == Settings(
        log=Log(path="/srv/log.db"),
        hosts=(Host(uri="qemu:///system"), Host(uri="test:///default")),
        sweep=Sweep(spacing=600.0, jitter=0.2),
        policy=PolicyChoice(
            name="nova-2026",
            mode="approve",
            modes={"kvm-07": "auto", "6f1e0c4a-5f0b-5d0e-9b5e-3d2c8a1f7e10": "dry-run"},
        ),
        act=Act(
            settle=20.0,
            window=1.0,
            max_age=1800.0,
            expiry=7200.0,
            shutdown_timeout=90.0,
            confirm=180.0,
            after_boot=600.0,
            socket="/run/es-power/act.sock",
            operators=("ann", "@ops"),
        ),
        breaker=Breaker(within=120.0, commands=7, share=0.5, most=20, whole=2),
        nova=Nova(
            enabled=True,
            cloud="home",
            spacing=30.0,
            full=7200.0,
            timeout=10.0,
            budget=60,
            stuck_after=1800.0,
            hosts={"kvm-07": "compute-7"},
        ),
        api=Api(
            enabled=False,
            listen="[::1]:8421",
            proxy=True,
            hosts=("power.example.org",),
            socket="/run/power.sock",
            rate=10,
            followers=20,
        ),
        metrics=Metrics(enabled=False, listen="127.0.0.1:9421", vm_labels="never"),
        connection=Connection(keepalive_interval=7, keepalive_count=4, backoff_max=60.0, call_timeout=2.5),
        bridge=Bridge(capacity=1024),
        lease=Lease(duration=20.0),
        qemu_log=QemuLog(enabled=False, folder="/srv/qemu"),
        audit=Audit(key="/etc/es-power/audit.key", every=1800.0, places=("file:/mnt/audit/log", "syslog:")),
    )


# --------------------------------------------------------------------------------------------- hosts and the log


def test_hosts_are_named_by_uri_alone_or_with_a_name_of_their_own(home, environ):
    named = write(
        home / "mine.toml",
        '[observe]\nuri = ["qemu:///system"]\n[[host]]\nname = "kvm-07"\nuri = "qemu+tls://kvm-07/system"\n',
    )

    assert load(named, environ=environ).hosts == (
        Host(uri="qemu:///system"),
        Host(uri="qemu+tls://kvm-07/system", name="kvm-07"),
    )


def test_whoever_names_hosts_later_replaces_all_hosts_named_before(home, environ):
    write(home / "etc/config.toml", '[[host]]\nname = "kvm-07"\nuri = "qemu:///system"\n')

    read = load(overrides={"observe.uri": ["test:///default"]}, environ=environ)

    assert read.hosts == (Host(uri="test:///default"),)


def test_a_home_in_the_logs_path_is_found_although_no_shell_saw_it(home, environ):
    assert load(overrides={"log.path": "~/log.db"}, environ=environ).log.path == f"{home}/log.db"


def test_a_log_may_be_a_url(environ):
    url = "postgresql://es@localhost/power"

    assert load(environ=environ | {"ES_POWER_LOG": url}).log.path == url


# ------------------------------------------------------------------------------------------------------ problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[sweeep]\nspacing = 1", "unknown section [sweeep]; did you mean [sweep]?"),
        ("[zzz]", "unknown section [zzz]; known are [log], [observe], [[host]], [sweep]"),
        ("[sweep]\nspaceing = 1", "unknown key spaceing in [sweep]; did you mean spacing?"),
        ("[policy]\nspacing = 1", "unknown key spacing in [policy]; spacing belongs in [sweep]"),
        ("[sweep]\nzzz = 1", "unknown key zzz in [sweep]; known are spacing, jitter"),
        ("spacing = 1", "unknown section [spacing]; spacing belongs in [sweep]"),
        ("sweep = 1", "sweep is no section; write [sweep] above its keys"),
        (
            "[sweep]\nspacing = 0",
            "[sweep] spacing is 0; it must be a time above zero and up to a year, in seconds or in",
        ),
        ("[sweep]\nspacing = -600", "[sweep] spacing is -600; it must be a time above zero"),
        ("[sweep]\nspacing = nan", "[sweep] spacing is nan; it must be a time above zero"),
        ("[sweep]\nspacing = inf", "[sweep] spacing is inf; it must be a time above zero"),
        ("[sweep]\nspacing = true", "[sweep] spacing is True; it must be a time above zero"),
        ('[sweep]\nspacing = "soon"', "[sweep] spacing is 'soon'; it must be a time above zero"),
        ("[sweep]\njitter = 1.0", "[sweep] jitter is 1.0; it must be a share from 0 up to, not including, 1"),
        ('[bridge]\ncapacity = "9"', "[bridge] capacity is '9'; it must be a whole number from 1 on"),
        ("[connection]\nkeepalive_count = 0", "[connection] keepalive_count is 0; it must be a whole number from 1 on"),
        ("[connection]\nkeepalive_count = 1.5", "[connection] keepalive_count is 1.5; it must be a whole number"),
        ('[log]\npath = ""', "[log] path is ''; it must be a path, or a URL such as postgresql:"),
        ("[log]\npath = 3", "[log] path is 3; it must be a path"),
        ("[observe]\nuri = 3", '[observe] uri is 3; it must be a list of libvirt URIs such as ["qemu:///system"]'),
        ('[observe]\nuri = [""]', "[observe] uri is ['']; it must be a list of libvirt URIs"),
        ('[policy]\nname = "nova2013"', "[policy] name: there is no policy 'nova2013'; did you mean nova-2013?"),
        ("[policy]\nname = 1", "[policy] name is 1; it must be the name of a policy: nova-2013, nova-2026, follow"),
        ('[policy]\nmode = "live"', "[policy] mode is 'live'; it must be dry-run (nothing is sent), approve (what"),
        ('[[host]]\nname = "a"', "a [[host]] has no uri; add uri = ..."),
        ("[[host]]", "a [[host]] has no name; add name = ..."),
        ('[host]\nname = "a/b"\nuri = "test:///default"', "[[host]] name is 'a/b'; it must be a host name of letters"),
        ("host = 3", "host is no section; write [[host]] above its keys"),
        ('[[host]]\nnam = "a"', "unknown key nam in [[host]]; did you mean name?"),
        ("[sweep\nspacing = 1", "is not TOML: Expected ']' at the end of a table declaration (at line 1, column 7)"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_mend(home, environ, text, problem):
    path = write(home / "etc/config.toml", text)

    first, *_ = problems(environ=environ)

    assert first.startswith(f"{path}: {problem}")


def test_all_problems_of_all_sources_are_reported_at_once(home, environ):
    system = write(home / "etc/config.toml", "[sweep]\nspacing = -1\njitter = 7\n[lock]\n")
    user = write(home / "xdg/es-power/config.toml", "[[host]\n")
    variables = environ | {"ES_POWER_BRIDGE_CAPACITY": "many", "ES_POWER_SWEEP_SPACEING": "1"}

    found = problems(overrides={"policy.name": "nova", "sweep.zzz": 1}, environ=variables)

    assert [problem.partition(";")[0].partition(": Exp")[0] for problem in found] == [
        f"{system}: [sweep] spacing is -1",
        f"{system}: [sweep] jitter is 7",
        f"{system}: unknown section [lock]",
        f"{user}: is not TOML",
        "ES_POWER_BRIDGE_CAPACITY is 'many'",
        "environment: unknown variable ES_POWER_SWEEP_SPACEING",
        "command line: policy.name: there is no policy 'nova'",
        "command line: unknown setting sweep.zzz",
    ]


def test_a_mistake_that_a_flag_overrides_is_still_a_mistake(home, environ):
    write(home / "etc/config.toml", "[sweep]\nspacing = -1")

    assert len(problems(overrides={"sweep.spacing": 60}, environ=environ)) == 1


def test_two_hosts_of_one_name_and_a_uri_given_twice_are_problems(home, environ):
    path = write(
        home / "mine.toml",
        '[observe]\nuri = ["test:///default"]\n'
        + "".join(f'[[host]]\nname = "kvm-07"\nuri = "{uri}"\n' for uri in ("test:///default", "qemu:///system")),
    )

    assert problems(path, environ=environ) == (
        f"{path}: the URI test:///default is given 2 times; leave it in once",
        f"{path}: 2 hosts are called kvm-07; give each a name of its own",
    )


def test_a_uri_given_twice_on_the_command_line_is_a_problem(environ):
    found = problems(overrides={"observe.uri": ["test:///default", "test:///default"]}, environ=environ)

    assert found == ("command line: the URI test:///default is given 2 times; leave it in once",)


def test_a_file_that_was_named_must_exist(home, environ):
    assert problems(home / "none.toml", environ=environ) == (
        f"{home}/none.toml: there is no such file; name one that exists",
    )


def test_a_file_that_cannot_be_read_is_a_problem_also_where_it_was_not_named(home, environ):
    (home / "etc/config.toml").mkdir(parents=True)

    assert problems(environ=environ) == (
        f"{home}/etc/config.toml: cannot be read (Is a directory); make it a file that this user can read",
    )


def test_a_file_that_is_not_utf_8_is_a_problem(home, environ):
    path = home / "mine.toml"
    path.write_bytes(b"[log]\npath = '\xff'")

    assert problems(path, environ=environ) == (f"{path}: is not text in UTF-8; save it as that",)


def test_the_suggestion_for_a_mistyped_variable_is_a_variable(environ):
    assert problems(environ=environ | {"ES_POWER_POLICY_NAM": "follow"}) == (
        "environment: unknown variable ES_POWER_POLICY_NAM; did you mean ES_POWER_POLICY_NAME?",
    )


@pytest.mark.parametrize("variable", ["ES_POWER_NO_INSTALL", "ES_POWER_SERVICE_HOST", "ES_POWER_PORT_80_TCP"])
def test_variables_of_that_prefix_that_others_set_are_left_alone(environ, variable):
    assert load(environ=environ | {variable: "1"}) == load(environ=environ)


def test_settings_cannot_be_changed(environ):
    read = load(environ=environ)

    with pytest.raises(AttributeError):
        read.sweep.spacing = 1.0


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(), st.text() | st.floats() | st.integers()))
def test_whatever_the_flags_say_it_is_taken_or_listed(overrides):
    with contextlib.suppress(SettingsError):
        assert load(os.devnull, overrides, {}).sweep.spacing > 0
