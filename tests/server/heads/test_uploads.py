"""Heads on their way: in parts of any size, verified, resumed, and bounded."""

import pytest
import torch

from losswire import v1
from losswire.errors import FieldError
from losswire.heads.content import digest, without_elements
from losswire_server.errors import OverloadedError
from losswire_server.heads.errors import HeadMismatchError, HeadQuotaError
from losswire_server.heads.registry import Heads
from losswire_server.heads.uploads import MOST_UPLOADS, NOBODY, Holder, Uploads
from tests.server.heads.making import a_message, add, content_of

ROOM = 2**30


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def make(of_bytes=ROOM, heads=100, seconds=300.0):
    held, clock = Heads(of_bytes, heads), Clock()
    return held, Uploads(held, seconds, clock), clock


def enter(uploads, message, caller=None, holder=NOBODY):
    return uploads.enter(caller, digest(message), without_elements(message), holder)


@pytest.mark.parametrize("size", [1, 7, 20, 60, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_parts_of_any_size_make_the_head(size, dtype):
    """A part may end within an element, and reach over several tensors."""
    held, uploads, _ = make()
    message = a_message(dtype=dtype, norm="layer", bias=True)
    content = content_of(message)
    key, upload = enter(uploads, message)
    assert upload.total_bytes == len(content)
    for offset in range(0, len(content), size):
        assert not upload.is_complete
        upload.write(offset, content[offset : offset + size])
    assert upload.is_complete
    upload.finish(held)
    uploads.end(key)
    uploads.leave(key)
    (found,) = held.held()
    assert (found.digest, len(uploads)) == (digest(message), 0)
    head = held.use(found.digest, "f")
    assert (head.class_count, head.width, head.dtype) == (5, 3, dtype)
    assert held.nbytes == head.nbytes


@pytest.mark.parametrize(
    ("offset", "length", "field", "problem"),
    [
        (4, 4, "content.offset_bytes", "expected 8, the place of the next byte, got 4"),
        (9, 4, "content.offset_bytes", "got 9"),
        (-1, 4, "content.offset_bytes", "got -1"),
        (8, 53, "content.data", "expected at most 52 bytes more of this head, got 53"),
    ],
)
def test_gaps_overlaps_and_excess_are_refused(offset, length, field, problem):
    _, uploads, _ = make()
    _, upload = enter(uploads, a_message())
    upload.write(0, bytes(8))
    with pytest.raises(FieldError, match=problem) as caught:
        upload.write(offset, bytes(length))
    assert caught.value.field == field
    assert upload.received_bytes == 8


def test_empty_part_changes_nothing():
    _, uploads, _ = make()
    _, upload = enter(uploads, a_message())
    upload.write(0, b"")
    assert upload.received_bytes == 0


def test_other_content_is_refused():
    held, uploads, _ = make()
    _, upload = enter(uploads, a_message(0))
    upload.write(0, content_of(a_message(1)))
    with pytest.raises(HeadMismatchError, match=f"expected the head of digest {digest(a_message(0))}, got one of"):
        upload.finish(held)
    assert held.count == 0


def test_upload_is_kept_for_some_time():
    held, uploads, clock = make(seconds=10.0)
    key, upload = enter(uploads, a_message())
    upload.write(0, bytes(8))
    uploads.leave(key)
    clock.now = 9.0
    key, again = enter(uploads, a_message())
    assert again is upload
    clock.now = 100.0  # it is filled all the time
    uploads.drop_left()
    assert uploads.is_current(key, upload)
    uploads.leave(key)
    clock.now = 110.0
    _, other = enter(uploads, a_message())
    assert other is not upload
    assert (other.received_bytes, len(uploads)) == (0, 1)
    assert held.nbytes == 60 + 64 * 64 * 4


def test_others_fill_uploads_of_their_own():
    _, uploads, _ = make()
    message = a_message()
    of_a, of_b = (enter(uploads, message, caller)[1] for caller in "ab")
    assert of_a is not of_b


def test_other_form_of_the_same_digest_is_another_upload():
    _, uploads, _ = make()
    right = a_message()
    wrong = v1.Head(weight=v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=[3, 5]))
    first = uploads.enter(None, digest(right), without_elements(right))[1]
    assert uploads.enter(None, digest(right), wrong)[1] is not first


def test_uploads_are_bounded_in_number():
    _, uploads, _ = make()
    keys = [enter(uploads, a_message(seed))[0] for seed in range(MOST_UPLOADS)]
    with pytest.raises(HeadQuotaError, match="8 heads are on their way"):
        enter(uploads, a_message(100))
    uploads.leave(keys[3])
    uploads.leave(keys[1])
    enter(uploads, a_message(100))
    assert len(uploads) == MOST_UPLOADS
    assert enter(uploads, a_message(1))[0] == keys[1]  # number 3 was left first


def test_uploads_are_bounded_in_bytes():
    needed = 60 + 64 * 64 * 4
    held, uploads, _ = make(of_bytes=2 * needed)
    keys = [enter(uploads, a_message(seed))[0] for seed in range(2)]
    assert held.nbytes == 2 * needed
    with pytest.raises(HeadQuotaError, match=f"heads take {2 * needed} of at most {2 * needed} bytes"):
        enter(uploads, a_message(2))
    uploads.leave(keys[0])
    enter(uploads, a_message(2))
    assert held.nbytes == 2 * needed


def test_head_larger_than_all_may_be_is_refused():
    _, uploads, _ = make(of_bytes=1000)
    with pytest.raises(HeadQuotaError, match="the head needs 16444 bytes, and all heads may take 1000"):
        enter(uploads, a_message())


def test_head_that_never_fits_drops_no_upload():
    needed = 60 + 64 * 64 * 4
    held, uploads, _ = make(of_bytes=MOST_UPLOADS * needed)
    keys = [enter(uploads, a_message(seed))[0] for seed in range(MOST_UPLOADS)]
    for key in keys:
        uploads.leave(key)
    huge = v1.Head(weight=v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=[2**31 - 1, 2**33]))
    with pytest.raises(HeadQuotaError, match=f"and all heads may take {held.max_bytes}"):
        uploads.enter(None, "0" * 64, huge)
    assert (len(uploads), uploads.refused_count) == (MOST_UPLOADS, 0)


def test_head_that_does_not_fit_now_drops_no_upload():
    """Else a header with a large shape would cost all others what they sent."""
    needed = 60 + 64 * 64 * 4
    held, uploads, _ = make(of_bytes=4 * needed)
    add(held, permanent=True)
    left, _ = enter(uploads, a_message(1))
    uploads.leave(left)
    large = v1.Head(weight=v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=[64, 128]))
    with pytest.raises(HeadQuotaError, match="too few of them can make room"):
        uploads.enter(None, "0" * 64, large)
    assert (len(uploads), uploads.refused_count) == (1, 1)
    enter(uploads, a_message(2))
    enter(uploads, a_message(3))
    assert len(uploads) == 3


def test_lack_of_memory_gives_room_back(monkeypatch):
    held, uploads, _ = make()

    def no_memory(_):
        raise MemoryError

    monkeypatch.setattr("losswire_server.heads.uploads.empty", no_memory)
    with pytest.raises(MemoryError):
        enter(uploads, a_message())
    assert (held.nbytes, len(uploads)) == (0, 0)


def test_bfloat16_weight_has_room_for_its_copies():
    """Beside its elements: the padded weight, and it in the layouts of both products."""
    held, uploads, _ = make()
    enter(uploads, a_message(dtype=torch.bfloat16))
    assert held.nbytes == 30 + 64 * 64 * (2 + 2 * 2)


def test_upload_makes_idle_heads_leave():
    held, uploads, _ = make(heads=1)
    add(held, 0)
    enter(uploads, a_message(1))
    assert held.count == 0


def test_upload_counts_as_a_head():
    held, uploads, _ = make(heads=1)
    enter(uploads, a_message(1))
    with pytest.raises(HeadQuotaError, match="there are 1 heads, as many as there may be"):
        add(held, 0)


def fill(uploads, count, holder, first=0):
    return [enter(uploads, a_message(first + number), holder.account, holder) for number in range(count)]


@pytest.mark.parametrize(("share", "most"), [(0.75, 6), (0.5, 4), (0.01, 1)])
def test_one_caller_gets_its_share(share, most):
    _, uploads, _ = make()
    one, other = Holder("one", share), Holder("other", share)
    key, _ = fill(uploads, most, one)[0]
    with pytest.raises(OverloadedError, match=f"has {most} heads on their way, and may have {most}") as told:
        fill(uploads, 1, one, first=most)
    assert (told.value.limit, uploads.refused_count) == ("caller_uploads", 1)
    fill(uploads, 1, other)
    enter(uploads, a_message(0), "one", one)  # it waits for the stream that is there
    uploads.leave(key, one)
    uploads.leave(key, one)
    fill(uploads, 1, one, first=most)


def test_uploads_that_broke_are_no_part_of_a_share():
    """They make room for whoever comes."""
    _, uploads, _ = make()
    one = Holder("one", 0.25)
    for number in range(6):
        ((key, _),) = fill(uploads, 1, one, first=number)
        uploads.leave(key, one)
    assert len(uploads) == 6
    fill(uploads, 2, one)
