import pytest
import torch
from torch.nn import functional as F

from benchmarks.batch import Answer, Batch, WrongAnswerError, as_array, as_bytes, as_tensor, check

BATCHES = [Batch(20, 7, dtype, grad) for dtype in ("float32", "bfloat16") for grad in (False, True)]


def right_answer(batch):
    logits, target = batch.tensors()
    leaf = logits.requires_grad_()
    loss = F.cross_entropy(leaf, target)
    return Answer(loss.detach(), *(torch.autograd.grad(loss, leaf) if batch.grad else ()))


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_right_answers_pass(batch):
    check(batch, right_answer(batch))


def test_mean_in_bfloat16_passes():
    batch = Batch(65536, 100, "bfloat16", grad=False)
    check(batch, right_answer(batch))


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_wrong_losses_do_not(batch):
    answer = right_answer(batch)
    with pytest.raises(WrongAnswerError, match="the loss is wrong"):
        check(batch, answer._replace(loss=float(answer.loss) * 1.02))


@pytest.mark.parametrize("batch", [batch for batch in BATCHES if batch.grad], ids=str)
def test_one_wrong_element_does_not_pass(batch):
    answer = right_answer(batch)
    answer.grad[-1, -1] *= 1.25
    with pytest.raises(WrongAnswerError, match="the gradient is wrong"):
        check(batch, answer)


def test_a_missing_gradient_does_not():
    with pytest.raises(WrongAnswerError, match="expected a gradient and got none"):
        check(BATCHES[1], right_answer(BATCHES[0]))


@pytest.mark.parametrize("batch", BATCHES[::2], ids=str)
def test_views_are_views(batch):
    logits, _ = batch.tensors()
    assert as_tensor(as_array(logits)).data_ptr() == logits.data_ptr()
    assert torch.equal(as_tensor(as_array(logits)), logits)
    assert len(as_bytes(logits)) == logits.nbytes
