"""Nothing is shared by all tests; the fixtures of each kind stand beside it (tests/e2e/conftest.py)."""
