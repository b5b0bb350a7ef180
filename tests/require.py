"""What a test needs from outside: skipped with a sentence where it is missing, failed where everything was promised."""

import os

import pytest


def require(condition: object, sentence: str) -> None:
    """Go on only if ``condition`` holds; with ``GATEWAY_TEST_REQUIRE=all`` a missing part fails the test."""
    if condition:
        return
    if os.environ.get("GATEWAY_TEST_REQUIRE") == "all":
        pytest.fail(f"GATEWAY_TEST_REQUIRE=all, but: {sentence}", pytrace=False)
    pytest.skip(sentence)
