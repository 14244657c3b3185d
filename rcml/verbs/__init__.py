"""One module per verb: its attribute table and what it does on the ports."""

from rcml.verb import VERBS
from rcml.verbs.dial import Dial
from rcml.verbs.email import Email
from rcml.verbs.gather import Gather
from rcml.verbs.hangup import Hangup
from rcml.verbs.hold import Hold, Resume
from rcml.verbs.pause import Pause
from rcml.verbs.play import Play
from rcml.verbs.record import Record
from rcml.verbs.redirect import Redirect
from rcml.verbs.refer import Refer
from rcml.verbs.reject import Reject
from rcml.verbs.say import Say
from rcml.verbs.sms import Sms
from rcml.verbs.unavailable import UNAVAILABLE

__all__ = [
    "UNAVAILABLE",
    "VERBS",
    "Dial",
    "Email",
    "Gather",
    "Hangup",
    "Hold",
    "Pause",
    "Play",
    "Record",
    "Redirect",
    "Refer",
    "Reject",
    "Resume",
    "Say",
    "Sms",
]
