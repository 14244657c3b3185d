"""Registrations of the engine with SIP providers."""
