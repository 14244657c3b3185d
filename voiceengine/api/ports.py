"""What the REST API asks of call control (`voiceengine.calls` defines it, the API only uses it)."""

from voiceengine.calls.requests import (
    CALL_EVENTS,
    CallControl,
    ChangeConference,
    ChangeParticipant,
    ConferenceControl,
    CreateCall,
    GatherInput,
    HoldCall,
    ModifyCall,
    Operation,
    Participant,
    PlayAudio,
    ReferCall,
    ResumeCall,
    SayText,
    StartRecording,
)

__all__ = [
    "CALL_EVENTS",
    "CallControl",
    "ChangeConference",
    "ChangeParticipant",
    "ConferenceControl",
    "CreateCall",
    "GatherInput",
    "HoldCall",
    "ModifyCall",
    "Operation",
    "Participant",
    "PlayAudio",
    "ReferCall",
    "ResumeCall",
    "SayText",
    "StartRecording",
]
