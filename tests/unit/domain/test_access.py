"""Who may do what, and what is recorded of a secret."""

from hashlib import sha256

from es_power.domain.access import Role, digest


def test_a_role_includes_those_below_it() -> None:
    assert [(a, b) for a in Role for b in Role if a.includes(b)] == [
        (Role.READ, Role.READ),
        (Role.OPERATE, Role.READ),
        (Role.OPERATE, Role.OPERATE),
        (Role.ADMIN, Role.READ),
        (Role.ADMIN, Role.OPERATE),
        (Role.ADMIN, Role.ADMIN),
    ]


def test_of_a_secret_its_hash_is_recorded_whatever_it_holds() -> None:
    assert digest("secret") == sha256(b"secret").digest()
    assert digest("\udcff") == sha256(b"\xed\xb3\xbf").digest()
