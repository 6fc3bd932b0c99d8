"""A classifier's outputs mean what its config.json says, not what their order suggests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from suite.errors import UsageError
from suite.models.outputs import output_order
from suite.models.text_loading import load_model

NLI = ("entailment", "neutral", "contradiction")
PAIR = ("not_equivalent", "equivalent")


@pytest.mark.parametrize(
    ("config", "names", "wanted"),
    [
        ({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, NLI, None),
        ({0: "entailment", 1: "neutral", 2: "contradiction"}, NLI, None),
        ({0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}, NLI, [2, 1, 0]),
        ({0: "contradiction", 1: "entailment", 2: "neutral"}, NLI, [1, 2, 0]),
        ({0: "2", 1: "0", 2: "1"}, NLI, [1, 2, 0]),
        ({0: "LABEL_1", 1: "LABEL_0"}, PAIR, [1, 0]),
        ({0: "Not Equivalent", 1: "equivalent"}, PAIR, None),
        ({0: "paraphrase", 1: "not_paraphrase"}, PAIR, [1, 0]),
        ({0: "POS", 1: "NEG"}, ("negative", "positive"), [1, 0]),
    ],
)
def test_outputs_are_put_into_the_order_of_the_classes(
    config: dict[int, str], names: tuple[str, ...], wanted: list[int] | None
) -> None:
    assert output_order(config, names, "somewhere") == wanted


@pytest.mark.parametrize(
    "config",
    [
        {0: "negative", 1: "positive"},
        {0: "equivalent", 1: "equivalent"},
        {0: "equivalent", 1: None},
        {0: "LABEL_0", 1: "LABEL_0"},
        {0: "not_equivalent", 1: "equivalent", 2: "other"},
        {},
    ],
)
def test_outputs_of_another_task_are_refused(config: dict[int, str]) -> None:
    with pytest.raises(UsageError, match=r"the task's classes are not_equivalent, equivalent;"):
        output_order(config, PAIR, "somewhere")


def saved(folder: Path, labels: tuple[str, ...]) -> Path:
    torch.manual_seed(0)
    small = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    small |= {"vocab_size": 60, "intermediate_size": 32}
    config = BertConfig(**small, id2label=dict(enumerate(labels)))
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_loaded_classifier_answers_in_the_order_of_the_task(tmp_path: Path) -> None:
    plain = load_model(saved(tmp_path / "a", NLI), 3, names=NLI)
    turned = load_model(saved(tmp_path / "b", (NLI[2], NLI[0], NLI[1])), 3, names=NLI)
    ids = {"input_ids": torch.arange(5, 25).view(2, 10)}
    assert (plain.output_order, turned.output_order) == (None, [1, 2, 0])
    assert torch.equal(turned.eval()(ids), plain.eval()(ids)[:, [1, 2, 0]])


def test_the_names_of_a_head_that_is_drawn_here_do_not_count(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a", ("negative", "positive"))
    BertForSequenceClassification.from_pretrained(folder).bert.save_pretrained(tmp_path / "bare")
    assert load_model(tmp_path / "bare", 2, names=PAIR).output_order is None
    with pytest.raises(UsageError, match="negative, positive"):
        load_model(folder, 2, names=PAIR)
