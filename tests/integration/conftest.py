"""Fixtures of the integration tests."""

from tests.integration.hub_fixture import hub

__all__ = ["hub"]
