"""Calls and legs: routing, the interpreter's ports, originate, live modification, callbacks."""
