"""The media worker process: one pjsua2 endpoint; the only part of media that imports pjsua2."""
