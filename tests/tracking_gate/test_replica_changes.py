"""The last comparison of the clock before a replica sends a change, and the content of the Lease."""

import asyncio
import copy
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tracking_gate.errors import NoLeader
from tracking_gate.metrics import Metrics
from tracking_gate.replicas import election as elections
from tracking_gate.replicas.election import Election
from tracking_gate.replicas.fencing import FencedUpstream
from tracking_gate.replicas.lease import LeaseClient, LeaseConflict
from tracking_gate.replicas.lease_state import REPLICAS, LeaseState, new_replica

Json = dict[str, Any]


class LeaseInMemory(LeaseClient):
    """A Lease that is replaced if it is still the version that was read, as the API server does."""

    def __init__(self) -> None:
        self.document: Json = {"metadata": {"name": "gate", "resourceVersion": "1"}, "spec": {}}

    async def read(self) -> Json:
        return copy.deepcopy(self.document)

    async def replace(self, document: Json) -> Json:
        if document["metadata"]["resourceVersion"] != self.document["metadata"]["resourceVersion"]:
            raise LeaseConflict
        self.document = copy.deepcopy(document)
        self.document["metadata"]["resourceVersion"] = str(int(document["metadata"]["resourceVersion"]) + 1)
        return await self.read()


async def nothing_to_recover(_: Json) -> None:
    raise AssertionError


async def elected(lease: LeaseInMemory) -> Election:
    """Return the election of a replica that makes changes, and renews no more."""
    election = Election(lease, new_replica("gate-0", "http://127.0.0.1:1"), 600, Metrics())
    running = asyncio.create_task(election.run(nothing_to_recover))
    while not election.leads:
        await asyncio.sleep(0.01)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return election


def test_change_whose_lease_ends_while_it_waits_for_a_connection_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps after the first comparison. Not even the head of the request arrives."""
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read())
        writer.close()

    async def main() -> None:
        election = await elected(LeaseInMemory())
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        begin = elections.now()
        times = iter([begin])
        monkeypatch.setattr(elections, "now", lambda: next(times, begin + 600))
        async with FencedUpstream(uri, Metrics(), election) as upstream:
            with pytest.raises(NoLeader, match="has not sent the change"):
                await upstream.change("POST", "/move", b"{}")
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    assert received == b""


def test_move_is_not_begun_if_the_lease_is_held_by_another_replica() -> None:
    """The clock says nothing yet: the compare-and-set does."""

    async def main() -> None:
        lease = LeaseInMemory()
        first = await elected(lease)
        second = new_replica("gate-1", "http://127.0.0.1:2")
        await lease.replace(LeaseState(document=await lease.read()).taken(second, 600).document)
        with pytest.raises(NoLeader, match="the Lease cannot be written"):
            await first.begin({"request_id": "1"})
        assert not first.leads

    asyncio.run(main())


class ContestedLease(LeaseInMemory):
    """A Lease that another replica changes before each write, if it is `contested`."""

    contested = False

    async def replace(self, document: Json) -> Json:
        if self.contested:
            raise LeaseConflict
        return await super().replace(document)


@pytest.mark.parametrize(("contested", "leader"), [(True, None), (False, "http://127.0.0.1:1")])
def test_replica_has_a_leader_once_its_key_is_in_the_lease(contested: bool, leader: str | None) -> None:
    """Before, the leader would refuse its changes with 403, after which no client tries again."""

    async def main() -> None:
        lease = ContestedLease()
        await elected(lease)
        lease.contested = contested
        follower = Election(lease, new_replica("gate-1", "http://127.0.0.1:2"), 600, Metrics())
        running = asyncio.create_task(follower.run(nothing_to_recover))
        await asyncio.sleep(0)  # one turn of the election, in which nothing waits
        running.cancel()

        assert (follower.term, follower.leader) == (1, leader)

    asyncio.run(main())


def test_replica_that_does_not_register_again_is_forgotten() -> None:
    me, other = new_replica("a", "http://a"), new_replica("b", "http://b")
    state = LeaseState(document={"metadata": {}, "spec": {}}).registered(other)
    entries = json.loads(state.document["metadata"]["annotations"][REPLICAS])
    entries[other.identity]["registered"] = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    state.document["metadata"]["annotations"][REPLICAS] = json.dumps(entries)

    assert not state.has_registered(other)
    assert set(state.registered(me).replicas) == {me.identity}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {}}', '{"a": {"key": 1, "address": 1}}'])
def test_annotation_of_another_form_names_no_replica(text: str) -> None:
    state = LeaseState(document={"metadata": {"annotations": {REPLICAS: text}}, "spec": {}})

    assert not state.knows("a", "")
    assert not state.knows("a", "1")
    assert state.address_of("a") is None


def test_key_is_not_in_the_lease_and_in_no_text() -> None:
    me = new_replica("a", "http://a")

    assert me.key not in repr(me) + str(me)
    assert me.key not in json.dumps(LeaseState(document={"metadata": {}, "spec": {}}).registered(me).document)
