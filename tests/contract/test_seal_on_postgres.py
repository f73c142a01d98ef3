"""The seal on PostgreSQL: signed, verified and proved as on SQLite."""

import pytest

from es_power.audit import offline
from es_power.audit.checkpoints import note_of
from es_power.audit.proving import prove
from es_power.audit.sealing import Sealer
from es_power.audit.verdict import Kind
from es_power.audit.verifying import verify
from es_power.domain.streams import AUDIT
from es_power.domain.time import Timestamp
from es_power.log import open_log
from es_power.testing.log_contract import append_of, lifecycle
from tests.postgres import Cluster
from tests.unit.audit.rigs import SIGNER

pytestmark = pytest.mark.postgres


async def test_a_log_on_postgresql_is_sealed_verified_and_proved(postgres: Cluster) -> None:
    async with open_log(postgres.url(), mode="write") as log:
        await log.append(append_of("a", 0, *map(lifecycle, range(600))))
        await Sealer(log, SIGNER, [], clock=lambda: Timestamp(7)).seal()
        [recorded] = await log.read_stream(AUDIT)
        note = note_of(recorded.event)
        verdict = await verify(log, [note], keys=[SIGNER.verifier])

        assert verdict.damage == ()
        assert (verdict.records, verdict.vouched) == (601, 600)
        [proof] = prove(log.database, [300])
        assert offline.check(proof.as_row(), str(SIGNER.verifier)) == 600

        with log.database.write() as connection:
            connection.exec_driver_sql("UPDATE records SET recorded_at = 1 WHERE position = 77")
        assert [(each.kind, each.position) for each in (await verify(log, [note])).damage] == [(Kind.EDITED, 77)]
