"""Renderers: a plan becomes a backend's settings."""
