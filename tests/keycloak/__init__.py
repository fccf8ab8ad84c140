"""Tests with a real Keycloak."""
