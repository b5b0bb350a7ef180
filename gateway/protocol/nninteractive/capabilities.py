"""What nnInteractive's client is told of a model of clicks, in the words of its server."""

from typing import Any

VERSION = "2.6.0"
"""The release whose protocol is spoken."""
PROMPTS = ("points", "bbox2d", "bbox3d", "scribble", "lasso")
CAPABILITIES: dict[str, Any] = {
    "supported_interactions": dict.fromkeys(PROMPTS, True),
    "supports_initial_label": False,
    "supports_zero_shot_label_refinement": False,
    "supports_undo": True,
    "do_autozoom": False,
    "preferred_scribble_thickness": [2, 2, 2],
    # the channels of a network, which a model of clicks need not have: those of the client's own default
    "channel_mapping": {
        "prev_seg": 0, "bbox2d": [1, 2], "bbox3d": [1, 2], "lasso": [1, 2], "points": [3, 4], "scribble": [5, 6],
    },
    "num_interaction_channels": 7,
    "interaction_decay": None,
    "patch_size": None,
    "inference_session_version": VERSION,
    "license": None,
}  # fmt: skip
