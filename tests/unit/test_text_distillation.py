"""Losses between a student and its teacher, and what their module does with dropout and heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from suite.models.encoder import TextModel, text_model
from suite.models.narrow import narrow
from suite.text_distillation import Distilled, LogitRule, Open, attention_loss, hidden_loss
from tests.unit.small_encoders import batch, source


def logits(classes: int, seed: int) -> torch.Tensor:
    return torch.randn(6, classes, generator=torch.Generator().manual_seed(seed))


def test_the_logit_loss_is_a_cross_entropy_by_either_mean() -> None:
    s, t = logits(3, 0), logits(3, 1)
    usual = F.cross_entropy(s, t.softmax(1))
    torch.testing.assert_close(LogitRule(mean="batch")(s, t), usual)
    torch.testing.assert_close(LogitRule()(s, t), usual / 3)


def test_one_output_teaches_nothing_as_released_and_by_its_error_corrected() -> None:
    s, t = logits(1, 0).requires_grad_(), logits(1, 1)
    loss = LogitRule()(s, t)
    loss.backward()
    assert float(loss.detach()) == 0
    assert s.grad is not None
    assert not s.grad.any()
    torch.testing.assert_close(LogitRule(rating="mse")(s, t), F.mse_loss(s, t))


def test_padded_keys_count_as_zeros_in_the_mean() -> None:
    s, t = (torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    error = (s - t) ** 2
    error[1, :, :, 2:] = 0
    torch.testing.assert_close(attention_loss([s, s], [t, t], mask), 2 * error.mean())
    low = s.masked_fill(error == 0, -10_000.0)
    torch.testing.assert_close(attention_loss([low], [low + 1], None), (error != 0).float().mean())


def test_hidden_states_are_compared_layer_by_layer() -> None:
    s, t = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    assert float(hidden_loss([s, s, t], [t, t, t])) == 2


def model(width: float = 1.0) -> TextModel:
    found = text_model(source()).eval()
    narrow(found, width)
    return found


def test_an_opened_model_gives_logits_scores_and_states() -> None:
    plain = model()
    found, scores, states = Open(plain)(batch())
    assert torch.equal(found, plain(batch()))
    assert [tuple(s.shape) for s in scores] == [(3, 4, 9, 9)] * 2
    expected = plain.hidden_states(batch())
    assert all(torch.equal(a, b) for a, b in zip(states, expected, strict=True))
    attention = plain.body.layers[0].attention.self
    q, k = (attention._split(p(states[0])) for p in (attention.query, attention.key))
    torch.testing.assert_close(scores[0], q @ k.transpose(-1, -2) / 6**0.5)


def test_a_student_equal_to_its_teacher_has_no_loss_but_the_entropy() -> None:
    parts = ("attention", "hidden")
    together = Distilled(Open(model()), Open(model()), parts, LogitRule())
    assert float(together(batch()).detach()) == 0
    last = Distilled(Open(model()), Open(model()), ("logits",), LogitRule(mean="batch"))
    p = model()(batch()).softmax(1)
    torch.testing.assert_close(last(batch()), -(p * p.log()).sum(1).mean())


def test_a_narrow_student_is_compared_with_the_heads_that_it_kept() -> None:
    wide, student = model(), model(0.5)
    depth = 6
    with torch.no_grad():
        for layer in wide.body.layers:
            layer.attention.self.value.weight[: 2 * depth] *= 10
    narrow(again := text_model(source()).eval(), 0.5)
    _, scores, _ = Open(wide, [torch.tensor([0, 1])] * 2)(batch())
    assert scores[0].shape == Open(student)(batch())[1][0].shape == Open(again)(batch())[1][0].shape
    _, all_scores, _ = Open(model())(batch())
    assert torch.equal(scores[0], all_scores[0][:, :2])


def test_the_teacher_gets_no_gradients() -> None:
    teacher = model().requires_grad_(False)
    student = model(0.5)
    together = Distilled(
        Open(student), Open(teacher, [torch.tensor([0, 1])] * 2), ("hidden",), LogitRule()
    )
    together(batch()).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert student.body.embeddings.word_embeddings.weight.grad is not None
    assert student.classifier.weight.grad is None
