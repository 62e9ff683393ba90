"""Labs for the netns tier, one of each kind a session."""

import os
from collections.abc import Iterator

import pytest

from appliance.lab import client
from appliance.lab.client import Lab


def unique(name: str) -> str:
    """A lab's name that no other session, worker or person uses."""
    return f"test-{name}-{os.getpid()}"


@pytest.fixture(scope="session")
def bare_lab() -> Iterator[Lab]:
    """A lab whose `edge` has interfaces and nothing else; tests leave them unaddressed."""
    lab = client.start(unique("bare"), product=False)
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The whole lab with edge64 in it; tests leave its configuration as they found it."""
    lab = client.start(unique("lab"))
    yield lab
    lab.down()
