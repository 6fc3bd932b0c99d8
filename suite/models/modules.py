"""The two modules of a transformer block, attention and MLP, as the roles of their slots."""

from __future__ import annotations

from suite.errors import unknown

MODULES: dict[str, tuple[str, ...]] = {
    "attention": (
        "attn_input",
        "query_weight",
        "key_weight",
        "value_weight",
        "query",
        "key",
        "value",
        "attn_probs",
        "attn_output",
        "proj_weight",
    ),
    "mlp": ("mlp_input", "fc1_weight", "mlp_hidden", "fc2_weight"),
}
"""Names of modules and the roles (suite/models/slot.py) that belong to each."""


def roles_of(text: str) -> frozenset[str]:
    """The roles that comma-separated words name: modules or single roles.

    Raises UsageError for an unknown word.

    >>> sorted(roles_of("mlp"))
    ['fc1_weight', 'fc2_weight', 'mlp_hidden', 'mlp_input']
    """
    single = {role: (role,) for roles in MODULES.values() for role in roles}
    known = {**MODULES, **single}
    found: set[str] = set()
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word not in known:
            raise unknown("module or role", word, known)
        found.update(known[word])
    return frozenset(found)
