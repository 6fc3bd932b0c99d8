"""Whether the switches of the errata exist: imports the methods, so only tests and `certify`-like
checks call it."""

from __future__ import annotations

from suite.cell import Recipe, validated
from suite.choosing import CHOICES
from suite.errata import Switch
from suite.errors import UsageError, unknown
from suite.recipes import recipe
from suite.registry import METHODS

NAMED_RECIPES = ("fp32_recipe",)
"""Recipe fields whose value is the name of a recipe."""


def problems(switch: Switch) -> list[str]:
    """A sentence for everything that is not so: an unknown name, a value that cannot be, a
    variant that has another one."""
    found = []
    for check in (_option, _recipe, _setting):
        try:
            found += check(switch)
        except UsageError as problem:
            found.append(str(problem))
    return found


def _option(switch: Switch) -> list[str]:
    if switch.option and switch.option not in CHOICES:
        raise unknown("option", switch.option, CHOICES)
    return []


def _recipe(switch: Switch) -> list[str]:
    for value in switch.values.values() if switch.recipe else ():
        validated(Recipe, {switch.recipe: value}, "recipe")
        if switch.recipe in NAMED_RECIPES:
            recipe(str(value))
    return []


def _setting(switch: Switch) -> list[str]:
    found = []
    for name in switch.methods:
        kind = METHODS.get(name)
        for behaviour, value in switch.values.items():
            one = validated(kind.Settings, {switch.setting: value}, f"{name} setting")
            wanted = getattr(one, switch.setting)
            actual = getattr(kind.Settings(**kind.variants.get(behaviour, {})), switch.setting)
            if behaviour in kind.variants and actual != wanted:
                found.append(
                    f"variant {behaviour} of {name} has {switch.setting}={actual!r}, not {wanted!r}"
                )
    return found
