"""The built-in demo application, served over HTTP as any other application."""
