"""Groups of golden values whose methods are not written yet: told apart from unknown keys."""

from __future__ import annotations

from suite.certify.case import Replay

REPLAYS = (
    Replay("variation", "swin (end to end)", r"swin_\w+", None),
    Replay("variation", "sret (end to end)", r"sret_\w+", None),
    Replay("bit", "BiT", r"(?:bitm?|bibert)_.*", None),
    Replay("ofq", "OFQ", r"ofq_.*", None),
)
