"""Times the parts of a call that run on the reactor's thread, one by one.

    .venv/bin/python scripts/bench_parts.py

Prints microseconds for each operation in a tight loop, where caches are warm; in a live engine the
same work takes two to three times as long.
"""

import timeit

from rcml.simulator import simulate
from voiceengine.sip import sdp
from voiceengine.sip.digest import Authenticator, NonceFactory, authorization, ha1
from voiceengine.sip.wire import parse, response_to

BODY = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
)
INVITE = (
    b"INVITE sip:1001@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK776asdhds\r\n"
    b"From: <sip:alice@192.0.2.9>;tag=1928301774\r\nTo: <sip:1001@192.0.2.9>\r\nCall-ID: a84b4c76e66710\r\n"
    b"CSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.1:5060>\r\nMax-Forwards: 70\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY
DOCUMENT = (
    '<Response><Gather numDigits="1" action="/next"><Say>Press a key</Say></Gather><Hangup/></Response>'
)


def per_call(work: object, count: int = 2000) -> float:
    return min(timeit.repeat(work, number=count, repeat=3)) / count * 1e6


def main() -> None:
    request = parse(INVITE)
    digest = Authenticator(NonceFactory(b"k" * 32, 300))
    challenge = digest.challenge("voiceengine", 0.0)
    counter = iter(range(1, 10_000_000))

    def check() -> None:
        answer = authorization(challenge, "INVITE", "sip:1001@192.0.2.9", "alice", "pw", nc=next(counter))
        digest.verify(answer, "INVITE", "sip:1001@192.0.2.9", look_up, 0.0, "voiceengine")

    def look_up(user: str, realm: str, algorithm: str) -> str:
        return ha1(user, realm, "pw", algorithm)

    rows = {
        "parse and check an INVITE": lambda: parse(INVITE),
        "build and write a response": lambda: bytes(response_to(request, 180)),
        "rebuild an SDP offer": lambda: sdp.offer_for_worker(BODY),
        "answer and verify a digest": check,
        "parse and run a document (simulated call)": lambda: simulate(DOCUMENT, digits="1:hangup"),
    }
    for name, work in rows.items():
        print(f"{per_call(work, 500):8.1f} us  {name}")


if __name__ == "__main__":
    main()
