"""Audio and its workers: playing, recording, speech. Knows nothing of RCML, REST or accounts."""
