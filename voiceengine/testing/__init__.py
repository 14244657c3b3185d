"""Public doubles for tests of applications and of the engine itself."""
