"""Batches of an opened text task, and the metrics of the text tasks."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from text_options import TextOptions, rows, tokenizer

from suite.errors import EnvironmentProblem, LowbitError, UsageError
from suite.recipes import recipe
from suite.tasks import text_metrics as metrics
from suite.tasks.encoding import Encoder, Examples, shuffled
from suite.tasks.text import TextDataset, encoder_for

WORDS = ["the", "film", "is", "a", "good", "and", "funny", "story", "about", "war", "love", "music"]


def nothing(prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
    return {}


def sentence(length: int, first: int) -> str:
    return " ".join(WORDS[(first + i) % len(WORDS)] for i in range(length))


def examples(count: int, pairs: bool = False, rated: bool = False) -> Examples:
    first = [sentence(1 + i % 9, i) for i in range(count)]
    second = [sentence(1 + i % 4, i + 3) for i in range(count)] if pairs else None
    targets = np.arange(count) % 2 if not rated else np.linspace(0, 5, count, dtype=np.float32)
    return Examples(first, second, targets)


def opened(count: int = 23, pad: str = "longest", **changes: Any) -> TextDataset:
    encoder = Encoder(tokenizer(), 16, pad)
    return TextDataset(
        examples(count, **changes),
        examples(10, **changes),
        encoder,
        classes=2,
        scorer=lambda p, t: metrics.score("accuracy", p, t),
    )


def ids(batch: Any) -> list[str]:
    """The token ids of every sample of a batch, without padding."""
    return [" ".join(map(str, row[row != 0].tolist())) for row in batch["input_ids"]]


def a_pass(data: TextDataset, **where: Any) -> list[list[str]]:
    settings = {"epoch": 0, "seed": 0, "batch": 4, **where}
    return [ids(batch.inputs) for batch in data.train_batches(**settings)]


def test_a_batch_is_padded_to_its_longest_sample() -> None:
    inputs: Any = next(opened().train_batches(epoch=0, seed=1, batch=5)).inputs
    mask = inputs["attention_mask"]
    assert mask.sum(1).max() == mask.shape[1] < 16
    assert torch.equal(mask == 0, inputs["input_ids"] == tokenizer().pad_token_id)


def test_padding_to_the_maximum_pads_every_batch_to_it() -> None:
    data = opened(pad="max")
    every: list[Any] = [b.inputs for b in data.train_batches(epoch=0, seed=0, batch=5)]
    assert {inputs["input_ids"].shape[1] for inputs in every} == {16}


def test_a_batch_holds_what_the_tokenizer_gives_for_the_pair() -> None:
    data = opened(pairs=True)
    inputs, targets = next(data.validation_batches(batch=4))
    split = examples(10, pairs=True)
    expected = tokenizer()(
        list(split.first[:4]),
        list(split.second or ())[:4],
        padding=True,
        return_token_type_ids=True,
        return_tensors="pt",
    )
    assert set(inputs) == {"input_ids", "attention_mask", "token_type_ids"}
    for name, tensor in inputs.items():
        assert tensor.dtype == torch.int64
        assert torch.equal(tensor, expected[name])
    assert inputs["token_type_ids"].max() == 1
    assert targets.tolist() == [0, 1, 0, 1]


def test_class_ids_are_int64_and_ratings_float32() -> None:
    batches = [opened(rated=rated).train_batches(epoch=0, seed=0, batch=4) for rated in (0, 1)]
    assert [next(b).targets.dtype for b in batches] == [torch.int64, torch.float32]


def test_a_pass_takes_every_sample_once_and_keeps_the_last_small_batch() -> None:
    data = opened()
    found = a_pass(data)
    assert [len(batch) for batch in found] == [4, 4, 4, 4, 4, 3]
    assert len(found) == data.steps(4, 1)
    everything = ids(data.encoder.batch(data._train, np.arange(23)))
    assert sorted(text for batch in found for text in batch) == sorted(everything)


def test_a_batch_depends_on_seed_epoch_and_step_alone() -> None:
    data = opened()
    whole = a_pass(data)
    assert a_pass(opened(), start=2) == whole[2:]
    np.random.seed(7)
    torch.manual_seed(7)
    assert a_pass(data) == whole
    assert a_pass(data, epoch=1) != whole
    assert a_pass(data, seed=1) != whole


def test_ranks_share_a_pass_and_have_equally_many_steps() -> None:
    data = opened()
    shares = [a_pass(data, rank=rank, world=4) for rank in range(4)]
    assert {len(share) for share in shares} == {data.steps(4, 4)} == {2}
    seen = [text for share in shares for batch in share for text in batch]
    single = [text for batch in a_pass(data) for text in batch]
    assert len(seen) == 24
    assert sorted(seen) == sorted([*single, single[0]])


def test_validation_keeps_the_order_of_the_file_on_every_rank() -> None:
    data = opened()
    targets = torch.cat([t for _, t in data.validation_batches(batch=3)])
    assert targets.tolist() == examples(10).targets.tolist()
    texts = [t for i, _ in data.validation_batches(batch=3) for t in ids(i)]
    shares = [
        [t for i, _ in data.validation_batches(batch=3, rank=r, world=2) for t in ids(i)]
        for r in range(2)
    ]
    assert shares == [texts[0::2], texts[1::2]]


def test_texts_are_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = opened()
    list(data.train_batches(epoch=0, seed=0, batch=4))
    calls: list[int] = []
    monkeypatch.setattr(data.encoder, "encode", lambda *texts: calls.append(1))
    list(data.train_batches(epoch=1, seed=0, batch=4))
    list(data.validation_batches(batch=4))
    assert not calls


def test_a_calibration_draw_depends_on_its_seed_alone() -> None:
    data = opened()
    draws = [[ids(b) for b in data.calibration_batches(4, 2, seed)] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert [len(batch) for batch in draws[0]] == [4, 4]
    assert ids(data.calibration("train", 8, 0)) == [text for batch in draws[0] for text in batch]


def test_a_calibration_draw_is_not_padded_unless_asked_for() -> None:
    data = opened()
    single = data.calibration_batches(1, 6, 0)
    assert all(bool(batch["attention_mask"].all()) for batch in single)
    assert len({batch["input_ids"].shape[1] for batch in single}) > 1
    padded = data.calibration_batches(1, 6, 0, pad="max")
    assert {batch["input_ids"].shape[1] for batch in padded} == {16}
    assert [ids(b) for b in padded] == [ids(b) for b in single]


def test_a_calibration_draw_ends_with_the_split() -> None:
    assert [len(ids(b)) for b in opened(count=10).calibration_batches(4, 9, 0)] == [4, 4, 2]


def test_an_empty_calibration_draw_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        opened().calibration_batches(0, 1, 0)
    with pytest.raises(UsageError, match="valid: train, validation"):
        opened().calibration("test", 4, 0)


def test_a_split_without_samples_is_refused() -> None:
    empty = Examples([], None, np.empty(0, np.int64))
    with pytest.raises(EnvironmentProblem, match="train split holds no samples"):
        TextDataset(empty, examples(3), Encoder(tokenizer(), 16), classes=2, scorer=nothing)


def test_a_limit_beyond_the_model_is_refused() -> None:
    with pytest.raises(UsageError, match=r"65 tokens is not possible with this model.* 5 to 64"):
        encoder_for("x", TextOptions(max_length=65))


def test_a_model_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(UsageError, match="choose a text model"):
        encoder_for("x", TextOptions(tokenizer=None))


def test_unknown_padding_is_refused() -> None:
    with pytest.raises(UsageError, match="valid: longest, max"):
        encoder_for("x", TextOptions(pad="left"))


def test_soft_labels_and_crops_are_refused() -> None:
    with pytest.raises(UsageError, match="no crops"):
        next(opened().train_batches(epoch=0, seed=0, batch=4, crops=2))


def test_long_texts_are_truncated_and_counted() -> None:
    long = Examples([sentence(40, 0), "short"], None, np.array([0, 1]))
    data = TextDataset(long, long, Encoder(tokenizer(), 16), classes=2, scorer=nothing)
    inputs, _ = next(data.validation_batches(batch=2))
    assert inputs["attention_mask"].sum(1).tolist() == [16, 3]
    assert data.transform["truncated"] == 1


def test_the_digest_sees_texts_partners_and_targets() -> None:
    same = [Examples(["a", "b"], None, np.array([0, 1])) for _ in range(2)]
    others = [
        Examples(["a", "c"], None, np.array([0, 1])),
        Examples(["a", "b"], ["x", "y"], np.array([0, 1])),
        Examples(["a", "b"], None, np.array([1, 1])),
    ]
    assert same[0].digest() == same[1].digest()
    assert len({e.digest() for e in [same[0], *others]}) == 4


def test_a_permutation_is_the_same_in_every_process() -> None:
    assert shuffled(8, "train", 1000, 0).tolist() == [7, 6, 3, 5, 0, 4, 2, 1]
    assert sorted(shuffled(50, "x", 1).tolist()) == list(range(50))


def test_a_score_of_some_samples_is_refused() -> None:
    with pytest.raises(UsageError, match="3 of 10"):
        opened().score(rows([0, 1, 0], [0, 1, 0]))


TARGET = np.array([1, 1, 1, 0, 0, 0, 0, 1])
GUESS = np.array([1, 1, 0, 0, 0, 1, 1, 1])
"""3 true positives, 2 true negatives, 2 false positives, 1 false negative."""


def test_metrics_equal_their_definitions() -> None:
    tp, tn, fp, fn = 3, 2, 2, 1
    root = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert metrics.matthews(GUESS, TARGET) == pytest.approx(100 * (tp * tn - fp * fn) / root)
    assert metrics.accuracy(GUESS, TARGET) == pytest.approx(62.5)
    assert metrics.f1(GUESS, TARGET) == pytest.approx(100 * 2 * tp / (2 * tp + fp + fn))


def test_combined_is_the_mean_of_both_metrics() -> None:
    found = metrics.score("accuracy_f1", GUESS, TARGET)
    assert found == {"accuracy": 62.5, "f1": 66.6667, "combined": 64.5833}


def test_correlations_equal_their_definitions() -> None:
    guess, target = np.array([1.0, 2.0, 4.0, 3.0]), np.array([0.0, 1.0, 2.0, 9.0])
    found = metrics.score("correlations", guess, target)
    pearson = np.corrcoef(guess, target)[0, 1]
    assert found["pearson"] == pytest.approx(100 * pearson, abs=1e-4)
    assert found["spearman"] == pytest.approx(80.0)
    assert found["combined"] == pytest.approx((100 * pearson + 80) / 2, abs=1e-4)


def test_a_constant_rating_scores_zero_and_nan_is_an_error() -> None:
    target = np.array([0.0, 1.0, 2.0])
    assert metrics.score("correlations", np.full(3, 2.5), target)["combined"] == 0
    collapsed = np.full(3, 2.5, np.float32)
    collapsed[1] = np.nextafter(collapsed[1], np.float32(3))  # the rounding of a sum, no order
    assert metrics.score("correlations", collapsed, target)["combined"] == 0
    with pytest.raises(LowbitError, match="not finite"):
        metrics.score("correlations", np.array([0.0, np.nan, 1.0]), target)


def test_constant_classes_score_zero_in_matthews_and_f1() -> None:
    constant = np.zeros(8, dtype=int)
    assert metrics.matthews(constant, TARGET) == 0
    assert metrics.f1(constant, TARGET) == 0


def test_parts_count_equally_however_large() -> None:
    found = metrics.score_parts({"matched": 6, "mismatched": 2}, GUESS, TARGET)
    assert found["accuracy_matched"] == pytest.approx(66.6667)
    assert found["accuracy_mismatched"] == 50
    assert found["accuracy"] == pytest.approx((66.6667 + 50) / 2, abs=1e-3)


FP32 = {"cola": 57.27, "sst2": 93.12, "mrpc": 88.36, "stsb": 89.09, "qqp": 89.72, "mnli": 84.91}
FP32 |= {"qnli": 91.58, "rte": 70.40}
"""P2, table 1, full precision; its average is 83.06."""


def published() -> dict[str, list[dict[str, float]]]:
    return {
        f"glue-{task}": [{metrics.COLUMNS[f"glue-{task}"]: value}] for task, value in FP32.items()
    }


def test_the_macro_score_follows_the_papers_rule() -> None:
    assert metrics.macro(published()).value == pytest.approx(83.06, abs=0.005)


def test_the_macro_score_takes_the_median_of_the_runs() -> None:
    runs = published()
    runs["glue-rte"] += [{"accuracy": 10.0}, {"accuracy": 99.0}]
    assert metrics.macro(runs).value == metrics.macro(published()).value


def test_mnli_can_count_twice_and_the_rule_says_so() -> None:
    runs = published()
    runs["glue-mnli"][0] |= {"accuracy_matched": 80.0, "accuracy_mismatched": 89.82}
    once, twice = metrics.macro(runs), metrics.macro(runs, mnli="twice")
    assert once.value is not None
    assert twice.value == pytest.approx((once.value * 8 + 84.91) / 9, abs=1e-3)
    assert "8 columns" in once.rule
    assert "MNLI counts once" in once.rule
    assert "9 columns" in twice.rule
    assert "MNLI counts twice" in twice.rule
    assert "mnli accuracy_mismatched" in twice.rule


def test_the_macro_score_is_none_while_a_task_is_missing() -> None:
    runs = published()
    del runs["glue-qqp"]
    found = metrics.macro(runs)
    assert (found.value, found.missing) == (None, ("glue-qqp",))


def test_the_recipes_of_the_text_tasks_are_valid() -> None:
    glue = recipe("glue-fp32")
    assert (glue.start, glue.lr, glue.batch_size, glue.epochs) == ("pretrained", 3e-5, 8, 3)
    assert glue.weight_decay == 0
    assert recipe("snippets-fp32").start == "pretrained"
    assert recipe("snippets-pico").start == "scratch"


def test_batches_of_a_long_pass_are_made_lazily() -> None:
    assert len(list(islice(opened().train_batches(epoch=0, seed=0, batch=1), 3))) == 3
