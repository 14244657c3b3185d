"""What all tests share; the fixtures of each kind stand beside them (tests/e2e/conftest.py)."""

from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine only.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")
