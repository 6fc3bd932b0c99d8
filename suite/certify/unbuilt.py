"""Groups of golden values whose methods are not written yet: told apart from unknown keys."""

from __future__ import annotations

from suite.certify.case import Replay

REPLAYS = (
    Replay("variation", "swin (end to end)", r"swin_\w+", None),
    Replay("variation", "sret (end to end)", r"sret_\w+", None),
    Replay("lsq_plus", "LSQ+ reference", r"ref_lsqp_.*", None),
    Replay("qvit", "Q-ViT", r"qvit_.*", None),
    Replay("binarybert", "TernaryBERT, BinaryBERT", r"bbm?_.*", None),
    Replay("bit", "BiT", r"(?:bitm?|bibert)_.*", None),
    Replay("ofq", "OFQ", r"ofq_.*", None),
)
