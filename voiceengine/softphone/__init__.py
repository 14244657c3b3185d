"""A headless SIP phone in its own process.

`voiceengine softphone` and `python -m voiceengine.softphone` run it; tests start it and talk to it by
`voiceengine.softphone.process.SoftphoneProcess`. It knows nothing of the engine: any SIP server or
phone will do as the other party.
"""
