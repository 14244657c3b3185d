"""The shape of a bridge: who links to whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.topology import Mix, Topology, derive, mixer_end

pytestmark = pytest.mark.unit
STEM = "/tmp/ve-abcdefgh/b1.0"
WORKERS = st.sets(st.integers(1, 10_000), max_size=40)


def test_members_in_one_worker_need_no_link() -> None:
    assert derive(STEM, [7], recorded=False) == Topology({7: None})


def test_two_workers_link_directly() -> None:
    one, other = "/tmp/ve-abcdefgh/b1.0w2w7", "/tmp/ve-abcdefgh/b1.0w7w2"

    assert derive(STEM, [7, 2], recorded=False) == Topology({2: (one, other), 7: (other, one)})


def test_three_workers_meet_in_the_mixer() -> None:
    found = derive(STEM, [1, 2, 3], recorded=False)

    assert found.mix == Mix(STEM + "m", (STEM + "w1", STEM + "w2", STEM + "w3"))
    assert found.links[2] == (STEM + "w2", STEM + "m.b1.0w2")


def test_a_recorded_bridge_goes_through_the_mixer_even_in_one_worker() -> None:
    found = derive(STEM, [4], recorded=True)

    assert found.mix == Mix(STEM + "m", (STEM + "w4",))
    assert found.links == {4: (STEM + "w4", STEM + "m.b1.0w4")}


def test_a_recorded_bridge_without_members_keeps_its_room() -> None:
    """No peers would end the recording."""
    found = derive(STEM, [], recorded=True)

    assert found == Topology({}, Mix(STEM + "m", (STEM + "nobody",)))


def test_an_empty_bridge_needs_nothing() -> None:
    assert derive(STEM, [], recorded=False) == Topology({})


@given(WORKERS, st.booleans())
def test_every_worker_is_named_and_every_link_has_two_ends(workers: set[int], recorded: bool) -> None:
    found = derive(STEM, workers, recorded=recorded)
    links = [link for link in found.links.values() if link is not None]

    assert set(found.links) == workers
    assert (found.mix is not None) == (recorded or len(workers) > 2)
    if found.mix is not None:
        ends = {peer: mixer_end(found.mix.path, peer) for peer in found.mix.peers}
        assert all(ends[path] == peer for path, peer in links)
        assert len(links) == len(workers)
    else:
        assert dict(links) == {peer: path for path, peer in links}


@given(WORKERS, st.booleans())
def test_no_two_sockets_have_one_name(workers: set[int], recorded: bool) -> None:
    found = derive(STEM, workers, recorded=recorded)
    bound = [link[0] for link in found.links.values() if link is not None]
    if found.mix is not None:
        bound += [mixer_end(found.mix.path, peer) for peer in found.mix.peers]

    assert len(set(bound)) == len(bound)
    assert all(len(path) < 90 for path in bound)


@given(WORKERS, WORKERS)
def test_a_link_to_the_mixer_stays_while_others_come_and_go(before: set[int], after: set[int]) -> None:
    one, two = (derive(STEM, workers, recorded=True).links for workers in (before, after))

    assert all(one[number] == two[number] for number in before & after)
