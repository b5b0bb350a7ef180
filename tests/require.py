"""Requirements of a test: a missing one skips the test with a sentence, or fails it in CI."""

import os

import pytest


def require(condition: object, sentence: str) -> None:
    """Require ``condition``, else skip the test; with ``GATEWAY_TEST_REQUIRE=all``, fail it."""
    if condition:
        return
    if os.environ.get("GATEWAY_TEST_REQUIRE") == "all":
        pytest.fail(f"GATEWAY_TEST_REQUIRE=all, but: {sentence}", pytrace=False)
    pytest.skip(sentence)
