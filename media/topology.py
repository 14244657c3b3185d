"""Who links to whom: the shape of one bridge, derived from where its members are.

| workers with members | recorded | shape                                   |
|----------------------|----------|-----------------------------------------|
| one                  | no       | no link                                 |
| two                  | no       | one direct link                         |
| any number           | yes      | each worker has a link to the mixer     |
| more than two        | no       | each worker has a link to the mixer     |

A link is two unix datagram sockets, named by their paths. A name says which two processes it joins, so that
a frame that is late never reaches a link of another pair.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

Link = tuple[str, str]
"""The socket to bind, and the one at the other end."""


@attrs.frozen
class Mix:
    """The mixer's part in a bridge: see `protocol.SetMix`."""

    path: str
    peers: tuple[str, ...]


@attrs.frozen
class Topology:
    """The links of a bridge: of each worker by its number (None: it needs none), and of the mixer."""

    links: dict[int, Link | None]
    mix: Mix | None = None


def needs_mixer(workers: int, recorded: bool) -> bool:
    """Whether a bridge with members in so many workers needs the mixer."""
    return recorded or workers > 2


def derive(stem: str, workers: Collection[int], *, recorded: bool) -> Topology:
    """The shape of a bridge.

    Args:
        stem: what the paths of its sockets begin with; no other bridge has it.
        workers: numbers of the workers that have members.
        recorded: the bridge as a whole is recorded.
    """
    numbers = sorted(set(workers))
    if needs_mixer(len(numbers), recorded):
        path = f"{stem}m"
        links: dict[int, Link | None] = {}
        for number in numbers:
            peer = f"{stem}w{number}"
            links[number] = (peer, mixer_end(path, peer))
        # without peers the mixer would end the recording; nobody is ever at this one
        peers = [link[0] for link in links.values() if link] or [f"{stem}nobody"]
        return Topology(links, Mix(path, tuple(peers)))
    if len(numbers) == 2:
        one, other = numbers
        ends = f"{stem}w{one}w{other}", f"{stem}w{other}w{one}"
        return Topology({one: ends, other: (ends[1], ends[0])})
    return Topology(dict.fromkeys(numbers))


def mixer_end(path: str, peer: str) -> str:
    """The mixer's socket for one link of a room (`protocol.SetMix`): `path` is what their names begin with.

    One socket for all would lose frames: a datagram socket queues 10 datagrams (net.unix.max_dgram_qlen), and
    40 links send 40 in 20 ms.
    """
    return f"{path}.{peer.rpartition('/')[2]}"
